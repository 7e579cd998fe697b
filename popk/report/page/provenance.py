"""Where the numbers came from, and how to have them again."""

from typing import TYPE_CHECKING, Any

from popk.report.page.blocks import Commands, Facts, Section

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered


def provenance(of: "Gathered") -> Section:
    """Hashes, versions, device, timings, and the commands that give the same again."""
    made = of.provenance
    facts = (
        ("finished", made.finished),
        ("computed on", f"{made.device}, {made.precision}"),
        ("seed", str(made.seed)),
        ("method", ", ".join(f"{k} {_value(v)}" for k, v in made.method.items())),
        ("seconds", ", ".join(f"{k} {v:.1f}" for k, v in made.seconds.items())),
        ("versions", ", ".join(f"{k} {v}" for k, v in made.versions.items())),
        *((f"SHA-256, {what}", value) for what, value in made.hashes.items()),
    )
    return Section(
        "provenance", "Provenance", (Facts(facts), Commands(commands(of))),
        lead="The same commands with the same files give the same numbers.",
    )  # fmt: skip


def commands(of: "Gathered") -> tuple[str, ...]:
    """What was given to come here."""
    lines = [f"popk fit {of.folder}"]
    if of.verdicts is not None:
        lines.append(f"popk diagnose {of.folder}")
    if of.covariates is not None:
        lines.append(f"popk covariates {of.folder}")
    if of.search_steps is not None:
        lines.append(f"popk search {of.folder}")
    lines += [
        f"popk bootstrap {of.folder} --kind {kind} --replicates {own['replicates']} "
        f"--seed {own['seed']}"
        for kind, own in of.bootstrap.items()
        if not own["stratified_by"]  # where strata were cut is not in the record
    ]
    if of.influence is not None:
        lines.append(f"popk influence {of.folder} --seed {of.influence['seed']}")
    return (*lines, f"popk report {of.folder}")


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
