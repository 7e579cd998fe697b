"""Command: report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from popk.cli.app import BEGINS_ANEW, NOT_CONVERGED, OUTPUT, Folder, Json, app
from popk.cli.output import current, interruptible, write
from popk.cli.page import written

if TYPE_CHECKING:
    from collections.abc import Callable

    from popk.study.fit import Fit
    from popk.study.folder import Study
    from popk.study.maximum import MaximumFit


@app.command(rich_help_panel=OUTPUT)
def report(
    folder: Folder,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only what is there already; nothing is computed.")
    ] = False,
    shown: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Write report.html: one page with everything that is known of a fit, to read, print and send.

    Makes what is missing first: checks as `popk diagnose`, tests as `popk covariates`. The page
    needs no network. Exit code 3: a convergence check or a check of the model failed.
    """
    from rich.console import Console

    from popk.report.progress import told
    from popk.study.compiled import keep_compiled
    from popk.study.folder import load, open_study

    keep_compiled()
    study = open_study(folder)
    result = load(study)
    made: list[str] = []
    if not quick:
        result = current(result, study)
        console = Console(stderr=True, highlight=False)
        with interruptible(BEGINS_ANEW), told(console, "report") as watch:
            made = _missing(study, result, watch)
    path, content = written(study, result)
    failed = _failed(path.parent)
    if as_json:
        write(
            {
                "name": result.name, "synthetic": result.synthetic, "file": str(path),
                "bytes": len(content.encode()), "made": made, "converged": result.converged,
                "failed": failed,
            }
        )  # fmt: skip
    else:
        write(f"{path} ({len(content.encode()) / 1e6:.1f} MB)")
    if shown:
        typer.launch(path.resolve().as_uri())
    if failed or not result.converged:
        raise typer.Exit(NOT_CONVERGED)


def _missing(
    study: "Study", result: "Fit | MaximumFit", watch: "Callable[[str], None]"
) -> list[str]:
    """Make what a whole report needs and results/ lacks; what was made."""
    from popk.study.fit import Fit
    from popk.study.folder import add

    place, made = study.folder / "results", []
    if not (place / "checks" / "verdicts.csv").is_file():
        from popk.analysis.checking.checks import checks
        from popk.report.checked import of_checks
        from popk.report.plots.checks import of_checks as drawn

        found = checks(result, watch=watch)
        watch("figures")
        files = {**of_checks(found), **drawn(found)}
        add(study.folder, {f"checks/{name}": text for name, text in files.items()})
        made.append("checks")
    asked = study.spec.candidates or study.model.spec.covariates
    if asked and isinstance(result, Fit) and not (place / "covariates.csv").is_file():
        from popk.analysis.covariates.covariate_tests import covariate_tests
        from popk.report.files import of_covariates
        from popk.report.plots.covariates import of_covariates as drawn_tests

        tests = covariate_tests(
            result, study.spec.candidates or None, no_effect=study.spec.no_effect,
            settings=study.spec.sampler, watch=watch,
        )  # fmt: skip
        add(study.folder, of_covariates(tests, study) | drawn_tests(tests))
        made.append("covariates")
    return made


def _failed(results: Path) -> list[str]:
    """Names of the checks of the model that failed."""
    from popk.analysis.reread import reread
    from popk.analysis.verdict import FAILED

    found = reread(results / "checks" / "verdicts.csv", index="check", again="popk diagnose")
    if found is None:
        return []
    outcomes = found.table["outcome"].to_dict()
    return [str(name) for name, outcome in outcomes.items() if outcome == FAILED]
