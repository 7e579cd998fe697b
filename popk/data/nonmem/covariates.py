"""Covariates: columns of numbers or of words, and those derived from other covariates."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from popk.data.body_size import body_surface_area
from popk.data.nonmem.cells import MISSING, Array, Numbers, Places, read_numbers, unreadable_cells
from popk.data.nonmem.columns import nearest, toml_key
from popk.data.nonmem.table import NUMBER
from popk.spec.fit import BodySurfaceArea, Column, DataSpec, PostmenstrualAge
from popk.spec.problem import Problem
from popk.spec.units import UnitError, conversion_factor, quantity


@dataclass(frozen=True, eq=False)
class Covariates:
    """All covariates of a file.

    Attributes
    ----------
    values
        Name to [row] values in the covariate's unit, or indices into its levels.
    units
        Name to unit, None for a pure number.
    levels
        Name to the words of a categorical covariate.
    derived
        Name of a derived covariate to what it was derived by.
    problems
        What is wrong with them; values are NaN there.
    """

    values: Mapping[str, Array]
    units: Mapping[str, str | None]
    levels: Mapping[str, tuple[str, ...]]
    derived: Mapping[str, str]
    problems: tuple[Problem, ...]


def read_covariates(
    places: Places,
    names: Sequence[str],
    text: Mapping[str, Sequence[str]],
    spec: DataSpec,
) -> Covariates:
    """Read the covariate columns and compute the derived ones.

    Parameters
    ----------
    places
        Where the rows stand.
    names
        The covariate columns.
    text
        Column name to cells.
    spec
        Units, levels and formulas.
    """
    columns: dict[str, Numbers] = {}
    problems: list[Problem] = []
    for name in names:
        levels = spec.columns[name].levels
        column = (
            _read_levels(name, text[name], levels) if levels else read_numbers(name, text[name])
        )
        problems += _column_problems(places, column, spec.columns[name])
        columns[name] = column
    values = {name: column.values for name, column in columns.items()}
    units = {name: spec.columns[name].unit for name in names}
    derived: dict[str, str] = {}
    for name, formula in spec.derived.items():
        if name in names:
            problems.append(_twice(places.file, name))
            continue
        if isinstance(formula, BodySurfaceArea):
            result, unit, found = _body_surface_area(places, name, formula, columns, spec)
            derived[name] = f"{formula.formula}({formula.weight}, {formula.height})"
        else:
            result, unit, found = _postmenstrual_age(places, name, formula, columns, spec)
            derived[name] = f"{formula.age} + {formula.gestation}"
        problems += found
        values[name], units[name] = result, unit
    levels = {name: spec.columns[name].levels for name in names if spec.columns[name].levels}
    return Covariates(values, units, levels, derived, tuple(problems))


def _read_levels(name: str, text: Sequence[str], levels: tuple[str, ...]) -> Numbers:
    """Indices into `levels`; ``1.0`` in the file is the level ``1``."""
    known = {cell: _level(cell, levels) for cell in set(text)}
    missing = np.array([cell in MISSING and known[cell] is None for cell in text], dtype=np.bool_)
    values = np.array(
        [np.nan if (k := known[cell]) is None else k for cell in text], dtype=np.float64
    )
    return Numbers(name, text, values, missing, np.isnan(values) & ~missing)


def _level(cell: str, levels: tuple[str, ...]) -> int | None:
    return next((code for code, level in enumerate(levels) if same_value(cell, level)), None)


def same_value(cell: str, value: str | float) -> bool:
    """Tell whether a cell holds a value: as numbers if both are numbers, else letter by letter."""
    if NUMBER.fullmatch(cell) and (not isinstance(value, str) or NUMBER.fullmatch(value)):
        return float(cell) == float(value)
    return cell == value


def _column_problems(places: Places, column: Numbers, declared: Column) -> Iterator[Problem]:
    yield from places.errors(
        column.missing,
        column.name,
        f"no value of {column.name}",
        "a covariate's value on every row, dose rows included",
        "fill it in (a baseline value is repeated on every row of its subject)",
    )
    if declared.levels:
        yield from places.errors(
            column.unreadable,
            column.name,
            lambda row: repr(column.text[row]),
            f"one of {', '.join(declared.levels)}",
            f"correct the cell, or add the word to [columns] {toml_key(column.name)} levels",
        )
        return
    words = {column.text[row] for row in np.flatnonzero(column.unreadable).tolist()}
    all_letters = bool(words) and all(word.isalpha() and len(word) > 2 for word in words)
    yield from unreadable_cells(
        places,
        column,
        f"if {column.name} is a category, declare its words: [columns] {toml_key(column.name)} "
        "= {covariate = true, levels = [...]}"
        if all_letters and not words & {"NaN", "nan", "NAN", "inf", "Inf", "INF"}
        else None,
    )


Derivation = tuple[Array, str, list[Problem]]


def _body_surface_area(
    places: Places,
    name: str,
    formula: BodySurfaceArea,
    columns: Mapping[str, Numbers],
    spec: DataSpec,
) -> Derivation:
    """Body-surface area (m²) from weight and height in any unit."""
    key = f"derived.{name}"
    nothing = np.full(len(places.line), np.nan)
    weight, problems = _converted(places.file, f"{key}.weight", formula.weight, "kg", columns, spec)
    height, more = _converted(places.file, f"{key}.height", formula.height, "cm", columns, spec)
    problems = [*problems, *more]
    if weight is None or height is None:
        return nothing, "m^2", problems
    for column in (weight, height):
        problems += places.errors(
            column.values <= 0,
            column.name,
            column,
            f"a value above 0, from which {name} is computed",
            "correct the cell",
        )
    usable = (weight.values > 0) & (height.values > 0)
    nothing[usable] = body_surface_area(
        weight.values[usable], height.values[usable], formula.formula
    )
    return nothing, "m^2", problems


def _postmenstrual_age(
    places: Places,
    name: str,
    formula: PostmenstrualAge,
    columns: Mapping[str, Numbers],
    spec: DataSpec,
) -> Derivation:
    """Postmenstrual age (week): postnatal age plus gestational age at birth."""
    key = f"derived.{name}"
    age, problems = _converted(places.file, f"{key}.age", formula.age, "week", columns, spec)
    if formula.gestation in columns or not formula.gestation[:1].isdigit():
        column, more = _converted(
            places.file, f"{key}.gestation", formula.gestation, "week", columns, spec
        )
        problems = [*problems, *more]
        gestation = None if column is None else column.values
    else:
        try:
            gestation = quantity(formula.gestation, "week")
        except UnitError as error:
            gestation = None
            problems.append(
                Problem(
                    file=places.file,
                    key=f"{key}.gestation",
                    found=f"{formula.gestation!r} ({error})",
                    expected="a time such as '40 week', or the name of a covariate column",
                    cure="correct it",
                )
            )
    if age is None or gestation is None:
        return np.full(len(places.line), np.nan), "week", problems
    return age.values + gestation, "week", problems


def _converted(
    file: str,
    key: str,
    name: str,
    target: str,
    columns: Mapping[str, Numbers],
    spec: DataSpec,
) -> tuple[Numbers | None, list[Problem]]:
    """A covariate column in the unit that a formula wants, or why there is none."""

    def fault(found: str, expected: str, cure: str) -> tuple[None, list[Problem]]:
        return None, [Problem(file=file, key=key, found=found, expected=expected, cure=cure)]

    declaration = f'[columns] {toml_key(name)} = {{covariate = true, unit = "{target}"}}'
    if name not in columns:
        near = nearest(name, columns)
        return fault(
            f"{name!r}, which is no covariate column of the file",
            f"one of the covariates declared in [columns]: {', '.join(columns) or 'none'}",
            f"declare it: {declaration}" + (f" (or did you mean {near!r}?)" if near else ""),
        )
    unit = spec.columns[name].unit
    if unit is None:
        return fault(
            f"no unit for {name}",
            f"a unit that can be converted to {target}",
            f"declare it: {declaration}",
        )
    try:
        return columns[name].scaled(conversion_factor(unit, target)), []
    except UnitError as error:
        return fault(str(error), f"a unit that can be converted to {target}", "correct the unit")


def _twice(file: str, name: str) -> Problem:
    return Problem(
        file=file,
        key=f"derived.{name}",
        found=f"a derived covariate {name} beside a covariate column {name}",
        expected="one of them",
        cure="give the derived covariate another name, or delete one of the two entries",
    )
