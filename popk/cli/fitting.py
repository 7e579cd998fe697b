"""Commands: check, fit, summary, schema."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from popk.cli import completion
from popk.cli.app import DATA_AND_FITS, NOT_CONVERGED, Folder, Json, app
from popk.cli.output import interruptible, problem_dict, rows, write
from popk.cli.page import PAGE, first

if TYPE_CHECKING:
    from collections.abc import Mapping

    from popk.study.fit import Fit
    from popk.study.folder import Study
    from popk.study.maximum import MaximumFit


@app.command(rich_help_panel=DATA_AND_FITS)
def check(
    file: Annotated[
        Path,
        typer.Argument(
            help="A data file, a fit folder, a fit.toml or a model file.",
            autocompletion=completion.files_to_check,
        ),
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
        write(spec.model_dump(mode="json") if as_json else f"{file}: {spec.name}: no problems")
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
        warnings = [problem_dict(problem) for problem in data.warnings]
        write({**found.as_dict(), "warnings": warnings, "problems": []})
        return
    write(terminal.overview(found), declared, terminal.problems(data.warnings))
    write("no problems" + (f", {len(data.warnings)} warnings" if data.warnings else ""))


@app.command(rich_help_panel=DATA_AND_FITS)
def fit(
    folder: Folder,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32 or float64, instead of fit.toml's.",
            autocompletion=completion.one_of("float32", "float64"),
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu or gpu, instead of fit.toml's.",
            autocompletion=completion.one_of("cpu", "gpu"),
        ),
    ] = None,
    page: Annotated[
        bool, typer.Option("--report/--no-report", help="Write results/report.html as well.")
    ] = True,
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
    with interruptible("the same command goes on from here"), shown(console) as watch:
        result = run(study, files.of_fit, watch)
    if page:
        with interruptible(f"results are written; popk report {study.folder} writes the page"):
            first(study, result)
    _report(result, study, as_json)


@app.command(rich_help_panel=DATA_AND_FITS)
def summary(folder: Folder, as_json: Json = False) -> None:
    """Print the tables of a finished fit again.

    Says so where data, model or settings have changed since. Exit codes as for fit.
    """
    from popk.study.folder import load, open_study

    study = open_study(folder)
    _report(load(study), study, as_json)


@app.command(rich_help_panel=DATA_AND_FITS)
def schema(
    kind: Annotated[
        str,
        typer.Argument(help="model or fit", autocompletion=completion.one_of("model", "fit")),
    ] = "model",
) -> None:
    """Print the JSON schema of model files or fit files, for editors."""
    from popk.spec.fit import FitSpec
    from popk.spec.model import ModelSpec

    kinds = {"model": ModelSpec, "fit": FitSpec}
    if kind not in kinds:
        raise typer.BadParameter(f"{kind!r} is neither 'model' nor 'fit'")
    write(kinds[kind].model_json_schema())


def _report(result: "Fit | MaximumFit", study: "Study", as_json: bool) -> None:
    from popk.analysis import summary as tables
    from popk.report import terminal
    from popk.study.folder import stale

    changed = stale(study, result)
    parameters, individuals = tables.parameters(result), tables.individuals(result)
    line = tables.paper_line(result)
    if as_json:
        write(
            {
                "name": result.name,
                "synthetic": result.synthetic,
                "converged": result.converged,
                "stale": changed,
                "checks": [vars(c) for c in result.checks],
                "parameters": rows(parameters),
                "individuals": rows(individuals),
                "units": individuals.attrs["units"],
                "paper_line": None if line is None else vars(line),
                "objective": tables.objective(result),
                "seconds": dict(result.provenance.seconds),
            }
        )
    else:
        if changed:
            write(f"STALE: {', '.join(changed)} changed since; run: popk fit {study.folder}")
        write(
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
            *(
                (f"report: {report}",)
                if (report := study.folder / "results" / PAGE).is_file()
                else ()
            ),
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
