"""Numbers of infants from expected errors, and the power that these promise."""

import numpy as np
from scipy.special import ndtr, ndtri

from popk.analysis.power.information import Expected
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
    low, high = 0, MOST_INFANTS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


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
