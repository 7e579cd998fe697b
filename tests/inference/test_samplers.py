"""What every sampler promises: `popk.inference.posterior.Sampler`."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from popk.inference.batch import Batch
from popk.inference.ensemble import Ensemble
from popk.inference.nuts import Nuts
from popk.population.condensed import condense
from popk.population.events import arrange
from popk.spec.fit import Sampler
from popk.study.folder import load_state, save_state

# [sampler] of each method, as short as it may be
SAMPLERS = {
    "nuts": {"method": "nuts", "draws": 100, "warmup": 50, "chains": 2},
    "ensemble": {"method": "ensemble", "draws": 110, "chains": 16},
}


@pytest.fixture(scope="module", params=SAMPLERS)
def settings(request):
    return SAMPLERS[request.param]


@pytest.fixture(scope="module")
def run(course, prepared, settings):
    """A sampler and each of its states from first to last."""
    with jax.enable_x64(True):
        sampler = prepared(course.problem, **settings, seed=1)
        states = [sampler.start()]
        while sampler.progress(states[-1]).done < sampler.progress(states[-1]).total:
            states.append(sampler.advance(states[-1]))
        return sampler, states, sampler.posterior(states[-1])


def same(a, b):
    assert a.draws.keys() == b.draws.keys()
    assert a.stats.keys() == b.stats.keys()
    pairs = [(a.draws[k], b.draws[k]) for k in a.draws]
    pairs += [(a.stats[k], b.stats[k]) for k in a.stats]
    return all(np.array_equal(x, y) for x, y in [*pairs, (a.log_likelihood, b.log_likelihood)])


def saved_and_loaded(state, path):
    """The state by way of a file, as a fit folder keeps it."""
    save_state(path, state, "key")
    assert load_state(path, "another key", "float64") is None
    return load_state(path, "key", "float64")


def test_progress_rises_from_nothing_through_warm_up_to_the_end(run, settings):
    sampler, states, _ = run
    reached = [sampler.progress(state) for state in states]
    assert reached[0].done == 0
    assert reached[0].phase != "sampling"
    assert (reached[-1].done, reached[-1].phase) == (reached[-1].total, "sampling")
    assert np.all(np.diff([r.done for r in reached]) >= 0)
    # It may finish early; where draws are dropped because of divergences there is more to do
    dropped = [getattr(state, "dropped", 0) for state in states]
    assert np.all(np.diff([r.total for r in reached]) <= np.diff(dropped))
    assert all(r.done < r.total for r in reached[:-1])
    assert {r.chains for r in reached} == {settings["chains"]}
    assert reached[-1].divergences == np.sum(run[2].stats["diverging"])


def test_names_shapes_and_types(run, course, settings):
    posterior, chains_draws = run[2], run[2].draws["TVCL"].shape
    assert chains_draws[0] == settings["chains"]
    assert 0 < chains_draws[1] <= settings["draws"]
    population = {"TVCL", "TVV", "omega_CL", "omega_V", "sigma", "correlation_CL_V"}
    individual = {"CL", "V", "eta_CL", "eta_V"}
    assert posterior.draws.keys() == population | individual
    for name, values in posterior.draws.items():
        assert values.shape == (*chains_draws, *((10,) if name in individual else ())), name
        assert values.dtype == np.float64
        assert np.isfinite(values).all(), name
    assert {"diverging", "energy", "lp", "acceptance", "steps", "step_size"} <= set(posterior.stats)
    assert all(values.shape == chains_draws for values in posterior.stats.values())
    assert posterior.stats["diverging"].dtype == np.bool_
    assert posterior.log_likelihood.shape == (*chains_draws, course.problem.data.observations)
    assert posterior.method["name"] == settings["method"]
    assert posterior.method["seed"] == 1


def test_chains_move_and_differ(run):
    tvcl = run[2].draws["TVCL"]
    assert np.all(np.std(tvcl, axis=1) > 0)
    assert len({chain.tobytes() for chain in tvcl}) == len(tvcl)


def test_individual_parameters_follow_from_typical_values_and_etas(run):
    draws = run[2].draws
    for name in ("CL", "V"):
        expected = draws[f"TV{name}"][..., None] * np.exp(draws[f"eta_{name}"])
        np.testing.assert_allclose(draws[name], expected, rtol=1e-12)


def test_log_likelihood_of_each_observation(run, course):
    """Against the closed form by SciPy, in the file's order; a censored row by its probability."""
    draws = run[2].draws
    c = course.concentration(draws["CL"], draws["V"])
    sd = draws["sigma"][..., None, None] * c
    measured = norm.logpdf(course.dv, c, sd)
    below = norm.logcdf(course.dv, c, sd)
    expected = np.where(course.censored, below, measured).reshape(*c.shape[:2], -1)
    # Censored rows come last; `order` is the file's
    _, order = condense(arrange(course.problem.model.spec, course.problem.data)[0])
    found = run[2].log_likelihood[:, :, order]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_same_seed_same_draws_and_other_seed_other_draws(run, course, prepared, finished, settings):
    assert same(finished(prepared(course.problem, **settings, seed=1)), run[2])
    other = finished(prepared(course.problem, **settings, seed=2))
    assert not np.array_equal(other.draws["TVCL"], run[2].draws["TVCL"])


