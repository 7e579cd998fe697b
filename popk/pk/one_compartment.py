"""One compartment with first-order elimination, in closed form, for one subject.

Between two steps the infusion rate R and k = CL/V are constant, so that

    A(t + d) = A(t) exp(-k d) + R/k (1 - exp(-k d))

(Gibaldi & Perrier, Pharmacokinetics, 2nd ed. 1982, ch. 1-2). Where nothing is given, the amount
is carried as its last value and the exponent since, so that its logarithm neither underflows
nor loses its gradient. Where k never changes the amount is a sum over all doses before.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from popk.pk.dosing import Steps
from popk.pk.past import Past

NO_DRUG = -1e4
"""Stands for log 0: below any log concentration that a dose can leave, finite in float32."""


def log_concentration(
    history: Steps | Past,
    CL: Float[Array, "..."] | Float[Array, " step"],
    V: Float[Array, "..."] | Float[Array, " step"],
    take: Callable[[Array], Array] | None = None,
) -> Float[Array, " step"]:
    """Log concentration at (just after) each step of one subject, or at each row of a `Past`.

    Parameters
    ----------
    history
        What the subject was given.
    CL, V
        Clearance (volume/time) and volume; one value, or one for each step, which then holds
        over the time that leads to the step and at it; for a `Past` one for each row.
    take
        For a `Past`, from one value for each subject to one for each row; CL and V are then those
        of the subjects.

    Returns
    -------
    Array
        [step] log of amount per volume, in the units of `history` and V; `NO_DRUG` where no drug
        has been given since the beginning or the last reset.
    """
    k = CL / V
    if isinstance(history, Past):
        at_rows = take or jnp.asarray
        log_amount = _log_amount(history, at_rows(k))
        return jnp.where(log_amount == NO_DRUG, NO_DRUG, log_amount - at_rows(jnp.log(V)))
    return _log_concentration_of_steps(history, k, V)


def _log_concentration_of_steps(
    steps: Steps, k: Float[Array, "..."] | Float[Array, " step"], V: Float[Array, "..."]
) -> Float[Array, " step"]:
    settled, decay = _amount(steps, k) if jnp.ndim(k) else _amount_constant_k(steps, k)
    given = settled > 0
    log_amount = jnp.log(jnp.where(given, settled, 1.0)) - decay
    return jnp.where(given, log_amount - jnp.log(V), NO_DRUG)


def _sum_of_doses(past: Past, k: Float[Array, " row"]) -> Float[Array, " row"]:
    """Log of what is left of all doses. Summed one by one: their number is small and known."""
    total = jnp.zeros_like(past.since)
    for rate, ran, ended in zip(past.rate, past.ran, past.ended, strict=True):
        total = total - rate * jnp.expm1(-k * ran) * jnp.exp(-k * ended)
    total = total / k
    for bolus, ended in zip(past.bolus, past.bolus_ended, strict=True):
        total = total + bolus * jnp.exp(-k * ended)
    for i in range(past.steady_rate.shape[0]):
        amount = _steady_amount(
            past.steady_rate[i],
            past.steady_bolus[i],
            past.steady_pulse[i],
            past.steady_pulse_duration[i],
            past.steady_interval[i],
            k,
        )
        total = total + amount * jnp.exp(-k * past.steady_ended[i])
    given = total > 0
    return jnp.where(given, jnp.log(jnp.where(given, total, 1.0)) - k * past.since, NO_DRUG)


_log_amount = jax.custom_jvp(_sum_of_doses)


class _Amount(NamedTuple):
    """The amount is settled * exp(-decay): as it was when drug last came in, and k t since."""

    settled: Float[Array, " step"]
    decay: Float[Array, " step"]


def _amount(steps: Steps, k: Float[Array, " step"]) -> _Amount:
    def advance(carry, step_k):
        step, k = step_k
        amount, settled, decay = carry
        x = k * step.duration
        lost = -jnp.expm1(-x)
        amount = amount * (1.0 - lost) + step.rate * (lost / k)
        added = step.bolus
        if step.steady_rate is not None:
            added = added + _steady_amount(
                step.steady_rate,
                step.steady_bolus,
                step.steady_pulse,
                step.steady_pulse_duration,
                step.steady_interval,
                k,
            )
        amount = amount * step.keep + added
        ran = (step.rate > 0) & (step.duration > 0)
        renewed = ran | (added > 0) | (step.keep == 0)
        settled = jnp.where(renewed, amount, settled)
        decay = jnp.where(renewed, 0.0, decay + x)
        return (amount, settled, decay), _Amount(settled, decay)

    # A literal zero would be weakly typed, and the carry's type would change at the first step
    zero = jnp.zeros_like(k[0])
    return jax.lax.scan(advance, (zero, zero, zero), (steps, k))[1]


@jax.custom_jvp
def _amount_constant_k(steps: Steps, k: Float[Array, ""]) -> _Amount:
    """The same for one k: everything depends on one number, so one forward pass gives the slope.

    Reverse mode would store every step and run the loop backwards; here it multiplies.
    """
    return _amount(steps, jnp.broadcast_to(k, steps.duration.shape))


def _slope_in_k(function: Any) -> None:
    """Give a function of (history, k) its derivative: forward in k alone, wherever that is all."""

    @partial(function.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        history, k = primals
        if not all(isinstance(t, SymbolicZero) for t in jax.tree.leaves(tangents[0])):
            # Slopes in amounts and rates are wanted as well: no short cut
            return jax.jvp(function.fun, primals, jax.tree.map(_as_array, tangents))
        value, slope = jax.jvp(partial(function.fun, history), (k,), (jnp.ones_like(k),))
        return value, jax.tree.map(lambda s: s * _as_array(tangents[1]), slope)


def _as_array(tangent: Array | SymbolicZero) -> Array:
    if not isinstance(tangent, SymbolicZero):
        return tangent
    dtype: Any = tangent.dtype
    return jnp.zeros(tangent.shape, dtype)


def _steady_amount(
    rate: Array, bolus: Array, pulse: Array, pulse_duration: Array, interval: Array, k: Array
) -> Array:
    """Amount just before the step that regular doses since for ever have left.

    Each past dose has decayed for a whole number of intervals: a geometric series.
    """
    # Decay from the end of a pulse (of a bolus: its time) to the next: exponents stay negative
    decay = jnp.exp(k * (pulse_duration - interval))
    infused = -jnp.expm1(-k * pulse_duration) * pulse / k
    return rate / k + (bolus + infused) * decay / -jnp.expm1(-k * interval)


_slope_in_k(_amount_constant_k)
_slope_in_k(_log_amount)
