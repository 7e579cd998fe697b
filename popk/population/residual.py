"""Residual error, for measured and for censored rows: one distribution that NumPyro can use.

A censored row contributes the probability of its interval (Beal's M3, J Pharmacokinet
Pharmacodyn 2001;28:481-504), in the fit, in checks and in simulation alike.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float
from numpyro.distributions import constraints

from popk.spec.model import CombinedResidual, Residual


LEAST_LOG_CONCENTRATION = -30.0
"""A proportional SD is that of this log concentration where the prediction is below it."""

SERIES_ORDER = 8
"""Terms in the far tail of log_ndtr: 1e-15 from -20 on in float64 and from -10 on in float32."""


class NormalScale(NamedTuple):
    """The scale on which an observation is normal: its mean and SD there, and the way there."""

    mean: Array
    sd: Array
    logarithmic: bool


def _additive(log_c: Array, sigma: Mapping[str, Array]) -> NormalScale:
    return NormalScale(jnp.exp(log_c), jnp.broadcast_to(sigma["sigma"], log_c.shape), False)


def _proportional(log_c: Array, sigma: Mapping[str, Array]) -> NormalScale:
    # An SD of zero would leave a censored row without drug no gradient
    sd = sigma["sigma"] * jnp.exp(jnp.maximum(log_c, LEAST_LOG_CONCENTRATION))
    return NormalScale(jnp.exp(log_c), sd, False)


def _lognormal(log_c: Array, sigma: Mapping[str, Array]) -> NormalScale:
    return NormalScale(log_c, jnp.broadcast_to(sigma["sigma"], log_c.shape), True)


def _combined(log_c: Array, sigma: Mapping[str, Array]) -> NormalScale:
    c = jnp.exp(log_c)
    # An SD from two squares: the root has no gradient trouble because the first is positive
    return NormalScale(
        c, jnp.sqrt(sigma["sigma_additive"] ** 2 + (sigma["sigma_proportional"] * c) ** 2), False
    )


ERRORS: Mapping[str, Callable[[Array, Mapping[str, Array]], NormalScale]] = {
    "additive": _additive,
    "proportional": _proportional,
    "lognormal": _lognormal,
    "combined": _combined,
}


def sigma_names(residual: Residual) -> tuple[str, ...]:
    """Names of the residual standard deviations."""
    if isinstance(residual, CombinedResidual):
        return ("sigma_additive", "sigma_proportional")
    return ("sigma",)


def vanishes_without_drug(residual: Residual) -> bool:
    """Whether a measured concentration has no likelihood where the prediction is zero."""
    return residual.error in ("proportional", "lognormal")


class Observation(dist.Distribution):
    """An observed concentration; a censored one by the interval it lies in.

    Parameters
    ----------
    error
        One of `ERRORS`.
    log_concentration
        [..., step] log of the predicted concentration.
    sigma
        The residual standard deviations by name.
    censored
        [..., step] True where only the interval (lower, upper) is known.
    lower, upper
        [..., step] Bounds, in concentration units; -inf and +inf where open.
    """

    pytree_data_fields = ("log_concentration", "sigma", "censored", "lower", "upper")
    pytree_aux_fields = ("error",)

    def __init__(
        self,
        error: str,
        log_concentration: Array,
        sigma: Mapping[str, Array],
        censored: Array,
        lower: Array,
        upper: Array,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.error = error
        self.log_concentration = log_concentration
        self.sigma = dict(sigma)
        self.censored, self.lower, self.upper = censored, lower, upper
        super().__init__(jnp.shape(log_concentration), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """All real numbers; a value that the error cannot give has log density -inf."""
        return constraints.real

    @property
    def scale(self) -> NormalScale:
        """Mean and SD of the observation on the scale on which it is normal."""
        return ERRORS[self.error](self.log_concentration, self.sigma)

    def sample(self, key: Array | None, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw measured values, as an assay without limits would give them."""
        if key is None:
            raise ValueError("a random key is needed")
        mean, sd, logarithmic = self.scale
        shape = sample_shape + self.batch_shape
        value = mean + sd * jax.random.normal(key, shape, mean.dtype)
        return jnp.exp(value) if logarithmic else value

    def log_prob(self, value: ArrayLike, intermediates: object = None) -> Array:
        """Log density of a measured row, log probability of the interval of a censored one."""
        mean, sd, logarithmic = self.scale
        if logarithmic:
            # NumPyro puts 0 where a row is masked: its logarithm must not reach the gradient
            positive = jnp.asarray(value) > 0
            log_value = jnp.log(jnp.where(positive, value, 1.0))
            measured = jnp.where(positive, norm.logpdf(log_value, mean, sd) - log_value, -jnp.inf)
            lower, upper = _log_bound(self.lower), _log_bound(self.upper)
        else:
            measured = norm.logpdf(value, mean, sd)
            lower, upper = self.lower, self.upper
        interval = log_normal_interval(lower, upper, mean, sd)
        return jnp.where(self.censored, interval, measured)


def _log_bound(bound: Array) -> Array:
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
    high = jnp.where(proper, high, low + 1.0)
    log_high, log_low = log_ndtr(high, SERIES_ORDER), log_ndtr(low, SERIES_ORDER)
    between = log_high + jnp.log(-jnp.expm1(log_low - log_high))
    one_sided = log_ndtr(jnp.where(open_above, -z_low, z_high), SERIES_ORDER)
    return jnp.where(both, between, jnp.where(open_below & open_above, 0.0, one_sided))
