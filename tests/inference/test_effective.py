"""Beside ArviZ, quantity by quantity: any chains and draws, ties, constants, slow chains."""

import numpy as np
import pytest
from arviz_stats.base import array_stats
from hypothesis import given, settings
from hypothesis import strategies as st

from popk.inference import effective as module
from popk.inference.effective import effective


def chains_of(seed, chains, count, memory, rejected):
    """Autoregressive chains of four quantities, which stand still together where rejected."""
    rng = np.random.default_rng(seed)
    draws = rng.standard_normal((chains, count, 4))
    for i in range(1, count):
        draws[:, i] = memory * draws[:, i - 1] + np.sqrt(1 - memory**2) * draws[:, i]
        still = rng.random(chains) < rejected
        draws[still, i] = draws[still, i - 1]
    draws[..., 1] = np.exp(3.0 * draws[..., 1])
    draws[..., 2] = np.round(draws[..., 2], 1)  # many draws of different chains are equal
    draws[..., 3] = draws[..., 0] * np.linspace(1.0, 2.0, chains)[:, None]
    return draws


def tail_by_arviz(column):
    """The definition, with the quantiles of NumPy (and of R's posterior): ArviZ has others."""
    indicators = [(column <= np.quantile(column, p)).astype(float) for p in (0.05, 0.95)]
    return min(
        np.ravel(array_stats.ess(i, method="mean", chain_axis=0, draw_axis=1))[0]
        for i in indicators
    )


def beside_arviz(draws):
    """ArviZ's R-hat, bulk and tail ESS of every quantity."""
    columns = np.moveaxis(draws, 2, 0)
    return [
        np.array([np.ravel(f(column))[0] for column in columns])
        for f in (
            lambda c: array_stats.rhat(c, method="rank", chain_axis=0, draw_axis=1),
            lambda c: array_stats.ess(c, method="bulk", chain_axis=0, draw_axis=1),
            tail_by_arviz,
        )
    ]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    chains=st.integers(2, 9),
    count=st.integers(100, 220),
    memory=st.sampled_from([-0.5, 0.0, 0.5]),
    rejected=st.sampled_from([0.0, 0.1, 0.2]),
)
def test_any_chains_have_the_diagnostics_of_arviz(seed, chains, count, memory, rejected):
    draws = chains_of(seed, chains, count, memory, rejected)
    with np.errstate(all="ignore"):
        expected = beside_arviz(draws)
    found = effective(draws)
    for name, own, other in zip(found._fields, found, expected, strict=False):
        np.testing.assert_allclose(own, other, rtol=1e-9, err_msg=name)
    assert found.nested is None


def test_lags_beyond_those_that_are_summed_directly():
    """Chains so slow that their autocovariances come by Fourier transform."""
    draws = chains_of(3, 4, 900, 0.99, 0.0)
    found, expected = effective(draws), beside_arviz(draws)
    assert found.bulk[0] < 4 * 900 / module.MOST_LAGS
    np.testing.assert_allclose(found.bulk, expected[1], rtol=1e-9)
    np.testing.assert_allclose(found.tail, expected[2], rtol=1e-9)


def test_quantities_do_not_depend_on_those_beside_them(monkeypatch):
    """Nor on how many are worked on at once, nor on the threads that share them."""
    draws = np.concatenate([chains_of(i, 8, 60, 0.3, 0.1) for i in range(6)], axis=2)
    whole = effective(draws, 2)
    for first in range(0, draws.shape[2], 4):
        part = effective(draws[..., first : first + 4], 2)
        for one, other in zip(part, whole, strict=True):
            np.testing.assert_allclose(one, other[first : first + 4], rtol=1e-12)
    monkeypatch.setattr(module, "AT_ONCE", 1000)
    monkeypatch.setattr(module, "LEAST_SHARED", 0)
    for one, other in zip(effective(draws, 2), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("count", [60, 61])
def test_single_precision_is_sorted_like_double(count):
    """By integers, where signs, zeros of both signs and equal draws have to come out right."""
    single = chains_of(7, 8, count, 0.3, 0.2).astype(np.float32)
    single[:, ::7] = 0.0
    single[:, 3::7] = -0.0
    for one, other in zip(effective(single, 2), effective(single.astype(float), 2), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_draw_that_is_no_number_spoils_its_own_quantity_alone(bad):
    draws = chains_of(5, 4, 50, 0.0, 0.0)
    clean = effective(draws)
    draws[2, 17, 1] = bad
    found = effective(draws)
    for one, other in zip(found[:3], clean[:3], strict=True):
        assert np.isnan(one[1])
        np.testing.assert_array_equal(np.delete(one, 1), np.delete(other, 1))


def test_a_constant_is_known_exactly():
    draws = np.full((4, 50, 1), 1.5)
    assert effective(draws).bulk[0] == 200
