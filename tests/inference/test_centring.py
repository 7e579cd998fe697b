from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from popk.inference.centring import centring_weights, information
from popk.population.events import arrange
from popk.population.flat import flatten


def compiled(function, model, events, values):
    return {
        name: np.asarray(value)
        for name, value in jax.jit(partial(function, model))(events, values).items()
    }


def values_of(model, events, **changed):
    flat = flatten(model, events)
    values = jax.jit(flat.constrain)(flat.start, events)
    return {**values, **{name: jnp.asarray(value) for name, value in changed.items()}}


@pytest.mark.slow
def test_weights_of_the_normal_normal_model(steady_state):
    """At steady state log DV = log rate - log CL + eps: the information is n / sigma²."""
    model = steady_state.problem.model
    events, _ = arrange(model.spec, steady_state.problem.data)
    counts = np.bincount(steady_state.subject)
    for omega, sigma in ((0.3, 0.2), (1.5, 0.05), (0.02, 0.9)):
        values = values_of(model, events, omega_CL=omega, sigma=sigma)
        found = compiled(information, model, events, values)
        assert found.keys() == {"CL"}
        np.testing.assert_allclose(found["CL"], counts / sigma**2, rtol=1e-12)
        weight = compiled(centring_weights, model, events, values)["CL"]
        np.testing.assert_allclose(weight, omega**2 / (omega**2 + sigma**2 / counts), rtol=1e-12)


def test_information_of_a_proportional_error_is_that_of_the_slopes(course):
    """Fisher information about log CL and log V by differences of the closed form."""
    model = course.problem.model
    events, _ = arrange(model.spec, course.problem.data)
    values = values_of(model, events, sigma=0.2, TVCL=1.3, TVV=7.0)
    found = compiled(information, model, events, values)
    cl, v, h = np.full(10, 1.3), np.full(10, 7.0), 1e-5
    c = course.concentration(cl, v)
    slopes = {
        "CL": (course.concentration(cl * np.exp(h), v) - course.concentration(cl / np.exp(h), v)),
        "V": (course.concentration(cl, v * np.exp(h)) - course.concentration(cl, v / np.exp(h))),
    }
    for name, difference in slopes.items():
        expected = np.sum((difference / (2 * h) / (0.2 * c)) ** 2, axis=1)
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
