"""The command `popk`: its modules are imported in the order in which the help lists them."""

import sys

from popk.cli import starting as starting

# isort: split
from popk.cli import fitting as fitting

# isort: split
from popk.cli import checking as checking

# isort: split
from popk.cli import comparing as comparing

# isort: split
from popk.cli import covariates as covariates

# isort: split
from popk.cli import calibrating as calibrating

# isort: split
from popk.cli import resampling as resampling

# isort: split
from popk.cli import regimens as regimens

# isort: split
from popk.cli import simulating as simulating

# isort: split
from popk.cli import dosing as dosing

# isort: split
from popk.cli import power as power

# isort: split
from popk.cli import plotting as plotting

# isort: split
from popk.cli import exporting as exporting

# isort: split
from popk.cli import reporting as reporting

# isort: split
from popk.cli.app import app
from popk.cli.output import refuse

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the command `popk`: a fault of the user's files is never a stack trace."""
    from popk.spec.problem import PopkError

    try:
        app()
    except PopkError as error:
        sys.exit(refuse(error))
