"""Commands: power, design."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from popk.cli.app import DESIGN, Json, app
from popk.cli.output import rows, write
from popk.cli.page import refresh
from popk.cli.simulated import Ages, Formula, Girls, Given, Out, Seed, between, source_and_place
from popk.cli.workers import Dask, Scheduler, by_pieces

if TYPE_CHECKING:
    from popk.spec.plan import Plan

STORE = ".power"
PlanFile = Annotated[
    Path | None, typer.Option("--plan", help="A TOML file with all of the plan, instead.")
]
Regimen = Annotated[str, typer.Option(help="What every infant is given: a ready one, or a file.")]
Times = Annotated[str | None, typer.Option(help="When blood is drawn, e.g. '34 h, 8 day'.")]
Below = Annotated[str | None, typer.Option(help="Lower limit of the assay, e.g. '50 pg/mL'.")]
Young = Annotated[float | None, typer.Option(help="Share recruited below the effect's cut in age.")]
Values = Annotated[
    list[str] | None, typer.Option("--value", help="A true value, e.g. omega_CL=0.3; again.")
]
Effect = Annotated[str | None, typer.Option(help="Which effect; the model's first by default.")]


@app.command(rich_help_panel=DESIGN)
def power(
    given: Given,
    ratios: Annotated[
        str, typer.Option(help="True ratios of the parameter between the groups.")
    ] = "0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5",
    infants: Annotated[str, typer.Option(help="Numbers of infants.")] = "8, 12, 18, 26, 40, 60",
    trials: Annotated[int, typer.Option(help="Simulated trials of each cell.")] = 500,
    plan: PlanFile = None,
    regimen: Regimen = "standard",
    times: Times = None,
    below: Below = None,
    young: Young = None,
    age: Ages = "0 month to 12 month",
    female: Girls = 0.5,
    formula: Formula = "haycock",
    value: Values = None,
    effect: Effect = None,
    criterion: Annotated[
        str, typer.Option(help="Whose power is searched: excludes_90, relevant, lr, width, ...")
    ] = "excludes_90",
    at: Annotated[float, typer.Option(help="The power (or width) that is wanted.")] = 0.8,
    likelihood_ratio: Annotated[
        bool,
        typer.Option(help="Maximise every trial's likelihood too, with and without the effect."),
    ] = True,
    dask: Dask = None,
    scheduler: Scheduler = None,
    seed: Seed = 1,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Which effects could a trial find? Every simulated trial is fitted through its gate.

    For each true ratio and number of infants: how often each criterion of `popk covariates` speaks,
    width and coverage of the interval, all with Monte Carlo errors; the smallest number of infants;
    assurance. Writes cells.csv, smallest.csv, assurance.csv, trials.parquet and figures into
    results/power/. The same seed gives the same results whatever the number of workers; an
    interrupted command goes on where it was.
    """
    from popk.analysis.power.overview import overview
    from popk.analysis.power.power import gathered, planned
    from popk.analysis.power.sizes import searchable
    from popk.analysis.power.trials import done
    from popk.report import powered as report
    from popk.report.plots.power import of_power
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add_to
    from popk.study.table_files import table_file

    keep_compiled()
    searchable(criterion, at)  # before hours of work
    source, folder = source_and_place(given, out, "power")
    what = _plan(plan, regimen, times, below, young, age, female, formula)
    grid = planned(
        source, what, _numbers(ratios, "--ratios", float), _numbers(infants, "--infants", int),
        trials, values=_values(value), effect=effect, seed=seed,
        likelihood_ratio=likelihood_ratio or criterion == "lr",
    )  # fmt: skip
    results, seconds, forget = by_pieces(
        done, grid.pieces, folder.parent / STORE, grid.key, dask, scheduler
    )
    told = overview(gathered(grid, results, seconds), source, criterion, at)
    files = report.of_power(told) | of_power(told)
    note = "SYNTHETIC TRIALS: simulated"
    with table_file(folder / "trials.parquet", "parquet", note) as file:
        table = told.power.trials.rename_axis(index={"ratio": "true_ratio"}).reset_index()
        file.write({str(name): table[name].to_numpy() for name in table})
    add_to(folder, files)
    forget()
    refresh(given)
    if as_json:
        write({**report.record(told), "folder": str(folder), "files": sorted(files)})
        return
    write(*report.power(told), "", f"results: {folder}: trials.parquet, {', '.join(sorted(files))}")


