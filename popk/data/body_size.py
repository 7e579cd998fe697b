"""Body-surface area (m²) from body weight (kg) and height or length (cm).

Each formula is one function in the table `FORMULAS`. Weights and heights are not checked here: a
missing or impossible covariate is an error of the data file, found where the file is read.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Numbers = float | NDArray[np.float64]
Formula = Callable[[Numbers, Numbers], Numbers]

GRAMS_PER_KILOGRAM = 1000.0


def mosteller(weight_kg: Numbers, height_cm: Numbers) -> Numbers:
    """Body-surface area (m²) as the root of weight times height.

    Source: Mosteller RD. Simplified calculation of body-surface area. N Engl J Med 1987;317:1098.
    """
    return np.sqrt(weight_kg * height_cm / 3600.0)


def haycock(weight_kg: Numbers, height_cm: Numbers) -> Numbers:
    """Body-surface area (m²), validated from newborns to adults; popk's default.

    Source: Haycock GB, Schwartz GJ, Wisotsky DH. Geometric method for measuring body surface
    area: a height-weight formula validated in infants, children, and adults. J Pediatr
    1978;93:62-66.
    """
    return 0.024265 * weight_kg**0.5378 * height_cm**0.3964


def gehan_george(weight_kg: Numbers, height_cm: Numbers) -> Numbers:
    """Body-surface area (m²) by regression on directly measured persons of all ages.

    Source: Gehan EA, George SL. Estimation of human body surface area from height and weight.
    Cancer Chemother Rep 1970;54:225-235.
    """
    return 0.0235 * weight_kg**0.51456 * height_cm**0.42246


def dubois(weight_kg: Numbers, height_cm: Numbers) -> Numbers:
    """Body-surface area (m²) from nine persons, almost all adult; too low in infants.

    Source: Du Bois D, Du Bois EF. A formula to estimate the approximate surface area if height
    and weight be known. Arch Intern Med 1916;17:863-871.
    """
    return 0.007184 * weight_kg**0.425 * height_cm**0.725


def boyd(weight_kg: Numbers, height_cm: Numbers) -> Numbers:
    """Body-surface area (m²) with an exponent that itself falls with weight.

    The published coefficients are for weight in grams; this function takes kg and converts.

    Source: Boyd E. The growth of the surface area of the human body. Minneapolis: University of
    Minnesota Press; 1935.
    """
    weight_g = weight_kg * GRAMS_PER_KILOGRAM
    exponent = 0.7285 - 0.0188 * np.log10(weight_g)
    return 0.0003207 * height_cm**0.3 * weight_g**exponent


def current(weight_kg: Numbers, height_cm: Numbers) -> Numbers:
    """Body-surface area (m²) of a child of 3 to 30 kg, linear in weight; height is not used.

    Source: Current JD. A linear equation for estimating the body surface area in infants and
    children. Internet J Anesthesiol 1998;2(2).
    """
    del height_cm
    return (1321.0 + 0.3433 * weight_kg * GRAMS_PER_KILOGRAM) / 1e4


FORMULAS: Mapping[str, Formula] = MappingProxyType(
    {
        "mosteller": mosteller,
        "haycock": haycock,
        "gehan_george": gehan_george,
        "dubois": dubois,
        "boyd": boyd,
        "current": current,
    }
)


def body_surface_area(weight_kg: Numbers, height_cm: Numbers, formula: str = "haycock") -> Numbers:
    """Body-surface area by the formula of the given name.

    Parameters
    ----------
    weight_kg
        Body weight (kg), a number or an array.
    height_cm
        Height or length (cm), a number or an array that broadcasts with the weight.
    formula
        A key of `FORMULAS`.

    Returns
    -------
    Numbers
        Body-surface area (m²).

    Raises
    ------
    ValueError
        If the formula is not in the table.
    """
    if formula not in FORMULAS:
        raise ValueError(
            f"unknown body-surface area formula {formula!r}; write one of {', '.join(FORMULAS)}"
        )
    return FORMULAS[formula](weight_kg, height_cm)
