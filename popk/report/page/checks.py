"""Checks of the model: verdicts, goodness of fit, predictive checks, individuals, priors."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from popk.analysis.verdict import FAILED, IMPOSSIBLE, LOOK, PASSED
from popk.report.numbers import between
from popk.report.page.blocks import (
    Block,
    Column,
    Missing,
    Part,
    Section,
    Shown,
    figure,
    fixed,
    interval,
    outcome,
    rows_of,
    word,
)
from popk.report.page.drawn import Drawn
from popk.report.page.words import capital, measured

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered

ORDER = (FAILED, LOOK, PASSED, IMPOSSIBLE)
A_PAGE = 6
"""Individual fits on a page."""


def checks(of: "Gathered", figures: Drawn) -> Section:
    """Verdicts first, then what they are made of."""
    first: tuple[Block, ...] = (
        (_verdicts(of),)
        if of.verdicts is not None
        else (Missing("Verdicts of all checks", f"popk report {of.folder}"),)
    )
    return Section("checks", "Is the model right?", (_gate(of), *first), tuple(_parts(of, figures)))


def _gate(of: "Gathered") -> Shown:
    """The convergence checks, failures first."""
    columns = (
        Column("Convergence", numeric=False), Column("Outcome", numeric=False), Column("Value"),
        Column("Passed if"), Column("Worst at", numeric=False), Column("Source", numeric=False),
    )  # fmt: skip
    rows = tuple(
        (
            word(c.name, "strong"), outcome("passed" if c.passed else "failed"), figure(c.value),
            word(c.threshold.replace(">=", "≥")), word(c.worst), word(c.source, "dim"),
        )
        for c in sorted(of.gate, key=lambda c: c.passed)
    )  # fmt: skip
    return Shown("May the numbers be believed?", columns, rows, folded="Convergence checks")


def _verdicts(of: "Gathered") -> Shown:
    assert of.verdicts is not None
    found = sorted(rows_of(of.verdicts), key=lambda row: ORDER.index(row[1]["outcome"]))
    columns = (
        Column("Check", numeric=False), Column("Outcome", numeric=False),
        Column("What was found", numeric=False), Column("Value"),
        Column("Passed if", numeric=False),
    )  # fmt: skip
    rows = tuple(
        (
            word(capital(str(name)), "strong"), outcome(row["outcome"]),
            word(capital(row["meaning"])), figure(row["value"], 3),
            word(row["threshold"], "dim", under=row["source"]),
        )
        for name, row in found
    )  # fmt: skip
    return Shown("Verdicts, worst first", columns, rows, name="verdict-table")


def _parts(of: "Gathered", figures: Drawn) -> Iterator[Part]:
    fit = figures.block(
        "Observations against predictions, and residuals",
        charts=figures.of("observations"), statics=("predictions", "residuals"),
    )  # fmt: skip
    predictive = figures.block(
        "Visual predictive checks: quantiles of the observations over time beside those of "
        "simulated data", charts=figures.of("vpc"), statics=("vpc", "pcvpc", "limits"),
    )  # fmt: skip
    npde = figures.block(
        "Normalised prediction distribution errors: standard normal where the model is right",
        charts=figures.of("npde"), statics=("npde",),
    )  # fmt: skip
    pages = figures.block(
        "Every subject: samples, individual fit with 90 % band, population with 90 % band",
        charts=figures.of("individuals"), statics=figures.named("individuals"), pages=A_PAGE,
        name="individual-fits",
    )  # fmt: skip
    for name, title, block in (
        ("goodness", "Goodness of fit", fit),
        ("predictive", "Predictive checks", predictive),
        ("npde", "NPDE", npde),
        ("each-subject", "Individual fits", pages),
    ):
        absent = (Missing("Not made yet", f"popk report {of.folder}"),)
        yield Part(name, title, block or absent)
    sample = _sample(of)
    if sample:
        block = figures.block("The sample among simulated samples", statics=("sample_figures",))
        yield Part("sample", "Css and CL of the sample", (*block, *sample))
    yield from _individuals(of, figures)
    if of.variability is not None:
        yield Part("variability", "Kind of variability", (_kinds(of),))
    yield from _priors(of, figures)


def _sample(of: "Gathered") -> tuple[Shown, ...]:
    if of.sample_figures is None:
        return ()
    columns = (
        Column("Figure", numeric=False), Column("Unit", numeric=False), Column("Observed"),
        Column("Median of replicates"), Column("90 % of replicates"), Column("p"),
    )  # fmt: skip
    rows = tuple(
        (
            word(name, "strong"), word(measured(row["unit"])), figure(row["observed"]),
            figure(row["median"]), interval(row["low"], row["high"]), figure(row["p"], 2),
        )
        for name, row in rows_of(of.sample_figures)
    )  # fmt: skip
    return (Shown("What a paper would print, in the data and in simulated studies", columns, rows),)


def _individuals(of: "Gathered", figures: Drawn) -> Iterator[Part]:
    blocks: list[Block] = [
        *figures.block("Etas against covariates", charts=figures.of("etas"), statics=("etas",)),
        *figures.block("How far out each subject lies, and how much the fit hangs on it",
                       charts=figures.of("outliers"), statics=("outliers",)),
    ]  # fmt: skip
    if of.eta_tests is not None:
        columns = (
            Column("Eta of", numeric=False), Column("Covariate", numeric=False),
            Column("Spearman's rho"), Column("p"), Column("p (Holm)"),
        )  # fmt: skip
        rows = tuple(
            (
                word(row["parameter"], "strong"), word(row["covariate"]), fixed(row["rho"], 2),
                figure(row["p"], 2), figure(row["p_holm"], 2),
            )
            for row in of.eta_tests.to_dict("records")
        )  # fmt: skip
        blocks.append(Shown("Do etas go with covariates?", columns, rows,
                            folded="Etas against covariates: tests"))  # fmt: skip
    if of.outlying_subjects is not None:
        blocks.append(_outlying(of))
    if blocks:
        yield Part("outlying", "Etas and outlying subjects", tuple(blocks))


def _outlying(of: "Gathered") -> Shown:
    table = of.outlying_subjects
    assert table is not None
    names = [str(c)[2:] for c in table if str(c).startswith("z_")]
    columns = (
        Column("ID", numeric=False),
        *(c for n in names for c in (Column(f"{n}, SD", told=f"eta of {n} in SDs"),
                                     Column(f"P({n} outlying)"))),
        Column("Pareto k", told="above 0.7 the fit hangs on this subject"),
    )  # fmt: skip
    rows = tuple(
        (
            word(who, "strong"),
            *(c for n in names for c in (fixed(row[f"z_{n}"], 2),
                                         fixed(row[f"probability_{n}"], 2))),
            fixed(row.get("pareto_k"), 2),
        )
        for who, row in rows_of(table.head(1000))
    )  # fmt: skip
    return Shown("How far out each subject lies", columns, rows, tools=True,
                 folded="Outlying subjects: table")  # fmt: skip


def _kinds(of: "Gathered") -> Shown:
    table = of.variability
    assert table is not None
    omegas = [str(c) for c in table if str(c).startswith("omega_")]
    columns = (
        Column("Variability", numeric=False), Column("elpd"), Column("Difference"),
        Column("Standard error"), Column("Pareto k > 0.7"), *(Column(name) for name in omegas),
    )  # fmt: skip
    rows = tuple(
        (
            word(f"{kind}{'' if row['converged'] else ' (not converged)'}", "strong"),
            fixed(row["elpd"], 1), fixed(row["difference"], 1), fixed(row["error"], 1),
            fixed(row["unreliable"], 0), *(fixed(row[name], 3) for name in omegas),
        )
        for kind, row in rows_of(table)
    )  # fmt: skip
    return Shown("Predictions of new subjects by log-normal, normal and Student-t variability, "
                 "other things equal (the fit's own: difference 0)", columns, rows)  # fmt: skip


def _priors(of: "Gathered", figures: Drawn) -> Iterator[Part]:
    if of.maximum_likelihood:
        return
    blocks: list[Block] = [
        *figures.block("Sensitivity to priors and likelihood; prior, data alone, posterior",
                       charts=figures.of("sensitivity"),
                       statics=("prior_sensitivity", "sampling_times")),
    ]  # fmt: skip
    table = of.prior_sensitivity
    if table is None:
        blocks.append(Missing("How far the results rest on the priors", f"popk report {of.folder}"))
    else:
        columns = (
            Column("Parameter", numeric=False),
            Column("To priors", told="sensitivity; from 0.05 on the prior is felt"),
            Column("To likelihood"), Column("Most moved by", numeric=False),
            Column("Prior", told="90 % interval"), Column("Data alone", told="90 % confidence"),
            Column("Posterior", told="90 % interval"), Column("p of conflict"),
            Column("Diagnosis", numeric=False),
        )  # fmt: skip
        rows = tuple(
            (
                word(name, "strong"), fixed(row["prior"], 3), fixed(row["likelihood"], 2),
                word(row["most"]), word(between(row["prior_q5"], row["prior_q95"])),
                word(between(row["data_q5"], row["data_q95"])),
                word(between(row["q5"], row["q95"])), figure(row["conflict_p"], 2),
                word(row["diagnosis"] or "nothing to say", "look" if row["diagnosis"] else "dim"),
            )
            for name, row in rows_of(table)
        )  # fmt: skip
        blocks.append(Shown("Prior sensitivity and prior-data conflict", columns, rows))
    yield Part("priors", "Prior sensitivity", tuple(blocks))
