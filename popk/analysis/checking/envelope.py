"""Simultaneous bands: is a whole curve of observed figures like those of the replicates?

The global envelope test by extreme rank lengths (Myllymäki, Mrkvička, Grabarnik, Seijo, Hahn,
J R Stat Soc B 2017;79:381-404): one p value for all points of the curve together, and the band that
goes with it. A plain 90 % band at each of twenty points is left by one or two of them even where
the model is right.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

LEVEL = 0.95


class Envelope(NamedTuple):
    """The band of the most central replicates, and how the observed curve lies in it.

    Attributes
    ----------
    p
        Of the observed curve among the replicates, all points together; NaN without points.
    lower, upper
        [point] simultaneous band of the level asked for.
    outside
        [point] where the observed curve leaves it.
    """

    p: float
    lower: Float[np.ndarray, " point"]
    upper: Float[np.ndarray, " point"]
    outside: Bool[np.ndarray, " point"]


def envelope(
    own: Float[np.ndarray, " point"],
    replicates: Float[np.ndarray, "replicate point"],
    level: float = LEVEL,
) -> Envelope:
    """Test an observed curve against replicates.

    Points at which all curves have the same value say nothing and do no harm.
    """
    if own.size == 0:
        empty = np.zeros(0)
        return Envelope(float("nan"), empty, empty, np.zeros(0, dtype=bool))
    curves = np.vstack([own, replicates])
    count = len(curves)
    # Ties share a rank: a figure that is often the same (a fraction of 0) is not extreme
    below = np.apply_along_axis(rankdata, 0, curves)
    two_sided = np.sort(np.minimum(below, count + 1 - below), axis=1)
    # The least rank decides; where it is equal the next least, and so on
    order = np.lexsort(two_sided.T[::-1])
    place = np.empty(count)
    place[order] = np.arange(1, count + 1)
    same = _first_of_equals(two_sided[order])
    place[order] = same
    p = float(np.sum(place <= place[0]) / count)
    central = curves[place >= np.quantile(place, 1.0 - level)]
    lower, upper = central.min(axis=0), central.max(axis=0)
    return Envelope(p, lower, upper, (own < lower) | (own > upper))


def _first_of_equals(rows: Float[np.ndarray, "curve point"]) -> Float[np.ndarray, " curve"]:
    """For sorted rows the place of the last one that is equal, so that equals tie."""
    new = np.r_[True, np.any(rows[1:] != rows[:-1], axis=1)]
    group = np.cumsum(new) - 1
    return np.cumsum(np.bincount(group))[group].astype(float)