def test_state_is_a_value(run):
    """Advancing a state leaves it as it was."""
    sampler, states, _ = run
    middle = states[len(states) // 2]
    before = sampler.progress(middle)
    again = sampler.advance(middle)
    assert sampler.progress(middle) == before
    for a, b in zip(
        jax.tree.leaves(again), jax.tree.leaves(states[len(states) // 2 + 1]), strict=True
    ):
        assert bool(np.all(np.asarray(a == b)))


def test_saved_and_resumed_half_way(run, course, prepared, finished, settings, tmp_path):
    """By a sampler that was never started, from plain arrays: early, and in the last stretch."""
    _, states, posterior = run
    assert len(states) > 3
    other = prepared(course.problem, **settings, seed=1)
    for state in (states[1], states[-2]):
        assert same(finished(other, saved_and_loaded(state, tmp_path / "state")), posterior)


def test_a_fit_in_single_precision_leaves_the_arrays_as_they_are(course):
    """JAX remembers by the array what it became as a constant, also in the other precision."""
    model = course.problem.model
    events, _ = condense(arrange(model.spec, course.problem.data)[0])
    with jax.enable_x64(False):
        # Kept, with what was traced for them
        nuts = Nuts(model, events, Sampler(method="nuts", chains=1, precision="float32"))
        ensemble = Ensemble(model, events, Sampler(chains=16, precision="float32"))
        batch = Batch(model, events, Sampler(precision="float32"))
        kernel = nuts.start().kernels[0]
        constants = [
            jax.make_jaxpr(lambda own=own: jax.tree.map(jnp.asarray, own.events))()
            for own in (nuts, ensemble, batch)
        ]
    assert kernel.z["TVCL"].dtype == np.float32
    assert constants
    with jax.enable_x64(True):
        for leaf in jax.tree.leaves(events):
            assert jnp.asarray(leaf).dtype == np.asarray(leaf).dtype


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away")
def test_one_core_gives_the_draws_of_two(run, course, prepared, finished, settings):
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    try:
        posterior = finished(prepared(course.problem, **settings, seed=1))
    finally:
        os.sched_setaffinity(0, every)
    assert same(posterior, run[2])


@pytest.mark.slow  # compiles once more
def test_float32(course, prepared, finished, settings):
    with jax.enable_x64(False):
        sampler = prepared(course.problem, **settings, precision="float32")
        posterior = finished(sampler)
    assert all(values.dtype == np.float32 for values in posterior.draws.values())
    assert all(np.isfinite(values).all() for values in posterior.draws.values())
