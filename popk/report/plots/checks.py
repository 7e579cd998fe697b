"""The figures of `popk diagnose`, as files."""

from typing import TYPE_CHECKING

from popk.report.plots import residuals, subjects, vpc
from popk.report.plots.sensitivity import to_files
from popk.report.plots.style import svg

if TYPE_CHECKING:
    from popk.analysis.checking.checks import Checks


def of_checks(checks: "Checks") -> dict[str, str]:
    """File name to SVG text."""
    figures = {
        "predictions": residuals.predictions(checks),
        "residuals": residuals.residuals(checks),
        "npde": residuals.npde(checks),
        "vpc": vpc.vpc(checks, checks.vpc),
        "pcvpc": vpc.vpc(checks, checks.pcvpc),
        "limits": vpc.limits(checks),
        "sample_figures": subjects.sample_figures(checks),
        "etas": subjects.etas(checks),
        "outliers": subjects.outliers(checks),
    }
    pages = subjects.individuals(checks)
    figures |= {f"individuals_{i + 1}": page for i, page in enumerate(pages)}
    files = {f"{name}.svg": svg(figure) for name, figure in figures.items() if figure is not None}
    if len(checks.sensitivity):  # of a posterior; then there is information too
        unit = checks.information.attrs["unit"]
        files |= to_files(checks.sensitivity, checks.information, unit, checks.synthetic)
    return files
