"""Covariate effects: what the data can and cannot tell."""

from typing import TYPE_CHECKING, Any

from popk.analysis.covariates.effects import NOT_RELEVANT, RELEVANT, UNKNOWN
from popk.report.described import evidence
from popk.report.numbers import between
from popk.report.page.blocks import (
    Block,
    Cell,
    Column,
    Missing,
    Part,
    Prose,
    Section,
    Shown,
    Tone,
    figure,
    fixed,
    interval,
    rows_of,
    word,
)
from popk.report.page.drawn import Drawn

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered

TONES: dict[str, Tone] = {RELEVANT: "strong", NOT_RELEVANT: "passed", UNKNOWN: "look"}
RATIOS = (
    Column("Candidate", numeric=False), Column("Contrast", numeric=False), Column("Ratio"),
    Column("90 % interval"), Column("95 % interval"),
    Column("P(side of 1)", told="probability of the likelier direction"),
    Column("P(no effect)", told="probability that the ratio lies in the range of no effect"),
    Column("Verdict", numeric=False),
)  # fmt: skip
TESTS = (
    Column("Candidate", numeric=False), Column("Test", numeric=False), Column("Value"),
    Column("Error"), Column("p"), Column("", numeric=False),
)  # fmt: skip


def covariates(of: "Gathered", figures: Drawn) -> Section | None:
    """Ratios, verdicts and every other test; None where the model and the study have no effect."""
    table = of.covariates
    parts = _search(of)
    if table is None:
        asked = of.settings.candidates or of.model.covariates
        if not asked and not parts:
            return None
        need = "Tests of covariate effects"
        if of.maximum_likelihood:
            need += ' (they need a posterior: method = "ensemble" in fit.toml)'
        missing = (Missing(need, f"popk covariates {of.folder}"),) if asked else ()
        return Section("covariates", "Covariates", missing, parts)
    records: dict[str, dict[str, Any]] = table.to_dict("index")
    rows = [_ratio(name, row) for name, row in records.items()]
    if len(records) > 1:
        rows += [_ratio(f"{name} (all together)", _joint(row)) for name, row in records.items()]
    tests = tuple(
        (word(name, "strong"), *(word(cell) for cell in cells))
        for name, row in records.items()
        for cells in evidence(row)
    )
    blocks: list[Block] = [
        *figures.block("Ratios of the parameter between two covariate values",
                       charts=figures.of("covariates"), statics=("covariates",)),
        Shown("Effects and verdicts", RATIOS, tuple(rows)),
        Prose((f"Rule: {of.covariate_rule}.",), "dim"),
        Shown("Every other test of each candidate", TESTS, tests),
    ]  # fmt: skip
    if of.covariate_notes:
        blocks.append(Prose(tuple(of.covariate_notes), "look"))
    if of.bayes_factors is not None:
        blocks += figures.block("Evidence against an effect by the width of its prior",
                                statics=("bayes_factors",))  # fmt: skip
    return Section("covariates", "Covariates", tuple(blocks), parts)


def _joint(row: dict[str, Any]) -> dict[str, Any]:
    return {name[6:]: value for name, value in row.items() if str(name).startswith("joint_")}


def _ratio(name: str, row: dict[str, Any]) -> tuple[Cell, ...]:
    verdict = str(row["verdict"])
    return (
        word(name, "strong"), word(f"{row['parameter']}: {row['contrast']}"),
        figure(row["ratio"], 3), interval(row["q5"], row["q95"], 3),
        interval(row["q2_5"], row["q97_5"], 3), fixed(row["direction"], 3),
        fixed(row["inside"], 3), word(verdict, TONES.get(verdict, ""), badge=True),
    )  # fmt: skip


def _search(of: "Gathered") -> tuple[Part, ...]:
    """The stepwise search beside the full model; nothing where none was made."""
    effects, steps = of.search_effects, of.search_steps
    if effects is None or steps is None:
        return ()
    columns = (
        Column("Candidate", numeric=False), Column("Contrast", numeric=False),
        Column("Selected", numeric=False), Column("Ratio"), Column("90 % confidence"),
        Column("Ratio, full model"), Column("90 % confidence"),
        Column("Full model says", numeric=False),
    )  # fmt: skip
    rows = tuple(
        (
            word(name, "strong"), word(f"{row['parameter']}: {row['contrast']}"),
            word("yes" if row["selected"] else "no"), figure(row["ratio"], 3),
            word(between(row["q5"], row["q95"])), figure(row["full_ratio"], 3),
            word(between(row["full_q5"], row["full_q95"])),
            word(row["full_verdict"], TONES.get(str(row["full_verdict"]), ""), badge=True),
        )
        for name, row in rows_of(effects)
    )  # fmt: skip
    tried = (
        Column("Step"), Column("Direction", numeric=False), Column("Candidate", numeric=False),
        Column("OFV"), Column("Change"), Column("df"), Column("p"), Column("Taken", numeric=False),
    )  # fmt: skip
    lines = tuple(
        (
            word(f"{row['step']:g}"), word(row["direction"]), word(row["candidate"]),
            fixed(row["OFV"], 3), fixed(row["dOFV"], 3), word(f"{row['df']:g}"),
            figure(row["p"], 3), word("yes" if row["taken"] else ""),
        )
        for row in steps.to_dict("records")
    )  # fmt: skip
    return (
        Part(
            "search", "Stepwise search, and the full model",
            (Shown("After the search, and in the full model", columns, rows),
             Shown("Every model that was tried", tried, lines)),
            "What a search keeps it keeps because it looked large in these data; the full model, "
            "which no data have chosen, is the answer to read.",
        ),
    )  # fmt: skip
