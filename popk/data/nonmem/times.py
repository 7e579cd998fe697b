"""TIME as numbers, or as date-times that become hours since the subject's first record."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np

from popk.data.nonmem.cells import MISSING, Numbers, Places, read_numbers, unreadable_cells
from popk.spec.problem import Problem

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}.*", re.ASCII)
_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*", re.ASCII)
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?", re.ASCII)

SECONDS_PER_HOUR = 3600.0


def holds_datetimes(text: Sequence[str]) -> bool:
    """Tell whether a column holds dates; then every row must be an ISO date-time."""
    return any(_DATE.fullmatch(cell) for cell in text)


def read_times(places: Places, name: str, text: Sequence[str]) -> tuple[Numbers, list[Problem]]:
    """Read the TIME column.

    Parameters
    ----------
    places
        Where the rows stand, and whose they are.
    name, text
        The column's name in the file and its cells.

    Returns
    -------
    tuple
        Numbers as they stand there, or hours since the subject's first row where there are
        date-times; and the problems found.
    """
    if holds_datetimes(text):
        return _read_datetimes(places, name, text)
    times = read_numbers(name, text)
    clock = np.array([_CLOCK.fullmatch(cell) is not None for cell in text], dtype=np.bool_)
    problems = [
        *places.errors(
            clock,
            name,
            lambda row: f"clock time {text[row]!r}",
            "elapsed time as a number, or a date-time such as 2024-03-01T08:30",
            "a clock time does not say which day: write elapsed hours or full date-times",
        ),
        *unreadable_cells(places, times, except_rows=clock),
    ]
    return times, problems


def _read_datetimes(
    places: Places, name: str, text: Sequence[str]
) -> tuple[Numbers, list[Problem]]:
    known = {cell: _parse(cell) for cell in set(text)}
    moments = [known[cell] for cell in text]
    zoned = next((m.tzinfo is not None for m in moments if m is not None), False)
    hours = np.full(len(text), np.nan)
    start: dict[str, datetime] = {}
    for row, moment in enumerate(moments):
        if moment is not None and (moment.tzinfo is not None) == zoned:
            first = start.setdefault(places.subject[row], moment)
            hours[row] = (moment - first).total_seconds() / SECONDS_PER_HOUR
    missing = np.array([cell in MISSING for cell in text], dtype=np.bool_)
    unreadable = np.isnan(hours) & ~missing
    return Numbers(name, text, hours, missing, unreadable), [
        *_datetime_problems(places, name, text, moments, unreadable, zoned=zoned)
    ]


def _datetime_problems(
    places: Places,
    name: str,
    text: Sequence[str],
    moments: Sequence[datetime | None],
    unreadable: np.ndarray,
    *,
    zoned: bool,
) -> Iterator[Problem]:
    other_zone = np.array([moment is not None for moment in moments], dtype=np.bool_) & unreadable
    yield from places.errors(
        other_zone,
        name,
        lambda row: repr(text[row]),
        f"a date-time {'with' if zoned else 'without'} a UTC offset, as on the first row",
        "write all date-times of the file in the same way",
    )
    yield from places.errors(
        unreadable & ~other_zone,
        name,
        lambda row: repr(text[row]),
        "a date-time such as 2024-03-01T08:30, as other rows have",
        "write ISO date-times with a time of day on every row, or elapsed times on every row",
    )


def _parse(cell: str) -> datetime | None:
    """The moment that a cell names; None where it has no time of day or is no date-time."""
    if _DATETIME.fullmatch(cell) is None:
        return None
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        return None
