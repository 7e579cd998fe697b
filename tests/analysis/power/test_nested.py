"""Likelihood-ratio tests of many trials against each trial's own maxima."""

import jax
import numpy as np
import pytest
from scipy.stats import chi2

from popk.analysis.power import nested
from popk.analysis.power.nested import likelihood_ratios
from popk.analysis.power.power import planned
from popk.analysis.power.trials import done, effect_named, events_of
from popk.inference.maxima import one_of
from popk.inference.maximum import Likelihood, Settings
from popk.inference.trials import Trials
from tests.analysis.power.conftest import TRUTH

TRIALS = 8


@pytest.fixture(scope="module")
def trials(steady, plan):
    """Simulated trials, some rows of which are censored, and rough posteriors of them."""
    limited = plan.model_copy(update={"below": "450 pg/mL"})
    piece = planned(steady, limited, [0.6], [8], TRIALS, values=TRUTH).pieces[0]
    rng = np.random.default_rng(1)
    names = steady.population_names
    centre = np.array([TRUTH.get(name, -0.4) for name in names])
    spread = np.array([0.2 if name == piece.effect else 0.15 * TRUTH[name] for name in names])
    draws = centre + spread * rng.standard_normal((TRIALS, 4, 100, len(names)))
    empty = np.zeros((TRIALS, 1))
    fitted = Trials(names, tuple(draws), ("CL",), np.ones((TRIALS, 1, 8, 4)), empty, empty, empty,
                    np.ones(TRIALS, bool), ("ensemble",) * TRIALS, ("",) * TRIALS)  # fmt: skip
    events = events_of(piece)
    assert events.censored.any()
    return steady, effect_named(steady.spec, piece.effect), fitted, events


@pytest.fixture(scope="module")
def found(trials):
    with jax.enable_x64(True):
        return likelihood_ratios(*trials)


def one_by_one(model, effect, fitted, events):
    """Each trial by `maximise`, from the same start."""
    with jax.enable_x64(True):
        own = Likelihood(model, one_of(events, 0), Settings("focei"))
        place, nothing = nested._held(own, effect)
        searches = nested._searches(nested._coordinates(own, fitted), place, nothing)
        begin = nested.Maxima(searches.vector, *(np.full(2 * TRIALS, -np.inf),) * 5)
        for trial in range(TRIALS):
            both = nested._alone(own, effect, one_of(events, trial), begin, trial, TRIALS)
            assert all(estimate.highest for estimate in both)
            yield both[0].ofv - both[1].ofv


@pytest.mark.slow
def test_it_is_the_ratio_of_each_trial_s_own_maxima(trials, found):
    expected = np.array(list(one_by_one(*trials)))
    np.testing.assert_allclose(found.change, expected, atol=1e-3)
    np.testing.assert_allclose(found.p, chi2.sf(-found.change, 1))
    assert (found.alone == 0).all()
    assert (found.change < 0).all()


def test_a_search_that_has_not_ended_is_made_again_by_itself(trials, found, monkeypatch):
    real = nested.maxima

    def spoilt(*given):
        ended = real(*given)
        lost = np.arange(len(ended.ended)) % TRIALS == 3
        return ended._replace(
            ended=ended.ended & ~lost,
            log_likelihood=np.where(lost, ended.log_likelihood - 1.0, ended.log_likelihood),
        )

    monkeypatch.setattr(nested, "maxima", spoilt)
    with jax.enable_x64(True):
        again = likelihood_ratios(*trials)
    assert again.alone.tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(again.change, found.change, atol=1e-3)
    assert np.isfinite(again.p).all()


@pytest.mark.slow
def test_a_piece_has_them_if_asked(steady, plan):
    found = {
        asked: done(
            planned(steady, plan, [0.6], [8], 8, values=TRUTH, likelihood_ratio=asked).pieces[0]
        )
        for asked in (True, False)
    }
    assert np.isfinite(found[True]["lr"]).all()
    assert np.isnan(found[False]["lr"]).all()
    for name in ("ratio", "q5", "q95", "wilcoxon"):
        np.testing.assert_array_equal(found[True][name], found[False][name])
