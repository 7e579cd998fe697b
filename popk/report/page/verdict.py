"""What a fit says, in plain words: four questions and their answers, read first."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from popk.analysis.covariates.effects import UNKNOWN
from popk.analysis.verdict import FAILED, IMPOSSIBLE, LOOK, PASSED
from popk.report.numbers import between, number, unit
from popk.report.page.blocks import Tone, rows_of
from popk.report.page.words import capital, joined, meaning, measured, sentence

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered
    from popk.inference.convergence import Check


class Answer(NamedTuple):
    """A question, the answer in a word or two, and the sentences behind it."""

    question: str
    short: str
    tone: Tone
    sentences: tuple[str, ...]


def answers(of: "Gathered") -> tuple[Answer, ...]:
    """Did it converge, is the model adequate, what was found, what cannot be told."""
    return (_converged(of), _adequate(of), _found(of), _untold(of))


def _converged(of: "Gathered") -> Answer:
    what = "Did the search end at a maximum?" if of.maximum_likelihood else "Did it converge?"
    failed = [check for check in of.gate if not check.passed]
    told = [f"{c.name} {_value(c)} ({_bound(c.threshold)})" for c in failed or of.gate]
    if failed:
        sentences = (
            f"{len(failed)} of {len(of.gate)} checks failed: {joined(told)}. "
            "Do not use these numbers.",
            *(sentence(f"{check.name}: {check.meaning}") for check in failed),
        )
        return Answer(what, "No", "failed", sentences)
    kept = f"All {len(of.gate)} checks hold: {joined(told)}."
    return Answer(what, "Yes", "passed", (kept,))


def _value(check: "Check") -> str:
    """R-hat lies so near to its bound that four decimals tell it apart."""
    if "R-hat" in check.name:
        return f"{check.value:.4f}"
    return f"{check.value:,.0f}" if abs(check.value) >= 100 else number(check.value, 3)


def _bound(threshold: str) -> str:
    return threshold.replace(">=", "≥").replace("<=", "≤")


def _adequate(of: "Gathered") -> Answer:
    what = "Is the model adequate?"
    if of.verdicts is None:
        told = f"The checks have not been made yet: popk report {of.folder}"
        return Answer(what, "Not checked", "dim", (told,))
    by = {
        outcome: [
            capital(sentence(f"{name}: {row['meaning']}"))
            for name, row in rows_of(of.verdicts)
            if row["outcome"] == outcome
        ]
        for outcome in (PASSED, LOOK, FAILED, IMPOSSIBLE)
    }
    possible = len(of.verdicts) - len(by[IMPOSSIBLE])
    if by[FAILED]:
        more = (f"{len(by[LOOK])} more ask for a look.",) if by[LOOK] else ()
        short = f"{len(by[FAILED])} of {possible} checks failed"
        return Answer(what, short, "failed", (*by[FAILED], *more))
    if by[LOOK]:
        short = f"{len(by[PASSED])} of {possible} checks passed, {len(by[LOOK])} to look at"
        return Answer(what, short, "look", tuple(by[LOOK]))
    told = "Nothing speaks against it: predictions, residuals, individuals and priors were checked."
    return Answer(what, f"All {possible} checks passed", "passed", (told,))


def _found(of: "Gathered") -> Answer:
    sentences = []
    middle = "estimate" if of.maximum_likelihood else "median"
    kind = "90 % confidence interval" if of.maximum_likelihood else "90 % interval"
    rows: dict[str, dict[str, Any]] = of.parameters.to_dict("index")
    typical = {n[2:]: row for n, row in rows.items() if n.startswith("TV")}
    short = " and ".join(
        f"{name} {number(row[middle], 3)} {measured(row['unit'])}" for name, row in typical.items()
    )
    if of.paper is not None:
        short = (
            f"Css {number(of.paper.css_mean, 3)} ± {number(of.paper.css_sd, 3)} "
            f"{unit(of.paper.css_unit)}"
        )
        sentences.append(sentence(unit(str(of.paper))))
    told = [
        f"{name} is {number(row[middle], 3)} {measured(row['unit'])} "
        f"({kind} {between(row['q5'], row['q95'])})"
        for name, row in typical.items()
    ]
    if told:
        sentences.append(f"In a typical subject {joined(told)}.")
    spread = [
        f"{name[6:]} {row['cv_percent']:.0f} %"
        for name, row in rows.items()
        if name.startswith("omega_") and row["cv_percent"] == row["cv_percent"]
    ]
    if spread:
        sentences.append(f"Variability between subjects (CV): {joined(spread)}.")
    sentences += [f"{_effect(row)}: {row['verdict']}." for row in _tested(of)
                  if row["verdict"] != UNKNOWN]  # fmt: skip
    return Answer("What was found?", short, "strong", tuple(sentences))


def _tested(of: "Gathered") -> list[dict[str, Any]]:
    return [] if of.covariates is None else of.covariates.to_dict("records")


def _effect(row: Mapping[str, Any]) -> str:
    return (
        f"{row['contrast']}: {row['parameter']} is {row['ratio']:.2f} times as high (90 % interval "
        f"{row['q5']:.2f} to {row['q95']:.2f})"
    )


def _untold(of: "Gathered") -> Answer:
    sentences = []
    if of.synthetic:
        sentences.append("Nothing about real patients: the data are SYNTHETIC.")
    low, high = of.no_effect
    sentences += [
        f"{_effect(row)}: {row['verdict']} whether that is a relevant effect (outside {low:g} to "
        f"{high:g})."
        for row in _tested(of)
        if row["verdict"] == UNKNOWN
    ]
    if of.covariates is None:
        sentences.append(_not_tested(of))
    for name, row in rows_of(of.parameters):
        if row["note"]:
            words = meaning(name, of.model)
            sentences.append(f"{name}{f' ({words})' if words else ''}: {row['note']}.")
    if of.verdicts is None:
        sentences.append("Whether the model fits: its checks have not been made.")
    else:
        sentences += [
            sentence(f"{name}: {row['meaning']}")
            for name, row in rows_of(of.verdicts)
            if row["outcome"] == IMPOSSIBLE
        ]
    if of.prior_sensitivity is not None:
        blind = [
            name
            for name, row in rows_of(of.prior_sensitivity)
            if row["diagnosis"] == "hardly informed by the data"
        ]
        if blind:
            sentences.append(f"{joined(blind)}: hardly informed by the data.")
    told = tuple(capital(text) for text in sentences if text)
    return Answer(
        "What cannot be told?", _open(of), "strong",
        told or ("Nothing that was asked stayed open.",),
    )  # fmt: skip


def _open(of: "Gathered") -> str:
    """The question that stays open, where it is one."""
    if of.covariates is None:
        return ""
    left = {name for name, row in rows_of(of.covariates) if row["verdict"] == UNKNOWN}
    effects = [e for e in (*of.settings.candidates, *of.model.covariates) if e.name in left]
    if len(left) != 1 or not effects:
        return f"{len(left)} covariate effects" if left else ""
    return f"Whether {effects[0].covariate} matters for {effects[0].parameter}"


def _not_tested(of: "Gathered") -> str:
    if of.maximum_likelihood:
        return ""
    effects = of.settings.candidates or of.model.covariates
    if not effects:
        return ""
    names = joined([f"{effect.covariate} on {effect.parameter}" for effect in effects])
    return f"Whether there is an effect of {names}: not tested yet (popk covariates {of.folder})."
