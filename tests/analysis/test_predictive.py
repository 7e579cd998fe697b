"""The subjects' likelihood in draws of the population."""

import jax
import numpy as np
from scipy.stats import multivariate_normal

from popk.analysis.predictive import in_draws
from popk.inference.maximum import Likelihood, Settings
from popk.population.condensed import condense
from popk.population.events import arrange


def test_in_draws_that_lie_far_apart_it_is_the_exact_one(steady_state):
    """A search from the modes of the draw before would not always come back."""
    model, data = steady_state.problem
    with jax.enable_x64(True):
        events, _ = condense(arrange(model.spec, data)[0])
    own = Likelihood(model, events, Settings("agq", nodes=3))
    draws = {
        "TVCL": np.array([[0.8, 800.0, 0.8, 1e-4]]),
        "CL_AGE_below": np.array([[-0.3, 2.0, -0.3, 0.0]]),
        "omega_CL": np.array([[0.3, 0.05, 0.3, 2.0]]),
        "sigma": np.array([[0.2, 0.02, 0.2, 0.01]]),
    }
    found = in_draws(own, draws)
    case = steady_state
    for j in range(4):
        at = {name: values[0, j] for name, values in draws.items()}
        for i in range(data.subjects):
            rows = case.subject == i
            mean = case.log_rate[rows] - (
                np.log(at["TVCL"]) + at["CL_AGE_below"] * case.young[i] + case.log_size[i]
            )
            n = int(rows.sum())
            covariance = at["omega_CL"] ** 2 * np.ones((n, n)) + at["sigma"] ** 2 * np.eye(n)
            exact = multivariate_normal.logpdf(case.log_dv[rows], mean, covariance)
            exact -= case.log_dv[rows].sum()  # of DV, not of its logarithm
            np.testing.assert_allclose(found[j, i], exact, rtol=1e-8)
