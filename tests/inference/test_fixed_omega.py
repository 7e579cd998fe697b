"""A known between-subject SD (NONMEM's FIX) is no obstacle to either sampler."""

import jax
import numpy as np
import pytest

from popk.population.model import Model
from popk.spec.model import ModelSpec


@pytest.mark.slow
@pytest.mark.parametrize("method", [pytest.param("nuts", marks=pytest.mark.slow), "ensemble"])
def test_a_fixed_omega_is_sampled_around(steady_state, prepared, method):
    content = steady_state.problem.model.spec.model_dump()
    content["parameters"]["CL"]["variability"]["sd"] = {"prior": "fixed", "value": 0.3}
    problem = steady_state.problem._replace(model=Model(ModelSpec.model_validate(content)))
    sampler = prepared(problem, method=method, draws=25, chains=4, warmup=50)
    with jax.enable_x64(True):
        state = sampler.advance(sampler.start())
        state = sampler.advance(state)
    assert sampler.progress(state).done > 0
    numbers = [np.asarray(leaf) for leaf in jax.tree.leaves(state) if np.ndim(leaf) == 2]
    assert all(np.isfinite(n).all() for n in numbers if n.dtype.kind == "f")
