"""The figures that can be asked for by name: what each shows, and how it is drawn."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from popk.analysis.asked import Analyses
from popk.report.plots import covariates, exposure, residuals, sensitivity, subjects, vpc
from popk.report.plots.style import wide
from popk.spec.problem import PopkError, Problem
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

ALL = "all"
Drawn = Figure | Sequence[Figure] | None


class Entry(NamedTuple):
    """One figure.

    Attributes
    ----------
    says
        What it shows, in a line.
    draw
        From analyses and a width in inches; it asks for what it shows and nothing else. Several
        pages, or None where the fit has nothing to show there.
    needs
        What must be there for it, in words.
    """

    says: str
    draw: Callable[[Analyses, float], Drawn]
    needs: str = ""


POSTERIOR = "a posterior (method ensemble or nuts)"


def _forest(own: Analyses, width: float) -> Figure | None:
    found = own.covariate_tests
    if found is None:
        return None
    return covariates.forest(found.table, found.joint, found.no_effect, own.synthetic, width)


def _sensitivity(own: Analyses, width: float) -> Figure | None:
    table = own.sensitivity
    return sensitivity.of_sensitivity(table, own.synthetic, width) if len(table) else None


def _times(own: Analyses, width: float) -> Figure | None:
    table = own.information
    if not len(table):
        return None
    return sensitivity.of_information(table, table.attrs["unit"], own.synthetic, width)


def _priors(own: Analyses, width: float) -> Figure | None:
    table = own.densities
    return sensitivity.of_densities(table, own.synthetic, width) if len(table) else None


CATALOGUE: Mapping[str, Entry] = {
    "predictions": Entry("observations against PRED and IPRED", residuals.predictions),
    "residuals": Entry("IWRES and NPDE against time, time after dose, PRED", residuals.residuals),
    "npde": Entry("NPDE: histogram and QQ plot", residuals.npde),
    "vpc": Entry("visual predictive check", lambda own, width: vpc.vpc(own, own.vpc, width)),
    "pcvpc": Entry("prediction-corrected visual predictive check",
                   lambda own, width: vpc.vpc(own, own.pcvpc, width)),
    "limits": Entry("fractions beyond the assay's limits over time", vpc.limits,
                    "censored observations"),
    "individuals": Entry("each subject's observations and curves", subjects.individuals),
    "exposure": Entry("forest of each subject's CL and Css", exposure.exposure),
    "etas": Entry("etas against covariates", subjects.etas, "variability and covariates"),
    "outliers": Entry("outlying subjects, and on whom the fit hangs", subjects.outliers),
    "sample": Entry("Css and CL of the sample among simulated samples", subjects.sample_figures,
                    "steady states"),
    "forest": Entry("covariate effects: ratios, intervals, verdicts", _forest,
                    f"{POSTERIOR} and candidate effects"),
    "priors": Entry("prior and posterior of each population parameter", _priors, POSTERIOR),
    "sensitivity": Entry("prior, data and posterior side by side", _sensitivity, POSTERIOR),
    "times": Entry("what one more sample would teach, by its time", _times, POSTERIOR),
}  # fmt: skip
"""Names that `popk plot --what` and `popk.plot` know."""


def named(names: Sequence[str], source: str = "--what") -> list[str]:
    """The figures of these names, each once; "all" is every one.

    Raises
    ------
    popk.PopkError
        With one problem for each name that is not in the catalogue, and the nearest that is.
    """
    each = known(names, (*CATALOGUE, ALL), source, "figure")
    return list(dict.fromkeys(own for n in each for own in (CATALOGUE if n == ALL else (n,))))


def known(names: Sequence[str], among: Sequence[str], source: str, what: str) -> list[str]:
    """Names that must be among others, each once.

    Raises
    ------
    popk.PopkError
        With one problem for each that is not, and the nearest that is; or if there is none.
    """
    problems = []
    for name in names or ("",):
        if name not in among:
            close = difflib.get_close_matches(name.lower(), among, n=1, cutoff=0.5)
            problems.append(
                Problem(
                    file=source,
                    found=f"no {what} {name!r}" if name else f"no {what}",
                    expected="one or more of " + ", ".join(among),
                    cure=f"did you mean {close[0]!r}?" if close else "take names from that list",
                )
            )
    if problems:
        raise PopkError(*problems)
    return list(dict.fromkeys(names))


def pages(name: str, own: Analyses, width: float) -> list[Figure]:
    """The figure as one or more pages; none where the fit has nothing to show there."""
    found = CATALOGUE[name].draw(own, width)
    if found is None:
        return []
    return [found] if isinstance(found, Figure) else list(found)


def listed() -> str:
    """All names with their lines, for help."""
    return "\n".join(f"{name:12} {entry.says}" for name, entry in CATALOGUE.items())


def plot(
    fit: Fit | MaximumFit, what: str, *, width: str = "double", page: int = 1,
    seed: int | None = None,
) -> Figure:  # fmt: skip
    """One figure of a fit, for a notebook; `popk plot` writes the same ones as files.

    Parameters
    ----------
    fit
        A posterior or maximum-likelihood estimates.
    what
        Its name, e.g. ``"vpc"``; see `popk.report.plots.catalogue.CATALOGUE`.
    width
        "single" (85 mm), "double" (180 mm), or a number of mm.
    page
        Of a figure that has several.
    seed
        Of simulations; the fit's by default.

    Returns
    -------
    matplotlib.figure.Figure
        Not bound to a window; a notebook shows it, ``figure.savefig`` writes it.

    Raises
    ------
    popk.PopkError
        If there is no such figure or page, or this fit has nothing to show there.
    """
    known([what], tuple(CATALOGUE), "plot", "figure")
    drawn = pages(what, Analyses(fit, seed), wide(width))
    if 1 <= page <= len(drawn):
        return drawn[page - 1]
    needs = CATALOGUE[what].needs
    raise PopkError(
        Problem(
            file="plot",
            key="page" if drawn else "what",
            found=f"page {page} of {len(drawn)}" if drawn else f"nothing that {what!r} could show",
            expected=f"a page from 1 to {len(drawn)}" if drawn else needs or "data to show",
            cure="ask for another page" if drawn else "ask for another figure",
        )
    )
