"""Commands: bootstrap, influence."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from popk.cli.app import IS_IT_RIGHT, NOT_CONVERGED, Folder, Json, app
from popk.cli.output import current, write
from popk.cli.page import refresh
from popk.cli.workers import Dask, Scheduler, by_pieces

if TYPE_CHECKING:
    from popk.analysis.verdict import Verdict
    from popk.study.folder import Study

STORE = ".refits"
Seed = Annotated[int, typer.Option(help="The same seed gives the same results.")]


@app.command(rich_help_panel=IS_IT_RIGHT)
def bootstrap(
    folder: Folder,
    kind: Annotated[
        str, typer.Option(help="case: subjects drawn again; parametric: simulated data sets.")
    ] = "case",
    replicates: Annotated[int, typer.Option(help="Data sets.")] = 500,
    stratify: Annotated[
        str | None, typer.Option(help="Draw within strata of this covariate, e.g. AGE.")
    ] = None,
    cut: Annotated[
        str | None, typer.Option(help="Where strata of a continuous one part, e.g. '6 month'.")
    ] = None,
    dask: Dask = None,
    scheduler: Scheduler = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """How do estimates vary from study to study? The model fitted to many data sets like this.

    Bias, standard errors and percentile intervals of each population parameter with Monte Carlo
    errors, beside what the fit itself says. Writes KIND.csv, KIND_replicates.csv, KIND.json and
    KIND.svg into results/bootstrap/. The same seed gives the same results whatever the number of
    workers; an interrupted command goes on where it was. Exit code 3: a verdict failed.
    """
    from popk.analysis.resampling.bootstrap import gathered, planned
    from popk.analysis.resampling.pieces import done
    from popk.analysis.resampling.refit_verdicts import of_bootstrap as verdicts_of
    from popk.report import resampled as report
    from popk.report.plots.resampling import of_bootstrap
    from popk.study.compiled import keep_compiled
    from popk.study.folder import load, open_study

    keep_compiled()
    study = open_study(folder)
    fit = current(load(study), study)
    plan = planned(
        fit, replicates, kind=kind, stratify=stratify, cut=cut,  # pyright: ignore[reportArgumentType]
        limits=_limits(study) if kind == "parametric" else None, seed=seed,
    )  # fmt: skip
    results, seconds, forget = by_pieces(
        done, plan.pieces, study.folder / STORE, plan.key, dask, scheduler
    )
    found = gathered(plan, results, seconds)
    verdicts = verdicts_of(found)
    files = report.of_bootstrap(found, verdicts) | of_bootstrap(found)
    _tell(
        study, "bootstrap", files, verdicts, report.bootstrap(found, verdicts),
        report.record(found, verdicts) if as_json else None, seconds, forget,
    )  # fmt: skip


@app.command(rich_help_panel=IS_IT_RIGHT)
def influence(
    folder: Folder,
    dask: Dask = None,
    scheduler: Scheduler = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """On whom does the fit hang? The model fitted again without each subject.

    By how many SDs each population parameter moves, Cook's distance, the covariance ratio, and
    whether a covariate's verdict hangs on one subject. Writes influence.csv, influence.json and
    influence.svg into results/influence/. An interrupted command goes on where it was. Exit code 3:
    a verdict failed.
    """
    from popk.analysis.resampling.influence import gathered, planned
    from popk.analysis.resampling.pieces import done
    from popk.analysis.resampling.refit_verdicts import of_influence as verdicts_of
    from popk.report import resampled as report
    from popk.report.plots.resampling import of_influence
    from popk.study.compiled import keep_compiled
    from popk.study.folder import load, open_study

    keep_compiled()
    study = open_study(folder)
    fit = current(load(study), study)
    plan = planned(fit, seed=seed, no_effect=study.spec.no_effect)
    results, seconds, forget = by_pieces(
        done, plan.pieces, study.folder / STORE, plan.key, dask, scheduler
    )
    found = gathered(plan, results, seconds)
    verdicts = verdicts_of(found)
    files = report.of_influence(found, verdicts) | of_influence(found)
    _tell(
        study, "influence", files, verdicts, report.influence(found, verdicts),
        report.influence_record(found, verdicts) if as_json else None, seconds, forget,
    )  # fmt: skip


def _tell(
    study: "Study",
    place: str,
    files: dict[str, str],
    verdicts: "list[Verdict]",
    shown: list[Any],
    record: dict[str, Any] | None,
    seconds: float,
    forget: Callable[[], None],
) -> None:
    from popk.analysis.verdict import FAILED
    from popk.study.folder import add

    results = add(study.folder, {f"{place}/{name}": text for name, text in files.items()})
    forget()
    refresh(study.folder)
    where = results / place
    if record is not None:
        write({**record, "folder": str(where), "files": sorted(files)})
    else:
        write(*shown, "", f"{seconds:.0f} s; results: {where}: {', '.join(sorted(files))}")
    if any(own.outcome == FAILED for own in verdicts):
        raise typer.Exit(NOT_CONVERGED)


def _limits(study: "Study") -> tuple[float | None, float | None]:
    """The assay's limits that fit.toml declares, else those that the data have."""
    from popk.analysis.resampling.parametric import limits_of
    from popk.spec.units import quantity

    found = limits_of(study.model, study.data)
    unit = study.model.spec.units.concentration
    declared = (study.spec.assay.lloq, study.spec.assay.uloq)
    low, high = (None if text is None else quantity(text, unit) for text in declared)
    return (found.below if low is None else low, found.above if high is None else high)
