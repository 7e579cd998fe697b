"""Error rates and power of the tests, against a calculation where the data are normal."""

import math

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.stats import ncx2, norm

from popk.analysis.covariates.criteria import Judged, judge, rates
from popk.spec.fit import Sampler
from popk.spec.problem import PopkError

TRIALS = 300
OMEGA, SIGMA = 0.3, 0.2


@pytest.fixture(scope="module")
def judged(steady_state):
    """From the effect's true value to the judged trials; everything else is the same."""
    model, data = steady_state.problem
    (effect,) = model.spec.covariates

    def of(value, trials=TRIALS, **options):
        truth = {"TVCL": 0.8, effect.name: value, "omega_CL": OMEGA, "sigma": SIGMA}
        return judge(jax.random.key(4), model, data, effect, truth, trials,
                     settings=Sampler(seed=3), **options)  # fmt: skip

    return of


def standard_error(case):
    """Of the effect's estimate for these subjects, by generalised least squares."""
    of_subject = np.eye(case.young.size)[case.subject]
    covariance = OMEGA**2 * of_subject @ of_subject.T + SIGMA**2 * np.eye(case.subject.size)
    x = np.stack([np.ones(case.subject.size), case.young[case.subject]], axis=1)
    return math.sqrt(np.linalg.inv(x.T @ np.linalg.solve(covariance, x))[1, 1])


def within(row, expected, room=0.0):
    """Four Monte Carlo errors, and what the approximation may be off by."""
    error = math.sqrt(expected * (1 - expected) / row["trials"])
    assert abs(row["rate"] - expected) < 4 * error + room


@pytest.mark.slow
def test_without_an_effect_the_tests_err_as_often_as_they_say(judged):
    found = judged(0.0)
    assert found.truth == 1.0
    table = rates(found)
    # Variances are estimated from 30 subjects: a little more often than with known ones
    within(table.loc["likelihood ratio, p < 0.05"], 0.05, room=0.02)
    within(table.loc["90 % interval excludes 1"], 0.10, room=0.02)
    within(table.loc["Wilcoxon-Mann-Whitney on individual estimates, p < 0.05"], 0.05)
    assert table.loc["missed the convergence gate", "rate"] == 0
    verdicts = [name for name in table.index if name.startswith("verdict")]
    assert table.loc[verdicts, "rate"].sum() == pytest.approx(1.0)


@pytest.mark.slow
def test_power_is_that_of_a_normal_test(judged, steady_state):
    effect = -0.35
    table = rates(judged(effect, predicted=40))
    away = (effect / standard_error(steady_state)) ** 2
    within(table.loc["likelihood ratio, p < 0.05"], ncx2.sf(3.841, 1, away), room=0.03)
    # The prior draws the estimate a little towards its centre
    power = norm.cdf(math.sqrt(away) - 1.645)
    within(table.loc["90 % interval excludes 1"], power, room=0.06)
    predicted = table.loc["leave-one-subject-out better with the effect"]
    assert predicted["trials"] == 40
    assert predicted["rate"] > 0.5


@pytest.mark.slow
def test_the_key_decides_and_a_trial_does_not_depend_on_how_many_there_are(judged):
    few, more = judged(-0.2, trials=3), judged(-0.2, trials=5)
    shared = [c for c in few.table.columns if c not in ("why", "verdict")]
    np.testing.assert_allclose(
        few.table[shared].to_numpy(float), more.table[shared].iloc[:3].to_numpy(float), rtol=1e-6
    )


def test_rates_count_every_trial():
    table = pd.DataFrame(
        {
            "q2_5": [0.9, 1.1, 0.4, 0.7], "q5": [0.95, 1.2, 0.5, 0.8],
            "q95": [1.1, 2.0, 0.7, 1.2], "q97_5": [1.2, 2.2, 0.75, 1.3],
            "verdict": ["no relevant effect", "the data cannot tell", "relevant effect",
                        "no relevant effect"],
            "BF01": [5.0, 0.5, 0.0, 4.0], "p": [0.6, 0.03, 1e-6, math.nan],
            "classical_p": [0.5, 0.06, 0.001, 0.9],
            "loso": [-1.0, 0.5, np.nan, np.nan], "loso_error": [0.5, 1.0, np.nan, np.nan],
            "passed": [True, True, True, False],
        }
    )  # fmt: skip
    found = rates(Judged(table, 1.0))
    assert found.loc["90 % interval excludes 1", "rate"] == 0.5
    assert found.loc["verdict: no relevant effect", "rate"] == 0.5
    assert found.loc["BF01 < 1/3", "rate"] == 0.25
    # A search that has not ended rejects nothing, and is counted
    assert found.loc["likelihood ratio, p < 0.05", "rate"] == 0.5
    assert found.loc["likelihood: search not ended", "rate"] == 0.25
    assert found.loc["missed the convergence gate", "rate"] == 0.25
    assert found.loc["leave-one-subject-out better with the effect", "trials"] == 2
    assert found.loc["the same by more than two standard errors", "rate"] == 0.0
    assert found.loc["BF01 > 3", "error"] == pytest.approx(0.25)


def test_an_effect_that_the_design_cannot_show_is_refused(steady_state):
    model, data = steady_state.problem
    (effect,) = model.spec.covariates
    nobody = effect.model_copy(update={"cut": 1.0})
    with pytest.raises(PopkError, match="0 subjects in the group"):
        judge(jax.random.key(1), model, data, nobody, {}, 10)
