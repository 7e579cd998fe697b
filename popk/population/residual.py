"""Residual error, for measured and for censored rows: one distribution that NumPyro can use."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike
from numpyro.distributions import constraints

from popk.population.censoring import HALF_LOG_2PI, Slots, log_bound, log_normal_interval
from popk.spec.residual import ERRORS

LEAST_LOG_CONCENTRATION = -20.0
"""With proportional error a lower prediction, zero included, is taken to be this."""


class NormalScale(NamedTuple):
    """The scale on which an observation is normal: its mean and log SD there, and the way there.

    The log SD is one number where all rows have the same SD.
    """

    mean: Array
    log_sd: Array
    logarithmic: bool

    @property
    def sd(self) -> Array:
        """The SD of every row."""
        return jnp.broadcast_to(jnp.exp(self.log_sd), self.mean.shape)

    def last(self, first: int) -> "NormalScale":
        """The rows from this one on."""
        log_sd = self.log_sd if self.log_sd.ndim == 0 else self.log_sd[first:]
        return self._replace(mean=self.mean[first:], log_sd=log_sd)

    def standardised(self, value: Array) -> Array:
        """How many SDs a value on this scale lies above its mean.

        Not by division: the square of a small SD, in its slope, has no place in float32.
        """
        return (value - self.mean) * jnp.exp(-self.log_sd)


def normal_scale(error: str, log_c: Array, sigma: Mapping[str, Array]) -> NormalScale:
    """The scale of an error: its word in `ERRORS`, log of the prediction, SDs by name."""
    kind = ERRORS[error]
    if kind.vanishes and not kind.logarithmic:
        # An SD of zero would leave a censored row without drug no gradient
        log_c = jnp.maximum(log_c, LEAST_LOG_CONCENTRATION)
    mean = log_c if kind.logarithmic else jnp.exp(log_c)
    if len(kind.powers) == 1:
        ((name, power),) = kind.powers.items()
        log_sd = jnp.log(sigma[name])
        return NormalScale(mean, log_sd + power * log_c if power else log_sd, kind.logarithmic)
    sds = (
        sigma[name] * jnp.exp(power * log_c) if power else sigma[name]
        for name, power in kind.powers.items()
    )
    return NormalScale(mean, 0.5 * jnp.log(sum(sd**2 for sd in sds)), kind.logarithmic)


class Observation(dist.Distribution):
    """An observed concentration; a censored one by the interval it lies in.

    Parameters
    ----------
    error
        One of `popk.spec.residual.ERRORS`.
    log_concentration
        [..., step] log of the predicted concentration.
    sigma
        The residual standard deviations by name.
    censored
        [..., step] True where only the interval (lower, upper) is known.
    lower, upper
        [..., step] Bounds, in concentration units; -inf and +inf where open.
    slots
        Bounds of the last rows, for one list of rows: the same value, without computing an
        interval at every row.
    """

    pytree_data_fields = ("log_concentration", "sigma", "censored", "lower", "upper", "slots")
    pytree_aux_fields = ("error",)

    def __init__(
        self,
        error: str,
        log_concentration: Array,
        sigma: Mapping[str, Array],
        censored: Array,
        lower: Array,
        upper: Array,
        slots: Slots | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.error = error
        self.slots = slots
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
        """Mean and log SD of the observation on the scale on which it is normal."""
        return normal_scale(self.error, self.log_concentration, self.sigma)

    def sample(self, key: Array | None, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw measured values, as an assay without limits would give them."""
        if key is None:
            raise ValueError("a random key is needed")
        scale = self.scale
        shape = sample_shape + self.batch_shape
        value = scale.mean + scale.sd * jax.random.normal(key, shape, scale.mean.dtype)
        return jnp.exp(value) if scale.logarithmic else value

    def log_prob(self, value: ArrayLike, intermediates: object = None) -> Array:
        """Log density of a measured row, log probability of the interval of a censored one."""
        scale = self.scale
        if scale.logarithmic:
            # NumPyro puts 0 where a row is masked: its logarithm must not reach the gradient
            positive = jnp.asarray(value) > 0
            log_value = jnp.log(jnp.where(positive, value, 1.0))
            measured = jnp.where(positive, _log_normal(log_value, scale) - log_value, -jnp.inf)
        else:
            measured = _log_normal(jnp.asarray(value), scale)
        transform = log_bound if scale.logarithmic else jnp.asarray
        if self.slots is None:
            bounds = transform(self.lower), transform(self.upper)
            interval = log_normal_interval(*bounds, scale.mean, scale.sd)
            return jnp.where(self.censored, interval, measured)
        first = measured.shape[-1] - self.slots.count
        last = scale.last(first)
        interval = self.slots.log_probability(last.mean, last.sd, last.standardised, transform)
        last = jnp.where(self.censored[first:], interval, measured[first:])
        return jnp.concatenate([measured[:first], last])


def _log_normal(value: Array, scale: NormalScale) -> Array:
    """Log density of a normal on its own scale."""
    z = scale.standardised(value)
    return -0.5 * z * z - scale.log_sd - HALF_LOG_2PI
