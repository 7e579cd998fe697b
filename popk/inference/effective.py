"""Rank-normalised R-hat and effective sample sizes of many quantities at once.

The definitions of Vehtari et al., Bayesian Analysis 2021;16:667-718, as ArviZ has them, which the
tests compare with; there each quantity is ranked and transformed by itself, here all together:
a sampler that needs a tenth of a second cannot wait a second for its gate.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Float
from scipy.special import ndtri

Draws = Float[np.ndarray, "chain draw quantity"]
PerQuantity = Float[np.ndarray, " quantity"]


class RankBased(NamedTuple):
    """Diagnostics of rank-normalised split chains, [quantity].

    Attributes
    ----------
    rhat
        The larger of R-hat of the draws and of the draws folded at their median.
    ess_bulk
        Effective sample size for the bulk.
    nested
        Nested R-hat, the larger of the same two; None without superchains.
    """

    rhat: PerQuantity
    ess_bulk: PerQuantity
    nested: PerQuantity | None


def rank_based(draws: Draws, superchains: int = 0) -> RankBased:
    """Rank-normalised split R-hat, bulk ESS, and nested R-hat; NaN where a draw is not finite.

    Nested R-hat (Margossian et al., Bayesian Analysis 2024, arXiv 2110.13017) is for many short
    chains: the variance between the means of superchains, of which each has several chains from
    one starting point, is held against that within them, between their chains and along them.
    Chains need not be long, as the many of a superchain average each other's noise out.

    Parameters
    ----------
    draws
        [chain, draw, quantity].
    superchains
        Their number, of equally many consecutive chains.
    """
    halves = split(draws)
    scores = rank_normalised(halves)
    folded = rank_normalised(np.abs(halves - np.median(halves, axis=(0, 1))))
    finite = np.isfinite(draws).all(axis=(0, 1))
    nested = None
    if superchains:
        nested = np.maximum(_nested(scores, superchains), _nested(folded, superchains))
        nested = np.where(finite, nested, np.nan)
    return RankBased(
        np.where(finite, np.maximum(_rhat(scores), _rhat(folded)), np.nan),
        np.where(finite, ess(scores), np.nan),
        nested,
    )


def _nested(halves: Draws, superchains: int) -> PerQuantity:
    """Nested R-hat of split chains: first halves of all chains, then last halves."""
    _, count, quantities = halves.shape
    grouped = halves.reshape(2, superchains, -1, count, quantities)
    grouped = np.moveaxis(grouped, 0, 1).reshape(superchains, -1, count, quantities)
    means = grouped.mean(axis=2)
    between = means.mean(axis=1).var(axis=0, ddof=1)
    within = means.var(axis=1, ddof=1) + grouped.var(axis=2, ddof=1).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(1.0 + between / within.mean(axis=0))


def ess_tail(draws: Draws, low: float = 0.05, high: float = 0.95) -> PerQuantity:
    """Effective sample size for the tails: the smaller of those of two quantiles."""
    sizes = []
    for probability in (low, high):
        quantile = np.quantile(draws, probability, axis=(0, 1))
        sizes.append(ess(split((draws <= quantile).astype(float))))
    return np.where(np.isfinite(draws).all(axis=(0, 1)), np.minimum(*sizes), np.nan)


def split(draws: Draws) -> Float[np.ndarray, "half length quantity"]:
    """Each chain as two, first and last half; an odd draw in the middle is left out."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, draws.shape[1] - half :]])


def rank_normalised(draws: Draws) -> Draws:
    """Ranks over all chains as normal scores (Blom's offset)."""
    chains, count, quantities = draws.shape
    flat = np.ascontiguousarray(draws.reshape(-1, quantities).T)
    total = chains * count
    order = np.argsort(flat, axis=1)
    ordered = np.take_along_axis(flat, order, axis=1)
    scores = ndtri((np.arange(1, total + 1) - 0.375) / (total + 0.25))
    out = np.empty_like(flat)
    np.put_along_axis(out, order, np.broadcast_to(scores, flat.shape), axis=1)
    # A rejected proposal repeats a draw: equal values share the mean of their ranks
    same = ordered[:, 1:] == ordered[:, :-1]
    tied = np.flatnonzero(same.any(axis=1))
    if tied.size:
        place = np.arange(total)
        begins = np.pad(~same[tied], ((0, 0), (1, 0)), constant_values=True)
        ends = np.pad(~same[tied], ((0, 0), (0, 1)), constant_values=True)
        first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
        last = np.minimum.accumulate(np.where(ends, place, total - 1)[:, ::-1], axis=1)[:, ::-1]
        # Half ranks as well: scores at 1, 1.5, 2, ...
        halves = ndtri((0.5 * np.arange(2, 2 * total + 1) - 0.375) / (total + 0.25))
        repaired = np.empty((tied.size, total))
        np.put_along_axis(repaired, order[tied], halves[first + last], axis=1)
        out[tied] = repaired
    return out.T.reshape(chains, count, quantities)


def _rhat(draws: Draws) -> PerQuantity:
    count = draws.shape[1]
    within = draws.var(axis=1, ddof=1).mean(axis=0)
    between = count * draws.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((between / within + count - 1.0) / count)


def ess(draws: Draws) -> PerQuantity:
    """Effective sample size by Geyer's initial monotone sequence over all chains."""
    chains, count = draws.shape[:2]
    flat = np.ascontiguousarray(np.moveaxis(draws, 2, 0))
    means = flat.mean(axis=2)
    size = scipy.fft.next_fast_len(2 * count, real=True)
    spectrum = np.fft.rfft(flat - means[..., None], size, axis=2)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=1)
    covariance = np.fft.irfft(power, size, axis=1)[:, :count] / count
    mean_variance = covariance[:, 0] * count / (count - 1.0)
    total = mean_variance * (count - 1.0) / count
    if chains > 1:
        total = total + means.var(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = 1.0 - (mean_variance[:, None] - covariance) / total[:, None]
    # A constant is known exactly
    constant = (flat.max(axis=(1, 2)) - flat.min(axis=(1, 2))) < np.finfo(float).resolution
    return np.where(constant, float(chains * count), _sizes(correlation, chains * count))


def _sizes(correlation: Float[np.ndarray, "quantity lag"], total: int) -> PerQuantity:
    """From autocorrelations to effective sizes; antithetic chains have more than `total`.

    Sums of pairs of lags are added while they are positive, each at most the one before.
    """
    count = correlation.shape[1]
    correlation = correlation.copy()
    correlation[:, 0] = 1.0
    pairs = correlation[:, : count - count % 2].reshape(len(correlation), -1, 2).sum(axis=2)
    most = max(-(-(count - 2) // 2) - 1, 0)
    positive = pairs[:, : most + 1] > 0
    ends = np.where(positive.all(axis=1), most, np.argmin(positive, axis=1))
    monotone = np.minimum.accumulate(pairs, axis=1)
    within = np.arange(pairs.shape[1]) < ends[:, None]
    # One more value where it helps, as an even lag's correlation cannot be negative
    after = np.maximum(np.take_along_axis(correlation, 2 * ends[:, None], axis=1)[:, 0], 0.0)
    time = -1.0 + 2.0 * np.where(within, monotone, 0.0).sum(axis=1) + after
    sizes = total / np.maximum(time, 1.0 / math.log10(total))
    return np.where(np.isfinite(correlation).all(axis=1), sizes, np.nan)
