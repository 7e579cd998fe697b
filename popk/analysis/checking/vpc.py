"""Visual predictive checks, with simultaneous bands and a p value for the whole picture.

Quantiles of the observations in bins of time, beside the same of replicates (Holford, PAGE 2005;
Karlsson & Holford, PAGE 2008). Prediction-corrected: observations and replicates are brought to the
bin's median population prediction, so that different doses and covariates in a bin do no harm
(Bergstrand, Hooker, Wallin, Karlsson, AAPS J 2011;13:143-51). Censored rows: completed data, see
`popk.analysis.checking.replicates`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.checking.bins import Bins, bins
from popk.analysis.checking.envelope import envelope
from popk.analysis.checking.replicates import Replicates

FEW = 40
"""Observations in the least bin below which the outer quantiles are 10 and 90 %, not 5 and 95 %."""


class Vpc(NamedTuple):
    """A visual predictive check.

    Attributes
    ----------
    table
        One bin and quantile a row: ``bin``, ``start``, ``end``, ``time`` (median) in the data's
        time; ``n``, ``censored``; ``quantile``; ``observed``; ``low``, ``median``, ``high`` (5, 50
        and 95 % of the replicates' quantile); ``band_low``, ``band_high`` (simultaneous 95 %
        band of all rows); ``outside`` (of that band).
    points
        One observation a row: ``time``, ``value`` (corrected if the check is), ``censored``,
        ``subject`` (its place).
    p
        Of all bins and quantiles together (`popk.analysis.checking.envelope`).
    corrected
        Whether prediction-corrected.
    """

    table: pd.DataFrame
    points: pd.DataFrame
    p: float
    corrected: bool


def vpc(reps: Replicates, *, corrected: bool = False, places: Bins | None = None) -> Vpc:
    """Compare quantiles in bins of time with those of replicates.

    Parameters
    ----------
    reps
        From `popk.analysis.checking.replicates.replicates`.
    corrected
        Whether to correct for predictions.
    places
        The bins, e.g. those of another model of the same data; by default the model's own.
    """
    places = time_bins(reps) if places is None else places
    factor = correction(reps, places) if corrected else np.ones_like(reps.own)
    own, simulated = reps.own * factor, reps.dv * factor
    least = min((int(np.sum(places.of == b)) for b in range(places.number)), default=0)
    levels = (0.10, 0.50, 0.90) if least < FEW else (0.05, 0.50, 0.95)
    rows, observed, replicated = [], [], []
    for b in range(places.number):
        here = places.of == b
        observed.append(np.quantile(own[here], levels))
        replicated.append(np.quantile(simulated[:, here], levels, axis=1))
        rows += [
            {
                "bin": b,
                "start": places.start[b],
                "end": places.end[b],
                "time": places.middle[b],
                "n": int(here.sum()),
                "censored": int(reps.censored[here].sum()),
                "quantile": level,
            }
            for level in levels
        ]
    curve = np.concatenate([*observed, np.zeros(0)])
    curves = np.concatenate([*replicated, np.zeros((0, len(simulated)))]).T
    band = envelope(curve, curves)
    low, middle, high = np.quantile(curves, [0.05, 0.5, 0.95], axis=0)
    table = pd.DataFrame(rows).assign(
        observed=curve,
        low=low,
        median=middle,
        high=high,
        band_low=band.lower,
        band_high=band.upper,
        outside=band.outside,
    )
    points = pd.DataFrame(
        {"time": reps.time, "value": own, "censored": reps.censored, "subject": reps.subject}
    )
    return Vpc(table, points, band.p, corrected)


def time_bins(reps: Replicates) -> Bins:
    """Bins of time; where the population prediction changes there are more cuts."""
    with np.errstate(divide="ignore"):
        log_pred = np.log(reps.pred)
    known = np.isfinite(log_pred)
    if not known.any():
        return bins(reps.time)
    # A few rows without drug are no reason for a bin of their own
    low, high = np.quantile(log_pred[known], [0.05, 0.95])
    return bins(reps.time, np.clip(np.where(known, log_pred, low), low, high))


def correction(reps: Replicates, places: Bins) -> Float[np.ndarray, " observation"]:
    """Median prediction of the bin over the observation's own; 1 where there is no prediction."""
    factor = np.ones_like(reps.pred)
    for b in range(places.number):
        here = (places.of == b) & (reps.pred > 0)
        if here.any():
            factor[here] = np.median(reps.pred[here]) / reps.pred[here]
    return factor


