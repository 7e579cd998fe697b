"""What a covariate effect amounts to: the ratio of a parameter between two covariate values.

The verdict has three words, as equivalence testing has three answers: a ratio can be shown to lie
outside of a range that is taken for no effect, to lie inside, or neither. The usual range is 0.80
to 1.25 and the usual interval 90 % (FDA, Population Pharmacokinetics: Guidance for Industry, 2022;
Hu, Zhang, Zhou, J Pharmacokinet Pharmacodyn 2011;38:271-85).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from popk.data.dataset import Dataset
from popk.population.covariates import log_factor
from popk.population.model import Values
from popk.spec.fit import NO_EFFECT
from popk.spec.relations import Below, Category, CovariateEffect

RELEVANT, NOT_RELEVANT, UNKNOWN = (
    "relevant effect",
    "no relevant effect",
    "the data cannot tell",
)


class Contrast(NamedTuple):
    """Two covariate values between which an effect is stated.

    Attributes
    ----------
    label
        In words, e.g. "AGE < 6 month against not".
    high, low
        The numbers that the relation uses; the ratio is that at `high` over that at `low`.
    """

    label: str
    high: float
    low: float


class Ratio(NamedTuple):
    """The ratio of a parameter between two covariate values, summarised over draws.

    Attributes
    ----------
    median, q2_5, q5, q95, q97_5
        Median, and the bounds of the 95 % and 90 % intervals (equal tails).
    direction
        Probability of the likelier side of 1.
    inside
        Probability that the ratio lies in the range taken for no effect.
    verdict
        In words, by the 90 % interval.
    """

    median: float
    q2_5: float
    q5: float
    q95: float
    q97_5: float
    direction: float
    inside: float
    verdict: str


def rule(no_effect: tuple[float, float] = NO_EFFECT) -> str:
    """The rule of the verdict, in words."""
    low, high = no_effect
    return (
        f'"{RELEVANT}" if the 90 % interval of the ratio lies outside {low:g}-{high:g}, '
        f'"{NOT_RELEVANT}" if it lies inside, else "{UNKNOWN}"'
    )


def verdict(q5: float, q95: float, no_effect: tuple[float, float] = NO_EFFECT) -> str:
    """What a 90 % interval of a ratio says."""
    low, high = no_effect
    if q95 < low or q5 > high:
        return RELEVANT
    if low <= q5 and q95 <= high:
        return NOT_RELEVANT
    return UNKNOWN


def terms(effect: CovariateEffect, data: Dataset) -> Float[np.ndarray, " subject"]:
    """The number that the relation uses, of each subject at its first record."""
    values = data.covariates[effect.covariate][:, 0]
    unit = data.covariate_units.get(effect.covariate)
    return effect.term(values, unit, data.levels.get(effect.covariate, ()))


def contrast(effect: CovariateEffect, data: Dataset) -> Contrast:
    """The two groups of an indicator; else the 95 % against the 5 % quantile of the subjects."""
    name, unit = effect.covariate, data.covariate_units.get(effect.covariate)
    if isinstance(effect, Below):
        return Contrast(f"{name} < {effect.cut} against not", 1.0, 0.0)
    if isinstance(effect, Category):
        return Contrast(f"{name} = {effect.level} against others", 1.0, 0.0)
    values = data.covariates[name][:, 0]
    ends = np.quantile(values, [0.95, 0.05])
    high, low = effect.term(ends, unit, data.levels.get(name, ()))
    label = f"{name} {ends[0]:.3g} against {ends[1]:.3g}" + (f" {unit}" if unit else "")
    return Contrast(label, float(high), float(low))


def ratio_draws(
    effect: CovariateEffect, between: Contrast, draws: Values
) -> Float[np.ndarray, "*draw"]:
    """The ratio in each draw of the effect's coefficients."""
    names = tuple(effect.coefficients)
    shape = np.broadcast_shapes(*(np.shape(draws[name]) for name in names))
    flat = {name: jnp.broadcast_to(draws[name], shape).reshape(-1) for name in names}

    def one(values: Values) -> jax.Array:
        high = log_factor(effect, jnp.asarray(between.high), values)
        return jnp.exp(high - log_factor(effect, jnp.asarray(between.low), values))

    return np.asarray(jax.vmap(one)(flat)).reshape(shape)


def summarised(
    ratio: Float[np.ndarray, "*draw"], no_effect: tuple[float, float] = NO_EFFECT
) -> Ratio:
    """Intervals, probabilities and the verdict of draws of a ratio."""
    flat = ratio.reshape(-1)
    q2_5, q5, median, q95, q97_5 = np.quantile(flat, [0.025, 0.05, 0.5, 0.95, 0.975]).tolist()
    above = float(np.mean(flat > 1.0))
    inside = float(np.mean((flat >= no_effect[0]) & (flat <= no_effect[1])))
    found = verdict(q5, q95, no_effect)
    return Ratio(median, q2_5, q5, q95, q97_5, max(above, 1.0 - above), inside, found)
