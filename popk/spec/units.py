"""Units of what the user wrote, by pint. A month is 365.25/12 days."""

import difflib
import functools
import re
from typing import TYPE_CHECKING

from popk.spec.problem import Fault

if TYPE_CHECKING:
    import pint


@functools.cache
def registry() -> "pint.UnitRegistry":
    """The one unit registry: pint's, with the spellings of the clinic added."""
    import pint

    units = pint.UnitRegistry(cache_folder=None)
    units.define("@alias microgram = mcg")
    units.define("@alias hour = hours")
    return units


COMMON = (
    "h", "min", "day", "week", "month", "year", "mg", "ug", "ng", "g", "kg", "mg/L", "ug/L",
    "ug/mL", "ng/mL", "pg/mL", "L", "mL", "L/h", "mL/min", "cm", "m", "m^2", "mg/h", "ug/h",
)  # fmt: skip
"""Units of the field, to propose the one that was meant."""
USUAL = "h, mg, mg/L or L/h"


class UnitError(Fault):
    """A unit that is unknown, or two that cannot be converted into each other."""

    def __init__(self, expected: str, cure: str = f"write a unit such as {USUAL}") -> None:
        super().__init__(expected, cure)


def check_unit(unit: str) -> str:
    """Return `unit` unchanged if pint knows it.

    Raises
    ------
    UnitError
        Naming the unit.
    """
    _parse(unit)
    return unit


def conversion_factor(source: str, target: str) -> float:
    """How many `target` units one `source` unit is; ``conversion_factor("mg", "ug") == 1000``.

    Raises
    ------
    UnitError
        If either is unknown or they measure different things.
    """
    import pint

    one, wanted = _parse(source), _parse(target)
    if one == wanted:
        return 1.0
    try:
        zero, factor = (float(registry().Quantity(n, one).to(wanted).magnitude) for n in (0.0, 1.0))
    except pint.DimensionalityError as error:
        raise UnitError(
            f"{source!r} cannot be converted to {target!r}: "
            f"{error.dim1 or 'dimensionless'} against {error.dim2 or 'dimensionless'}",
            f"write a unit that converts to {target}, such as {target} itself",
        ) from None
    if zero != 0.0:
        raise UnitError(f"{source!r} and {target!r} have different zeros: no factor converts them")
    # pint multiplies powers of ten in floating point: 1000.0000000000001 is meant as 1000
    return float(f"{factor:.15g}") if factor >= 1 else 1.0 / float(f"{1.0 / factor:.15g}")


def quantity(text: str | float, target: str | None) -> float:
    """Read ``"6 month"`` or ``6`` as a number of `target` units.

    Parameters
    ----------
    text
        A plain number is taken to be in `target` units already.
    target
        None for a quantity without a unit.

    Raises
    ------
    UnitError
        If the text is no quantity, or its unit is not convertible to `target`.
    """
    if not isinstance(text, str):
        return float(text)
    number, unit = split_quantity(text)
    if not unit:
        return number
    if target is None:
        raise UnitError(f"{text!r} has a unit, but nothing says what unit it is compared with")
    return number * conversion_factor(unit, target)


def split_quantity(text: str) -> tuple[float, str]:
    """Split ``"15 ug/m^2/day"`` into ``(15.0, "ug/m^2/day")``."""
    match = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*", text)
    if match is None:
        raise UnitError(
            f"{text!r} is no quantity: a number and a unit, such as '6 month'",
            'write a number with its unit in quotes, such as "6 month" or "50 pg/mL"',
        )
    unit = match.group(2)
    if unit:
        _parse(unit)
    return float(match.group(1)), unit


def _parse(unit: str) -> "pint.Unit":
    import pint

    if "//" in unit:
        cure = f"write {unit.replace('//', '/')}"
        raise UnitError(f"{unit!r} cannot be read as a unit: a single '/' divides", cure)
    if unit.strip() == "?":
        raise UnitError("'?' stands for a unit that is still to be filled in")
    try:
        return registry().Unit(unit)
    except (pint.UndefinedUnitError, pint.DefinitionSyntaxError) as error:
        raise UnitError(f"unknown unit {unit!r} ({error})", _meant(unit)) from None
    except Exception as error:  # pint lets parser errors of several kinds through
        raise UnitError(f"{unit!r} cannot be read as a unit ({error})", _meant(unit)) from None


def _meant(unit: str) -> str:
    lower = {own.lower(): own for own in COMMON}
    close = difflib.get_close_matches(unit.lower(), lower, n=1, cutoff=0.5)
    return f"write a unit such as {lower[close[0]] if close else USUAL}"
