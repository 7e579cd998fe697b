import arviz
import numpy as np
import pytest
from arviz_stats.base import array_stats

from popk.inference.convergence import bfmi, gate
from popk.inference.diagnostics import diagnostics, superchains_of
from popk.inference.effective import effective
from popk.inference.posterior import Posterior

CHAINS, DRAWS = 4, 500
NAMES = ["R-hat", "ESS bulk", "ESS tail", "divergences", "E-BFMI"]


def correlated(rng, shape, rho):
    """Autoregressive chains with unit variance."""
    values = rng.standard_normal(shape)
    for i in range(1, shape[1]):
        values[:, i] = rho * values[:, i - 1] + np.sqrt(1 - rho**2) * values[:, i]
    return values


def posterior(rng, **changed):
    """Independent draws; keywords replace draws or stats by name."""
    draws = {
        "TVCL": rng.standard_normal((CHAINS, DRAWS)),
        "CL": rng.standard_normal((CHAINS, DRAWS, 3)),
    }
    stats = {
        "diverging": np.zeros((CHAINS, DRAWS), bool),
        "energy": rng.standard_normal((CHAINS, DRAWS)),
    }
    for name, values in changed.items():
        (stats if name in stats else draws)[name] = values
    return Posterior(draws, stats, np.zeros((CHAINS, DRAWS, 1)), {"name": "test"})


def verdict(samples, **options):
    checks = gate(samples, diagnostics(samples.draws), options.pop("ess", 400.0), **options)
    assert [check.name for check in checks] == NAMES
    return {check.name: check for check in checks}


def failed(samples, **options):
    return {name for name, check in verdict(samples, **options).items() if not check.passed}


@pytest.mark.parametrize("rho", [0.0, 0.7, 0.95])
def test_diagnostics_are_those_of_arviz(rho):
    rng = np.random.default_rng(0)
    draws = {
        "skewed": np.exp(2 * correlated(rng, (CHAINS, DRAWS), rho)),
        "CL": correlated(rng, (CHAINS, DRAWS, 3), rho) + np.array([0.0, 5.0, -100.0]),
    }
    found = diagnostics(draws)
    assert found.names == ("skewed", "CL[1]", "CL[2]", "CL[3]")
    columns = [draws["skewed"], *np.moveaxis(draws["CL"], 2, 0)]
    for i, column in enumerate(columns):
        expected = (
            arviz.rhat(column, method="rank"),
            arviz.ess(column, method="bulk"),
            arviz.ess(column, method="tail", prob=(0.05, 0.95)),
        )
        np.testing.assert_allclose(found.of(found.names[i]), expected, rtol=1e-10)


@pytest.mark.parametrize("chains", [4, 16])
def test_diagnostics_asked_for_by_name_are_those_of_all_at_once(chains):
    rng = np.random.default_rng(2)
    shapes = {"TVCL": (), "CL": (3,), "omega_CL": (), "V": (2,)}
    draws = {name: correlated(rng, (chains, DRAWS, *shape), 0.3) for name, shape in shapes.items()}
    samples = Posterior(draws, {}, np.zeros((chains, DRAWS, 1)), {"name": "test"})
    assert samples.diagnosed(["V", "TVCL"]).names == ("V[1]", "V[2]", "TVCL")
    found, expected = samples.diagnostics, diagnostics(draws)
    assert found.names == expected.names
    for field in ("rhat", "ess_bulk", "ess_tail", "nested"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))


def test_energy_fraction_is_that_of_arviz():
    energy = correlated(np.random.default_rng(1), (CHAINS, DRAWS), 0.9)
    # ArviZ divides the variance by draws - 1
    expected = arviz.bfmi(energy) * DRAWS / (DRAWS - 1)
    np.testing.assert_allclose(bfmi(energy), expected, rtol=1e-12)


def test_independent_draws_pass():
    checks = verdict(posterior(np.random.default_rng(2)))
    assert all(check.passed for check in checks.values())
    assert checks["ESS bulk"].threshold == ">= 400"
    assert checks["R-hat"].value < 1.01
    assert all(check.meaning and check.source for check in checks.values())


def test_failure_names_the_worst_quantity():
    rng = np.random.default_rng(3)
    cl = rng.standard_normal((CHAINS, DRAWS, 3))
    cl[0, :, 1] += 2.0
    checks = verdict(posterior(rng, CL=cl))
    assert not checks["R-hat"].passed
    assert checks["R-hat"].worst == checks["ESS bulk"].worst == "CL[2]"


