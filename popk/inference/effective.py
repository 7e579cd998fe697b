"""Rank-normalised R-hat and effective sample sizes of many quantities at once.

The definitions of Vehtari et al., Bayesian Analysis 2021;16:667-718, as ArviZ has them, which the
tests compare with; there each quantity is ranked and transformed by itself. Here all share one
sort: folded ranks are a merge of its two halves, tails are cut off at its places. Draws in single
precision are sorted as integers. Autocovariances are summed lag by lag, as well mixed chains need
few. A sampler that takes a tenth of a second cannot wait a second for its gate.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

from popk.inference.threads import cores, side_by_side

Draws = Float[np.ndarray, "chain draw quantity"]
Halves = Float[np.ndarray, "quantity length half"]
PerQuantity = Float[np.ndarray, " quantity"]

LAGS_AT_ONCE = 8
MOST_LAGS = 48
"""Autocovariances are summed directly up to this lag; beyond, by Fourier transform."""
LOW, HIGH = 0.05, 0.95
"""The quantiles of the tail ESS."""
LEAST_SHARED = 200_000
"""Numbers below which sharing the quantities between threads does not pay."""
AT_ONCE = 131_072
"""Numbers that are worked on at once: they stay in the processor's cache."""


class Effective(NamedTuple):
    """Diagnostics of split chains, [quantity]; NaN where a draw is not finite.

    Attributes
    ----------
    rhat
        Rank-normalised: the larger of R-hat of the draws and of the draws folded at their median.
    bulk
        Effective sample size for the bulk, from rank-normalised draws.
    tail
        Effective sample size for the tails: the smaller of those of the 5 % and 95 % quantiles.
    nested
        Nested R-hat, the larger of the same two; None without superchains.
    """

    rhat: PerQuantity
    bulk: PerQuantity
    tail: PerQuantity
    nested: PerQuantity | None


