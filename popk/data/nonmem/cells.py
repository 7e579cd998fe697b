"""Cells as numbers: what is missing, what is no number, and where each row stands in the file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from popk.data.nonmem.table import NUMBER
from popk.spec.problem import Problem

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

MISSING = frozenset({"", "."})

Words = str | Callable[[int], str]
"""Part of a message: the same for all rows, or made from the row's number."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where each row stands: [row] line number and subject; names the place of a problem."""

    file: str
    line: NDArray[np.int64]
    subject: Sequence[str]

    def errors(
        self, where: Bools, key: str, found: Words, expected: Words, cure: Words
    ) -> Iterator[Problem]:
        """One error for every row where `where` is True."""
        for row in np.flatnonzero(where).tolist():
            yield Problem(
                file=self.file,
                line=int(self.line[row]),
                subject=self.subject[row],
                key=key,
                found=_words(found, row),
                expected=_words(expected, row),
                cure=_words(cure, row),
            )

    def warning(
        self, where: Bools, key: str, found: str, expected: str, cure: str
    ) -> Iterator[Problem]:
        """At most one warning, which counts the rows and names the first of them."""
        rows: list[int] = np.flatnonzero(where).tolist()
        if rows:
            lines = ", ".join(str(self.line[row]) for row in rows[:10])
            many = ", ..." if len(rows) > 10 else ""
            yield Problem(
                file=self.file,
                line=int(self.line[rows[0]]),
                subject=self.subject[rows[0]],
                key=key,
                found=f"{found} in {_count(len(rows), 'row')} (line {lines}{many})",
                expected=expected,
                cure=cure,
                severity="warning",
            )


@dataclass(frozen=True, eq=False)
class Numbers:
    """One column read as numbers.

    Attributes
    ----------
    name
        The column's name in the file.
    text
        [row] what stands in the file.
    values
        [row] numbers in the Dataset's unit; NaN where missing or unreadable.
    missing, unreadable
        [row] True where the cell is empty or ``.``, and where it is no finite number.
    """

    name: str
    text: Sequence[str]
    values: Array
    missing: Bools
    unreadable: Bools

    def scaled(self, factor: float) -> "Numbers":
        """Return the column in another unit."""
        return self if factor == 1.0 else replace(self, values=self.values * factor)

    def __call__(self, row: int) -> str:
        """What stands in a row, for a message: ``AMT = -5``."""
        return f"{self.name} = {self.text[row] or 'nothing'}"


def read_numbers(name: str, text: Sequence[str]) -> Numbers:
    """Read a column as finite numbers; what is none is marked, not raised."""
    known = {cell: _number(cell) for cell in set(text)}
    values = np.array([known[cell] for cell in text], dtype=np.float64)
    missing = np.array([cell in MISSING for cell in text], dtype=np.bool_)
    return Numbers(name, text, values, missing, np.isnan(values) & ~missing)


def unreadable_cells(
    places: Places, column: Numbers, cure: str | None = None, except_rows: Bools | None = None
) -> Iterator[Problem]:
    """Errors for cells that are no finite numbers, apart from `except_rows`."""
    rows = column.unreadable if except_rows is None else column.unreadable & ~except_rows
    yield from places.errors(
        rows,
        column.name,
        lambda row: repr(column.text[row]),
        lambda row: _advice(column.text[row])[0],
        cure or (lambda row: _advice(column.text[row])[1]),
    )


@dataclass(frozen=True, eq=False)
class Items:
    """The data items of the file that hold numbers, in the Dataset's units."""

    places: Places
    columns: Mapping[str, Numbers]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.places.line)

    def __contains__(self, item: str) -> bool:
        return item in self.columns

    def __getitem__(self, item: str) -> Numbers:
        return self.columns[item]

    def name(self, item: str) -> str:
        """The name of the column that holds an item, the item's own where there is none."""
        return self.columns[item].name if item in self.columns else item

    def values(self, item: str, absent: float = 0.0) -> Array:
        """[row] values, NaN where missing; `absent` on all rows where there is no such column."""
        if item in self.columns:
            return self.columns[item].values
        return np.full(self.rows, absent)

    def missing(self, item: str) -> Bools:
        """[row] True where the cell is empty or there is no such column."""
        if item in self.columns:
            return self.columns[item].missing
        return np.ones(self.rows, dtype=np.bool_)

    @property
    def unreadable(self) -> Bools:
        """[row] True where some item is no number, so that nothing can be said of the row."""
        columns = [column.unreadable for column in self.columns.values()]
        return np.any(columns, axis=0) if columns else np.zeros(self.rows, dtype=np.bool_)


def _number(cell: str) -> float:
    """The number in a cell, NaN where there is none or none that is finite."""
    if NUMBER.fullmatch(cell) is None:
        return np.nan
    number = float(cell)
    return number if np.isfinite(number) else np.nan


def _advice(cell: str) -> tuple[str, str]:
    """What was expected in place of an unreadable cell, and its cure."""
    word = cell.lower().lstrip("+-")
    if word in {"na", "nan", "n/a", "null", "none"}:
        return "a number, or '.' where it is missing", "write '.' for a missing value"
    if word in {"inf", "infinity"} or NUMBER.fullmatch(cell):
        return "a finite number", "correct the value, or leave the row out with [rows] ignore"
    if NUMBER.fullmatch(cell.replace(",", ".")):
        return "a decimal point", "export the data with decimal points"
    if cell.startswith(("<", ">")):
        return (
            "a number",
            "write the limit in DV and 1 (below) or -1 (above) in a column CENS",
        )
    return "a number", "correct the cell, or leave the row out with [rows] ignore"


def _words(words: Words, row: int) -> str:
    return words if isinstance(words, str) else words(row)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