def test_one_stuck_chain_fails():
    rng = np.random.default_rng(4)
    tvcl = rng.standard_normal((CHAINS, DRAWS))
    tvcl[2] = tvcl[2, 0]
    assert {"R-hat", "ESS bulk"} <= failed(posterior(rng, TVCL=tvcl))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_all_chains_stuck_at_one_value_fail():
    rng = np.random.default_rng(5)
    assert {"R-hat"} <= failed(posterior(rng, TVCL=np.full((CHAINS, DRAWS), 1.5)))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_constants_of_the_data_may_be_left_out():
    rng = np.random.default_rng(5)
    samples = posterior(rng, V=np.full((CHAINS, DRAWS), 1.5))
    assert failed(samples)
    assert not failed(samples, ignore=("V",))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_none_fails(bad):
    rng = np.random.default_rng(6)
    tvcl = rng.standard_normal((CHAINS, DRAWS))
    tvcl[1, 17] = bad
    checks = verdict(posterior(rng, TVCL=tvcl))
    assert not checks["R-hat"].passed
    assert checks["R-hat"].worst == "TVCL"


def test_two_modes_fail():
    """Two chains in each mode: every chain looks well by itself."""
    rng = np.random.default_rng(7)
    tvcl = rng.standard_normal((CHAINS, DRAWS))
    tvcl[2:] += 8.0
    assert {"R-hat", "ESS bulk"} <= failed(posterior(rng, TVCL=tvcl))


def test_chains_of_unequal_spread_fail():
    """The same median and other tails: only the folded R-hat sees it."""
    rng = np.random.default_rng(8)
    tvcl = rng.standard_normal((CHAINS, DRAWS)) * np.array([1.0, 1.0, 1.0, 3.0])[:, None]
    assert "R-hat" in failed(posterior(rng, TVCL=tvcl))


def test_slow_chains_fail_by_their_effective_sample_size():
    rng = np.random.default_rng(9)
    slow = correlated(rng, (CHAINS, DRAWS), 0.9)
    assert {"ESS bulk", "ESS tail"} <= failed(posterior(rng, TVCL=slow), ess=400.0)
    assert "ESS bulk" not in failed(posterior(rng, TVCL=slow), ess=20.0)


def test_one_divergence_fails():
    rng = np.random.default_rng(10)
    diverging = np.zeros((CHAINS, DRAWS), bool)
    diverging[3, 100] = True
    checks = verdict(posterior(rng, diverging=diverging))
    assert {name for name, check in checks.items() if not check.passed} == {"divergences"}
    assert checks["divergences"].value == 1.0


def test_low_energy_fraction_fails_and_names_the_chain():
    rng = np.random.default_rng(11)
    energy = rng.standard_normal((CHAINS, DRAWS))
    energy[2] = np.cumsum(energy[2])
    checks = verdict(posterior(rng, energy=energy))
    assert {name for name, check in checks.items() if not check.passed} == {"E-BFMI"}
    assert checks["E-BFMI"].worst == "chain 3"


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_energy_that_does_not_change_or_is_no_number_fails():
    rng = np.random.default_rng(12)
    for bad in (0.0, np.nan):
        energy = rng.standard_normal((CHAINS, DRAWS))
        energy[1] = bad
        checks = verdict(posterior(rng, energy=energy))
        assert not checks["E-BFMI"].passed
        assert checks["E-BFMI"].worst == "chain 2"


@pytest.mark.parametrize(("chains", "superchains"), [(32, 8), (16, 8), (15, 0), (8, 0), (4, 0)])
def test_superchains_are_groups_of_two_chains_or_more(chains, superchains):
    assert superchains_of(chains) == superchains


def test_nested_rhat_is_that_of_arviz():
    """At the superchains that a fit has; repeated draws, as rejections leave them, included."""
    rng = np.random.default_rng(5)
    draws = rng.standard_normal((32, 25, 4))
    draws[:8, :, 1] += 0.5
    draws[:, 1::2, 2] = draws[:, :-1:2, 2]
    draws[:, :, 3] *= np.linspace(1.0, 2.0, 32)[:, None]
    found = effective(draws, 8).nested
    own = np.repeat(np.arange(8), 4)
    expected = [
        array_stats.rhat_nested(
            draws[..., i], superchain_ids=own, method="rank", chain_axis=0, draw_axis=1
        )
        for i in range(4)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_superchains_that_disagree_fail():
    rng = np.random.default_rng(6)
    tvcl = rng.standard_normal((32, 100))
    checks = {c.name: c for c in gate(posterior(rng), diagnostics({"TVCL": tvcl}), 400.0)}
    assert checks["nested R-hat"].passed
    shifted = tvcl + 0.3 * np.repeat(np.arange(8) % 2, 4)[:, None]
    checks = {c.name: c for c in gate(posterior(rng), diagnostics({"TVCL": shifted}), 400.0)}
    assert not checks["nested R-hat"].passed
    assert "2110.13017" in checks["nested R-hat"].source
