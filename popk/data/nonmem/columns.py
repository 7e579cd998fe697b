"""Which column of the file is which data item or covariate."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from popk.data.nonmem.table import Table
from popk.spec.fit import Column, DataSpec, Item
from popk.spec.problem import Problem

ITEMS: tuple[str, ...] = get_args(Item)
REQUIRED = ("ID", "TIME", "AMT", "DV")

# Read in another case they would change what a row means; a lone "c" is common and harmless.
WITH_ROLE = frozenset(ITEMS) - {"C"}


@dataclass(frozen=True)
class Columns:
    """What the columns of one file mean.

    Attributes
    ----------
    items
        Data item to the name of its column.
    covariates
        Names of the covariate columns, in the order of the specification.
    ignored
        Columns that nothing uses, in file order.
    problems
        What is wrong with the names.
    """

    items: Mapping[str, str]
    covariates: tuple[str, ...]
    ignored: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def complete(self) -> bool:
        """True where all columns are there without which no row can be read."""
        return all(item in self.items for item in REQUIRED)


def assign_columns(table: Table, spec: DataSpec) -> Columns:
    """Match the file's columns with data items and covariates, by name and by specification."""
    names = [name for name in table.columns if name]
    problems = [_unknown(table.file, name, names) for name in spec.columns if name not in names]
    items: dict[str, str] = {}
    for position, name in enumerate(names):
        column = spec.columns.get(name, Column())
        if column.covariate or column.ignore:
            continue
        item = column.item or (name if name in ITEMS else None)
        if item == "C" and position > 0:
            if column.item is not None:
                problems.append(_not_leading(table.file, name))
            continue
        if item is None:
            if name in spec.columns:
                problems.append(_meaningless(table.file, name))
            continue
        if item in items:
            problems.append(
                Problem(
                    file=table.file,
                    key=name,
                    found=f"two columns for {item}: {items[item]!r} and {name!r}",
                    expected="one",
                    cure=f"write [columns] {toml_key(name)} = {{ignore = true}} for the other one",
                )
            )
            continue
        items[item] = name
    used = {*items.values(), *spec.rows.accept, *spec.rows.ignore}
    covariates = tuple(n for n, c in spec.columns.items() if c.covariate and n in names)
    ignored = tuple(name for name in names if name not in used and name not in covariates)
    problems += [_missing(table.file, i, names, items) for i in REQUIRED if i not in items]
    problems += [
        _misspelt(table.file, name)
        for name in ignored
        if name not in spec.columns
        and name.upper() in WITH_ROLE
        and name.upper() not in {*items, *REQUIRED}
    ]
    return Columns(items, covariates, ignored, tuple(problems))


def unknown_column(file: str, key: str, name: str, names: Iterable[str]) -> Problem:
    """A column that the specification speaks of and the file lacks."""
    names = list(names)
    near = nearest(name, names)
    return Problem(
        file=file,
        key=key,
        found=f"no column {name!r} in the file",
        expected=f"one of {', '.join(names)}",
        cure=f"did you mean {near!r}?" if near else "correct the name or delete the entry",
    )


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that most resembles `name`, apart from case; None where none does."""
    by_lower = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def _unknown(file: str, name: str, names: list[str]) -> Problem:
    return unknown_column(file, f"columns.{name}", name, names)


def _meaningless(file: str, name: str) -> Problem:
    return Problem(
        file=file,
        key=f"columns.{name}",
        found=f"an entry that does not say what {name!r} is",
        expected="a data item, a covariate or a column to ignore",
        cure=f"add covariate = true, item = ... or ignore = true to [columns] {toml_key(name)}",
    )


def _not_leading(file: str, name: str) -> Problem:
    return Problem(
        file=file,
        key=f"columns.{name}",
        found=f"item C for {name!r}, which is not the first column",
        expected="comments in the first column only",
        cure=f"move the column to the front, or use [rows] ignore with {name!r}",
    )


def _missing(file: str, item: str, names: list[str], items: Mapping[str, str]) -> Problem:
    near = nearest(item, [name for name in names if name not in items.values()])
    cure = f'name it: [columns] {toml_key(near or "...")} = {{item = "{item}"}}'
    return Problem(
        file=file,
        key=item,
        found=f"no column {item} among {', '.join(names)}",
        expected=f"the columns {', '.join(REQUIRED)}",
        cure=f"did you mean {near!r}? declare {cure.removeprefix('name it: ')}" if near else cure,
    )


def _misspelt(file: str, name: str) -> Problem:
    item = name.upper()
    return Problem(
        file=file,
        key=name,
        found=f"a column {name!r}, which is not read as {item}",
        expected=f"the exact name {item}, or a word on what the column is",
        cure=f'declare [columns] {toml_key(name)} = {{item = "{item}"}} (or {{ignore = true}})',
    )


def toml_key(name: str) -> str:
    """A column's name as a TOML key."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_text(name)


def toml_text(value: str) -> str:
    """A TOML string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'
