"""Covariate relations: each is one function for the data and one for the model.

`covariate_term` turns a covariate's values into the number that the relation uses, in NumPy and
once; `log_factor` is what that number does to the log of a parameter, in JAX.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from popk.spec.model import (
    Below,
    Category,
    CovariateEffect,
    Exponential,
    Linear,
    Maturation,
    Power,
)
from popk.spec.units import conversion_factor, quantity


def covariate_term(
    effect: CovariateEffect,
    values: Float[np.ndarray, "*shape"],
    unit: str | None,
    levels: tuple[str, ...],
) -> Float[np.ndarray, "*shape"]:
    """The number by which a relation uses a covariate.

    Parameters
    ----------
    effect
        The relation.
    values, unit, levels
        The covariate's values, their unit, and the words of a categorical covariate.

    Returns
    -------
    Array
        Indicator for below and category, log(x/reference) for power, (x - center)/per for linear
        and exponential, the age in `effect.unit` for maturation.

    Raises
    ------
    ValueError
        If a unit is not convertible, or a level is not among the words.
    """
    match effect:
        case Below():
            return (values < quantity(effect.cut, unit)).astype(float)
        case Category():
            return (values == _level(effect.level, levels)).astype(float)
        case Power():
            if (values <= 0).any():
                raise ValueError("a power relation needs a covariate above 0")
            return np.log(values / quantity(effect.reference, unit))
        case Linear() | Exponential():
            return (values - quantity(effect.center, unit)) / quantity(effect.per, unit)
        case Maturation():
            if unit is None:
                raise ValueError("a maturation relation needs the unit of the age")
            if (values <= 0).any():
                raise ValueError("a maturation relation needs an age above 0")
            return values * conversion_factor(unit, effect.unit)


def _level(level: str | float, levels: tuple[str, ...]) -> float:
    if isinstance(level, float):
        return level
    if level not in levels:
        known = ", ".join(levels) or "none: the column is not declared with levels"
        raise ValueError(f"level {level!r} is not among the covariate's levels ({known})")
    return float(levels.index(level))


def log_factor(
    effect: CovariateEffect,
    term: Float[Array, "*shape"],
    values: Mapping[str, Float[Array, ""]],
) -> Float[Array, "*shape"]:
    """Log of the factor by which a covariate changes a parameter.

    Parameters
    ----------
    effect
        The relation.
    term
        What `covariate_term` returned.
    values
        Values of the relation's coefficients by name, see `coefficient_names`.
    """
    match effect:
        case Linear():
            return jnp.log1p(values[effect.name] * term)
        case Maturation():
            half, hill = (values[name] for name in coefficient_names(effect))
            # log of PMA^h / (half^h + PMA^h), which does not overflow for large h
            return -jnp.logaddexp(0.0, hill * (jnp.log(half) - jnp.log(term)))
        case _:
            return values[effect.name] * term


def coefficient_names(effect: CovariateEffect) -> tuple[str, ...]:
    """Names of the estimated coefficients of a relation."""
    if isinstance(effect, Maturation):
        return (f"{effect.name}_half", f"{effect.name}_hill")
    return (effect.name,)
