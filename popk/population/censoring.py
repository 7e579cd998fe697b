"""Censored rows: the probability of an interval, accurate in both tails.

A censored row contributes the probability of its interval (Beal's M3, J Pharmacokinet
Pharmacodyn 2001;28:481-504), in the fit, in checks and in simulation alike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from popk.pk.dosing import NumericArray

SQRT_HALF = math.sqrt(0.5)
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@jax.custom_jvp
def log_ndtr(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Log of the standard normal distribution function, accurate in both tails.

    By erfc where that does not underflow, by the asymptotic series (Abramowitz & Stegun 26.2.12)
    further down: one logarithm and one erfc, and one exponential in its gradient.
    """
    far = _far(z)
    near = 0.5 * jax.lax.erfc(-jnp.maximum(z, far) * SQRT_HALF)
    x = jnp.minimum(z, far)
    return jnp.log(jnp.where(z > far, near, (_shortfall(x) - 1.0) / x)) + jnp.where(
        z > far, 0.0, _log_density(x)
    )


@log_ndtr.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (z,), (slope,) = primals, tangents
    value = log_ndtr(z)
    # Density over probability: far down the difference of their logs has no digits left
    x = jnp.minimum(z, _far(z))
    near = jnp.exp(jnp.where(z > x, _log_density(z) - value, 0.0))
    return value, jnp.where(z > x, near, -x / (1.0 - _shortfall(x))) * slope


def _far(z: Array) -> float:
    return -30.0 if z.dtype == jnp.float64 else -9.0


def _shortfall(x: Array) -> Array:
    """The series of 1 - probability * |x| / density."""
    y = 1.0 / (x * x)
    return y * (1.0 - y * (3.0 - y * (15.0 - y * (105.0 - y * 945.0))))


def _log_density(z: Array) -> Array:
    return -0.5 * z * z - HALF_LOG_2PI


@no_type_check  # JAX rebuilds a pytree around scalars and placeholders
@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Slots:
    """Bounds of the last rows of a list, those that may be censored; axis `slot`.

    Attributes
    ----------
    lower, upper
        [slot] bounds, in concentration units; None where all intervals are one-sided.
    bound, sign
        [slot] the one bound and +1 where the true value lies below it, -1 above; None where
        some interval has two sides.
    """

    lower: Float[NumericArray, "*trial slot"] | None
    upper: Float[NumericArray, "*trial slot"] | None
    bound: Float[NumericArray, "*trial slot"] | None
    sign: Float[NumericArray, "*trial slot"] | None

    @property
    def count(self) -> int:
        """Number of slots."""
        bounds = self.bound if self.bound is not None else self.lower
        assert bounds is not None
        return bounds.shape[-1]

    def log_probability(
        self,
        mean: Float[Array, " slot"],
        sd: Float[Array, " slot"],
        standardised: Callable[[Array], Array],
        transform: Callable[[Array], Array],
    ) -> Float[Array, " slot"]:
        """Log probability of each interval; of no meaning where the row is not censored.

        `standardised` gives SDs above the mean, `transform` the way to the scale of mean and SD.
        """
        if self.bound is not None and self.sign is not None:
            return log_ndtr(self.sign * standardised(transform(self.bound)))
        assert self.lower is not None
        assert self.upper is not None
        return log_normal_interval(transform(self.lower), transform(self.upper), mean, sd)


def slots_of(
    lower: Float[np.ndarray, "*trial slot"], upper: Float[np.ndarray, "*trial slot"]
) -> Slots:
    """Slots with these bounds, those of a row that is not censored (-inf, inf)."""
    unused = np.isneginf(lower) & np.isposinf(upper)
    one_sided = np.isneginf(lower) | np.isposinf(upper)
    if not one_sided.all():
        return Slots(lower, upper, None, None)
    below = np.isneginf(lower)
    bound = np.where(unused, 1.0, np.where(below, upper, lower))
    return Slots(None, None, bound, np.where(below, 1.0, -1.0))


def log_bound(bound: Array) -> Array:
    positive = bound > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, bound, 1.0)), -jnp.inf)


def log_normal_interval(
    lower: Float[Array, "*shape"],
    upper: Float[Array, "*shape"],
    mean: Float[Array, "*shape"],
    sd: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
    """Log probability that a normal value lies in (lower, upper), accurate in both tails.

    An interval in the upper tail is reflected into the lower one, where the log of the
    difference of two distribution functions keeps its digits.
    """
    open_below, open_above = jnp.isneginf(lower), jnp.isposinf(upper)
    z_low = (jnp.where(open_below, mean, lower) - mean) / sd
    z_high = (jnp.where(open_above, mean, upper) - mean) / sd
    both = ~(open_below | open_above)
    reflect = z_low + z_high > 0
    low = jnp.where(reflect, -z_high, z_low)
    high = jnp.where(reflect, -z_low, z_high)
    proper = both & (high > low)
    low, high = jnp.where(proper, low, -1.0), jnp.where(proper, high, 0.0)
    log_high, log_low = log_ndtr(high), log_ndtr(low)
    between = log_high + jnp.log(-jnp.expm1(log_low - log_high))
    one_sided = log_ndtr(jnp.where(open_above, -z_low, z_high))
    return jnp.where(both, between, jnp.where(open_below & open_above, 0.0, one_sided))
