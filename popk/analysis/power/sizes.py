"""How many infants are needed: by search over a power's grid, with interpolation between sizes."""

import math

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import isotonic_regression
from scipy.special import ndtri

from popk.analysis.power.cells import CRITERIA, FALLING
from popk.analysis.power.power import Power
from popk.spec.problem import PopkError, Problem

SEARCHABLE = (*CRITERIA, "width")


def smallest(power: Power, criterion: str = "excludes_90", at: float = 0.8) -> pd.DataFrame:
    """The smallest number of infants for a given power, or width of the interval.

    Rates rise, widths and the share of "the data cannot tell" fall with the number of infants;
    where chance makes neighbouring sizes cross they are pooled (isotonic regression). Between two
    sizes the probit of a rate is a straight line in the square root of the number, as for a
    normal test, and the log of a width one in the log of the number.

    Parameters
    ----------
    power
        A grid with several numbers of infants.
    criterion
        A column of `CRITERIA`, or ``"width"``: the mean of log(q95/q5).
    at
        The rate to be reached at least (``"unknown"``: at most), or the largest width.

    Returns
    -------
    DataFrame
        Index: true ratio. ``infants``: the number, rounded up; NaN where the grid does not go far
        enough. ``low``, ``high``: the same with rates (widths) one Monte Carlo error better and
        worse. ``words``: "26", "10 or fewer", "more than 60", or "not known" of a test that was not
        made.

    Raises
    ------
    popk.PopkError
        If there is no such criterion, `at` is no possible value, or the grid has only one size.
    """
    _refuse(power, criterion, at)
    sizes = np.array(power.infants, dtype=float)
    sign = -1.0 if criterion in FALLING else 1.0
    rows = {}
    for ratio in power.ratios:
        own = power.cells.xs(ratio, level="ratio")
        values = own[criterion].to_numpy(float)
        error = own[f"{criterion}_error"].to_numpy(float)
        found = _reached(sizes, values, criterion, at)
        rows[ratio] = {
            "infants": found,
            "low": _reached(sizes, values + sign * error, criterion, at),
            "high": _reached(sizes, values - sign * error, criterion, at),
            "words": "not known" if np.isnan(values).any() else _words(found, sizes),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ratio")


def _reached(
    sizes: Float[np.ndarray, " size"],
    values: Float[np.ndarray, " size"],
    criterion: str,
    at: float,
) -> float:
    """The smallest size at which the pooled values reach what is asked; NaN: none in the grid."""
    if np.isnan(values).any():
        return math.nan
    falling = criterion in FALLING
    pooled = isotonic_regression(values, increasing=not falling).x
    enough = pooled <= at if falling else pooled >= at
    if not enough.any():
        return math.nan
    first = int(np.argmax(enough))
    if first == 0:
        return float(sizes[0])
    x, y, goal = _straight(sizes, pooled, criterion, at)
    share = (goal - y[first - 1]) / (y[first] - y[first - 1])
    place = x[first - 1] + share * (x[first] - x[first - 1])
    number = math.exp(place) if criterion == "width" else place**2
    return float(min(max(math.ceil(number - 1e-9), sizes[first - 1]), sizes[first]))


def _straight(
    sizes: Float[np.ndarray, " size"],
    pooled: Float[np.ndarray, " size"],
    criterion: str,
    at: float,
) -> tuple[Float[np.ndarray, " size"], Float[np.ndarray, " size"], float]:
    """Sizes, values and the goal on scales on which one is about a straight line in the other."""
    if criterion == "width":
        return np.log(sizes), np.log(pooled), math.log(at)
    edge = 1e-4  # a rate of 0 or 1 among so many trials
    return np.sqrt(sizes), ndtri(np.clip(pooled, edge, 1.0 - edge)), float(ndtri(at))


def _words(found: float, sizes: Float[np.ndarray, " size"]) -> str:
    if math.isnan(found):
        return f"more than {sizes[-1]:.0f}"
    return f"{found:.0f}" + (" or fewer" if found == sizes[0] else "")


def searchable(criterion: str, at: float) -> None:
    """Refuse what no smallest number can be searched for.

    Raises
    ------
    popk.PopkError
        If there is no such criterion, or `at` is no possible value.
    """
    if criterion not in SEARCHABLE:
        raise _problem(
            "criterion", repr(criterion), f"one of {', '.join(SEARCHABLE)}", "choose one of these"
        )
    if not 0.0 < at < (math.inf if criterion == "width" else 1.0):
        expected = "a width above 0" if criterion == "width" else "a share above 0 and below 1"
        raise _problem("at", f"{at:g}", expected, "write e.g. 0.8")


def _refuse(power: Power, criterion: str, at: float) -> None:
    searchable(criterion, at)
    if len(power.infants) < 2:
        raise _problem(
            "infants",
            "a grid with one number of infants",
            "several, to search among",
            "give more numbers of infants, such as 10, 20, 40, 80",
        )


def _problem(key: str, found: str, expected: str, cure: str) -> PopkError:
    return PopkError(Problem(key=key, found=found, expected=expected, cure=cure))
