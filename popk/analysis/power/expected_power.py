"""Numbers of infants from expected errors, and the power that these promise."""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri

from popk.analysis.power.information import Z90, Expected
from popk.spec.problem import PopkError, Problem

MOST_INFANTS = 1_000_000
"""Where the search for a number of infants ends."""


def infants_for(
    found: Expected, sd: float, *, share: float | None = None, prior: bool = False
) -> int:
    """The smallest number of infants for a given precision of the effect.

    Parameters
    ----------
    found
        From `expected`, for any number of infants.
    sd
        Of the log ratio. For a 90 % interval whose bounds are a factor F apart,
        log(F) / (2 * 1.645).
    share
        Which part of the infants is in the group in which the effect acts; as it is if None.
    prior
        True for the posterior SD, False for the standard error.

    Raises
    ------
    popk.PopkError
        If no number is enough, or the SD is not above 0.
    """

    def reached(infants: int) -> bool:
        return found.resized(infants, share).log_ratio_sd(prior=prior) <= sd

    if not (0.0 < sd < np.inf and reached(MOST_INFANTS)):
        least = found.resized(MOST_INFANTS, share).log_ratio_sd(prior=prior)
        raise PopkError(
            Problem(
                key="sd",
                found=f"an SD of the log ratio of {sd:g}",
                expected=f"a number above 0 that at most {MOST_INFANTS:,} infants reach: "
                f"{least:.3g} or more",
                cure="ask for a wider interval, or take further samples of each infant",
            )
        )
    return _first(reached, 1)


def infants_for_width(found: Expected, width: float) -> int:
    """The smallest number of infants for a 90 % posterior interval of a given expected width.

    Parameters
    ----------
    found
        From `expected`, for any number of infants; their groups stay as large a part.
    width
        Upper over lower bound of the ratio.

    Raises
    ------
    popk.PopkError
        If no number is enough, the width is not above 1, or the model has no effect.
    """
    _require_effect(found)

    def reached(infants: int) -> bool:
        return _width(found.resized(infants)) <= width

    if not (1.0 < width < np.inf and reached(MOST_INFANTS)):
        least = _width(found.resized(MOST_INFANTS))
        raise _impossible(
            "width",
            f"a 90 % interval whose upper bound is {width:g} times the lower one",
            f"a number above 1 that at most {MOST_INFANTS:,} infants reach: {least:.4g} or more",
            "ask for a wider interval, or take further samples of each infant",
        )
    return _first(reached, _fewest(found))


def infants_for_power(found: Expected, ratio: float, power: float) -> int:
    """The smallest number of infants of whom the 90 % posterior interval is expected to exclude 1.

    Parameters
    ----------
    found
        From `expected`, at the true ratio.
    ratio
        The true one.
    power
        Probability that the interval excludes 1; see `expected_power`.

    Raises
    ------
    popk.PopkError
        If no number is enough, the power is not between 0 and 1, the ratio is 1 or not above 0, or
        the model has no effect.
    """
    _require_effect(found)
    if not (0.0 < ratio < np.inf and ratio != 1.0):
        raise _impossible(
            "ratio", f"a true ratio of {ratio:g}", "a number above 0 other than 1",
            "write 0.7 for a clearance that is lower by 30 %",
        )  # fmt: skip

    def reached(infants: int) -> bool:
        return expected_power(found.resized(infants), ratio) >= power

    if not (0.0 < power < 1.0 and reached(MOST_INFANTS)):
        most = expected_power(found.resized(MOST_INFANTS), ratio)
        raise _impossible(
            "power",
            f"a power of {power:g} at a true ratio of {ratio:g}",
            f"a share above 0 and below 1 that at most {MOST_INFANTS:,} infants reach: up to "
            f"{most:.3g}",
            "ask for less power, or for a ratio further from 1",
        )
    return _first(reached, _fewest(found))


def _first(reached: Callable[[int], bool], fewest: int) -> int:
    """The smallest number that does, of those from the fewest on."""
    low, high = fewest - 1, MOST_INFANTS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _fewest(found: Expected) -> int:
    """Infants of whom at least one is in each group."""
    return math.ceil(found.counts.sum() / found.counts.min() - 1e-9)


def _width(found: Expected) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(2.0 * Z90 * found.log_ratio_sd(prior=True)))


def _require_effect(found: Expected) -> None:
    if not found.effect:
        raise _impossible(
            "effect", "a model without covariate effects", "an effect whose ratio is to be found",
            "add one to the model file: [[covariates]] parameter = \"CL\", ...",
        )  # fmt: skip


def _impossible(key: str, found: str, expected: str, cure: str) -> PopkError:
    return PopkError(Problem(key=key, found=found, expected=expected, cure=cure))


def expected_power(
    found: Expected, ratio: float, *, level: float = 0.9, prior: bool = True
) -> float:
    """Expected probability that an interval of the effect's ratio excludes 1.

    By normal theory. Without the prior it is the power of Wald's test (Retout et al., Stat Med
    2007;26:5162-79). With it the interval lies around the mean of estimate and prior, weighted by
    their precisions, which a prior centred on no effect draws towards a ratio of 1.

    Parameters
    ----------
    found
        From `expected`; its standard error is taken for that at any ratio.
    ratio
        The true one.
    level
        Of the interval, equal tails.
    prior
        True for the posterior interval, False for the confidence interval.
    """
    target = np.log(ratio)
    sd = found.log_ratio_sd(prior=prior)
    if not np.isfinite(sd):
        return 0.0
    mean, spread = target, sd
    if prior:
        data, known = found.information(), found.prior
        # A parameter that is left open has no part in a direction that is not
        weights = np.linalg.lstsq(data + known, found.slope, rcond=None)[0]
        # How far the parameters lie from the centres of their priors: the effect only
        shift = found.slope * target / (found.slope @ found.slope)
        mean = target - weights @ known @ shift
        spread = np.sqrt(max(weights @ data @ weights, 0.0))
    half = float(ndtri(0.5 + level / 2.0)) * sd
    if spread == 0.0:
        return float(abs(mean) > half)
    return float(ndtr((mean - half) / spread) + ndtr((-mean - half) / spread))
