"""Exposure of one subject over its steps, exact for one compartment: area under the curve, time.

Over the time that leads to a step the infusion rate R, CL, V and k = CL/V are constant, so the
concentration C goes from C0 = A0/V towards R/CL, always rising or always falling:

    C(t) = R/CL + (C0 - R/CL) exp(-k t)

(Gibaldi & Perrier, Pharmacokinetics, 2nd ed. 1982, ch. 1-2). A0 is the amount just after the step
before. It is the amount that carries over where V changes, not the concentration.

A history has no time that leads to a reset (EVID 3 and 4), as nothing later depends on it: there
is no exposure over that time.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from popk.pk.dosing import Steps

SMALL = 0.5
"""Below this k t the second integral is a series: its closed form is a difference of equals."""
TERMS = 14
"""Of that series; what follows is below the last digit of float64."""


def area(
    steps: Steps,
    CL: Float[Array, ""] | Float[Array, " step"],
    V: Float[Array, ""] | Float[Array, " step"],
    concentration: Float[Array, " step"],
) -> Float[Array, " step"]:
    """Area under the concentration over the time that leads to each step.

    With x = k d and the duration d of that time

        area = A0 d/V (1 - exp(-x))/x + R d²/V (x - 1 + exp(-x))/x²

    which for x to 0 keeps all digits.

    Parameters
    ----------
    steps
        The subject's history.
    CL, V
        Clearance (volume/time) and volume; one value, or one for each step, which then holds
        over the time that leads to the step and at it.
    concentration
        [step] amount per volume just after each step, 0 without drug: the exponential of
        `popk.pk.one_compartment.log_concentration`.

    Returns
    -------
    Array
        [step] amount per volume times time; 0 where no time passes. Their cumulative sum is the
        area from the first step on.
    """
    x = CL / V * steps.duration
    left = _amount_before(V, concentration) * _first(x)
    infused = steps.rate * steps.duration * _second(x)
    return steps.duration / V * (left + infused)


def time_above(
    steps: Steps,
    CL: Float[Array, ""] | Float[Array, " step"],
    V: Float[Array, ""] | Float[Array, " step"],
    concentration: Float[Array, " step"],
    threshold: Float[Array, "..."] | float,
) -> Float[Array, " step"]:
    """Time with a concentration above a threshold, of the time that leads to each step.

    The threshold c is crossed at most once, after log(1 + (C0 - c)/(c - R/CL))/k.

    Parameters
    ----------
    steps, CL, V, concentration
        As for `area`.
    threshold
        Amount per volume; one value, or one for each step.

    Returns
    -------
    Array
        [step] time; the rest of the step's duration is spent at or below the threshold.
    """
    start = _amount_before(V, concentration) / V
    plateau = steps.rate / CL
    begins_above = (start > threshold) | ((start == threshold) & (plateau > threshold))
    ends_below = plateau < threshold
    crosses = (begins_above & ends_below) | (~begins_above & (plateau > threshold))
    ratio = (start - threshold) / jnp.where(crosses, threshold - plateau, 1.0)
    after = jnp.log1p(jnp.where(crosses, ratio, 0.0)) * (V / CL)
    before = jnp.where(crosses, jnp.minimum(after, steps.duration), steps.duration)
    return jnp.where(begins_above, before, steps.duration - before)


def _amount_before(
    V: Float[Array, ""] | Float[Array, " step"], concentration: Float[Array, " step"]
) -> Float[Array, " step"]:
    """Amount just after the step before each; nothing before the first."""
    amount = concentration * V
    return jnp.concatenate([jnp.zeros_like(amount[:1]), amount[:-1]])


def _first(x: Float[Array, " step"]) -> Float[Array, " step"]:
    """(1 - exp(-x))/x, and 1 for x = 0."""
    positive = x > 0
    return jnp.where(positive, -jnp.expm1(-x) / jnp.where(positive, x, 1.0), 1.0)


def _second(x: Float[Array, " step"]) -> Float[Array, " step"]:
    """(x - 1 + exp(-x))/x², and 1/2 for x = 0."""
    large = x > SMALL
    safe, small = jnp.where(large, x, 1.0), jnp.where(large, 0.0, x)
    series = jnp.zeros_like(x)
    for n in reversed(range(TERMS)):
        series = 1.0 / math.factorial(n + 2) - small * series
    return jnp.where(large, (1.0 + jnp.expm1(-safe) / safe) / safe, series)
