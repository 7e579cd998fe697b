"""Power averaged over what is believed of the effect; whether a second trial says the same.

Power is a statement about one true ratio. Averaged over a prior, or over the posterior of a trial
that was made, it is the probability that the next trial will speak: assurance (O'Hagan, Stevens,
Campbell, Pharm Stat 2005;4:187-201).
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from popk.analysis.power.cells import CRITERIA
from popk.analysis.power.power import Power
from popk.spec.problem import PopkError, Problem

OUTSIDE = 0.02
"""Share of the draws beyond the grid above which `assurance` says so in words."""


def assurance(
    power: Power, log_ratio: Float[np.ndarray, " draw"], criterion: str = "excludes_90"
) -> pd.DataFrame:
    """A criterion's rate averaged over draws of the true log ratio.

    Between the ratios of the grid a rate is interpolated in the log ratio by a monotone cubic
    (PCHIP: it rises where the cells rise, and overshoots none); beyond them it stays as at the end.

    Parameters
    ----------
    power
        A grid with several true ratios, best on either side of 1.
    log_ratio
        Draws of the effect: of its prior or of a fit's posterior (`log_ratio_draws`).
    criterion
        A column of `CRITERIA`.

    Returns
    -------
    DataFrame
        Index: ``infants``. ``assurance`` and its Monte Carlo standard error ``error`` (of the
        cells); ``outside``: the share of draws beyond the grid's ratios; ``note`` where that is
        more than 2 %.

    Raises
    ------
    popk.PopkError
        If the grid has one ratio only, or there is no such criterion.
    """
    if criterion not in CRITERIA:
        raise _problem(
            "criterion", repr(criterion), f"one of {', '.join(CRITERIA)}", "choose one of these"
        )
    x = np.log(_several(power))
    draws = np.asarray(log_ratio, float).reshape(-1)
    outside = float(np.mean((draws < x[0]) | (draws > x[-1])))
    weights = _weights(x, draws)
    note = ""
    if outside > OUTSIDE:
        note = (
            f"{100 * outside:.0f} % of the draws lie beyond the grid's ratios, "
            f"{np.exp(x[0]):.3g} to {np.exp(x[-1]):.3g}: there the rate is taken as at its ends"
        )
    rows = {}
    for size in power.infants:
        own = power.cells.xs(size, level="infants").sort_index()
        rates = own[criterion].to_numpy(float)
        errors = own[f"{criterion}_error"].to_numpy(float)
        rows[size] = {
            "assurance": float(rate_at(x, rates, draws).mean()),
            "error": float(np.sqrt(np.sum((weights * errors) ** 2))),
            "outside": outside,
            "note": note,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("infants")


def confirmed(power: Power, log_ratio: Float[np.ndarray, " draw"]) -> pd.DataFrame:
    """What a second trial of this plan would say, given what the first has taught.

    Parameters
    ----------
    power
        Of the second trial.
    log_ratio
        Draws of the effect from the first trial's posterior.

    Returns
    -------
    DataFrame
        Index: ``infants``. ``same_side``: the probability that the second trial's 90 % interval
        lies on the side of 1 that the first trial's median is on; ``relevant``, ``not_relevant``,
        ``unknown``: of each verdict; each with its Monte Carlo standard error ``..._error``.
        Predictive: over the posterior of the effect and over the second trial's data.

    Raises
    ------
    popk.PopkError
        If the grid has one ratio only.
    """
    side = "below_90" if np.median(log_ratio) < 0.0 else "above_90"
    asked = {"same_side": side, **{v: v for v in ("relevant", "not_relevant", "unknown")}}
    columns = {}
    for name, criterion in asked.items():
        found = assurance(power, log_ratio, criterion)
        columns |= {name: found["assurance"], f"{name}_error": found["error"]}
    return pd.DataFrame(columns)


def rate_at(
    x: Float[np.ndarray, " ratio"],
    rates: Float[np.ndarray, " ratio"],
    log_ratio: Float[np.ndarray, " draw"],
) -> Float[np.ndarray, " draw"]:
    """A rate between the log ratios `x` of a grid."""
    return PchipInterpolator(x, rates)(np.clip(log_ratio, x[0], x[-1]))


def _weights(
    x: Float[np.ndarray, " ratio"], draws: Float[np.ndarray, " draw"]
) -> Float[np.ndarray, " ratio"]:
    """By how much each cell counts in the average, to first order: linear interpolation."""
    at = np.clip(draws, x[0], x[-1])
    return np.array([np.interp(at, x, own).mean() for own in np.eye(len(x))])


def _several(power: Power) -> Float[np.ndarray, " ratio"]:
    ratios = np.array(power.ratios)
    if len(ratios) < 2:
        raise _problem(
            "ratios",
            "a grid with one true ratio",
            "several, to average over",
            "give ratios on either side of 1, such as 0.5, 0.7, 0.85, 1, 1.2, 1.5",
        )
    return ratios


def _problem(key: str, found: str, expected: str, cure: str) -> PopkError:
    return PopkError(Problem(key=key, found=found, expected=expected, cure=cure))
