"""What the commands share: printing, interrupts, and refusing what cannot be used."""

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from popk.cli.app import INTERRUPTED, PROBLEMS, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from rich.console import RenderableType

    from popk.spec.problem import PopkError
    from popk.study.fit import Fit
    from popk.study.folder import Study
    from popk.study.maximum import MaximumFit


def write(*parts: "RenderableType | dict[str, Any]") -> None:
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


@contextmanager
def interruptible(then: str) -> "Iterator[None]":
    """An interrupt ends the command with its own exit code, and says what comes next."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {then}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def current(result: "Fit | MaximumFit", study: "Study") -> "Fit | MaximumFit":
    """A result of what fit.toml names now; one from before is refused."""
    from popk.spec.problem import PopkError, Problem
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
    return result


def posterior(result: "Fit | MaximumFit", study: "Study") -> "Fit":
    """A posterior of what fit.toml names now; anything else is refused."""
    from popk.spec.problem import PopkError, Problem
    from popk.study.fit import Fit

    result = current(result, study)
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


def rows(table: "pd.DataFrame") -> dict[str, Any]:
    """A table as rows by name; what is not a number is null."""
    return json.loads(table.to_json(orient="index") or "{}")


def problem_dict(problem: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(problem)


def refuse(error: "PopkError") -> int:
    """Print problems, to where the caller reads them, and give the exit code."""
    code = UNREADABLE if error.unreadable else PROBLEMS
    if "--json" in sys.argv:
        write({"problems": [problem_dict(problem) for problem in error.problems]})
        return code
    from rich.console import Console

    from popk.report import terminal

    console = Console(stderr=True, width=None if sys.stderr.isatty() else 200, highlight=False)
    console.print(terminal.problems(error.problems), markup=False)
    console.print(f"{len(error.problems)} problem{'s' * (len(error.problems) > 1)}", markup=False)
    return code
