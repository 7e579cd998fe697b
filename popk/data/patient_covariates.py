"""A new patient's covariates, in the units, coding and formulas of a fit's data."""

import re
from collections.abc import Mapping

from popk.data.body_size import FORMULAS, body_surface_area
from popk.data.dataset import Dataset
from popk.data.nonmem.columns import nearest
from popk.data.nonmem.covariates import same_value
from popk.spec.model import ModelSpec
from popk.spec.patient import PatientSpec
from popk.spec.problem import PopkError, Problem
from popk.spec.steps import COVARIATE_UNITS
from popk.spec.units import UnitError, conversion_factor, quantity

Units = Mapping[str, str | None]


def units_for(like: Dataset) -> dict[str, str | None]:
    """Units of the covariates that a patient may have: the data's, and those that doses use."""
    return {**COVARIATE_UNITS, **{name: like.covariate_units.get(name) for name in like.covariates}}


def patient_covariates(patient: PatientSpec, like: Dataset, model: ModelSpec) -> dict[str, float]:
    """Every covariate that is written or can be derived, by name.

    Parameters
    ----------
    patient
        What was written.
    like
        The fit's data.
    model
        Its covariates must be there.

    Returns
    -------
    dict
        Numbers in the units of `units_for`; of a category the index of its level.

    Raises
    ------
    PopkError
        Naming each covariate that is unknown, in a wrong unit, not above 0 where another is
        derived from it, or missing.
    """
    units = units_for(like)
    values: dict[str, float] = {}
    problems: list[Problem] = []
    for name, written in patient.covariates.items():
        try:
            values[name] = _value(patient, name, written, units, like)
        except PopkError as error:
            problems += error.problems
    if problems:
        raise PopkError(*problems)
    for name, formula in like.derived.items():
        if name not in patient.covariates:
            found = _derived(patient, name, formula, values, units)
            values |= {} if found is None else {name: found}
    missing = [name for name in model.covariate_names if name not in values]
    if missing:
        raise PopkError(*(_missing(patient, name, like, units, model) for name in missing))
    return values


def _fault(patient: PatientSpec, name: str, found: str, expected: str, cure: str) -> Problem:
    key = f"covariates.{name}"
    return Problem(file=patient.file, key=key, found=found, expected=expected, cure=cure)


def _value(
    patient: PatientSpec, name: str, written: str | float, units: Units, like: Dataset
) -> float:
    if name not in units:
        near = nearest(name, units)
        expected = (
            f"one of the fit's data: {', '.join(like.covariates) or 'none'}; or, for "
            f"doses, {', '.join(COVARIATE_UNITS)}"
        )
        cure = f"did you mean {near!r}?" if near else "remove it"
        raise PopkError(_fault(patient, name, f"the unknown covariate {name}", expected, cure))
    if name in like.levels:
        words = like.levels[name]
        index = next((i for i, word in enumerate(words) if same_value(str(written), word)), None)
        if index is None:
            expected = f"one of {', '.join(words)}"
            cure = f"write {name} = {words[0]!r}"
            raise PopkError(_fault(patient, name, repr(written), expected, cure))
        return float(index)
    unit = units[name]
    try:
        return quantity(written, unit)
    except UnitError as error:
        found = f"{written!r} ({error})"
        expected, cure = (
            (f"a quantity that can be converted to {unit}", f'write {name} = "... {unit}"')
            if unit
            else (f"a plain number: the fit's data declare no unit of {name}", "leave the unit out")
        )
        raise PopkError(_fault(patient, name, found, expected, cure)) from None


def _missing(
    patient: PatientSpec, name: str, like: Dataset, units: Units, model: ModelSpec
) -> Problem:
    formula = like.derived.get(name)
    unit = f" {units[name]}" if units.get(name) else ""
    return _fault(
        patient,
        name,
        f"no value of {name}",
        f"{name}, which the model {model.name!r} uses"
        + (f"; in the fit's data it is {formula}" if formula else ""),
        f'add {name} = "...{unit}" under [covariates]'
        + (", or what it is computed from" if formula else ""),
    )


def _derived(
    patient: PatientSpec, name: str, formula: str, values: Mapping[str, float], units: Units
) -> float | None:
    """A covariate by its formula in `Dataset.derived`; None where something for it is missing."""

    def of(covariate: str, unit: str) -> float:
        return values[covariate] * conversion_factor(units[covariate] or "", unit)

    area = re.fullmatch(r"(\w+)\((.+), (.+)\)", formula)
    if area is not None and area[1] in FORMULAS:
        if not {area[2], area[3]} <= values.keys():
            return None
        for covariate in (area[2], area[3]):
            if not values[covariate] > 0.0:
                expected = f"a value above 0, from which {name} is computed"
                found = repr(patient.covariates[covariate])
                raise PopkError(_fault(patient, covariate, found, expected, "correct it"))
        return float(body_surface_area(of(area[2], "kg"), of(area[3], "cm"), area[1]))
    age, _, gestation = formula.partition(" + ")
    if age not in values:
        return None
    if gestation[:1].isdigit():
        return of(age, "week") + quantity(gestation, "week")
    return of(age, "week") + of(gestation, "week") if gestation in values else None
