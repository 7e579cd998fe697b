"""Command: dose."""

from pathlib import Path
from typing import Annotated

import typer

from popk.cli import completion
from popk.cli.app import BEGINS_ANEW, SIMULATION, Folder, Json, app
from popk.cli.output import current, interruptible, rows, write
from popk.cli.page import refresh


@app.command(rich_help_panel=SIMULATION)
def dose(
    folder: Folder,
    patient: Annotated[
        Path,
        typer.Option(
            help="A TOML file: covariates, what was given, samples, the target.",
            autocompletion=completion.patient_files,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Where results go; by default results/dose/ID of the fit."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The fit's by default.")] = None,
    as_json: Json = False,
) -> None:
    """One new infant: its CL and Css from early samples, and the rate for a target.

    The fit is what is known of others; the infant's own samples say the rest. Writes summary.csv,
    course.csv and a figure. For research: no advice on the treatment of anyone.
    """
    from rich.console import Console

    from popk.analysis.dosing.patient import patient_dose
    from popk.report import dosed as report
    from popk.report.plots.patient import of_patient
    from popk.report.progress import told
    from popk.spec.patient import read_patient
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add_to, load, open_study

    keep_compiled()
    asked = read_patient(patient)
    study = open_study(folder)
    fit = current(load(study), study)
    console = Console(stderr=True, highlight=False)
    with interruptible(BEGINS_ANEW), told(console, "posterior of the patient") as watch:
        found = patient_dose(fit, asked, seed=seed, watch=watch)
    place = out or study.folder / "results" / "dose" / _file_name(found.id)
    files = report.of_patient(found) | of_patient(found)
    add_to(place, files)
    refresh(folder, fit)
    if as_json:
        write({**report.record(found, rows(found.summary)), "folder": str(place),
               "files": sorted(files)})  # fmt: skip
        return
    write(*report.patient(found), "", f"results: {place}: {', '.join(sorted(files))}")


def _file_name(subject: str) -> str:
    """An ID as the name of a folder, whatever it is written with."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in subject).strip(".")
    return kept or "patient"
