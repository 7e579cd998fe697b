"""The steps of a regimen: an infusion, a bolus or a pause, each checked with its units."""

import difflib
import math
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator

from popk.spec.record import Record
from popk.spec.units import UnitError, conversion_factor, quantity, registry, split_quantity

COVARIATE_UNITS = {"WT": "kg", "BSA": "m^2", "AGE": "month"}
"""Covariates that a dose may depend on, and the unit in which popk reckons with them."""

Per = Literal["BSA", "WT"]
_PER: dict[Per | None, str] = {None: "", "BSA": "/m^2", "WT": "/kg"}


@lru_cache(maxsize=4096)
def dose_in(dose: str, amount: str, time: str | None) -> tuple[float, Per | None]:
    """A dose as a number of `amount` (per `time`), and the body size that multiplies it.

    Parameters
    ----------
    dose
        For instance ``"15 ug/m^2/day"``, ``"28 ug/day"`` or, where `time` is None, ``"10 mg/kg"``.
    amount, time
        Units of the result; `time` is None for an amount that is given at once.

    Returns
    -------
    tuple
        The number, and "BSA" where it is per m², "WT" where it is per kg, else None.

    Raises
    ------
    UnitError
        If the dose is no amount (per time) of such a form.
    """
    number, unit = split_quantity(dose)
    units = registry().Quantity(1, unit).unit_items()
    masses = {power for name, power in units if _is_mass(name)}
    over = f"/({time})" if time else ""
    for per, below in _PER.items():
        # an amount per kg has no dimension: only the units in it tell it from a mere number
        if masses == ({1, -1} if per == "WT" else {1}):
            try:
                return number * conversion_factor(unit, f"({amount}){over}{below}"), per
            except UnitError:
                continue
    raise UnitError(f"{dose!r} is no dose in {amount}{over}")


def _is_mass(unit: str) -> bool:
    return dict(registry().get_dimensionality(unit)) == {"[mass]": 1}


_DOSES = {
    "h": "an amount per time such as '15 ug/m^2/day', '1 ug/kg/h' or '28 ug/day'; an amount at "
    "once is a bolus",
    None: "an amount such as '10 mg/kg', '5 mg/m^2' or '100 mg'; an amount per time is an infusion",
}


def _check_dose(dose: str, time: Literal["h"] | None) -> None:
    try:
        number, _ = dose_in(dose, "ug", time)
    except UnitError:
        raise ValueError(_DOSES[time]) from None
    if not (math.isfinite(number) and number > 0.0):
        raise ValueError("a finite dose above 0; a time in which nothing is given is a pause")


def _check_cap(cap: str | None, time: Literal["h"] | None, example: str) -> str | None:
    if cap is not None:
        _check_dose(cap, time)
        if dose_in(cap, "ug", time)[1] is not None:
            raise ValueError(f"one cap for everybody, such as '{example}': not per m² or kg")
    return cap


def _duration(text: Any) -> str:
    """A time that ends."""
    expected = "a time above 0 that has an end, with its unit, such as '28 day'"
    if not isinstance(text, str):
        raise ValueError(expected)
    try:
        number, unit = split_quantity(text)
        hours = number * conversion_factor(unit, "h")
    except UnitError as error:
        raise ValueError(f"{expected} ({error})") from None
    if not (math.isfinite(hours) and hours > 0.0):
        raise ValueError(expected)
    return text


class Band(Record):
    """The dose of those whose covariate is below a limit.

    dose
        As that of an infusion or a bolus.
    below
        "45 kg" (WT), "0.6 m^2" (BSA) or "6 month" (AGE); None: all others.
    """

    dose: str
    below: str | None = None

    @property
    def limit(self) -> tuple[str, float] | None:
        """The covariate and its limit in `COVARIATE_UNITS`; None for all others."""
        return None if self.below is None else _limit(self.below)

    @field_validator("below")
    @classmethod
    def _of_a_covariate(cls, below: str | None) -> str | None:
        if below is not None:
            _limit(below)
        return below


@lru_cache(maxsize=256)
def _limit(below: str) -> tuple[str, float]:
    for covariate, unit in COVARIATE_UNITS.items():
        try:
            number = quantity(below, unit) if split_quantity(below)[1] else math.nan
        except UnitError:
            continue
        if math.isfinite(number) and number > 0.0:
            return covariate, number
    raise ValueError("a weight, body-surface area or age above 0: '45 kg', '0.6 m^2', '6 month'")


def _text_or_bands(dose: Any) -> Any:
    if not isinstance(dose, str | list | tuple):
        raise ValueError("a dose with its unit in quotes, or a list of bands")
    return dose


Bands = tuple[Band, ...]
_Dose = Annotated[
    Annotated[
        Annotated[str, Tag("text")] | Annotated[Bands, Tag("bands")],
        Discriminator(lambda dose: "text" if isinstance(dose, str) else "bands"),
    ],
    BeforeValidator(_text_or_bands),
]
_Duration = Annotated[str, BeforeValidator(_duration)]


