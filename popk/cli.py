"""The command line: parse, call, print. Heavy parts are imported by the command that needs them."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from rich.console import RenderableType

    from popk.spec.problem import PopkError
    from popk.study.fit import Fit
    from popk.study.folder import Study
    from popk.study.maximum import MaximumFit

CLEAN, PROBLEMS, UNREADABLE, NOT_CONVERGED, INTERRUPTED = 0, 1, 2, 3, 130
BEGINS_ANEW = "nothing was written; the same command begins anew"

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    help="Population pharmacokinetics of continuous infusions for small, precious data sets.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Folder = Annotated[Path, typer.Argument(help="A folder with a fit.toml, e.g. fits/NAME.")]


@app.command()
def check(
    file: Annotated[
        Path, typer.Argument(help="A data file, a fit folder, a fit.toml or a model file.")
    ],
    as_json: Json = False,
) -> None:
    """Read the files and print what they hold and every problem found.

    Exit code 0: clean; 1: problems; 2: cannot be read.
    """
    from popk.data.nonmem.read import read_data
    from popk.data.overview import overview
    from popk.report import terminal
    from popk.spec.fit import DataSpec
    from popk.spec.model import read_model

    if file.suffix == ".toml" and _is_model(file):
        spec = read_model(file)
        _print(spec.model_dump(mode="json") if as_json else f"{file}: {spec.name}: no problems")
        return
    if file.is_dir() or file.suffix == ".toml":
        from popk.population.events import arrange
        from popk.study.folder import open_study

        study = open_study(file)
        arrange(study.model.spec, study.data)
        data, declared = study.data, f"columns as declared in {study.folder / 'fit.toml'}"
    else:
        spec, declared = _sibling(file)
        data = read_data(file, spec or DataSpec())
    found = overview(data)
    if as_json:
        warnings = [_problem_dict(problem) for problem in data.warnings]
        _print({**found.as_dict(), "warnings": warnings, "problems": []})
        return
    _print(terminal.overview(found), declared, terminal.problems(data.warnings))
    _print("no problems" + (f", {len(data.warnings)} warnings" if data.warnings else ""))


@app.command()
def fit(
    folder: Folder,
    precision: Annotated[
        str | None, typer.Option(help="float32 or float64, instead of fit.toml's.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or gpu, instead of fit.toml's.")] = None,
    as_json: Json = False,
) -> None:
    """Fit what the folder's fit.toml names and write its results/.

    An interrupted fit goes on where it was when the command is given again. Exit code 0:
    converged; 1: problems in the files; 2: cannot be read; 3: a convergence check failed.
    """
    from rich.console import Console

    from popk.report import files
    from popk.report.progress import shown
    from popk.study.compiled import keep_compiled
    from popk.study.folder import open_study, run, with_sampler

    keep_compiled()
    study = open_study(folder)
    if precision or device:
        study = with_sampler(study, precision=precision, device=device)
    console = Console(stderr=as_json)
    title = f"{study.spec.name or study.folder}: model {study.model.spec.name}"
    console.print(title, markup=False, soft_wrap=True)
    with _interruptible("the same command goes on from here"), shown(console) as watch:
        result = run(study, files.of_fit, watch)
    _report(result, study, as_json)


@app.command()
def summary(folder: Folder, as_json: Json = False) -> None:
    """Print the tables of a finished fit again.

    Says so where data, model or settings have changed since. Exit codes as for fit.
    """
    from popk.study.folder import load, open_study

    study = open_study(folder)
    _report(load(study), study, as_json)


@app.command()
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

    from popk.analysis.covariate_tests import covariate_tests
    from popk.report import files, plots, terminal
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add, load, open_study

    keep_compiled()
    study = open_study(folder)
    fit = _posterior(load(study), study)
    console = Console(stderr=True, highlight=False)
    with _interruptible(BEGINS_ANEW), console.status("tests") as status:
        found = covariate_tests(
            fit,
            study.spec.candidates or None,
            no_effect=study.spec.no_effect,
            settings=study.spec.sampler,
            refit=refit,
            watch=status.update,
        )
    results = add(study.folder, files.of_covariates(found, study) | plots.of_covariates(found))
    if as_json:
        _print(
            {
                "synthetic": found.synthetic,
                "rule": found.rule,
                "notes": list(found.notes),
                "single": _rows(found.table),
                "joint": _rows(found.joint),
                "joint_test": None if found.joint_test is None else found.joint_test._asdict(),
                "curves": {name: curve.to_dict("list") for name, curve in found.curves.items()},
            }
        )
    else:
        _print(
            *terminal.covariate_tests(found),
            "",
            f"results: {results / 'covariates.csv'}, covariates.svg, bayes_factors.svg; "
            "each model as a fit folder: candidates/",
        )
    if not all(own.converged for own in found.fits.values()):
        raise typer.Exit(NOT_CONVERGED)


@app.command()
def search(
    folder: Folder,
    forward: Annotated[float, typer.Option(help="p below which an effect enters.")] = 0.05,
    backward: Annotated[float, typer.Option(help="p from which it leaves again.")] = 0.01,
    method: Annotated[
        str | None, typer.Option(help="focei, laplace, agq or importance; focei by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search stepwise among the candidate covariate effects, with the full model beside it.

    Needs no finished fit. Candidates as for covariates. Writes search.csv, search_effects.csv and
    complete fit folders of the final and the full model into results/search/.
    Exit code 3: the search for the maximum of a likelihood has not ended.
    """
    from rich.console import Console

    from popk.analysis import search as searching
    from popk.report import files, terminal
    from popk.study.compiled import keep_compiled
    from popk.study.folder import add, open_study, with_sampler

    keep_compiled()
    study = open_study(folder)
    study = with_sampler(study, method=method)
    if method and not study.spec.sampler.maximises:
        raise typer.BadParameter(f"{method!r} is not focei, laplace, agq or importance")
    console = Console(stderr=True, highlight=False)
    with _interruptible(BEGINS_ANEW), console.status("search") as status:
        found = searching.search(
            study.model,
            study.data,
            study.spec.candidates or None,
            forward=forward,
            backward=backward,
            settings=study.spec.sampler,
            no_effect=study.spec.no_effect,
            synthetic=study.spec.synthetic,
            watch=status.update,
        )
    results = add(study.folder, files.of_search(found, study))
    if as_json:
        _print(
            {
                "synthetic": found.synthetic,
                "forward": found.forward,
                "backward": found.backward,
                "notes": list(found.notes),
                "effects": _rows(found.effects),
                "tried": json.loads(found.tried.to_json(orient="records") or "[]"),
                "joint": found.joint._asdict(),
            }
        )
    else:
        _print(
            *terminal.search(found),
            "",
            f"results: {results / 'search.csv'}, search_effects.csv; "
            "the final and the full model as fit folders: search/",
        )
    if not found.ended:
        raise typer.Exit(NOT_CONVERGED)


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(help="model or fit")] = "model",
) -> None:
    """Print the JSON schema of model files or fit files, for editors."""
    from popk.spec.fit import FitSpec
    from popk.spec.model import ModelSpec

    kinds = {"model": ModelSpec, "fit": FitSpec}
    if kind not in kinds:
        raise typer.BadParameter(f"{kind!r} is neither 'model' nor 'fit'")
    _print(kinds[kind].model_json_schema())


