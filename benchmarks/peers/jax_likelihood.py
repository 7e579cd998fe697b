"""The likelihood in plain JAX, for NumPyro and BlackJAX."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from common import Posterior
from jax.scipy.special import log_ndtr


def log_concentration(posterior: Posterior, log_cl: Any, log_v: Any) -> Any:
    """[row] log concentration for [subject] log CL and log V."""
    k = jnp.exp(log_cl - log_v)[posterior.subject]
    amount = jnp.zeros(posterior.rows)
    for count, rate, ran, ended in posterior.infusions:
        some = k[:count]
        left = -rate * jnp.expm1(-some * ran)
        if ended.any():
            left = left * jnp.exp(-some * ended)
        amount = amount + jnp.pad(left, (0, posterior.rows - count))
    if posterior.infusions:
        amount = amount / k
    if posterior.newest_bolus is not None and posterior.other_boluses is not None:
        row, bolus, ended = posterior.other_boluses
        left = jnp.asarray(posterior.newest_bolus).at[row].add(bolus * jnp.exp(-k[row] * ended))
        amount = amount + left
    scale = np.log(posterior.per_liter)
    return jnp.log(amount) - k * posterior.since - log_v[posterior.subject] + scale


def log_censored(posterior: Posterior, log_c: Any, sigma: Any) -> Any:
    """Log probability of all censored rows; log-normal error."""
    rows = posterior.censored
    z = (np.log(posterior.bound[rows]) - log_c[rows]) / sigma
    return log_ndtr(posterior.sign[rows] * z).sum()