@app.command(rich_help_panel=DESIGN)
def design(
    given: Given,
    infants: Annotated[int, typer.Option(help="Number of infants.", min=2)] = 26,
    times: Annotated[
        list[str] | None,
        typer.Option(help="A sampling plan, e.g. '34 h, 8 day'; again to compare."),
    ] = None,
    choose: Annotated[
        int | None, typer.Option(help="How many times are to be chosen, the best ones.", min=1)
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(
            help="Find the number of infants for a 90 % interval so narrow: its upper "
            "over its lower bound."
        ),
    ] = None,
    power: Annotated[
        float | None,
        typer.Option(
            help="Find the number of infants of whom so large a share of trials excludes "
            "a ratio of 1; with --ratio."
        ),
    ] = None,
    ratio: Annotated[float | None, typer.Option(help="The true ratio for --power.")] = None,
    regimen: Regimen = "standard",
    below: Below = None,
    young: Young = None,
    age: Ages = "0 month to 12 month",
    female: Girls = 0.5,
    formula: Formula = "haycock",
    value: Values = None,
    effect: Effect = None,
    seed: Seed = 1,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """What sampling plans are expected to tell, by the population Fisher information.

    Expected standard errors and posterior SDs by plan, which further sample pins CL and which V,
    and the best times; with --width or --power the smallest number of infants. An approximation
    that takes seconds: `popk power` is the simulation. Writes plans.csv, errors.csv, times.csv,
    needed.csv and a figure into results/design/.
    """
    from popk.analysis.power.plans import Goal, plans
    from popk.report import powered as report
    from popk.report.plots.power import of_plans
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add_to

    keep_compiled()
    source, folder = source_and_place(given, out, "design")
    asked = [_plan(None, regimen, own, below, young, age, female, formula)
             for own in (times or [None])]  # fmt: skip
    found = plans(source, asked, infants, choose=choose, goal=Goal(width, power, ratio),
                  values=_values(value), effect=effect, seed=seed)  # fmt: skip
    files = report.of_plans(found) | of_plans(found)
    add_to(folder, files)
    refresh(given)
    if as_json:
        write(
            {
                "model": found.model, "infants": infants, "compared": rows(found.compared),
                "errors": rows(found.errors), "best": list(found.best), "words": found.words,
                "needed": rows(found.needed), "goals": dict(found.goals),
                "folder": str(folder), "files": sorted(files),
            }
        )  # fmt: skip
        return
    write(*report.plans(found), "", f"results: {folder}: {', '.join(sorted(files))}")


def _plan(
    file: Path | None,
    regimen: str,
    times: str | None,
    below: str | None,
    young: float | None,
    age: str,
    female: float,
    formula: str,
) -> "Plan":
    from popk.spec.plan import Plan
    from popk.spec.record import read_record, validate

    if file is not None:
        return read_record(Plan, file)
    virtual = {"age": between(age, "--age"), "female": female, "formula": formula}
    content: dict[str, Any] = {"regimen": regimen, "below": below, "young": young}
    if times is not None:
        content["times"] = tuple(part.strip() for part in times.split(","))
    return validate(Plan, {**content, "virtual": virtual}, "command line")


def _numbers(text: str, key: str, kind: Callable[[str], Any]) -> Sequence[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise _problem(key, text, "numbers with commas between", "0.5, 0.8, 1") from None


def _values(given: list[str] | None) -> dict[str, float] | None:
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        try:
            if not equals:
                raise ValueError
            found[name.strip()] = float(value)
        except ValueError:
            raise _problem("--value", text, "NAME=NUMBER", "--value omega_CL=0.3") from None
    return found or None


def _problem(key: str, found: str, expected: str, example: str) -> Exception:
    from popk.spec.problem import PopkError, Problem

    cure = f"write for example {example}"
    return PopkError(
        Problem(file="command line", key=key, found=repr(found), expected=expected, cure=cure)
    )
