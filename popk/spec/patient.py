"""What a user writes of one new infant: covariates, doses so far, samples, and a target.

In TOML::

    id = "new-1"
    [covariates]
    AGE = "5.2 month"
    WT = "7.1 kg"
    HT = "65 cm"
    [[given]]
    infusion = "15 ug/m^2/day"
    duration = "28 day"
    [[samples]]
    time = "24 h"
    DV = "650 pg/mL"
    [[samples]]
    time = "30 h"
    below = "50 pg/mL"
    [target]
    window = ["500 pg/mL", "900 pg/mL"]

Instead of [[given]] there may be ``regimen = "standard"``: a ready one, or a file beside this one.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator
from pydantic.json_schema import SkipJsonSchema

from popk.spec.problem import PopkError, Problem
from popk.spec.record import Record, read_record
from popk.spec.regimen import Regimen, read_regimen
from popk.spec.steps import AnyStep
from popk.spec.units import UnitError, quantity, split_quantity

CONCENTRATION = "mg/L"
"""In which concentrations are compared with one another."""


def _concentration(value: Any) -> Any:
    expected = (
        "a concentration above 0, such as '650 pg/mL' (what the assay did not find is "
        "below = its lower limit)"
    )
    try:
        found = _number(value, CONCENTRATION)
    except UnitError as error:
        raise ValueError(f"{expected}: {error}") from None
    if not found > 0.0:
        raise ValueError(expected)
    return value


def _time(value: Any) -> Any:
    try:
        _number(value, "h")
    except UnitError as error:
        raise ValueError(f"a time since the start, such as '24 h': {error}") from None
    return value


def _number(value: Any, unit: str) -> float:
    """A quantity in this unit, or a plain number as it is."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnitError("it is no quantity")
    found = quantity(value, unit)
    if not math.isfinite(found):
        raise UnitError("it is not finite")
    return found


def _rising(low: str | float, high: str | float) -> bool:
    """Whether two concentrations rise.

    Raises
    ------
    ValueError
        If one has a unit and the other has none.
    """
    units = [isinstance(value, str) and bool(split_quantity(value)[1]) for value in (low, high)]
    if units[0] != units[1]:
        raise ValueError("both bounds with their unit, or both as plain numbers")
    return _number(low, CONCENTRATION) < _number(high, CONCENTRATION)


def _window(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("two concentrations, such as ['500 pg/mL', '900 pg/mL']")
    low, high = (_concentration(bound) for bound in value)
    if not _rising(low, high):
        raise ValueError(f"the lower bound first: [{high!r}, {low!r}]")
    return (low, high)


def _covariate(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("a value with its unit, such as '7.1 kg', a plain number, or a level")
    return value


Concentration = Annotated[str | FiniteFloat, BeforeValidator(_concentration)]
"""With its unit, or a plain number in the unit of the fit's data."""
Time = Annotated[str | FiniteFloat, BeforeValidator(_time)]


class Sample(Record):
    """One measurement.

    time
        Since the start of what was given, "24 h".
    DV
        The concentration that was measured, "650 pg/mL".
    below, above
        Instead of it the limit of the assay that the true value lies below, or above; both where
        it lies between two values.
    """

    time: Time
    DV: Concentration | None = None
    below: Concentration | None = None
    above: Concentration | None = None

    @model_validator(mode="after")
    def _one_result(self) -> "Sample":
        censored = self.below is not None or self.above is not None
        if censored == (self.DV is not None):
            raise ValueError('one result: DV = "650 pg/mL", or a limit: below = ..., above = ...')
        if (
            self.below is not None
            and self.above is not None
            and not _rising(self.above, self.below)
        ):
            raise ValueError("a value that lies above the lower and below the higher limit")
        return self


class Target(Record):
    """What the concentration at steady state is to be.

    css
        One concentration, "700 pg/mL".
    window
        Instead of it the lowest and the highest one.
    """

    css: Concentration | None = None
    window: (
        Annotated[tuple[str | FiniteFloat, str | FiniteFloat], BeforeValidator(_window)] | None
    ) = None

    @model_validator(mode="after")
    def _one_target(self) -> "Target":
        if (self.css is None) == (self.window is None):
            raise ValueError('one target: css = "700 pg/mL" or window = ["500 pg/mL", "900 pg/mL"]')
        return self


class PatientSpec(Record):
    """One new infant.

    id
        How it is called; not as anyone in the fit's data.
    covariates
        Name to a value with its unit, or a plain number or a level as in the fit's data. What
        the data derive from others (BSA) is derived here too, unless it is given.
    given
        What has been and is to be infused, from time 0.
    regimen
        Instead of it a regimen's name or file.
    samples, target
        Measurements so far, and where the concentration is wanted.
    file
        Where this was read from; `read_patient` says it.
    """

    id: Annotated[str, Field(coerce_numbers_to_str=True, min_length=1)] = "new"
    covariates: dict[str, Annotated[str | FiniteFloat, BeforeValidator(_covariate)]] = Field(
        default_factory=dict
    )
    given: tuple[AnyStep, ...] = ()
    regimen: str | None = None
    samples: tuple[Sample, ...] = ()
    target: Target | None = None
    file: SkipJsonSchema[str] = "patient"


def read_patient(path: str | Path) -> PatientSpec:
    """Read and validate a patient file.

    Parameters
    ----------
    path
        A TOML file such as ``fits/blinatumomab-infants/patient.toml``.

    Returns
    -------
    PatientSpec
        The file's content, checked in itself; with a fit only by `patient_dose`.

    Raises
    ------
    PopkError
        With every fault found.
    """
    found = read_record(PatientSpec, path).model_copy(update={"file": str(path)})
    _check_one_regimen(found)
    return found


def regimen_of(patient: PatientSpec) -> Regimen:
    """What a patient is given. A regimen's file is looked for beside the patient's.

    Raises
    ------
    PopkError
        If nothing is given, or in two ways; if there is no such regimen, or with every fault of
        its file.
    """
    _check_one_regimen(patient)
    if patient.regimen is None:
        return Regimen(steps=patient.given)
    beside = Path(patient.file).parent / patient.regimen
    try:
        return read_regimen(beside if beside.is_file() else patient.regimen)
    except PopkError as error:
        if not error.unreadable:
            raise
        here = [
            replace(p, file=patient.file, key="regimen", found=f"{patient.regimen!r}: {p.found}")
            for p in error.problems
        ]
        raise PopkError(*here) from None


def _check_one_regimen(patient: PatientSpec) -> None:
    if bool(patient.given) != (patient.regimen is not None):
        return
    raise PopkError(
        Problem(
            file=patient.file,
            key="given",
            found="both [[given]] and regimen"
            if patient.given
            else "neither [[given]] nor regimen",
            expected="one of them: what is infused, from time 0",
            cure="delete one of the two"
            if patient.given
            else 'add regimen = "standard", or a table [[given]] with infusion = "15 ug/m^2/day" '
            'and duration = "28 day"',
        )
    )
