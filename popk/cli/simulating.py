"""Commands: simulate, target."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from popk.cli import completion
from popk.cli.app import BEGINS_ANEW, SIMULATION, Json, app
from popk.cli.output import interruptible, rows, write
from popk.cli.page import refresh
from popk.cli.regimens import read
from popk.cli.simulated import (
    Ages,
    Count,
    Formula,
    Girls,
    Given,
    Groups,
    Kind,
    Out,
    Resample,
    Seed,
    Uncertainty,
    between,
    listed,
    source_and_place,
    subjects_of,
    warn,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@app.command(rich_help_panel=SIMULATION)
def simulate(
    given: Given,
    regimen: Annotated[
        list[str],
        typer.Option(
            help="A regimen's TOML file, or a ready one by name; may be given again.",
            autocompletion=completion.ready_regimens,
        ),
    ],
    subjects: Count = 1000,
    age: Ages = "0 month to 12 month",
    female: Girls = 0.5,
    formula: Formula = "haycock",
    grow: Annotated[bool, typer.Option("--grow", help="Infants grow during the regimen.")] = False,
    resample: Resample = False,
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="Time above and below it, e.g. '500 pg/mL'; may be given again."),
    ] = None,
    age_groups: Groups = None,
    uncertainty: Uncertainty = True,
    variability: Annotated[bool, typer.Option(help="Between subjects (etas).")] = True,
    residual: Annotated[bool, typer.Option(help="Measured values with residual error.")] = True,
    concentrations: Annotated[
        bool, typer.Option("--concentrations", help="Write every concentration of every subject.")
    ] = False,
    kind: Kind = "parquet",
    seed: Seed = 1,
    precision: Annotated[
        Literal["float32", "float64"], typer.Option(help="float32 is faster.")
    ] = "float64",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Simulate regimens in virtual infants: concentrations, Css, AUC, times above and below.

    Population values come from a fit's posterior, or from a model file's priors. Writes
    summary.csv, bands.csv, subjects (Parquet or CSV) and figures into results/simulation/. All
    regimens meet the same subjects. For research: no advice on the treatment of anyone.
    """
    from rich.console import Console

    from popk.analysis.simulation.simulation import simulate as simulated
    from popk.report import simulated as report
    from popk.report.plots.simulation import of_simulation
    from popk.report.progress import counted
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add_to
    from popk.study.table_files import table_file

    keep_compiled()
    source, folder = source_and_place(given, out, "simulation")
    each = [read(text) for text in regimen]
    named = {r.name or Path(text).stem: r for r, text in zip(each, regimen, strict=True)}
    whole = subjects_of(source, subjects, age, female, formula, grow, resample)
    warn(source, whole)
    note = "SYNTHETIC DATA behind the model's estimates" if _synthetic(source) else ""
    with interruptible(BEGINS_ANEW), ExitStack() as stack:
        keep = None
        if concentrations:
            file = stack.enter_context(table_file(folder / f"concentrations.{kind}", kind, note))
            keep = _writing(file)
        console = Console(stderr=True, highlight=False)
        watch = stack.enter_context(counted(console, "subjects", subjects * len(named)))
        done: dict[str, int] = {}

        def told(name: str, count: int, _: int) -> None:
            done[name] = count
            watch(sum(done.values()))

        found = simulated(
            source, named, whole, thresholds=threshold or (), uncertainty=uncertainty,
            variability=variability, residual=residual, seed=seed, precision=precision,
            age_groups=listed(age_groups), watch=told, keep=keep,
        )  # fmt: skip
    table = found.subjects.reset_index()
    with table_file(folder / f"subjects.{kind}", kind, note) as file:
        file.write({str(name): _plain(table[name]) for name in table})
    files = report.of_simulation(found, subjects=False) | of_simulation(found)
    add_to(folder, files)
    refresh(given, source)
    if as_json:
        write(
            {
                "name": found.name, "synthetic": found.synthetic, "values_from": found.of,
                "subjects": found.about, "switches": dict(found.switches),
                "summary": _nested(found.summary), "units": found.units,
                "folder": str(folder), "files": sorted(files),
            }
        )  # fmt: skip
        return
    write(*report.simulation(found), "", f"results: {folder}: subjects.{kind}, "
          + ", ".join(sorted(files)))  # fmt: skip


@app.command(rich_help_panel=SIMULATION)
def target(
    given: Given,
    window: Annotated[str, typer.Option(help="Css that is wanted, e.g. '500 to 900 pg/mL'.")],
    dose: Annotated[
        list[str] | None, typer.Option(help="A dose of interest, e.g. '15 ug/m^2/day'; again.")
    ] = None,
    subjects: Count = 4000,
    age: Ages = "0 month to 12 month",
    female: Girls = 0.5,
    formula: Formula = "haycock",
    resample: Resample = False,
    age_groups: Groups = None,
    uncertainty: Uncertainty = True,
    seed: Seed = 1,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Probability that Css lies in a window, by dose and age, and the doses that maximise it.

    Per m², per kg and fixed. Writes best.csv, asked.csv, curves.csv and a figure into
    results/target/. For research: no advice on the treatment of anyone.
    """
    from popk.analysis.dosing.attainment import BASES, attainment
    from popk.report import simulated as report
    from popk.report.plots.dosing import of_attainment
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add_to

    keep_compiled()
    source, folder = source_and_place(given, out, "target")
    whole = subjects_of(source, subjects, age, female, formula, False, resample)
    warn(source, whole)
    with interruptible(BEGINS_ANEW):
        found = attainment(
            source, between(window, "--window"), whole,
            bases=BASES, doses=tuple(dose or ()), age_groups=listed(age_groups),
            uncertainty=uncertainty, seed=seed,
        )  # fmt: skip
    files = report.of_attainment(found) | of_attainment(found)
    add_to(folder, files)
    refresh(given, source)
    if as_json:
        write(
            {
                "name": found.name, "synthetic": found.synthetic, "values_from": found.of,
                "note": report.FOR_RESEARCH, "window": list(found.window), "unit": found.unit,
                "best": _nested(found.best), "asked": _nested(found.asked),
                "folder": str(folder), "files": sorted(files),
            }
        )  # fmt: skip
        return
    write(*report.attainment(found), "", f"results: {folder}: {', '.join(sorted(files))}")


def _synthetic(source: Any) -> bool:
    return bool(getattr(source, "synthetic", False))


def _writing(file: Any) -> "Callable[..., None]":
    import numpy as np

    def keep(regimen: str, block: Any, times: Any) -> None:
        count, width = block.concentration.shape
        columns = {
            "regimen": [regimen] * (count * width),
            "ID": np.repeat(np.arange(block.first + 1, block.first + count + 1), width),
            "TIME": np.tile(times, count),
            "concentration": block.concentration.ravel(),
        }
        if block.measured is not None:
            columns["DV"] = block.measured.ravel()
        file.write(columns)

    return keep


def _plain(column: Any) -> Any:
    """A column of text as text, whatever pandas makes of it."""
    return column.to_numpy() if column.dtype.kind in "fib" else [str(value) for value in column]


def _nested(table: Any) -> dict[str, Any]:
    """A table of several index levels as one row each, the levels joined by a slash."""
    flat = table.copy()
    flat.index = [" / ".join(map(str, key)) for key in table.index]
    return rows(flat)
