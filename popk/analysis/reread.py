"""Tables that commands have written into results/, read back as they were.

Words stay words (the ID "007" is no 7, the ID "NA" is no missing value), flags become booleans.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from popk.spec.problem import PopkError, Problem

WORDS = frozenset(
    (
        "ID", "parameter", "unit", "note", "check", "outcome", "threshold", "meaning", "figure",
        "source", "axis", "side", "covariate", "variability", "most", "diagnosis", "reference",
        "candidate", "contrast", "verdict", "evidence", "classical", "joint_parameter",
        "joint_contrast", "joint_verdict", "effects", "full_verdict", "regimen",
        "group", "quantity", "basis", "plan", "words", "name",
    )
)  # fmt: skip
"""Columns of words; an empty cell there is an empty word."""
FLAGS = {"True": True, "False": False}


class Reread(NamedTuple):
    """A table and the comments above it, without their "# "."""

    table: pd.DataFrame
    comments: tuple[str, ...]


def reread(
    path: Path, *, index: str | None = None, need: Iterable[str] = (), again: str
) -> Reread | None:
    """Read a CSV that a command wrote.

    Parameters
    ----------
    path
        The file.
    index
        Column that becomes the index.
    need
        Columns that must be there.
    again
        The command that writes it, for the cure.

    Returns
    -------
    Reread or None
        None where there is no such file, or no row in it.

    Raises
    ------
    popk.PopkError
        If it cannot be read as the table that it should be.
    """
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        comments = _comments(lines)
        text = pd.read_csv(path, skiprows=len(comments), dtype=str, keep_default_na=False)
        table = pd.DataFrame({name: _typed(str(name), text[name]) for name in text})
        if not isinstance(text.index, pd.RangeIndex):
            raise ValueError("rows that are longer than the first")
        missing = [name for name in (*need, *([index] if index else [])) if name not in table]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise _unreadable(path, f"a table that cannot be read ({error})", again) from None
    if table.empty:
        return None
    return Reread(table if index is None else table.set_index(index), comments)


def required(path: Path, *, index: str, need: Iterable[str] = (), again: str) -> Reread:
    """The same of a table that has to be there.

    Raises
    ------
    popk.PopkError
        If it is not, or cannot be read.
    """
    found = reread(path, index=index, need=need, again=again)
    if found is None:
        raise _unreadable(path, "no table", again)
    return found


def _unreadable(path: Path, found: str, again: str) -> PopkError:
    return PopkError(
        Problem(
            file=str(path),
            found=found,
            expected="the table as popk wrote it",
            cure=f"run: {again}",
        ),
        unreadable=True,
    )


def _comments(lines: list[str]) -> tuple[str, ...]:
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return tuple(line[1:].strip() for line in lines[:count])


def _typed(name: str, column: Any) -> Any:
    if name in WORDS:
        return column
    if column.isin(FLAGS).all():
        return column.map(FLAGS).astype(bool)
    try:
        return pd.to_numeric(column.mask(column == ""))
    except ValueError:
        return column
