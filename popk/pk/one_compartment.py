"""One compartment with first-order elimination, in closed form, for one subject.

Between two steps the infusion rate R and k = CL/V are constant, so that

    A(t + d) = A(t) exp(-k d) + R/k (1 - exp(-k d))

(Gibaldi & Perrier, Pharmacokinetics, 2nd ed. 1982, ch. 1-2). Where nothing is given, the amount
is carried as its last value and the exponent since, so that its logarithm neither underflows
nor loses its gradient.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from popk.pk.dosing import Steps

NO_DRUG = -1e4
"""Stands for log 0: below any log concentration that a dose can leave, finite in float32."""


def log_concentration(
    steps: Steps,
    CL: Float[Array, "..."] | Float[Array, " step"],
    V: Float[Array, "..."] | Float[Array, " step"],
) -> Float[Array, " step"]:
    """Log concentration at (just after) each step.

    Parameters
    ----------
    steps
        The subject's history.
    CL, V
        Clearance (volume/time) and volume; one value, or one for each step, which then holds
        over the time that leads to the step and at it.

    Returns
    -------
    Array
        [step] log of amount per volume, in the units of `steps` and V; `NO_DRUG` where no drug
        has been given since the beginning or the last reset.
    """
    k = CL / V
    settled, decay = _amount(steps, k) if jnp.ndim(k) else _amount_constant_k(steps, k)
    given = settled > 0
    log_amount = jnp.log(jnp.where(given, settled, 1.0)) - decay
    return jnp.where(given, log_amount - jnp.log(V), NO_DRUG)


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
            added = added + _steady_amount(step, k)
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


@partial(_amount_constant_k.defjvp, symbolic_zeros=True)
def _(primals, tangents):
    steps, k = primals
    if not all(isinstance(t, SymbolicZero) for t in jax.tree.leaves(tangents[0])):
        # Slopes in amounts and rates are wanted as well: no short cut
        return jax.jvp(_amount_constant_k.fun, primals, jax.tree.map(_as_array, tangents))
    amount, slope = jax.jvp(partial(_amount_constant_k.fun, steps), (k,), (jnp.ones_like(k),))
    return amount, jax.tree.map(lambda s: s * _as_array(tangents[1]), slope)


def _as_array(tangent: Array | SymbolicZero) -> Array:
    if not isinstance(tangent, SymbolicZero):
        return tangent
    dtype: Any = tangent.dtype
    return jnp.zeros(tangent.shape, dtype)


def _steady_amount(step: Steps, k: Array) -> Array:
    """Amount just before the step that regular doses since for ever have left.

    Each past dose has decayed for a whole number of intervals: a geometric series.
    """
    assert step.steady_rate is not None
    assert step.steady_bolus is not None
    assert step.steady_pulse is not None
    assert step.steady_pulse_duration is not None
    assert step.steady_interval is not None
    turnover = k * step.steady_interval
    # Decay from the end of a pulse (of a bolus: its time) to the next: exponents stay negative
    decay = jnp.exp(k * (step.steady_pulse_duration - step.steady_interval))
    pulse = -jnp.expm1(-k * step.steady_pulse_duration) * step.steady_pulse / k
    return step.steady_rate / k + (step.steady_bolus + pulse) * decay / -jnp.expm1(-turnover)