class Limits(NamedTuple):
    """Observations beyond the assay's limits, by time.

    Attributes
    ----------
    table
        One bin and side a row: ``side`` ("below", "above"), ``bin``, ``start``, ``end``, ``time``,
        ``n``, ``observed`` (fraction beyond the limit), ``low``, ``median``, ``high`` (5, 50, 95 %
        of the replicates), ``band_low``, ``band_high`` (simultaneous), ``outside``.
    p
        Of all rows together; NaN without a censored row.
    limits
        "below" and "above" to the limits used, in the model's concentration unit.
    """

    table: pd.DataFrame
    p: float
    limits: dict[str, tuple[float, ...]]


def beyond_limits(reps: Replicates) -> Limits:
    """Compare the fractions beyond the limits with those of replicates.

    A measured row has the limit that the censored rows of its subject have, or else the commonest;
    if its value lies beyond that, none. Only a side on which some row is censored is looked at.
    """
    places = time_bins(reps)
    sides = {"below": np.isneginf(reps.lower) | (reps.lower <= 0), "above": np.isposinf(reps.upper)}
    rows, observed, replicated, limits = [], [], [], {}
    for side, open_end in sides.items():
        beyond = reps.censored & open_end
        if not beyond.any():
            continue
        bound = reps.upper if side == "below" else reps.lower
        limit = _limit_of_rows(reps, beyond, bound, side)
        limits[side] = tuple(np.unique(bound[beyond]).tolist())
        possible = np.isfinite(limit)
        out = reps.dv < limit if side == "below" else reps.dv > limit
        for b in range(places.number):
            here = (places.of == b) & possible
            if not here.any():
                continue
            observed.append(beyond[here].mean())
            replicated.append(out[:, here].mean(axis=1))
            rows.append(
                {
                    "side": side,
                    "bin": b,
                    "start": places.start[b],
                    "end": places.end[b],
                    "time": places.middle[b],
                    "n": int(here.sum()),
                }
            )
    if not rows:
        return Limits(pd.DataFrame(), float("nan"), {})
    curve, curves = np.array(observed), np.stack(replicated, axis=1)
    band = envelope(curve, curves)
    low, middle, high = np.quantile(curves, [0.05, 0.5, 0.95], axis=0)
    table = pd.DataFrame(rows).assign(
        observed=curve, low=low, median=middle, high=high,
        band_low=band.lower, band_high=band.upper, outside=band.outside,
    )  # fmt: skip
    return Limits(table, band.p, limits)


def _limit_of_rows(
    reps: Replicates, beyond: np.ndarray, bound: np.ndarray, side: str
) -> Float[np.ndarray, " observation"]:
    """The assay's limit at every row; NaN where it is not known."""
    values, counts = np.unique(bound[beyond], return_counts=True)
    limit = np.full(bound.shape, values[np.argmax(counts)])
    for subject in np.unique(reps.subject[beyond]):
        mine = reps.subject == subject
        limit[mine] = bound[mine & beyond][0]
    limit = np.where(beyond, bound, limit)
    measured = ~reps.censored
    wrong = measured & ((reps.own < limit) if side == "below" else (reps.own > limit))
    other_side = reps.censored & ~beyond & (np.isfinite(reps.lower) & np.isfinite(reps.upper))
    return np.where(wrong | other_side, np.nan, limit)
