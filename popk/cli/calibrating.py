"""Command: calibrate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from popk.cli.app import IS_IT_RIGHT, NOT_CONVERGED, Json, app
from popk.cli.output import write
from popk.cli.page import refresh
from popk.cli.workers import Dask, Scheduler, by_pieces

if TYPE_CHECKING:
    from popk.population.model import Model
    from popk.study.folder import Study

STORE = ".calibration"


@app.command(rich_help_panel=IS_IT_RIGHT)
def calibrate(
    model_file: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file, e.g. models/NAME.toml.")
    ],
    design: Annotated[
        Path, typer.Option(help="A fit folder: its doses, sampling times and covariates.")
    ],
    replicates: Annotated[int, typer.Option(help="Simulated trials.")] = 1000,
    truth: Annotated[
        str | None,
        typer.Option(
            help="Population values of all trials, e.g. TVCL=0.9,omega_CL=0.3; or fit: the "
            "estimates of the design's fit. Values not named have their prior's median. Without "
            "it every trial has its own draw of the priors."
        ),
    ] = None,
    below: Annotated[
        str | None,
        typer.Option(
            help="Lower limit of the assay, in the model's concentration unit, or none. By "
            "default the one that the design's own data have."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the simulation and the sampler.")] = 1,
    precision: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    dask: Dask = None,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Simulate trials, fit each, and compare what is found with what is true.

    From the priors the ranks of the true values must be uniform (simulation-based calibration):
    that tests simulation, likelihood and sampler at once. With --truth: bias, RMSE and coverage
    there. Writes ranks.csv, coverage.csv, calibration.json, ranks.svg and coverage.svg into
    results/calibration/ of the design. The same seed gives the same results whatever the number of
    workers; an interrupted command goes on where it was when it is given again. Exit code 3: a
    verdict failed.
    """
    import jax

    from popk.analysis.calibration.calibration import assay_limit, gathered, planned
    from popk.analysis.calibration.trials import done
    from popk.analysis.calibration.verdicts import verdicts_of
    from popk.population.model import Model
    from popk.report import calibrated as report
    from popk.report.plots.calibration import of_calibration
    from popk.spec.fit import Sampler
    from popk.spec.model import read_model
    from popk.spec.record import validate
    from popk.study.compiled import keep_compiled
    from popk.study.fit import hashes, versions
    from popk.study.folder import add, open_study

    keep_compiled()
    study, model = open_study(design), Model(read_model(model_file))
    given = {"seed": seed, "precision": precision, "draws": 2000}
    settings = validate(Sampler, given, "command line")
    chosen = None if truth is None else _truth(truth, model, study)
    limit = _limit(below) if below else _declared(study, model) or assay_limit(model, study.data)
    work = planned(
        jax.random.key(seed), model, study.data, replicates,
        settings=settings, truth=chosen, below=limit, dose=study.spec.dose,
    )  # fmt: skip
    parts, seconds, forget = by_pieces(
        done, work.pieces, study.folder / STORE, work.key, dask, scheduler
    )
    found = gathered(work, parts, seconds)
    verdicts = verdicts_of(found)
    about = {
        "model_file": str(model_file),
        "design": str(design),
        "seed": seed,
        "precision": precision,
        "versions": versions(),
        "hashes": hashes(model, study.data, settings),
    }
    written = report.files(found, verdicts, about) | of_calibration(found)
    results = add(study.folder, {f"calibration/{name}": text for name, text in written.items()})
    forget()
    refresh(study.folder)
    if as_json:
        write(report.record(found, verdicts, about))
    else:
        figures = ", ".join(name for name in written if name.endswith(".svg"))
        write(
            *report.shown(found, verdicts),
            "",
            f"{found.seconds:.0f} s of fitting; results: {results / 'calibration'}: ranks.csv, "
            f"coverage.csv, calibration.json; figures: {figures}",
        )
    if any(verdict.outcome == "failed" for verdict in verdicts):
        raise typer.Exit(NOT_CONVERGED)


def _truth(text: str, model: "Model", study: "Study") -> dict[str, float]:
    """Chosen values, from the design's fit where it says so, by name."""
    from popk.spec.problem import PopkError, Problem

    chosen: dict[str, float] = {}
    for part in (part.strip() for part in text.split(",")):
        name, equals, value = part.partition("=")
        if part == "fit":
            chosen = _of_fit(model, study) | chosen
            continue
        try:
            if not equals:
                raise ValueError
            chosen[name.strip()] = float(value)
        except ValueError:
            raise PopkError(
                Problem(
                    file="command line",
                    key="--truth",
                    found=repr(part),
                    expected="NAME=NUMBER, or fit",
                    cure="for example --truth TVCL=0.9,omega_CL=0.3 or --truth fit,omega_CL=0.3",
                )
            ) from None
    return chosen


def _of_fit(model: "Model", study: "Study") -> dict[str, float]:
    """Posterior medians, or maximum-likelihood estimates, of the model's parameters."""
    from popk.analysis.summary import parameters
    from popk.study.folder import load

    table: Any = parameters(load(study))
    column = table["median" if "median" in table else "estimate"].to_dict()
    return {name: float(column[name]) for name in model.population_names if name in column}


def _limit(text: str) -> float | None:
    try:
        value = None if text == "none" else float(text)
    except ValueError:
        value = -1.0
    if value is not None and not 0.0 < value < float("inf"):
        raise typer.BadParameter(f"--below {text}: neither a concentration above 0 nor none")
    return value


def _declared(study: "Study", model: "Model") -> float | None:
    """The assay's lower limit that fit.toml declares for the whole file."""
    from popk.spec.units import quantity

    limit = study.spec.assay.lloq
    return None if limit is None else quantity(limit, model.spec.units.concentration)
