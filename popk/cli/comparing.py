"""Command: compare."""

from pathlib import Path
from typing import Annotated

import typer

from popk.cli.app import BEGINS_ANEW, IS_IT_RIGHT, NOT_CONVERGED, Json, app
from popk.cli.completion import fit_folders
from popk.cli.output import current, interruptible, write


@app.command(rich_help_panel=IS_IT_RIGHT)
def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Two fit folders or more; the others are compared with the first.",
                       autocompletion=fit_folders),
    ],
    refit: Annotated[
        bool,
        typer.Option(help="Fit again without a subject where importance sampling is unreliable."),
    ] = False,
    vpc: Annotated[bool, typer.Option(help="Visual predictive checks, in one figure.")] = True,
    out: Annotated[
        Path | None,
        typer.Option(help="Where files go; by default results/compare/OTHERS of the first fit."),
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Put finished fits side by side: parameters, LOO, OFV, what is different in the models.

    Writes fits.csv, parameters.csv, prediction.csv, objective.csv, changes.txt, a diff of each
    model file and vpc.svg. Fits of other data: parameters only. Exit code 3: one has not converged.
    """
    from rich.console import Console

    from popk.analysis.comparison import compare as compared
    from popk.report import compared as report
    from popk.report.plots.compare import of_comparison
    from popk.report.progress import told
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add_to, load, open_study

    keep_compiled()
    studies = [open_study(folder) for folder in folders]
    fits = [current(load(study), study) for study in studies]
    names = _names([study.folder.resolve() for study in studies])
    console = Console(stderr=True, highlight=False)
    with interruptible(BEGINS_ANEW), told(console, "comparison") as watch:
        found = compared(*fits, names=names, refit=refit, checks=vpc, watch=watch)
    place = out or studies[0].folder / "results" / "compare" / "_".join(
        name.replace("/", "-") for name in names[1:]
    )
    files = report.of_comparison(found) | of_comparison(found)
    add_to(place, files)
    if as_json:
        write({**report.record(found), "folder": str(place), "files": sorted(files)})
    else:
        write(*report.comparison(found), "", f"results: {place}: {', '.join(sorted(files))}")
    if not all(fit.converged for fit in fits):
        raise typer.Exit(NOT_CONVERGED)


def _names(places: list[Path]) -> list[str]:
    """The folders' own names, with those above them where that is not enough."""
    for depth in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(names)) == len(names):
            return names
    # The same folder twice is refused, by its name, where fits are compared
    return [place.name for place in places]
