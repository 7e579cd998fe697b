"""A pump's log, rows of start, stop and rate, as a regimen."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float

from popk.data.dataset import Array, Bools
from popk.data.dose_covariates import up
from popk.data.dose_records import in_text
from popk.data.nonmem.cells import MISSING, read_numbers
from popk.data.nonmem.columns import nearest
from popk.data.nonmem.table import Table, read_table
from popk.spec.problem import PopkError, Problem
from popk.spec.regimen import MOST_STEPS, Infusion, Pause, Regimen, Step
from popk.spec.steps import dose_in
from popk.spec.units import UnitError, conversion_factor

COLUMNS = ("start", "stop", "rate")
EXPECTED = "a text file with the columns start, stop and rate, one row for each rate"
SECONDS = {"h": 3600.0, "min": 60.0}
"""Seconds in the longer units in which a time between two date-times is written."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}.*", re.ASCII)
_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?", re.ASCII)
DATE_TIMES = "a date-time such as 2024-03-01T08:30, without a UTC offset"


@dataclass(frozen=True, eq=False)
class _Log:
    """The rows of a log.

    Attributes
    ----------
    table
        The file.
    start, stop, rate
        [row] values; NaN where the cell holds none.
    date_times
        Whether start and stop are date-times, in seconds since the first one, or numbers.
    """

    table: Table
    start: Float[np.ndarray, " row"]
    stop: Float[np.ndarray, " row"]
    rate: Float[np.ndarray, " row"]
    date_times: bool

    def says(self, row: int, *names: str) -> str:
        """What stands in some cells of a row."""
        return ", ".join(f"{name} = {self.table.columns[name][row] or 'nothing'}" for name in names)

    def errors(
        self, where: Bools, key: str, found: Callable[[int], str], expected: str, cure: str
    ) -> Iterator[Problem]:
        """One error for every row where `where` is True."""
        for row in np.flatnonzero(where).tolist():
            yield Problem(
                file=self.table.file,
                line=int(self.table.line[row]),
                key=key,
                found=found(row),
                expected=expected,
                cure=cure,
            )


def read_pump_log(
    path: str | Path, *, time: str = "h", rate: str = "ug/h", delimiter: str = ","
) -> Regimen:
    """Read a pump's log as a regimen.

    Times between rows and rows with a rate of 0 become pauses; neighbouring rows of the same rate
    become one infusion.

    Parameters
    ----------
    path
        A text file with the columns start, stop and rate, rows in any order. Start and stop are
        numbers, counted from the start of the regimen; or all of them are ISO date-times of one
        clock, ``2024-03-01T08:30`` or ``2024-03-01T08:30:15``, without a UTC offset: then the
        regimen begins at the first of them.
    time
        Unit of start and stop where they are numbers.
    rate
        Unit of the rates: "ug/h", "ug/kg/h".
    delimiter
        What stands between two cells.

    Returns
    -------
    Regimen
        One infusion for each stretch of one rate, in the log's units.

    Raises
    ------
    PopkError
        With every problem found: file, line, column, found, expected, cure.
    """
    _check_units(str(path), time, rate)
    try:
        table = read_table(path, delimiter)
    except PopkError as error:
        problems = (replace(problem, expected=EXPECTED) for problem in error.problems)
        raise PopkError(*problems, unreadable=error.unreadable) from None
    problems = [*table.problems, *_missing_columns(table)]
    if any(name not in table.columns for name in COLUMNS):
        raise PopkError(*problems)
    log = _read(table)
    problems += [*_unreadable(log), *_impossible(log), *_overlapping(log)]
    if not problems and not (log.rate > 0.0).any():
        problems += [_of_file(table, "rate", "no rate above 0", "some dose", "check the column")]
    if problems:
        raise PopkError(*sorted(problems, key=lambda problem: problem.line or 0))
    steps = _steps(log, _whole if log.date_times else lambda length: in_text(length, time), rate)
    if len(steps) > MOST_STEPS:
        found, cure = f"{len(steps)} infusions and pauses", "write the log in several files"
        raise PopkError(_of_file(table, "rate", found, f"at most {MOST_STEPS}", cure))
    return Regimen(steps=tuple(steps))


def _check_units(file: str, time: str, rate: str) -> None:
    problems = []
    try:
        conversion_factor(time, "h")
    except UnitError as error:
        problems.append(
            Problem(
                file=file,
                key="time",
                found=f"the unit {time!r} ({error})",
                expected="a unit of time",
                cure='write time = "h", "min" or "day"',
            )
        )
    try:
        dose_in(f"1 {rate}", "ug", "h")
    except UnitError:
        problems.append(
            Problem(
                file=file,
                key="rate",
                found=f"the unit {rate!r}",
                expected="an amount per time such as 'ug/h', 'ug/kg/h' or 'ug/m^2/day'",
                cure="multiply a flow (mL/h) by the concentration of the syringe first",
            )
        )
    if problems:
        raise PopkError(*problems)


def _missing_columns(table: Table) -> Iterator[Problem]:
    others = [name for name in table.columns if name not in COLUMNS]
    for name in (name for name in COLUMNS if name not in table.columns):
        near = nearest(name, others)
        yield _of_file(
            table,
            name,
            f"no column {name}; the columns are {', '.join(table.columns)}",
            "the columns start, stop and rate",
            f"name the column {name}" + (f" (it may be {near!r})" if near else ""),
        )


