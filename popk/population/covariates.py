"""What a covariate relation (`popk.spec.relations`) does to the log of a parameter."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from popk.pk.dosing import NumericArray
from popk.spec.relations import CovariateEffect, Linear, Maturation


def log_factor(
    effect: CovariateEffect,
    term: Float[NumericArray, "*shape"],
    values: Mapping[str, Float[NumericArray, ""]],
) -> Float[Array, "*shape"]:
    """Log of the factor by which a covariate changes a parameter.

    Parameters
    ----------
    effect
        The relation.
    term
        What `effect.term` returned.
    values
        Values of the relation's coefficients by name, see `effect.coefficients`.
    """
    match effect:
        case Linear():
            return jnp.log1p(values[effect.name] * term)
        case Maturation():
            half, hill = (values[name] for name in effect.coefficients)
            # log of PMA^h / (half^h + PMA^h), which does not overflow for large h
            return -jnp.logaddexp(0.0, hill * (jnp.log(half) - jnp.log(term)))
        case _:
            return values[effect.name] * term
