"""Command: regimens."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from popk.cli import completion
from popk.cli.app import SIMULATION, Json, app
from popk.cli.output import write

if TYPE_CHECKING:
    from popk.spec.regimen import Regimen


@app.command(rich_help_panel=SIMULATION)
def regimens(
    regimen: Annotated[
        str | None,
        typer.Argument(
            help="A ready one's name, a TOML file, or a pump log: start, stop, rate.",
            autocompletion=completion.ready_regimens,
        ),
    ] = None,
    given_in: Annotated[
        Path | None,
        typer.Option(
            help="A fit folder: show what one of its subjects was given.",
            autocompletion=completion.fit_folders,
        ),
    ] = None,
    subject: Annotated[str | None, typer.Option("--id", help="Which subject.")] = None,
    records_for: Annotated[
        Path | None,
        typer.Option(
            help="A fit folder: NONMEM records of the regimen for its subjects, as CSV.",
            autocompletion=completion.fit_folders,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the ready regimens, or print one as TOML or as NONMEM records.

    A regimen may also come from a pump log (hours and ug/h, or date-times), or from the doses of
    a data file's subject.
    """
    from popk.spec.regimen import READY, read_regimen, to_toml

    if regimen is None and given_in is None:
        ready = [(name, read_regimen(name)) for name in READY]
        if as_json:
            write({name: own.model_dump(mode="json", by_alias=True) for name, own in ready})
            return
        from rich.markup import escape
        from rich.table import Table

        table = Table("name", "days", "what it is", "source", box=None, padding=(0, 2, 0, 0))
        for name, own in ready:
            days = f"{own.length('day'):g}"
            table.add_row(name, days, escape(own.description), escape(own.source))
        use = "use it: popk simulate fits/NAME --regimen NAME"
        write(table, "", f"as TOML: popk regimens NAME; {use}")
        return
    found = read(regimen) if regimen is not None else _of_subject(given_in, subject)
    if records_for is not None:
        from popk.data.cohort import at_baseline
        from popk.data.regimens import record_table, scheduled, with_doses
        from popk.study.folder import open_study

        cohort = at_baseline(open_study(records_for).data)
        table = record_table(with_doses(cohort, scheduled(found, cohort)))
        if as_json:
            write({"records": json.loads(table.to_json(orient="records") or "[]")})
        else:
            typer.echo(table.to_csv(index=False), nl=False)
        return
    if as_json:
        write(found.model_dump(mode="json", by_alias=True))
        return
    typer.echo(to_toml(found), nl=False)


def read(text: str) -> "Regimen":
    """A regimen by name, from its TOML file, or from a pump log."""
    from popk.spec.regimen import read_regimen

    if Path(text).suffix.lower() != ".csv":
        return read_regimen(text)
    from popk.data.pump_log import read_pump_log

    return read_pump_log(text)


def _of_subject(folder: Path | None, subject: str | None) -> "Regimen":
    import numpy as np

    from popk.data.dataset import of_subjects
    from popk.data.regimens import regimens_of
    from popk.spec.problem import PopkError, Problem
    from popk.study.folder import open_study

    assert folder is not None
    data = open_study(folder).data
    if subject not in data.ids:
        some = ", ".join(data.ids[:10]) + (", ..." if data.subjects > 10 else "")
        raise PopkError(
            Problem(
                file=data.source, key="--id", found=f"no subject {subject}",
                expected=f"one of {some}", cure=f"add --id {data.ids[0]}",
            )
        )  # fmt: skip
    own = of_subjects(data, np.array([data.ids.index(subject)]))
    (found,) = regimens_of(own)
    return found.named(f"ID {subject}", f"as given in {data.source}")