@contextmanager
def _interruptible(then: str) -> "Iterator[None]":
    """An interrupt ends the command with its own exit code, and says what comes next."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {then}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _report(result: "Fit | MaximumFit", study: "Study", as_json: bool) -> None:
    from popk.analysis import summary as tables
    from popk.report import terminal
    from popk.study.folder import stale

    changed = stale(study, result)
    parameters, individuals = tables.parameters(result), tables.individuals(result)
    line = tables.paper_line(result)
    if as_json:
        _print(
            {
                "name": result.name,
                "synthetic": result.synthetic,
                "converged": result.converged,
                "stale": changed,
                "checks": [vars(c) for c in result.checks],
                "parameters": _rows(parameters),
                "individuals": _rows(individuals),
                "units": individuals.attrs["units"],
                "paper_line": None if line is None else vars(line),
                "objective": tables.objective(result),
                "seconds": dict(result.provenance.seconds),
            }
        )
    else:
        if changed:
            _print(f"STALE: {', '.join(changed)} changed since; run: popk fit {study.folder}")
        _print(
            terminal.verdict(result.checks),
            "",
            terminal.parameters(parameters, result.synthetic),
            *terminal.objective(tables.objective(result)),
            "",
            terminal.individuals(individuals, result.synthetic),
            *(() if line is None else ("", terminal.paper_line(line))),
            "",
            _sampled(result.provenance.method),
            f"covariates between rows: {result.data.interpolation}; seconds: "
            + ", ".join(f"{k} {v:.1f}" for k, v in result.provenance.seconds.items()),
            f"results: {study.folder / 'results'}",
        )
    if not result.converged:
        raise typer.Exit(NOT_CONVERGED)


def _sampled(method: "Mapping[str, Any]") -> str:
    """Which sampler it was, and why not the other."""
    because = method.get("instead of ensemble because")
    if "chains" not in method:
        detail = "".join(f", {key} {method[key]}" for key in ("nodes", "samples") if key in method)
        return f"maximum likelihood: {method['name']}{detail}, {method['evaluations']} evaluations"
    return (
        f"sampler: {method['name']}, {method['chains']} chains x {method['draws']} draws, "
        f"seed {method['seed']}" + (f"; instead of ensemble because {because}" if because else "")
    )


def _posterior(result: "Fit | MaximumFit", study: "Study") -> "Fit":
    """A posterior of what fit.toml names now; anything else is refused."""
    from popk.spec.problem import PopkError, Problem
    from popk.study.fit import Fit
    from popk.study.folder import stale

    changed = stale(study, result)
    if changed:
        raise PopkError(
            Problem(
                file=str(study.folder / "results"),
                found=f"results from before {', '.join(changed)} changed",
                expected="results of what fit.toml names now",
                cure=f"run: popk fit {study.folder}",
            )
        )
    if isinstance(result, Fit):
        return result
    raise PopkError(
        Problem(
            file=str(study.folder / "results"),
            found=f"maximum-likelihood estimates ({result.provenance.method['name']})",
            expected="a posterior",
            cure=f'set method = "ensemble" in fit.toml and run: popk fit {study.folder}',
        )
    )


def _rows(table: "pd.DataFrame") -> dict[str, Any]:
    """A table as rows by name; what is not a number is null."""
    return json.loads(table.to_json(orient="index") or "{}")


def _is_model(file: Path) -> bool:
    """Whether a TOML file is a model file: it has a structure."""
    try:
        return "structure" in file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _sibling(file: Path) -> tuple[Any, str]:
    """The fit.toml beside a data file, if it is about this file."""
    from popk.spec.fit import read_fit

    beside = file.parent / "fit.toml"
    if beside.exists():
        spec = read_fit(beside)
        if (file.parent / spec.data).resolve() == file.resolve():
            return spec, f"columns as declared in {beside}"
    return None, "no fit.toml beside it: columns by their NONMEM names, no units, no covariates"


def _print(*parts: "RenderableType | dict[str, Any]") -> None:
    if len(parts) == 1 and isinstance(parts[0], dict):
        # JSON has no NaN and no infinity: null
        finite = json.loads(json.dumps(parts[0]), parse_constant=lambda _: None)
        typer.echo(json.dumps(finite, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    # Without a terminal the width is the reader's business: tables are not folded at 80
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    for part in parts:
        # The tables' own markup holds; a plain string has none
        console.print(part, markup=not isinstance(part, str))


def _problem_dict(problem: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(problem)


def _refuse(error: "PopkError") -> int:
    """Print problems, to where the caller reads them, and give the exit code."""
    code = UNREADABLE if error.unreadable else PROBLEMS
    if "--json" in sys.argv:
        _print({"problems": [_problem_dict(problem) for problem in error.problems]})
        return code
    from rich.console import Console

    from popk.report import terminal

    console = Console(stderr=True, width=None if sys.stderr.isatty() else 200, highlight=False)
    console.print(terminal.problems(error.problems), markup=False)
    console.print(f"{len(error.problems)} problem{'s' * (len(error.problems) > 1)}", markup=False)
    return code


def main() -> None:
    """Entry point of the command `popk`: a fault of the user's files is never a stack trace."""
    from popk.spec.problem import PopkError

    try:
        app()
    except PopkError as error:
        sys.exit(_refuse(error))
