"""How much the priors know, beside the information that a design is expected to give."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from popk.analysis.power.fisher import correlations, estimated
from popk.population.model import Model
from popk.population.parameters import distribution
from popk.spec.priors import Fixed, is_positive


def prior_precision(
    model: Model, values: Mapping[str, float]
) -> Float[np.ndarray, "parameter parameter"]:
    """Curvature of the log prior, for parameters in the order of `estimated`.

    Of positive parameters on the log scale, brought back to their own; of a log-normal prior
    that is its exact precision.
    """
    names, priors = estimated(model), model.population_priors()
    out = np.zeros((len(names), len(names)))
    own = [name for name in names if name in priors]
    with jax.enable_x64(True):
        for i, name in enumerate(own):
            prior = priors[name]
            if isinstance(prior, Fixed):
                continue
            known, value = distribution(prior), values[name]
            if is_positive(prior):
                bend = jax.grad(jax.grad(lambda u, p=known: p.log_prob(jnp.exp(u)) + u))
                curvature = -float(bend(float(np.log(value)))) / value**2
            else:
                curvature = -float(jax.grad(jax.grad(known.log_prob))(value))
            out[i, i] = max(float(np.nan_to_num(curvature)), 0.0)
        if model.correlation_names:
            out[len(own) :, len(own) :] = _lkj(model, values)
    return out


def _lkj(model: Model, values: Mapping[str, float]) -> Float[np.ndarray, "pair pair"]:
    """Curvature of the log of the LKJ prior, (concentration - 1) log det, by the correlations."""
    assert model.spec.correlation is not None
    names = model.correlation_names

    def log_det(rho: jax.Array) -> jax.Array:
        matrix = correlations(model, dict(zip(names, rho, strict=True)))
        return jnp.linalg.slogdet(matrix)[1]

    bend = jax.hessian(log_det)(jnp.array([values[name] for name in names], float))
    return max(model.spec.correlation.concentration - 1.0, 0.0) * -np.asarray(bend)
