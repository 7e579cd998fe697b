"""One p value for a whole curve: exact under exchangeability, and a band that goes with it."""

import numpy as np
from scipy.stats import binom

from popk.analysis.checking.envelope import envelope


def curves(rng, count, points=12):
    """Correlated curves, as quantiles in neighbouring bins are."""
    steps = rng.standard_normal((count, points))
    return np.cumsum(steps, axis=1) + 3.0 * rng.standard_normal((count, 1))


def test_p_is_that_of_one_curve_among_its_equals():
    rng = np.random.default_rng(1)
    p = []
    for _ in range(400):
        all_of = curves(rng, 200)
        p.append(envelope(all_of[0], all_of[1:]).p)
    for level in (0.05, 0.2):
        below = int(np.sum(np.array(p) <= level))
        assert binom.ppf(1e-4, 400, level) <= below <= binom.ppf(1 - 1e-4, 400, level)


def test_the_band_holds_nineteen_of_twenty_whole_curves():
    rng = np.random.default_rng(2)
    replicates = curves(rng, 999)
    found = envelope(replicates.mean(axis=0), replicates)
    inside = ((replicates >= found.lower) & (replicates <= found.upper)).all(axis=1)
    assert abs(inside.mean() - 0.95) < 0.002  # by construction, but for ties
    assert not found.outside.any()
    # Point by point it is wider than a 95 % band
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)
    assert (found.lower < low).all()
    assert (found.upper > high).all()


def test_one_point_far_out_is_enough_and_is_named():
    replicates = curves(np.random.default_rng(3), 999)
    own = np.median(replicates, axis=0)
    own[7] = replicates[:, 7].max() + 1.0
    found = envelope(own, replicates)
    assert found.p <= 0.05
    assert found.outside.tolist() == [i == 7 for i in range(12)]


def test_what_never_varies_says_nothing():
    own = np.zeros(4)
    assert envelope(own, np.zeros((99, 4))).p == 1.0
    replicates = np.c_[np.zeros((99, 3)), np.arange(99.0)]
    assert envelope(np.r_[np.zeros(3), 49.5], replicates).p == 1.0
    assert envelope(np.r_[np.zeros(3), 1e3], replicates).p <= 0.03


def test_without_points_there_is_no_p():
    found = envelope(np.zeros(0), np.zeros((10, 0)))
    assert np.isnan(found.p)
    assert found.outside.size == 0
