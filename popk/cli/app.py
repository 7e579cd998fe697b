"""The command line: parse, call, print. Heavy parts are imported by the command that needs them."""

from pathlib import Path
from typing import Annotated

import typer

CLEAN, PROBLEMS, UNREADABLE, NOT_CONVERGED, INTERRUPTED = 0, 1, 2, 3, 130
BEGINS_ANEW = "nothing was written; the same command begins anew"

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    help="Population pharmacokinetics of continuous infusions for small, precious data sets.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Folder = Annotated[Path, typer.Argument(help="A folder with a fit.toml, e.g. fits/NAME.")]
