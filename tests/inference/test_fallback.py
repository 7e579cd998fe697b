"""NUTS takes over where the ensemble's own gate fails, and the record says why."""

import jax
import pytest

from popk.spec.fit import Sampler as Settings
from popk.study.fit import prepare


@pytest.fixture(scope="module")
def handed_over(course, finished):
    # Three subjects and 30 draws of each chain: no gate holds
    settings = Settings(method="ensemble", draws=30, chains=4, warmup=40, ess=1e6)
    with jax.enable_x64(True):
        sampler, _ = prepare(course.problem.model, course.problem.data, settings)
        return sampler, finished(sampler)


@pytest.mark.slow
def test_the_posterior_is_that_of_nuts_and_says_why(handed_over):
    _, posterior = handed_over
    assert posterior.method["name"] == "nuts"
    assert "ESS bulk" in posterior.method["instead of ensemble because"]
    assert posterior.draws["TVCL"].shape == (4, 30)


@pytest.mark.slow
def test_progress_is_that_of_the_sampler_at_work(handed_over):
    sampler, _ = handed_over
    state = sampler.start()
    assert sampler.progress(state).phase == "mode search"
    with jax.enable_x64(True):
        taken_over = state._replace(nuts=sampler.nuts.start())
    assert sampler.progress(taken_over).phase.startswith("NUTS")
