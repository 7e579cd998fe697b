"""Covariates of virtual infants under the names, units and codes that a data set declares.

What cannot be known is not guessed: a covariate in words or classes that are not known here is
left out, and what is assumed of a column without a unit or without words comes with a warning.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from popk.data.body_size import FORMULAS, body_surface_area
from popk.data.dataset import Array, Dataset
from popk.spec.problem import PopkError, Problem
from popk.spec.units import UnitError, conversion_factor, quantity

UNITS = {"AGE": "month", "WT": "kg", "HT": "cm", "BSA": "m^2"}
"""Of the covariates, where the data set does not declare others."""
OWN_UNITS = {"AGE": "day", "WT": "kg", "HT": "cm", "BSA": "m^2"}
"""In which they are computed."""
WORDS = {"female": 0, "f": 0, "girl": 0, "male": 1, "m": 1, "boy": 1}
"""What levels of SEX are called, in any case, and the codes where they have no words."""


class Infants(NamedTuple):
    """Body sizes at one or more times, and the formula of the body-surface area."""

    female: Bool[np.ndarray, " infant"]
    age_day: Float[np.ndarray, "infant knot"]
    length_cm: Float[np.ndarray, "infant knot"]
    weight_kg: Float[np.ndarray, "infant knot"]
    formula: str


class Declared(NamedTuple):
    """Covariates as a `Dataset` holds them, and what had to be assumed."""

    covariates: Mapping[str, Float[np.ndarray, "infant knot"]]
    units: Mapping[str, str | None]
    levels: Mapping[str, tuple[str, ...]]
    derived: Mapping[str, str]
    warnings: tuple[Problem, ...]


def as_declared(infants: Infants, like: Dataset) -> Declared:
    """AGE, WT, HT, BSA and SEX, and what else a data set derives from age, weight and length.

    Parameters
    ----------
    infants
        The infants.
    like
        The data set whose units and levels are followed.

    Raises
    ------
    PopkError
        If a unit there does not measure what its covariate is.
    """
    bsa = np.asarray(body_surface_area(infants.weight_kg, infants.length_cm, infants.formula))
    made = {"AGE": infants.age_day, "WT": infants.weight_kg, "HT": infants.length_cm, "BSA": bsa}
    # Of a covariate with levels only the file knows what its classes are
    numbers = [name for name in UNITS if name not in like.levels]
    units = {name: like.covariate_units.get(name) or UNITS[name] for name in numbers}
    factors = _factors(like, units)
    covariates = {name: made[name] * factors[name] for name in numbers}
    derived = {"BSA": f"{infants.formula}(WT, HT)"} if "BSA" in numbers else {}
    for name, values, unit in _derived(infants, like):
        covariates[name], units[name], derived[name] = values, unit, like.derived[name]
    levels = tuple(like.levels.get("SEX", ()))
    codes = _codes(levels)
    if codes is not None:
        sex = np.where(infants.female, *codes)
        covariates["SEX"] = np.broadcast_to(sex[:, None], infants.age_day.shape)
    return Declared(
        covariates,
        {**units, "SEX": None},
        {"SEX": levels} if levels and codes else {},
        derived,
        (
            *_unit_warnings(like, units),
            *_sex_warnings(like, codes),
            *_formula_warnings(like, derived),
        ),
    )


def _factors(like: Dataset, units: Mapping[str, str]) -> dict[str, float]:
    """From the units of computation to the declared ones."""
    factors, problems = {}, []
    for name, unit in units.items():
        try:
            factors[name] = conversion_factor(OWN_UNITS[name], unit)
        except UnitError as error:
            problems.append(
                Problem(
                    file=like.source,
                    key=f"columns.{name}.unit",
                    found=str(error),
                    expected=f"a unit that {UNITS[name]} converts to",
                    cure=f'correct it, for instance to unit = "{UNITS[name]}"',
                )
            )
    if problems:
        raise PopkError(*problems)
    return factors


def _derived(infants: Infants, like: Dataset) -> Iterator[tuple[str, Array, str]]:
    """Name, values and unit of what a data set derives from AGE, WT and HT, under other names."""
    for name, text in like.derived.items():
        unit = like.covariate_units.get(name)
        if name in UNITS or unit is None:
            continue
        size = re.fullmatch(r"(\w+)\(WT, HT\)", text)
        age = re.fullmatch(r"AGE \+ (\d.*)", text)
        if size and size[1] in FORMULAS:
            area = body_surface_area(infants.weight_kg, infants.length_cm, size[1])
            yield name, np.asarray(area) * conversion_factor("m^2", unit), unit
        elif age:
            since_birth = infants.age_day * conversion_factor("day", unit)
            yield name, since_birth + quantity(age[1], unit), unit


def _codes(levels: tuple[str, ...]) -> tuple[float, float] | None:
    """What a girl and what a boy is coded; None if the levels are other words."""
    if not levels:
        return float(WORDS["female"]), float(WORDS["male"])
    known = {
        WORDS[word.lower()]: float(i) for i, word in enumerate(levels) if word.lower() in WORDS
    }
    return (known[WORDS["female"]], known[WORDS["male"]]) if len(known) == 2 else None


def _unit_warnings(like: Dataset, units: Mapping[str, str | None]) -> Iterator[Problem]:
    for name, unit in units.items():
        if name in like.covariates and not like.covariate_units.get(name):
            yield Problem(
                file=like.source,
                key=f"columns.{name}.unit",
                found=f"no unit of {name}; virtual infants have it in {unit}",
                expected="the unit of the column, which must be the same",
                cure=f'declare it: {name} = {{covariate = true, unit = "{unit}"}}',
                severity="warning",
            )


def _sex_warnings(like: Dataset, codes: tuple[float, float] | None) -> Iterator[Problem]:
    if codes is None:
        found = f"the levels {', '.join(like.levels['SEX'])}; virtual infants have no SEX"
    elif "SEX" in like.covariates and "SEX" not in like.levels:
        found = f"numbers; virtual infants are {codes[0]:g} (female) and {codes[1]:g} (male)"
    else:
        return
    yield Problem(
        file=like.source,
        key="columns.SEX.levels",
        found=found,
        expected="the words male and female where the model uses SEX",
        cure='write them in the column and SEX = {covariate = true, levels = ["male", "female"]}',
        severity="warning",
    )


def _formula_warnings(like: Dataset, derived: Mapping[str, str]) -> Iterator[Problem]:
    theirs, ours = like.derived.get("BSA"), derived.get("BSA")
    if theirs and ours and theirs != ours:
        yield Problem(
            file=like.source,
            key="derived.BSA",
            found=f"BSA by {theirs}; that of virtual infants is by {ours}",
            expected="one formula for both",
            cure="draw the infants with the formula of the data",
            severity="warning",
        )