def effective(draws: Draws, superchains: int = 0) -> Effective:
    """R-hat, effective sample sizes and nested R-hat of every quantity.

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
    chains, count, quantities = draws.shape
    half = count // 2
    halves = np.empty((quantities, half, 2 * chains), dtype=np.result_type(draws, np.float32))
    halves[..., :chains] = draws[:, :half].transpose(2, 1, 0)
    halves[..., chains:] = draws[:, count - half :].transpose(2, 1, 0)
    tails = np.quantile(draws, [LOW, HIGH], axis=(0, 1)) if count % 2 else None
    step = max(1, AT_ONCE // (chains * count))
    blocks = [slice(first, first + step) for first in range(0, quantities, step)]
    shares = min(cores(), len(blocks)) if draws.size >= LEAST_SHARED else 1
    parts = side_by_side(
        lambda own: [
            _of_some(halves[block], None if tails is None else tails[:, block], superchains)
            for block in own
        ],
        [blocks[share::shares] for share in range(shares)],
    )
    ordered = [parts[i % shares][i // shares] for i in range(len(blocks))]
    rhat, bulk, tail, nested = (np.concatenate(part) for part in zip(*ordered, strict=True))
    finite = np.isfinite(draws).all(axis=(0, 1))
    rhat, bulk, tail, nested = (np.where(finite, a, np.nan) for a in (rhat, bulk, tail, nested))
    return Effective(rhat, bulk, tail, nested if superchains else None)


def _of_some(
    halves: Halves, tails: Float[np.ndarray, "2 quantity"] | None, superchains: int
) -> tuple[PerQuantity, PerQuantity, PerQuantity, PerQuantity]:
    """R-hat, ESS of bulk and tails, nested R-hat; `tails` where a draw is left out of `halves`."""
    count = len(halves)
    with np.errstate(divide="ignore", invalid="ignore"):
        ranked = _ranked(halves)
        cuts = ranked.tails if tails is None else tails
        # One call for all three: with few quantities calls are most of the time
        rows = np.empty((3 * count, *halves.shape[1:]))
        rows[:count] = ranked.scores
        for place, at in enumerate(cuts, 1):
            np.less_equal(halves, at[:, None, None], out=rows[place * count : (place + 1) * count])
        bulk, low, high = ess(rows).reshape(3, count)
        rhat = np.maximum(_rhat(ranked.scores), _rhat(ranked.folded))
        nested = np.full(count, np.nan)
        if superchains:
            nested = np.maximum(
                _nested(ranked.scores, superchains), _nested(ranked.folded, superchains)
            )
        return rhat, bulk, np.minimum(low, high), nested


class _Ranked(NamedTuple):
    """Normal scores of draws and of folded draws; the draws at the quantiles of the tails."""

    scores: Halves
    folded: Halves
    tails: tuple[PerQuantity, PerQuantity]


def _ranked(halves: Halves) -> _Ranked:
    """Ranks over all chains as normal scores (Blom's offset); equal values share a mean rank."""
    count = len(halves)
    values = halves.reshape(count, -1)
    total = values.shape[1]
    table = ndtri((0.5 * np.arange(2, 2 * total + 1) - 0.375) / (total + 0.25))
    # Places in the flat array: much faster than along an axis
    first = (np.arange(count) * total)[:, None]
    order = _sorted_places(values)
    order += first
    ordered = values.ravel()[order].astype(float)
    places = [(total - 1) // 2, total // 2]
    places += [math.floor(LOW * (total - 1)), math.floor(HIGH * (total - 1))]
    low, high, *tails = ordered[:, places].T
    scores = _scores(table, order, ordered)
    # Below the median distances to it fall, above they rise: a stable sort merges two runs
    distance = np.abs(ordered - 0.5 * (low + high)[:, None])
    merged = np.argsort(distance, axis=1, kind="stable")
    merged += first
    folded = _scores(table, order.ravel()[merged], distance.ravel()[merged])
    return _Ranked(scores.reshape(halves.shape), folded.reshape(halves.shape), (tails[0], tails[1]))


def _sorted_places(values: Float[np.ndarray, "quantity draw"]) -> Int[np.ndarray, "quantity draw"]:
    """The places of the draws in rising order, of each quantity."""
    if values.dtype != np.float32:
        return np.argsort(values, axis=1)
    # One number holds a draw, as an integer of the same order, and its place: numbers are sorted
    # in half the time of places
    bits = values.view(np.int32)
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    keys <<= 32
    keys |= np.arange(values.shape[1])
    keys.sort(axis=1)
    keys &= 0xFFFFFFFF
    return keys


def _scores(
    table: Float[np.ndarray, " half_rank"],
    order: Int[np.ndarray, "quantity draw"],
    ordered: Float[np.ndarray, "quantity draw"],
) -> Float[np.ndarray, "quantity draw"]:
    """The score of each draw from its place in the order; `table` is by half ranks from 1 on.

    Equal values, of draws repeated because a proposal was rejected, have the mean of the first and
    the last of their places.
    """
    same = np.zeros((ordered.shape[0], ordered.shape[1] + 1), dtype=bool)
    np.equal(ordered[:, 1:], ordered[:, :-1], out=same[:, 1:-1])
    starts = np.flatnonzero(same[:, 1:] & ~same[:, :-1])
    lasts = np.flatnonzero(same[:, :-1] & ~same[:, 1:])
    by_place = np.empty(ordered.shape)
    by_place[:] = table[::2]
    by_place = by_place.ravel()
    if starts.size:
        lengths = lasts - starts + 1
        mean = table[2 * (starts % ordered.shape[1]) + lengths - 1]
        ends = np.cumsum(lengths)
        tied = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
        by_place[tied] = np.repeat(mean, lengths)
    scores = np.empty_like(by_place)
    scores[order.ravel()] = by_place
    return scores.reshape(ordered.shape)


def _nested(halves: Halves, superchains: int) -> PerQuantity:
    """Nested R-hat of split chains: first halves of all chains, then last halves."""
    means = _grouped(halves.mean(axis=1), superchains)
    spread = _grouped(halves.var(axis=1, ddof=1), superchains)
    between = means.mean(axis=2).var(axis=1, ddof=1)
    within = means.var(axis=2, ddof=1) + spread.mean(axis=2)
    return np.sqrt(1.0 + between / within.mean(axis=1))


def _grouped(values: Float[np.ndarray, "quantity half"], superchains: int) -> np.ndarray:
    """[quantity, superchain, half]: both halves of a superchain's chains."""
    grouped = values.reshape(len(values), 2, superchains, -1)
    return np.moveaxis(grouped, 1, 2).reshape(len(values), superchains, -1)


def _rhat(halves: Halves) -> PerQuantity:
    count = halves.shape[1]
    within = halves.var(axis=1, ddof=1).mean(axis=1)
    between = count * halves.mean(axis=1).var(axis=1, ddof=1)
    return np.sqrt((between / within + count - 1.0) / count)


def ess(halves: Halves) -> PerQuantity:
    """Effective sample size by Geyer's initial monotone sequence over all chains.

    Parameters
    ----------
    halves
        [quantity, draw, chain].
    """
    quantities, count, chains = halves.shape
    means = halves.mean(axis=1)
    centred = halves - means[:, None]
    # A constant is known exactly
    constant = np.ptp(halves.reshape(quantities, -1), axis=1) < np.finfo(float).resolution
    flat = centred.reshape(quantities, -1)
    scale = 1.0 / (chains * count)
    variance = np.vecdot(flat, flat) * scale
    mean_variance = variance * count / (count - 1.0)
    total = variance + (means.var(axis=1, ddof=1) if chains > 1 else 0.0)

    def correlation(covariance: Float[np.ndarray, "_ lag"], of: slice | np.ndarray) -> np.ndarray:
        return 1.0 - (mean_variance[of, None] - covariance) / total[of, None]

    lags = min(count, MOST_LAGS)
    covariance = np.empty((quantities, lags))
    covariance[:, 0] = variance
    sizes = np.full(quantities, np.nan)
    going = np.arange(quantities)
    known = 1
    while known < lags:
        stop = min(known + LAGS_AT_ONCE, lags)
        own = flat if len(going) == quantities else flat[going]
        for lag in range(known, stop):
            shift = lag * chains
            covariance[going, lag] = np.vecdot(own[:, :-shift], own[:, shift:]) * scale
        known = stop
        size, ended = _sizes(correlation(covariance[going, :known], going), chains, count)
        sizes[going[ended]] = size[ended]
        going = going[~ended]
        if not going.size:
            break
    if going.size:
        width = scipy.fft.next_fast_len(2 * count, real=True)
        spectrum = np.fft.rfft(centred[going], width, axis=1)
        power = (spectrum.real**2 + spectrum.imag**2).mean(axis=2)
        every = np.fft.irfft(power, width, axis=1)[:, :count] / count
        sizes[going] = _sizes(correlation(every, going), chains, count)[0]
    return np.where(constant, float(chains * count), sizes)


def _sizes(
    correlation: Float[np.ndarray, "quantity lag"], chains: int, count: int
) -> tuple[PerQuantity, Bool[np.ndarray, " quantity"]]:
    """From autocorrelations to effective sizes; antithetic chains have more than their draws.

    Sums of pairs of lags are added while they are positive, each at most the one before. With it
    whether the lags that are known were enough.
    """
    lags = correlation.shape[1]
    correlation = correlation.copy()
    correlation[:, 0] = 1.0
    pairs = correlation[:, : lags - lags % 2].reshape(len(correlation), -1, 2).sum(axis=2)
    most = max(-(-(count - 2) // 2) - 1, 0)
    positive = pairs[:, : most + 1] > 0
    ends = np.where(positive.all(axis=1), most, np.argmin(positive, axis=1))
    enough = ~positive.all(axis=1) | (positive.shape[1] == most + 1)
    ends = np.minimum(ends, (lags - 1) // 2)
    monotone = np.minimum.accumulate(pairs, axis=1)
    within = np.arange(pairs.shape[1]) < ends[:, None]
    # One more value where it helps, as an even lag's correlation cannot be negative
    after = np.maximum(np.take_along_axis(correlation, 2 * ends[:, None], axis=1)[:, 0], 0.0)
    time = -1.0 + 2.0 * np.where(within, monotone, 0.0).sum(axis=1) + after
    total = chains * count
    sizes = total / np.maximum(time, 1.0 / math.log10(total))
    finite = np.isfinite(correlation).all(axis=1)
    return np.where(finite, sizes, np.nan), enough | ~finite
