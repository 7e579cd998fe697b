"""NONMEM-style data: from a CSV file to a `Dataset`, or to all that is wrong with the file.

What each item means follows NONMEM: EVID 0 to 4 (inferred from AMT and RATE where absent), MDV,
RATE (DUR must agree), ADDL and II, SS 1 and 2, resets, ``#`` and a leading column C for comments.
The modules beside this one each read one kind of item: `table` the text, `columns` and
`item_units` what the columns mean, `times`, `events`, `doses`, `observations` and `covariates` the
rows; `subjects` checks what only the whole record of a subject can tell.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from popk.data.dataset import Dataset
from popk.data.nonmem.cells import Items, Numbers, Places, read_numbers, unreadable_cells
from popk.data.nonmem.columns import Columns, assign_columns, unknown_column
from popk.data.nonmem.covariates import read_covariates, same_value
from popk.data.nonmem.doses import dose_problems, read_doses
from popk.data.nonmem.events import event_problems, order_problems, read_evid
from popk.data.nonmem.item_units import convert_items
from popk.data.nonmem.observations import observation_problems, read_limits, read_observations
from popk.data.nonmem.subjects import Layout, subject_problems
from popk.data.nonmem.table import NUMBER, Table, read_table
from popk.data.nonmem.times import holds_datetimes, read_times
from popk.spec.fit import Column, DataSpec
from popk.spec.problem import PopkError, Problem


def read_data(path: str | Path, spec: DataSpec | None = None) -> Dataset:
    """Read a NONMEM-style data file.

    Parameters
    ----------
    path
        A delimited text file in UTF-8 with at least the columns ID, TIME, AMT and DV.
    spec
        What the columns mean, their units, which rows to read; by default the columns carry the
        names of NONMEM's items and their units are undeclared. A row is read if, for every column
        in ``rows.accept``, it has one of the values there, and none of those in ``rows.ignore``.

    Returns
    -------
    Dataset
        The rows in file order; its `warnings` say what is allowed but deserves a look.

    Raises
    ------
    PopkError
        With every problem found in the file.
    """
    spec = DataSpec() if spec is None else spec
    table = read_table(path, spec.delimiter, _comment_column(spec))
    columns = assign_columns(table, spec)
    problems = [*table.problems, *columns.problems]
    table, found = _filter_rows(table, spec)
    problems += found
    if "ID" not in columns.items or table.rows == 0:
        raise PopkError(*_in_order(problems))
    subject = _subjects(table.columns[columns.items["ID"]])
    places = Places(table.file, table.line, subject)
    time = columns.items.get("TIME")
    datetimes = time is not None and holds_datetimes(table.columns[time])
    conversion = convert_items(table.file, columns, spec, datetimes=datetimes)
    items, found = _read_items(places, table, columns, conversion.factors)
    covariates = read_covariates(places, columns.covariates, table.columns, spec)
    limits, limit_problems = read_limits(items, spec.assay, conversion.units.concentration)
    problems += [*conversion.problems, *found, *covariates.problems, *limit_problems]
    if not columns.complete:
        raise PopkError(*_in_order(problems))
    evid = read_evid(items)
    observations = read_observations(items, evid, limits)
    layout = Layout.of(subject)
    problems += [
        *event_problems(items, evid),
        *order_problems(items, evid),
        *dose_problems(items, evid),
        *observation_problems(items, evid, limits),
    ]
    # a row that is missing or belongs to nobody could be the very dose that a subject lacks
    if not table.problems and not items.missing("ID").any():
        problems += subject_problems(items, evid, observations, layout)
    problems = _in_order(problems)
    if any(problem.severity == "error" for problem in problems):
        raise PopkError(*problems)
    doses = read_doses(items, evid)
    return Dataset(
        source=table.file,
        sha256=table.sha256,
        ids=layout.ids,
        units=conversion.units,
        line=layout.spread(table.line),
        mask=layout.spread(np.ones(table.rows, dtype=np.bool_)),
        time=layout.spread(items.values("TIME"), pad="last"),
        evid=layout.spread(evid),
        amount=layout.spread(doses.amount),
        rate=layout.spread(doses.rate),
        ss=layout.spread(doses.ss),
        addl=layout.spread(doses.addl),
        interval=layout.spread(doses.interval),
        observed=layout.spread(observations.observed),
        dv=layout.spread(observations.dv, pad=np.nan),
        censoring=layout.spread(observations.censoring),
        lower=layout.spread(observations.lower, pad=np.nan),
        upper=layout.spread(observations.upper, pad=np.nan),
        covariates={n: layout.spread(v, pad="last") for n, v in covariates.values.items()},
        covariate_units=covariates.units,
        levels=covariates.levels,
        derived=covariates.derived,
        interpolation=spec.interpolation,
        ignored=columns.ignored,
        warnings=problems,
    )


def _comment_column(spec: DataSpec) -> str | None:
    """Name of the column whose letters comment a row, if it is the first one."""
    declared = next((name for name, column in spec.columns.items() if column.item == "C"), None)
    if declared is not None:
        return declared
    column = spec.columns.get("C", Column())
    return None if column.covariate or column.ignore or column.item else "C"


def _filter_rows(table: Table, spec: DataSpec) -> tuple[Table, list[Problem]]:
    """Keep the rows that the specification accepts and does not ignore."""
    keep = np.ones(table.rows, dtype=np.bool_)
    problems = []
    for rule, wanted, columns in (
        ("accept", True, spec.rows.accept),
        ("ignore", False, spec.rows.ignore),
    ):
        for name, values in columns.items():
            if name not in table.columns:
                key = f"rows.{rule}.{name}"
                problems.append(unknown_column(table.file, key, name, table.columns))
                continue
            cells = table.columns[name]
            known = {cell: any(same_value(cell, v) for v in values) for cell in set(cells)}
            keep &= np.array([known[cell] == wanted for cell in cells], dtype=np.bool_)
    if table.rows and not keep.any():
        problems.append(
            Problem(
                file=table.file,
                key="rows",
                found=f"no row left of {table.rows}",
                expected="rows that are accepted and not ignored",
                cure="check the values under [rows] accept and ignore",
            )
        )
    return table.keep(keep), problems


def _subjects(text: Sequence[str]) -> list[str]:
    """[row] subjects, named as they first stand; equal numbers (``1``, ``1.0``) are one subject."""
    names: dict[str | float, str] = {}
    known: dict[str, str] = {}
    for cell in text:
        if cell not in known:
            same: str | float = float(cell) if NUMBER.fullmatch(cell) else cell
            known[cell] = names.setdefault(same, cell)
    return [known[cell] for cell in text]


def _read_items(
    places: Places, table: Table, columns: Columns, factors: Mapping[str, float]
) -> tuple[Items, list[Problem]]:
    """Read every item's column as numbers in the Dataset's units."""
    numbers: dict[str, Numbers] = {}
    problems: list[Problem] = []
    for item, name in columns.items.items():
        text = table.columns[name]
        if item == "C":
            continue
        if item == "ID":
            numbers[item] = _as_labels(read_numbers(name, text))
        elif item == "TIME":
            numbers[item], found = read_times(places, name, text)
            problems += found
        else:
            column = read_numbers(name, text)
            problems += unreadable_cells(places, column)
            numbers[item] = column.scaled(factors.get(item, 1.0))
    return Items(places, numbers), problems


def _as_labels(column: Numbers) -> Numbers:
    """A column of which any word is a value."""
    readable: NDArray[np.bool_] = np.zeros(len(column.text), dtype=np.bool_)
    return Numbers(column.name, column.text, column.values, column.missing, readable)


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems of the whole file first, then those of its lines from top to bottom."""
    return tuple(sorted(problems, key=lambda p: (p.line is not None, p.line or 0)))
