"""Commands: covariates, search."""

import json
from typing import Annotated

import typer

from popk.cli import completion
from popk.cli.app import BEGINS_ANEW, COVARIATES, NOT_CONVERGED, Folder, Json, app
from popk.cli.output import interruptible, posterior, rows, write
from popk.cli.page import refresh


@app.command(rich_help_panel=COVARIATES)
def covariates(
    folder: Folder,
    refit: Annotated[
        bool,
        typer.Option(help="Fit again without a subject where importance sampling is unreliable."),
    ] = True,
    as_json: Json = False,
) -> None:
    """Test the candidate covariate effects of a finished fit: what the data can and cannot tell.

    Candidates stand in fit.toml; by default they are the effects of the model. Writes
    covariates.csv, figures and a complete fit folder for each model into results/.
    Exit codes as for fit.
    """
    from rich.console import Console

    from popk.analysis.covariates.covariate_tests import covariate_tests
    from popk.report import files, terminal
    from popk.report.plots.covariates import of_covariates
    from popk.report.progress import told
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add, load, open_study

    keep_compiled()
    study = open_study(folder)
    fit = posterior(load(study), study)
    console = Console(stderr=True, highlight=False)
    with interruptible(BEGINS_ANEW), told(console, "tests") as watch:
        found = covariate_tests(
            fit,
            study.spec.candidates or None,
            no_effect=study.spec.no_effect,
            settings=study.spec.sampler,
            refit=refit,
            watch=watch,
        )
    results = add(study.folder, files.of_covariates(found, study) | of_covariates(found))
    refresh(folder, fit)
    if as_json:
        write(
            {
                "synthetic": found.synthetic,
                "rule": found.rule,
                "notes": list(found.notes),
                "single": rows(found.table),
                "joint": rows(found.joint),
                "joint_test": None if found.joint_test is None else found.joint_test._asdict(),
                "curves": {name: curve.to_dict("list") for name, curve in found.curves.items()},
            }
        )
    else:
        write(
            *terminal.covariate_tests(found),
            "",
            f"results: {results / 'covariates.csv'}, covariates.svg, bayes_factors.svg; "
            "each model as a fit folder: candidates/",
        )
    if not all(own.converged for own in found.fits.values()):
        raise typer.Exit(NOT_CONVERGED)


@app.command(rich_help_panel=COVARIATES)
def search(
    folder: Folder,
    forward: Annotated[float, typer.Option(help="p below which an effect enters.")] = 0.05,
    backward: Annotated[float, typer.Option(help="p from which it leaves again.")] = 0.01,
    method: Annotated[
        str | None,
        typer.Option(
            help="focei, laplace, agq or importance; focei by default.",
            autocompletion=completion.one_of("focei", "laplace", "agq", "importance"),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search stepwise among the candidate covariate effects, with the full model beside it.

    Needs no finished fit. Candidates as for covariates. Writes search.csv, search_effects.csv and
    complete fit folders of the final and the full model into results/search/.
    Exit code 3: the search for the maximum of a likelihood has not ended.
    """
    from rich.console import Console

    from popk.analysis.covariates import search as searching
    from popk.report import files, terminal
    from popk.report.progress import told
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add, open_study, with_sampler

    keep_compiled()
    study = open_study(folder)
    study = with_sampler(study, method=method)
    if method and not study.spec.sampler.maximises:
        raise typer.BadParameter(f"{method!r} is not focei, laplace, agq or importance")
    console = Console(stderr=True, highlight=False)
    with interruptible(BEGINS_ANEW), told(console, "search") as watch:
        found = searching.search(
            study.model,
            study.data,
            study.spec.candidates or None,
            forward=forward,
            backward=backward,
            settings=study.spec.sampler,
            no_effect=study.spec.no_effect,
            synthetic=study.spec.synthetic,
            watch=watch,
        )
    results = add(study.folder, files.of_search(found, study))
    refresh(folder)
    if as_json:
        write(
            {
                "synthetic": found.synthetic,
                "forward": found.forward,
                "backward": found.backward,
                "notes": list(found.notes),
                "effects": rows(found.effects),
                "tried": json.loads(found.tried.to_json(orient="records") or "[]"),
                "joint": found.joint._asdict(),
            }
        )
    else:
        write(
            *terminal.search(found),
            "",
            f"results: {results / 'search.csv'}, search_effects.csv; "
            "the final and the full model as fit folders: search/",
        )
    if not found.ended:
        raise typer.Exit(NOT_CONVERGED)