def _check_doses(dose: str | Bands, time: Literal["h"] | None) -> str | Bands:
    """The dose or its bands, if they leave nobody out and each limit tells two bands apart."""
    for band in as_bands(dose):
        try:
            _check_dose(band.dose, time)
        except ValueError as error:
            raise ValueError(
                f"{error}" if isinstance(dose, str) else f"in each band {error}; not {band.dose!r}"
            ) from None
    limits = [band.limit for band in as_bands(dose)]
    known = [limit for limit in limits if limit is not None]
    if not limits or limits[-1] is not None or len(known) < len(limits) - 1:
        raise ValueError(
            "bands that each have a limit (below = ...), and a last one without it for all others"
        )
    if len({covariate for covariate, _ in known}) > 1:
        raise ValueError("limits of one covariate: weights, or areas, or ages")
    numbers = [number for _, number in known]
    if numbers != sorted(set(numbers)):
        raise ValueError("limits that rise from band to band")
    return dose


def as_bands(dose: str | Bands) -> Bands:
    """A dose as bands, the last of which is for all others."""
    return (Band(dose=dose),) if isinstance(dose, str) else dose


class Infusion(Record):
    """A constant rate for a time.

    dose
        Amount per time, also per m² or per kg: "15 ug/m^2/day"; or bands of them.
    duration
        "28 day".
    cap
        The highest rate that is given, "28 ug/day".
    """

    model_config = ConfigDict(populate_by_name=True)

    dose: _Dose = Field(validation_alias="infusion", serialization_alias="infusion")
    duration: _Duration
    cap: str | None = None

    @field_validator("dose")
    @classmethod
    def _rates(cls, dose: str | Bands) -> str | Bands:
        return _check_doses(dose, "h")

    @field_validator("cap")
    @classmethod
    def _highest(cls, cap: str | None) -> str | None:
        return _check_cap(cap, "h", "28 ug/day")


class Bolus(Record):
    """An amount at once.

    dose
        Amount, also per m² or per kg: "10 mg/kg"; or bands of them.
    cap
        The highest amount that is given, "100 mg".
    """

    model_config = ConfigDict(populate_by_name=True)

    dose: _Dose = Field(validation_alias="bolus", serialization_alias="bolus")
    cap: str | None = None

    @field_validator("dose")
    @classmethod
    def _amounts(cls, dose: str | Bands) -> str | Bands:
        return _check_doses(dose, None)

    @field_validator("cap")
    @classmethod
    def _highest(cls, cap: str | None) -> str | None:
        return _check_cap(cap, None, "100 mg")


class Pause(Record):
    """A time in which nothing is given, "14 day"."""

    model_config = ConfigDict(populate_by_name=True)

    duration: _Duration = Field(validation_alias="pause", serialization_alias="pause")


Step = Infusion | Bolus | Pause

_KEYS = {
    "infusion": ("infusion", "duration", "cap"),
    "bolus": ("bolus", "cap"),
    "pause": ("pause",),
}
_NAMES = {"infusion": "Infusion", "bolus": "Bolus", "pause": "Pause"}


def _table(step: Any) -> Any:
    """A step of a file, if it has one kind and knows all its keys."""
    if isinstance(step, Step):
        return step
    if not isinstance(step, dict):
        raise ValueError("a table with one of infusion, bolus, pause")
    kinds = [kind for kind in _KEYS if kind in step]
    if len(kinds) != 1:
        found = f"not {' and '.join(kinds)}" if kinds else f"not {_quoted(step, tuple(_KEYS))}"
        raise ValueError(f"one of infusion, bolus, pause in each step, {found}")
    known = _KEYS[kinds[0]]
    if others := {key: step[key] for key in step if key not in known}:
        raise ValueError(f"a step of {', '.join(known)} only, not {_quoted(others, known)}")
    return step


def _quoted(step: dict[str, Any], words: tuple[str, ...]) -> str:
    """The keys of a step, with the word that each may mean."""
    near = {key: difflib.get_close_matches(key.lower(), words, n=1) for key in step}
    return ", ".join(f"{k!r} (did you mean {n[0]!r}?)" if n else repr(k) for k, n in near.items())


def _kind(step: Any) -> str:
    return (
        _NAMES[next(k for k in _KEYS if k in step)]
        if isinstance(step, dict)
        else type(step).__name__
    )


AnyStep = Annotated[
    Annotated[
        Annotated[Infusion, Tag("Infusion")]
        | Annotated[Bolus, Tag("Bolus")]
        | Annotated[Pause, Tag("Pause")],
        Discriminator(_kind),
    ],
    BeforeValidator(_table),
]
"""A step in a record: an instance, or a table with one of infusion, bolus, pause."""


def duration_in(step: Step, time: str) -> float:
    """How long a step lasts, in this unit of time; 0 for a bolus."""
    return 0.0 if isinstance(step, Bolus) else quantity(step.duration, time)


def depends_on_size(step: Step) -> bool:
    """Whether a step's dose depends on a covariate: per m², per kg, or in bands."""
    if isinstance(step, Pause):
        return False
    time = "h" if isinstance(step, Infusion) else None
    first, *others = as_bands(step.dose)
    return bool(others) or dose_in(first.dose, "ug", time)[1] is not None
