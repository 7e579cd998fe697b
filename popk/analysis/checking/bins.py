"""Bins of an axis that hold observations of a kind: for predictive checks of sparse data."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

LEAST, EACH, MOST = 10, 20, 12
"""Fewest observations of a bin, observations that ask for a bin more, most bins."""
OF_RANK, OF_LEVEL = 0.3, 0.5
"""Shares of ranks and of the level in a distance. Ranks keep a long thin tail from taking most
cuts; more of either would cut through clusters of samples."""
ENOUGH = 0.002
"""Share of squared distances that is little: more bins would cut through clusters of samples."""
PLACES = 400
"""Most places between which an axis is cut."""


class Bins(NamedTuple):
    """Bins of an axis.

    Attributes
    ----------
    of
        [observation] number of its bin, -1 where the axis has no value.
    start, end, middle
        [bin] least, greatest and median value of the axis in it.
    """

    of: Int[np.ndarray, " observation"]
    start: Float[np.ndarray, " bin"]
    end: Float[np.ndarray, " bin"]
    middle: Float[np.ndarray, " bin"]

    @property
    def number(self) -> int:
        """How many."""
        return len(self.start)


def bins(
    axis: Float[np.ndarray, " observation"],
    level: Float[np.ndarray, " observation"] | None = None,
) -> Bins:
    """Cut an axis where it has gaps and where what is expected changes.

    The cuts make the squared distances from the bins' means least, for the axis (its values, a
    little of its ranks) and for `level` together: an optimal partition by dynamic programming, by
    the criterion of Lavielle & Bleakley, J Pharmacokinet Pharmacodyn 2011;38:861-71, with ranks
    and level beside the axis. Observations at one place are never parted.

    Parameters
    ----------
    axis
        For instance time; NaN where an observation has no place on it.
    level
        What is expected there, e.g. log PRED: a plateau and the fall after it are not put
        together, however close they lie.
    """
    known = np.isfinite(axis)
    of = np.full(axis.size, -1)
    if not known.any():
        empty = np.zeros(0)
        return Bins(of, empty, empty, empty)
    values, place = np.unique(axis[known], return_inverse=True)
    if len(values) > PLACES:
        # Neighbours are taken together first
        edges = np.unique(np.quantile(axis[known], np.linspace(0, 1, PLACES + 1)[1:-1]))
        place = np.unique(np.searchsorted(edges, axis[known], side="left"), return_inverse=True)[1]
    rest = np.sqrt(1.0 - OF_RANK**2)
    features = [OF_RANK * _scaled(place.astype(float)), rest * _scaled(axis[known])]
    if level is not None:
        features.append(OF_LEVEL * _scaled(level[known]))
    wanted = int(np.clip(known.sum() // EACH, 1, MOST))
    of[known] = _partition(np.stack(features, axis=1), place, wanted)[place]
    parts = [axis[of == b] for b in range(of.max() + 1)]
    return Bins(
        of,
        np.array([own.min() for own in parts]),
        np.array([own.max() for own in parts]),
        np.array([np.median(own) for own in parts]),
    )


def _scaled(values: Float[np.ndarray, " observation"]) -> Float[np.ndarray, " observation"]:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)


def _partition(
    features: Float[np.ndarray, "observation feature"],
    place: Int[np.ndarray, " observation"],
    wanted: int,
) -> Int[np.ndarray, " place"]:
    """The bin of each place: as many as wanted, unless fewer say as much or hold enough."""
    places = int(place.max()) + 1
    count = np.bincount(place, minlength=places)
    sums = np.stack([np.bincount(place, f, places) for f in features.T], axis=1)
    squares = np.bincount(place, (features**2).sum(axis=1), places)
    n = np.r_[0, np.cumsum(count)]
    s = np.vstack([np.zeros(sums.shape[1]), np.cumsum(sums, axis=0)])
    q = np.r_[0, np.cumsum(squares)]

    def cost(end: int) -> Float[np.ndarray, " start"]:
        """Of a bin from each start to this end; infinite where it holds too few."""
        held = n[end] - n[:end]
        within = (q[end] - q[:end]) - ((s[end] - s[:end]) ** 2).sum(axis=1) / np.maximum(held, 1)
        return np.where(held >= min(LEAST, n[-1]), within, np.inf)

    costs = [cost(end) for end in range(1, places + 1)]
    best = np.full((wanted + 1, places + 1), np.inf)
    best[0, 0] = 0.0
    cut = np.zeros((wanted + 1, places + 1), dtype=int)
    for k in range(1, wanted + 1):
        for end in range(1, places + 1):
            total = best[k - 1, :end] + costs[end - 1]
            cut[k, end] = int(np.argmin(total))
            best[k, end] = total[cut[k, end]]
    found = [_walked_back(cut, k) for k in range(1, wanted + 1) if np.isfinite(best[k, places])]
    # Ranks are left out here: they would ask for cuts through large clusters
    enough = (of for of in found if _left(features[:, 1:], of[place]) <= ENOUGH)
    return next(enough, found[-1])


def _walked_back(cut: Int[np.ndarray, "bins end"], number: int) -> Int[np.ndarray, " place"]:
    """The bin of each place, from the best last cut of every number of bins."""
    end = cut.shape[1] - 1
    of = np.zeros(end, dtype=int)
    for bin_ in reversed(range(number)):
        start = cut[bin_ + 1, end]
        of[start:end] = bin_
        end = start
    return of


def _left(
    features: Float[np.ndarray, "observation feature"], of: Int[np.ndarray, " observation"]
) -> float:
    """Share of the squared distances from the mean that is left within bins."""
    total = float(((features - features.mean(axis=0)) ** 2).sum())
    parts = (features[of == b] for b in range(of.max() + 1))
    within = sum(float(((own - own.mean(axis=0)) ** 2).sum()) for own in parts)
    return within / total if total > 0 else 0.0
