"""Prior and posterior of each population parameter as curves: how much the data have taught."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import beta

from popk.analysis.priors.conflict import prior_quantiles
from popk.analysis.summary import parameters
from popk.population.model import Model
from popk.population.parameters import distribution
from popk.study.fit import Fit

POINTS = 201
BEYOND = 1.0
"""How far a curve goes on either side of the draws, in their ranges: the prior is wider."""


def densities(fit: Fit) -> pd.DataFrame:
    """Prior and posterior densities of the population parameters and correlations.

    Returns
    -------
    DataFrame
        One parameter and value a row: ``parameter``, ``unit``, ``value``, ``prior`` (density),
        ``posterior`` (kernel density of the draws, corrected at the edges of their range; 0
        outside). The values hold all draws and a part of the prior's middle 98 %. Densities are
        per unit of the parameter.

    Notes
    -----
    The prior of a linear effect stands without its truncation (factors that stay positive).
    """
    model, units = fit.model, parameters(fit)["unit"]
    rows = []
    for name in (*model.population_names, *model.correlation_names):
        draws = np.asarray(fit.samples.draws[name], float).ravel()
        value = _grid(draws, np.asarray(prior_quantiles(model, name, np.array([0.01, 0.99]))))
        rows.append(
            pd.DataFrame(
                {
                    "parameter": name,
                    "unit": str(units[name]),
                    "value": value,
                    "prior": prior_density(model, name, value),
                    "posterior": _kernel(draws, value),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def prior_density(
    model: Model, name: str, value: Float[np.ndarray, " value"]
) -> Float[np.ndarray, " value"]:
    """The prior's density of a population parameter or a correlation; 0 where it has none."""
    if name in model.correlation_names:
        correlation = model.spec.correlation
        assert correlation is not None
        # Under LKJ(c) among k etas a correlation is 2 Beta(a, a) - 1 with a = c + k/2 - 1
        a = correlation.concentration + len(correlation.parameters) / 2 - 1.0
        return np.asarray(beta.pdf((value + 1.0) / 2.0, a, a)) / 2.0
    own = distribution(model.population_priors()[name])
    support: Any = own.support
    with jax.enable_x64(True):
        inside = np.asarray(support(jnp.asarray(value)))
        log_density = np.asarray(own.log_prob(jnp.where(inside, value, 1.0)))
    return np.where(inside, np.exp(log_density), 0.0)


def _grid(draws: np.ndarray, prior: np.ndarray) -> Float[np.ndarray, " value"]:
    low, high = float(draws.min()), float(draws.max())
    reach = BEYOND * max(high - low, 1e-9 * max(abs(high), 1e-9))
    return np.linspace(max(low - reach, min(prior[0], low)), min(high + reach, max(prior[1], high)),
                       POINTS)  # fmt: skip


def _kernel(draws: np.ndarray, value: np.ndarray) -> Float[np.ndarray, " value"]:
    import arviz

    if np.ptp(draws) == 0:
        return np.full(value.shape, np.nan)
    found: Any = arviz.kde(draws)
    at, density = found[0], found[1]
    return np.interp(value, np.asarray(at), np.asarray(density), left=0.0, right=0.0)
