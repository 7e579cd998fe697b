"""The command line: parse, call, print. Heavy parts are imported by the command that needs them."""

from pathlib import Path
from typing import Annotated

import typer

from popk.cli import completion

CLEAN, PROBLEMS, UNREADABLE, NOT_CONVERGED, INTERRUPTED = 0, 1, 2, 3, 130
BEGINS_ANEW = "nothing was written; the same command begins anew"

app = typer.Typer(add_completion=True)

DATA_AND_FITS = "Data and fits"
IS_IT_RIGHT = "Is it right?"
COVARIATES = "Covariates"
SIMULATION = "Simulation and dosing"
DESIGN = "Trial design"
OUTPUT = "Output"

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Folder = Annotated[
    Path,
    typer.Argument(
        help="A folder with a fit.toml, e.g. fits/NAME.", autocompletion=completion.fit_folders
    ),
]
