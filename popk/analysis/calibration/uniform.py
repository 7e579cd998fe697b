"""Are ranks uniform? The ECDF of ranks of true values, and how far chance takes it from uniform.

The simultaneous band of Säilynoja, Bürkner and Vehtari, Stat Comput 2022;32:32, here as wide
everywhere in standard deviations, with its probability computed exactly.
"""

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln

from popk.inference.trials import Trials

THIN = 399
"""Draws of each trial that ranks are taken among, about as many as are effective: with them a rank
has 400 values, and the points of the grid lie between two of them."""
GRID = np.linspace(0.01, 0.99, 99)
"""Points at which an ECDF is compared with the uniform one."""


def ranks(trials: Trials, truth: Mapping[str, np.ndarray]) -> Int[np.ndarray, "trial name"]:
    """Ranks of true values, [trial] by name, among `THIN` draws of each trial: 0 to `THIN`."""
    found = np.empty((len(trials.draws), len(trials.names)), dtype=int)
    true = np.stack([truth[name] for name in trials.names], axis=1)
    for i, draws in enumerate(trials.draws):
        flat = np.swapaxes(draws, 0, 1).reshape(-1, draws.shape[2])
        # Draws of different chains stand next to each other: every so-and-so-manyth is nearly
        # independent
        kept = flat[np.linspace(0, len(flat) - 1, THIN).astype(int)]
        found[i] = np.sum(kept < true[i], axis=0)
    return found


def deviation(values: Int[np.ndarray, " trial"]) -> float:
    """Largest deviation of the ECDF of ranks from uniform over `GRID`, in standard deviations."""
    difference = ecdf(values) - GRID
    return float(np.max(np.abs(difference) / np.sqrt(GRID * (1 - GRID) / len(values))))


def ecdf(values: Int[np.ndarray, " trial"]) -> Float[np.ndarray, " point"]:
    """Share of ranks below each point of `GRID`; `THIN` + 1 ranks are equally likely."""
    cut = np.rint(GRID * (THIN + 1)).astype(int)
    return np.searchsorted(np.sort(values), cut, side="left") / len(values)


@cache
def band(count: int, level: float = 0.95) -> float:
    """Deviation that uniform ranks of so many trials stay within with this probability."""
    low, high = 0.0, 20.0
    while high - low > 1e-4:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if 1.0 - p_of(middle, count) >= level else (middle, high)
    return high


def p_of(largest: float, count: int) -> float:
    """Probability that uniform ranks of so many trials deviate by so many SDs or more.

    Exact: from one point of the grid to the next the ranks below it go up by a binomial number,
    and paths that leave the band are dropped (Säilynoja et al. 2022, sec. 2.2).
    """
    log_factorial = gammaln(np.arange(count + 1) + 1.0)
    room = largest * np.sqrt(count * GRID * (1 - GRID)) - 1e-9
    n, inside, before = np.zeros(1, dtype=int), np.ones(1), 0.0
    for z, half in zip(GRID, room, strict=True):
        low, high = math.ceil(count * z - half), math.floor(count * z + half)
        onward = np.arange(max(low, 0), min(high, count) + 1)
        up, left = onward[:, None] - n, count - n
        share = (z - before) / (1.0 - before)
        possible = up >= 0
        more = np.where(possible, up, 0)
        rest = left - more
        log_pmf = log_factorial[left] - log_factorial[more] - log_factorial[np.maximum(rest, 0)]
        log_pmf = log_pmf + more * math.log(share) + rest * math.log1p(-share)
        inside = np.where(possible & (rest >= 0), np.exp(log_pmf), 0.0) @ inside
        n, before = onward, z
        if not len(n):
            return 1.0
    return float(np.clip(1.0 - inside.sum(), 0.0, 1.0))
