"""Bins: a partition of the axis into intervals that hold enough, cut where the gaps are."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popk.analysis.checking.bins import EACH, LEAST, MOST, bins


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0, 1000).map(lambda v: round(v, 1)), min_size=1, max_size=250),
    st.integers(0, 3),
)
def test_every_value_has_one_interval(values, missing):
    axis = np.r_[np.array(values), np.full(missing, np.nan)]
    found = bins(axis)
    known = np.isfinite(axis)
    assert (found.of[~known] == -1).all()
    assert set(found.of[known]) == set(range(found.number))
    for b in range(found.number):
        own = axis[found.of == b]
        assert (own.min(), own.max()) == (found.start[b], found.end[b])
        assert own.size >= min(LEAST, known.sum())
    assert (found.start[1:] > found.end[:-1]).all()  # equal values are never parted
    assert found.number <= min(MOST, max(1, known.sum() // EACH))


def test_cuts_lie_in_the_gaps():
    rng = np.random.default_rng(1)
    centres = np.array([10.0, 48.0, 180.0, 345.0, 515.0])
    axis = np.concatenate([c + 3.0 * rng.standard_normal(22) for c in centres])
    found = bins(axis)
    assert found.number == 5
    np.testing.assert_array_equal(found.of, np.repeat(np.arange(5), 22))


def test_clusters_are_not_cut_however_many_samples_they_hold():
    axis = np.concatenate([c + np.linspace(0, 3, 120) for c in (2.0, 130.0, 260.0, 390.0)])
    found = bins(axis)
    assert MOST > found.number == 4
    np.testing.assert_array_equal(found.of, np.repeat(np.arange(4), 120))


def test_a_fall_that_follows_a_plateau_at_once_has_a_bin_of_its_own():
    time = np.concatenate([np.linspace(0, 600, 60), np.linspace(601, 612, 20)])
    level = np.where(time > 600.5, 3.0 - 0.1 * (time - 600), 6.5)
    assert 600.0 in bins(time, level).end
    assert 600.0 not in bins(time).end


def test_the_partition_is_the_best_there_is():
    rng = np.random.default_rng(2)
    axis = np.sort(rng.exponential(100.0, 44))
    found = bins(axis)
    assert found.number == 2
    rank = np.arange(44.0)
    features = [0.3 * (rank - rank.mean()) / rank.std(),
                np.sqrt(0.91) * (axis - axis.mean()) / axis.std()]  # fmt: skip

    def within(cut):
        parts = (slice(None, cut), slice(cut, None))
        return sum(((f[p] - f[p].mean()) ** 2).sum() for f in features for p in parts)

    cuts = range(LEAST, 44 - LEAST + 1)
    best = min(cuts, key=within)
    assert int(np.sum(found.of == 0)) == best
    assert len(list(combinations(cuts, 1))) > 10


def test_many_values_are_taken_together_first():
    axis = np.random.default_rng(3).uniform(0, 100, 5000)
    found = bins(axis)
    assert found.number == MOST
    assert (found.start[1:] >= found.end[:-1]).all()


@pytest.mark.parametrize("axis", [np.full(3, np.nan), np.zeros(0)])
def test_without_values_there_are_none(axis):
    found = bins(axis)
    assert found.number == 0
    assert (found.of == -1).all()
