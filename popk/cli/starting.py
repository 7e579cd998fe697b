"""Commands: init, and popk alone: where the fits here stand and what comes next."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from popk.cli import completion
from popk.cli.app import DATA_AND_FITS, Json, app
from popk.cli.output import write

if TYPE_CHECKING:
    from popk.data.draft import Draft
    from popk.study.state import State


@app.callback(
    invoke_without_command=True,
    help="Population pharmacokinetics of continuous infusions for small, precious data sets.",
)
def start(ctx: typer.Context) -> None:
    """Where the fits of the current folder stand, and the commands."""
    if ctx.invoked_subcommand is not None:
        return
    from popk.report import begun
    from popk.study.state import fit_folders, state_of

    states = [state_of(folder) for folder in fit_folders(Path())]
    write(*begun.states([(state, next_command(state)) for state in states]))
    typer.echo(ctx.get_help())


@app.command(rich_help_panel=DATA_AND_FITS)
def init(
    folder: Annotated[Path, typer.Argument(metavar="NAME", help="The new folder.")],
    example: Annotated[
        str | None,
        typer.Option(
            help="One of popk's studies: blinatumomab-infants (SYNTHETIC) or phenobarb-neonates.",
            autocompletion=completion.example_names,
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Your own NONMEM-style file: the folder is made around it.")
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(help="With --data: units of TIME, AMT and DV, e.g. 'h, mg, mg/L'."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a new fit folder: a commented template, an example, or one around your own data.

    The template and the examples fit as they stand. With --data nothing is guessed: every column
    is listed, and what only you know is marked with a ? to be filled in.
    """
    from popk.data.draft import draft
    from popk.data.examples import example as files_of
    from popk.data.examples import template
    from popk.report import begun
    from popk.study.new_folder import create

    if data is not None:
        if example is not None:
            raise typer.BadParameter("--example and --data: give one of the two")
        around = draft(data, [] if units is None else units.split(","))
        create(folder, around.files)
        if as_json:
            write(_drafted(folder, around))
        else:
            write(*begun.drafted(folder, data, around))
        return
    if units is not None:
        raise typer.BadParameter("--units belongs to --data")
    files = template() if example is None else files_of(example)
    create(folder, files)
    if as_json:
        write({"folder": str(folder), "files": sorted(files), "next": f"popk fit {folder}"})
    else:
        write(*begun.created(folder, sorted(files), example))


def next_command(state: "State") -> str:
    """What to do with a fit folder."""
    folder = state.folder
    match state.word:
        case "unreadable":
            return f"popk check {folder}"
        case "never fitted" | "interrupted" | "STALE":
            return f"popk fit {folder}"
        case "NOT CONVERGED":
            return f"popk summary {folder}"
    if "checks/verdicts.csv" not in state.made:  # a fit itself leaves a table in checks/
        return f"popk diagnose {folder}"
    known = {command.name or getattr(command.callback, "__name__", "")
             for command in app.registered_commands}  # fmt: skip
    return f"popk {'report' if 'report' in known else 'summary'} {folder}"


def _drafted(folder: Path, around: "Draft") -> dict[str, object]:
    return {
        "folder": str(folder),
        "files": sorted(around.files),
        "taken": around.taken,
        "missing": list(around.missing),
        "not_read": list(around.covariates),
        "units": list(around.units),
        "next": f"popk check {folder}",
    }
