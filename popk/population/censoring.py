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
from jaxtyping import Array, Bool, Float

from popk.pk.dosing import NumericArray

SQRT_HALF = math.sqrt(0.5)
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@jax.custom_jvp
def log_ndtr(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Log of the standard normal distribution function, accurate in both tails.

    By erfc where that does not underflow, by the asymptotic series (Abramowitz & Stegun 26.2.12)
    further down. Half the work of `jax.scipy.special.log_ndtr`, and one product in its gradient.
    """
    far = _far(z)
    tail = 0.5 * jax.lax.erfc(jnp.abs(jnp.maximum(z, far)) * SQRT_HALF)
    near = jnp.where(z > 0, jnp.log1p(-tail), jnp.log(jnp.where(z > 0, 0.5, tail)))
    x = jnp.minimum(z, far)
    return jnp.where(z > far, near, _log_density(x) - jnp.log(-x) + jnp.log1p(-_shortfall(x)))


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
    """The censored rows of each subject, gathered; axis `slot` is as long as the most censored.

    Attributes
    ----------
    place
        [subject, slot, step] 1 at the slot's step, else 0; all 0 for an unused slot. Gathering by
        a product keeps scatter out of the gradient.
    lower, upper
        [subject, slot] bounds, in concentration units; None where all intervals are one-sided.
    bound, sign
        [subject, slot] the one bound and +1 where the true value lies below it, -1 above; None
        where some interval has two sides.
    """

    place: Float[NumericArray, "subject slot step"]
    lower: Float[NumericArray, "subject slot"] | None
    upper: Float[NumericArray, "subject slot"] | None
    bound: Float[NumericArray, "subject slot"] | None
    sign: Float[NumericArray, "subject slot"] | None

    def log_probability(
        self, mean: Array, sd: Array, transform: Callable[[Array], Array]
    ) -> Float[Array, "subject step"]:
        """Log probability of each censored row's interval at its step, 0 elsewhere."""
        if self.place.shape[1] == 0:
            return jnp.zeros_like(mean)
        used = jnp.sum(self.place, axis=-1)
        mean = jnp.einsum("nls,ns->nl", self.place, mean)
        sd = jnp.einsum("nls,ns->nl", self.place, sd) + (1.0 - used)
        if self.bound is not None and self.sign is not None:
            interval = log_ndtr(self.sign * (transform(self.bound) - mean) / sd)
        else:
            assert self.lower is not None
            assert self.upper is not None
            interval = log_normal_interval(transform(self.lower), transform(self.upper), mean, sd)
        return jnp.einsum("nls,nl->ns", self.place, jnp.where(used > 0, interval, 0.0))


def gather_censored(
    censored: Bool[np.ndarray, "subject step"],
    lower: Float[np.ndarray, "subject step"],
    upper: Float[np.ndarray, "subject step"],
    slots: int = 0,
) -> Slots:
    """Gather censored rows, in at least `slots` slots (none where no row is censored)."""
    most = max(int(censored.sum(axis=1).max()), slots)
    place = np.zeros((*censored.shape[:1], most, censored.shape[1]))
    for subject, row in enumerate(censored):
        steps = np.flatnonzero(row)
        place[subject, np.arange(len(steps)), steps] = 1.0
    at = place.argmax(axis=2)
    low, high = (np.take_along_axis(a, at, axis=1) for a in (lower, upper))
    unused = place.sum(axis=2) == 0
    one_sided = np.isneginf(low) | np.isposinf(high) | unused
    if not one_sided.all():
        low, high = np.where(unused, -np.inf, low), np.where(unused, np.inf, high)
        return Slots(place, low, high, None, None)
    below = np.isneginf(low)
    bound = np.where(unused, 1.0, np.where(below, high, low))
    return Slots(place, None, None, bound, np.where(below, 1.0, -1.0))


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