def _of_file(table: Table, key: str, found: str, expected: str, cure: str) -> Problem:
    return Problem(file=table.file, key=key, found=found, expected=expected, cure=cure)


def _read(table: Table) -> _Log:
    text = table.columns
    date_times = any(_DATE.fullmatch(cell) for name in ("start", "stop") for cell in text[name])
    if not date_times:
        return _Log(table, *(read_numbers(n, text[n]).values for n in COLUMNS), date_times=False)
    moments = {name: [_moment(cell) for cell in text[name]] for name in ("start", "stop")}
    first = min((m for m in (*moments["start"], *moments["stop"]) if m is not None), default=None)
    return _Log(
        table,
        _seconds(moments["start"], first),
        _seconds(moments["stop"], first),
        read_numbers("rate", text["rate"]).values,
        date_times=True,
    )


def _moment(cell: str) -> datetime | None:
    if _DATE_TIME.fullmatch(cell) is None:
        return None
    try:
        return datetime.fromisoformat(cell)
    except ValueError:  # a 30th of February
        return None


def _seconds(moments: Sequence[datetime | None], first: datetime | None) -> Array:
    """Seconds since the first moment: a difference of whole seconds loses no digit."""
    return np.array(
        [np.nan if m is None or first is None else (m - first).total_seconds() for m in moments]
    )


def _unreadable(log: _Log) -> Iterator[Problem]:
    """Cells that hold nothing, or something else than the others of their column."""
    time = DATE_TIMES if log.date_times else "a number"
    time_cure = (
        "write all of start and stop as date-times, or all as numbers"
        if log.date_times
        else "write numbers, or date-times such as 2024-03-01T08:30 in all rows"
    )
    cures: Mapping[str, tuple[Array, str, str]] = {
        "start": (log.start, time, time_cure),
        "stop": (log.stop, time, time_cure),
        "rate": (log.rate, "a number", "write the rate, 0 where the pump stood still"),
    }
    for name, (values, expected, cure) in cures.items():
        cells = log.table.columns[name]
        yield from log.errors(
            np.isnan(values),
            name,
            lambda row, cells=cells: "nothing" if cells[row] in MISSING else repr(cells[row]),
            expected,
            cure,
        )


def _impossible(log: _Log) -> Iterator[Problem]:
    yield from log.errors(
        log.start < 0.0,
        "start",
        lambda row: log.says(row, "start"),
        "a start at 0 or later: the regimen begins at 0",
        "count the times from the first start",
    )
    yield from log.errors(
        log.stop <= up(log.start),
        "stop",
        lambda row: log.says(row, "start", "stop"),
        "a stop later than the start",
        "correct the two, or delete the row",
    )
    yield from log.errors(
        log.rate < 0.0,
        "rate",
        lambda row: log.says(row, "rate"),
        "a rate of 0 or more",
        "correct the sign",
    )


def _overlapping(log: _Log) -> Iterator[Problem]:
    """Rows that begin before an earlier one has ended."""
    rows = np.flatnonzero(log.stop > log.start)
    rows = rows[np.argsort(log.start[rows], kind="stable")]
    if not rows.size:
        return
    ends = np.maximum.accumulate(log.stop[rows])
    latest = rows[np.searchsorted(ends, ends)]  # the row that set each of these ends
    before = np.full(log.start.size, -1)
    before[rows[1:]] = latest[:-1]
    overlaps = np.zeros(log.start.size, dtype=bool)
    overlaps[rows[1:]] = up(log.start[rows[1:]]) < ends[:-1]
    yield from log.errors(
        overlaps,
        "start",
        lambda row: (
            f"{log.says(row, 'start')}, before line {log.table.line[before[row]]} ends "
            f"({log.says(before[row], 'stop')})"
        ),
        "one rate at a time: rows that do not overlap",
        "correct the times; where two pumps ran at once, write the sum of their rates",
    )


def _whole(seconds: float) -> str:
    """A time in hours or minutes where it is a whole number of them."""
    unit = next((unit for unit, long in SECONDS.items() if seconds % long == 0.0), "s")
    return in_text(seconds / SECONDS.get(unit, 1.0), unit)


def _steps(log: _Log, in_time: Callable[[float], str], rate: str) -> list[Step]:
    """Infusions and pauses from time 0 to the last stop."""
    order = np.argsort(log.start, kind="stable")
    pieces: list[tuple[float, float, float]] = []  # rate, begin, end
    rows = zip(*(values[order].tolist() for values in (log.rate, log.start, log.stop)), strict=True)
    for own_rate, start, stop in rows:
        reached = pieces[-1][2] if pieces else 0.0
        if start > up(reached):
            _append(pieces, 0.0, reached, start)
            reached = start
        _append(pieces, own_rate, reached, stop)
    return [
        Infusion(dose=in_text(r, rate), duration=in_time(end - begin))
        if r > 0.0
        else Pause(duration=in_time(end - begin))
        for r, begin, end in pieces
    ]


def _append(
    pieces: list[tuple[float, float, float]], rate: float, begin: float, end: float
) -> None:
    """Add a piece, or prolong the last one if it has the same rate."""
    if pieces and pieces[-1][0] == rate:
        begin = pieces.pop()[1]
    pieces.append((rate, begin, end))
