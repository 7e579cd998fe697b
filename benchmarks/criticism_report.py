"""What `benchmarks.criticism` found, as tables and sentences."""

import math
from typing import Any

from benchmarks.wrong_models import TRUTHS, VALUES, designs
from popk.analysis.verdict import FAILED

SHORT = {
    "NPDE, mean and spread": "NPDE mean, spread",
    "NPDE, shape": "NPDE shape",
    "NPDE, along time, time after dose and PRED": "NPDE trends",
    "VPC": "VPC",
    "prediction-corrected VPC": "pcVPC",
    "fractions beyond the assay's limits": "limits",
    "etas against covariates": "etas",
}
ANY = "any"
WITH, WITHOUT = "with weight", "without weight"


def _cell(count: int, of: int) -> str:
    if not of:
        return "-"
    rate = count / of
    return f"{100 * rate:.0f} ± {100 * math.sqrt(rate * (1 - rate) / of):.0f}"


def _cells(own: dict[str, Any]) -> str:
    """Rate of "look here" or worse, and in brackets of "failed"."""
    both = (_cell(own[outcome], own["studies"]) for outcome in ("look or failed", "failed"))
    return "{} ({})".format(*both)


def _table(rows: dict[str, dict[str, Any]], first: str) -> list[str]:
    names = list(dict.fromkeys(name for row in rows.values() for name in row["verdicts"]))
    names = [*(name for name in names if name != ANY), ANY]
    lines = [
        f"| {first} | studies | {' | '.join(names)} |",
        "|" + "---|" * (len(names) + 2),
    ]
    for told, row in rows.items():
        cells = [_cells(row["verdicts"][n]) if n in row["verdicts"] else "" for n in names]
        lines.append(f"| {told} | {row['studies']} | {' | '.join(cells)} |")
    return [*lines, ""]


def too_many(found: dict[str, Any]) -> list[str]:
    """Verdicts that say "look here" or worse of the right model more often than 5 %."""
    lines = []
    for kind in ("fitted", "given"):
        for design, rows in found[kind].items():
            row = rows["right" if kind == "fitted" else "nothing"]
            for name, own in row["verdicts"].items():
                n, count = own["studies"], own["look or failed"]
                allowed = 0.05 + 2.0 * math.sqrt(0.05 * 0.95 / n) if n else 1.0
                if name != ANY and n and count / n > allowed:
                    lines.append(f"{name}, {design}, {kind}: {_cell(count, n)} % of {n}")
    return lines


