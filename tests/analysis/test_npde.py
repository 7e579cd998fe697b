"""NPDE are standard normal where the model is right, and move where it is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, kstest

from popk.analysis.npde import imputed, normality, npde
from popk.inference.batch import Batch
from popk.population.condensed import condense
from popk.population.events import arrange
from popk.population.model import Model
from popk.population.simulated import simulate
from popk.spec.model import ModelSpec

RIGHT = {"TVCL": 1.0, "TVV": 8.0, "omega_CL": 0.3, "omega_V": 0.3, "sigma": 0.1}
SLOW = pytest.mark.slow
REPLICATES = 400


@pytest.fixture(scope="module")
def design(course):
    """The course's design without its correlation."""
    model, data = course.problem
    plain = Model(ModelSpec.model_validate(model.spec.model_dump() | {"correlation": None}))
    return plain, condense(arrange(plain.spec, data)[0])[0]


@pytest.fixture(scope="module")
def found(design):
    """Npde of trials simulated with some values and judged by others: [trial][observation]."""
    model, events = design

    def of(trials, truth, by=RIGHT, below=None, seed=1):
        simulated = simulate(jax.random.key(seed), model, events, trials, given=truth, below=below)
        batch = Batch(model, simulated.events)
        values = {name: jnp.asarray(value) for name, value in by.items()}
        keys = jax.random.split(jax.random.key(seed + 100), trials)
        return [
            npde(keys[i], model, batch.events_of_one(i), values, REPLICATES)
            for i in range(trials)
        ]  # fmt: skip

    return of


def rejected(values, key="together"):
    return sum(getattr(normality(own), key) < 0.05 for own in values)


@pytest.mark.parametrize(
    ("below", "trials"),
    [
        pytest.param(1.0, 10, marks=SLOW),
        pytest.param(None, 100, marks=SLOW),
        pytest.param(1.0, 100, marks=SLOW),
    ],
)
def test_of_the_right_model_they_are_standard_normal(found, below, trials):
    """Over so many seeds; one row in seven lies below the limit where there is one."""
    values = found(trials, RIGHT, below=below)
    whole = np.concatenate(values)
    assert whole.size == trials * 50
    # Trials are independent; of one subject's observations the squares are not
    for power, expected in ((1, 0.0), (2, 1.0)):
        of_trial = np.array([(own**power).mean() for own in values])
        assert abs(of_trial.mean() - expected) < 4 * of_trial.std() / np.sqrt(trials)
    assert kstest(whole, "norm").pvalue > 1e-3
    # As often as chance allows in one of ten thousand runs
    assert rejected(values) <= binom.ppf(1 - 1e-4, trials, 0.05)


@SLOW
@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"sigma": 0.2}, "variance"),
        ({"omega_CL": 0.6, "omega_V": 0.6}, "variance"),
        ({"TVCL": 1.6}, "mean"),
    ],
)
def test_of_a_wrong_model_they_move(found, wrong, key):
    values = found(20, RIGHT | wrong)
    assert rejected(values, key) >= 10


@pytest.mark.slow
def test_what_a_censored_row_is_given_lies_in_its_interval(design):
    model, events = design
    simulated = simulate(jax.random.key(1), model, events, 3, given=RIGHT, below=1.0)
    batch = Batch(model, simulated.events)
    values = {name: jnp.asarray(value) for name, value in RIGHT.items()}
    for i in range(3):
        own = batch.events_of_one(i)
        dv = imputed(jax.random.key(2), model, own, values)
        censored, observed = np.asarray(own.censored), np.asarray(own.observed)
        assert 0 < censored.sum() < observed.sum()
        assert (dv[censored] < 1.0).all()
        measured = observed & ~censored
        np.testing.assert_array_equal(dv[measured], np.asarray(own.dv)[measured])
        again = imputed(jax.random.key(2), model, own, values)
        np.testing.assert_array_equal(dv, again)


def test_few_values_are_not_tested():
    assert np.isnan(normality(np.zeros(2))).all()
