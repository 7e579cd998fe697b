"""Command: export."""

from pathlib import Path
from typing import Annotated

import typer

from popk.cli.app import OUTPUT, Folder, Json, app
from popk.cli.output import current, write

KINDS = ("sdtab", "patab", "cotab", "catab")


@app.command(rich_help_panel=OUTPUT)
def export(
    folder: Folder,
    sdtab: Annotated[
        bool,
        typer.Option("--sdtab", help="ID TIME TAD EVID MDV AMT CENS DV PRED IPRED IWRES NPDE."),
    ] = False,
    patab: Annotated[bool, typer.Option("--patab", help="Individual parameters and etas.")] = False,
    cotab: Annotated[bool, typer.Option("--cotab", help="Continuous covariates.")] = False,
    catab: Annotated[bool, typer.Option("--catab", help="Categorical covariates.")] = False,
    run: Annotated[int, typer.Option(help="Run number: the tables are sdtab1, ...", min=0)] = 1,
    number_format: Annotated[
        str, typer.Option("--format", help="Of numbers, as in NONMEM's $TABLE.")
    ] = "s1PE11.4",
    title: Annotated[
        bool, typer.Option(help="The line TABLE NO. 1 above the names (NONMEM's NOTITLE).")
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="Where the tables go; results/nonmem of the fit by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write NONMEM's table files for R: xpose, vpc, ggPMX read them. All four by default.

    Every row of the data file in its order, dose rows included (MDV 1). In R:
    read.table("sdtab1", skip = 1, header = TRUE).
    """
    from popk.analysis.record_table import records
    from popk.report import nonmem_tables as report
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add_to, load, open_study

    form = report.number_format(number_format)
    keep_compiled()
    study = open_study(folder)
    fit = current(load(study), study)
    wanted = [k for k, w in zip(KINDS, (sdtab, patab, cotab, catab), strict=True) if w] or KINDS
    table = records(fit)
    which = report.tables(table, fit.data.levels, tuple(fit.data.covariates))
    which = {name: columns for name, columns in which.items() if name in wanted}
    numbers = report.numbered(fit.data.ids, form)
    if numbers is not None:
        table["ID"] = [numbers[own] for own in table["ID"]]
    files = {
        f"{name}{run}": report.text(
            {column: table[column].to_numpy() for column in columns}, form, title=title
        )
        for name, columns in which.items()
    }
    if numbers is not None:
        files["ids.csv"] = report.id_list(numbers)
    place = add_to(out or study.folder / "results" / "nonmem", files)
    if as_json:
        write(
            {
                "name": fit.name, "synthetic": fit.synthetic, "folder": str(place),
                "files": sorted(files), "columns": which, "etas": table.attrs["etas"],
                "units": table.attrs["units"], "rows": len(table),
                "ids": numbers and {own: int(n) for own, n in numbers.items()},
            }
        )  # fmt: skip
        return
    write(
        *report.written(place, which, run, table.attrs["etas"], fit.synthetic, numbers is not None)
    )