def _false_alarms(found: dict[str, Any]) -> list[str]:
    """The right model, fitted: one verdict a row, one design a column."""
    rows = {design: own["right"] for design, own in found["fitted"].items()}
    names = dict.fromkeys(name for row in rows.values() for name in row["verdicts"])
    lines = [
        f"| verdict | {' | '.join(rows)} |",
        "|" + "---|" * (len(rows) + 1),
    ]
    for name in (*(name for name in names if name != ANY), ANY):
        cells = [
            _cells(r["verdicts"][name]) if name in r["verdicts"] else "" for r in rows.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


SELDOM, MOSTLY = 0.2, 0.8
"""Shares of studies up to which a wrong model is called hidden, and from which called found."""


def _any(row: dict[str, Any]) -> str:
    own = row["verdicts"][ANY]
    return _cell(own["look or failed"], own["studies"])


def _conservative(fitted: dict[str, Any]) -> str:
    """Which verdicts are raised far less often than their nominal rate."""
    names = dict.fromkeys(n for rows in fitted.values() for n in rows["right"]["verdicts"])
    never = []
    for name in names:
        own = [
            r["right"]["verdicts"][name] for r in fitted.values() if name in r["right"]["verdicts"]
        ]
        raised, studies = (sum(r[key] for r in own) for key in ("look or failed", "studies"))
        if name != ANY and raised / studies < 0.02:
            never.append(f"{name} {raised} of {studies}")
    return (
        "After a fit to the same data, rates are below the nominal 5 %, as parameters bend to the "
        "data: raised for the right model in fewer than 2 % of all studies (censored ones are the "
        f"same studies as uncensored ones): {', '.join(never) or 'none'}. There p "
        "values are larger than they should be, and a pass is weak evidence."
    )


def _sentences(found: dict[str, Any]) -> list[str]:
    """What the tables of fitted models say."""
    high = too_many(found["studies"])
    lines = [
        "Above their nominal 5 % by more than two Monte Carlo errors: " + "; ".join(high) + "."
        if high
        else "No verdict calls the right model suspect more often than its nominal 5 % by more "
        "than two Monte Carlo errors, with or without censoring.",
        _conservative(found["studies"]["fitted"]),
    ]
    for name, design in designs().items():
        rows = found["studies"]["fitted"][name]
        rates = {
            truth: row["verdicts"][ANY]["look or failed"] / row["studies"]
            for truth, row in rows.items()
        }
        wrong = {truth: rate for truth, rate in rates.items() if truth != "right"}
        told = {t: f"{t} ({_any(rows[t])} %)" for t in wrong}
        seldom = [told[t] for t, r in wrong.items() if r <= SELDOM]
        mostly = [told[t] for t, r in wrong.items() if r >= MOSTLY]
        between = [told[t] for t, r in wrong.items() if SELDOM < r < MOSTLY]
        lines.append(
            f"{design.data.subjects} subjects, {design.data.observations} samples ({name}): "
            f"some verdict is raised in {_any(rows['right'])} % of the right model's studies; "
            f"found in {100 * MOSTLY:.0f} % or more: {', '.join(mostly) or 'none'}; "
            f"sometimes: {', '.join(between) or 'none'}; "
            f"in {100 * SELDOM:.0f} % or fewer, so that these data cannot reveal it: "
            f"{', '.join(seldom) or 'none'}."
        )
    return [f"- {line}" for line in lines]


def report(found: dict[str, Any]) -> str:
    """Everything as tables."""
    values = ", ".join(f"{k} {v:g}" for k, v in VALUES.items())
    lines = [
        "# What the checks of a model find, and how often they raise a false alarm",
        "",
        f"`{found['command']}`, {found['machine']}; {found['versions']}; "
        f"{found['seconds'] / 60:.0f} minutes in all.",
        "",
        "## What the tables say",
        "",
        *_sentences(found),
        *(f"- {line}" for line in (_weight_sentence(found), _remifentanil_sentence(found))),
        "",
        "## False alarms (SYNTHETIC): the right model, fitted",
        "",
        *_false_alarms(found["studies"]),
        "## Wrong models (SYNTHETIC), fitted",
        "",
        "Fitted is always the plain model: one compartment, log-normal CL and V (diagonal), "
        "log-normal error, by FOCEI. True values of the plain model: "
        f"{values} (CL in L/h/m², V in L/m²); wrong in one way:",
        "",
        *(f"- {name}: {truth.told}." for name, truth in TRUTHS.items()),
        "",
        'Cells: percent of studies with "look here" or "failed" ± Monte Carlo standard error, in '
        'brackets "failed" alone. The verdicts and their thresholds are those of `popk` '
        "(popk/analysis/checking/check_verdicts.py, with sources): NPDE, Brendel et al., "
        "J Pharmacokinet Pharmacodyn 2010;37:49-65; VPC by the global envelope test, Myllymäki et "
        'al., J R Stat Soc B 2017;79:381-404. "etas" never says more than "look here". '
        "0 of 100 leaves up to 3.6 % possible (95 %, Clopper-Pearson), 0 of 25 up to 14 %.",
        "",
    ]
    for name, design in designs().items():
        rows = found["studies"]["fitted"][name]
        limits = " to ".join("no upper limit" if math.isinf(x) else f"{x:g}" for x in design.limits)
        censored = found["studies"]["fitted"][f"{name}, censored"]["right"]
        lines += [
            f"### {name}",
            "",
            f"{design.told}. Censored: limits {limits} pg/mL.",
            "",
            *_table({**rows, "right, censored": censored}, "truth"),
            "Search for the maximum that did not end: "
            + (
                ", ".join(
                    f"{truth} {row['search not ended']} of {row['studies']}"
                    for truth, row in rows.items()
                    if row["search not ended"]
                )
                or "none"
            )
            + ".",
            "",
        ]
    lines += [
        "## Simulated studies (SYNTHETIC), not fitted: NPDE",
        "",
        "The plain model at the values that the studies were simulated with, but for one; nothing "
        "is estimated, so that p values should be what they say.",
        "",
    ]
    for name, rows in found["studies"]["given"].items():
        lines += [f"### {name}", "", *_table(rows, "wrong")]
    return "\n".join([*lines, *_weight_section(found), *_remifentanil_section(found), ""])


def _weight_sentence(found: dict[str, Any]) -> str:
    better, same = [], []
    for name, of in compared(found["phenobarb"]).items():
        (better if of else same).append(name)
    return (
        f"Phenobarb: the model without weight is worse by {', '.join(better)}"
        + (f"; not by {', '.join(same)}" if same else "")
        + "."
    )


def compared(own: dict[str, Any]) -> dict[str, bool]:
    """Whether the model without weight is worse, by each comparison."""
    with_, without = (own["verdicts"][name] for name in (WITH, WITHOUT))
    found = {name: without[name][0] < with_[name][0] for name in with_}
    found["OFV"] = own["ofv"][WITH] < own["ofv"][WITHOUT]
    found["elpd of subjects left out"] = own["difference"][0] > 2.0 * own["difference"][1]
    return found


def _weight_section(found: dict[str, Any]) -> list[str]:
    own = found["phenobarb"]
    with_, without = (own["verdicts"][name] for name in (WITH, WITHOUT))
    worse = compared(own)
    lines = [
        "## Phenobarb in 59 neonates (real data): with and without weight in the model",
        "",
        "Posteriors (`fits/phenobarb-neonates`, seed 1); p of each verdict. OFV and AIC by FOCEI. "
        "elpd: leave-one-subject-out, Vehtari et al., Stat Comput 2017;27:1413-32. Data: Grasela & "
        "Donn, Dev Pharmacol Ther 1985;8:374-83.",
        "",
        "| figure | with weight | without | worse without |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name}, p | {p:.3g}, {said} | {without[name][0]:.3g}, {without[name][1]} | "
        f"{'yes' if worse[name] else 'NO'} |"
        for name, (p, said) in with_.items()
    ]
    lines += [
        f"| OFV | {own['ofv'][WITH]:.2f} | {own['ofv'][WITHOUT]:.2f} | "
        f"{'yes' if worse['OFV'] else 'NO'} |",
        f"| AIC | {own['aic'][WITH]:.2f} | {own['aic'][WITHOUT]:.2f} | |",
        f"| elpd of subjects left out | {own['elpd'][WITH]:.1f} | {own['elpd'][WITHOUT]:.1f} | "
        f"{'yes' if worse['elpd of subjects left out'] else 'NO'}, "
        f"by {own['difference'][0]:.1f} ± {own['difference'][1]:.1f} |",
        "",
        f"Both converged: {'yes' if all(own['converged'].values()) else 'NO'}. Subjects for which "
        f"a model was fitted again: {own['refitted'][WITH]} with weight, "
        f"{own['refitted'][WITHOUT]} without. {own['seconds']:.0f} s.",
        "",
    ]
    return lines


def _remifentanil_sentence(found: dict[str, Any]) -> str:
    own = found["remifentanil"]
    if "skipped" in own:
        return f"Remifentanil: {own['skipped']}."
    failed = [
        f"{SHORT[row['check']]} ({row['figure']})"
        for row in own["verdicts"]
        if row["outcome"] == FAILED
    ]
    return "Remifentanil, three compartments fitted with one: failed by " + ", ".join(failed) + "."


def _remifentanil_section(found: dict[str, Any]) -> list[str]:
    own = found["remifentanil"]
    lines = ["## Remifentanil in 65 adults (real data): three compartments fitted with one", ""]
    if "skipped" in own:
        return [*lines, own["skipped"], ""]
    lines += [
        f"{own['observations']} concentrations (Minto et al., Anesthesiology 1997;86:10-23; nlme, "
        "not shipped), FOCEI. Estimates: "
        + ", ".join(f"{name} {value:.3g}" for name, value in own["estimates"].items())
        + f". {own['seconds']:.0f} s.",
        "",
        "| check | outcome | p | shown by | meaning |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['check']} | {row['outcome']} | {row['value']:.3g} | {row['figure']} | "
        f"{row['meaning']} |"
        for row in own["verdicts"]
    ]
    return lines
