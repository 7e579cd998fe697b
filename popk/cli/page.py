"""report.html at the end of a fit, and again whenever another command has added to its results."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from popk.study.fit import Fit
    from popk.study.folder import Study
    from popk.study.maximum import MaximumFit

PAGE = "report.html"


def first(study: "Study", result: "Fit | MaximumFit") -> Path:
    """The report at the end of a fit: its tables, predictions and residuals, not more.

    NPDE, predictive checks and individual curves would take longer than many a fit.
    """
    from popk.analysis.observations import observations
    from popk.report.checked import of_observations
    from popk.study.folder import add

    data, units = result.data.units, result.model.spec.units
    head = "# SYNTHETIC DATA\n" if result.synthetic else ""
    head += f"# time {data.time or units.time}, concentrations {units.concentration}\n"
    table = of_observations(observations(result, replicates=0), head)
    add(study.folder, {"checks/observations.csv": table})
    return written(study, result)[0]


def refresh(given: Path, result: Any = None) -> None:
    """Write the report of a fit folder again, where it has one; what else was given has none.

    `result` is its fit, if it has been loaded. A table that cannot be read is no fault of the
    command that has just been given: it is said, and the report stays as it was.
    """
    folder = given.parent if given.name == "fit.toml" else given
    if not (folder / "results" / PAGE).is_file():
        return
    from popk.spec.problem import PopkError
    from popk.study.fit import Fit
    from popk.study.folder import load, open_study
    from popk.study.maximum import MaximumFit

    try:
        study = open_study(folder)
        own = result if isinstance(result, Fit | MaximumFit) else load(study)
        written(study, own)
    except PopkError as error:
        typer.echo(f"{PAGE} is not written again: {error}", err=True)


def written(study: "Study", result: "Fit | MaximumFit") -> tuple[Path, str]:
    """Write the page of what results/ holds; where it is, and its text."""
    from popk.analysis.gathered import gathered
    from popk.report.html import page
    from popk.study.folder import add

    content = page(gathered(study, result))
    return add(study.folder, {PAGE: content}) / PAGE, content
