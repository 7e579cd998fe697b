"""Command: diagnose."""

import json
from typing import Annotated

import typer

from popk.cli.app import BEGINS_ANEW, IS_IT_RIGHT, NOT_CONVERGED, Folder, Json, app
from popk.cli.output import current, interruptible, rows, write
from popk.cli.page import refresh


@app.command(rich_help_panel=IS_IT_RIGHT)
def diagnose(
    folder: Folder,
    compare: Annotated[
        bool,
        typer.Option(help="Fit the model with other kinds of variability as well, and compare."),
    ] = True,
    as_json: Json = False,
) -> None:
    """Check a finished fit: residuals, predictive checks, outliers, prior sensitivity.

    Prints the verdicts first, each with its threshold, then where the figures are. Writes tables
    and figures into results/checks/. Exit code 3: a check failed; otherwise as for fit.
    """
    from rich.console import Console

    from popk.analysis.checking.checks import checks
    from popk.analysis.verdict import FAILED
    from popk.report import checked
    from popk.report.plots.checks import of_checks
    from popk.report.progress import told
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add, load, open_study

    keep_compiled()
    study = open_study(folder)
    fit = current(load(study), study)
    console = Console(stderr=True, highlight=False)
    with interruptible(BEGINS_ANEW), told(console, "checks") as watch:
        found = checks(fit, compare=compare, watch=watch)
        watch("figures")
        figures = of_checks(found)
    files = {**checked.of_checks(found), **figures}
    results = add(study.folder, {f"checks/{name}": text for name, text in files.items()})
    refresh(folder, fit)
    if as_json:
        write(
            {
                "name": found.name,
                "synthetic": found.synthetic,
                "verdicts": [vars(own) for own in found.verdicts],
                "outlying_subjects": rows(found.outliers.subjects),
                "outlying_points": json.loads(
                    found.outliers.named_points.to_json(orient="records") or "[]"
                ),
                "variability": rows(found.variability),
                "prior_sensitivity": rows(found.sensitivity),
                "sample_figures": None if found.paper is None else rows(found.paper.table),
                "files": sorted(files),
            }
        )
    else:
        kinds = checked.kinds(found.variability)
        write(
            checked.verdicts(found.verdicts, found.synthetic),
            checked.summary(found.verdicts),
            *(() if kinds is None else ("", kinds)),
            "",
            f"figures and tables: {results / 'checks'}: {', '.join(sorted(figures))}",
        )
    if any(own.outcome == FAILED for own in found.verdicts):
        raise typer.Exit(NOT_CONVERGED)
