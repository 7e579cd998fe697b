"""Body size (and age) that doses go by: looked up in a data set, in popk's units."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from popk.data.dataset import Array, Dataset
from popk.data.grid import SAME_TIME
from popk.spec.problem import PopkError, Problem
from popk.spec.steps import COVARIATE_UNITS
from popk.spec.units import UnitError, conversion_factor

HOW = {
    "BSA": '[derived] BSA = {formula = "haycock"}, from WT and HT',
    "WT": '[columns] WT = {covariate = true, unit = "kg"}',
    "AGE": '[columns] AGE = {covariate = true, unit = "month"}',
}
"""How each covariate is declared in a fit file."""


def require_covariates(cohort: Dataset, asked: Mapping[str, str]) -> None:
    """Raise a `PopkError` for every covariate, with what asks for it, that cannot be used."""
    problems = [p for name, by in asked.items() for p in _problems(cohort, name, by)]
    if problems:
        raise PopkError(*problems)


def covariate_at(cohort: Dataset, name: str, time: float) -> Float[np.ndarray, " subject"]:
    """A covariate at the last record at or before a time, else at the first one.

    In the unit of `COVARIATE_UNITS`.
    """
    reached = one_row(cohort.mask) & (one_row(cohort.time) <= up(time))
    record = np.maximum(reached.sum(axis=1) - 1, 0)
    values = cohort.covariates[name]
    own = values[:, record[0]] if len(record) == 1 else values[np.arange(len(record)), record]
    return own * conversion_factor(cohort.covariate_units[name] or "", COVARIATE_UNITS[name])


def one_row(values: np.ndarray) -> np.ndarray:
    """[1, ...] where an array is a view of one row for all subjects, else all of it."""
    return values[:1] if values.strides[0] == 0 else values


def up(time: ArrayLike) -> Array:
    """The last time that counts as the same."""
    return np.add(time, SAME_TIME * np.maximum(1.0, np.abs(time)))


def _problems(cohort: Dataset, name: str, by: str) -> Iterator[Problem]:
    unit = COVARIATE_UNITS[name]
    if name not in cohort.covariates:
        yield Problem(
            file=cohort.source,
            key=name,
            found=f"{by}, and no covariate {name}; known are: "
            f"{', '.join(cohort.covariates) or 'none'}",
            expected=f"{name} of each subject",
            cure=f"declare it: {HOW[name]}; or write doses that do not depend on it",
        )
        return
    declared = cohort.covariate_units.get(name)
    try:
        conversion_factor(declared or "", unit)
    except UnitError:
        yield Problem(
            file=cohort.source,
            key=name,
            found=f"{by}, and {name} in {declared or 'no declared unit'}",
            expected=f"a unit that can be converted to {unit}",
            cure=f"declare it: {HOW[name]}",
        )
        return
    values = cohort.covariates[name]
    wrong = np.flatnonzero(~((values >= 0) if name == "AGE" else (values > 0)).all(axis=1))
    if wrong.size:
        yield Problem(
            file=cohort.source,
            subject=cohort.ids[wrong[0]],
            key=name,
            found=f"{by}, and {name} = {values[wrong[0]].min():g} "
            f"(in {wrong.size} of {cohort.subjects} subjects)",
            expected="an age of 0 or more" if name == "AGE" else f"a {name} above 0",
            cure="correct the value in the data",
        )
