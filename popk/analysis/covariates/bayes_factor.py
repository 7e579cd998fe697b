"""Bayes factors of a covariate effect by the Savage-Dickey ratio.

For nested models BF01 = p(b = 0 | y) / p(b = 0) (Dickey, Ann Math Stat 1971;42:204-23;
Wagenmakers et al., Cognitive Psychology 2010;60:158-89), where the prior of everything else does
not depend on b. Given the individual parameters an effect depends on nothing but its prior and
their distribution, so that its conditional density at zero is known in every draw: its mean over
the draws (Rao-Blackwell; Gelfand & Smith, JASA 1990;85:398-409) has a far smaller error than a
smoothed histogram, out in the tail too.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln, logsumexp
from scipy.stats import gaussian_kde, norm

from popk.analysis.covariates.effects import terms
from popk.inference.effective import ess
from popk.population.parameters import distribution
from popk.spec.priors import Normal
from popk.spec.relations import CovariateEffect, Linear, Maturation
from popk.study.fit import Fit

SCALES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0)
"""Prior SDs of the curve."""
MOST = 2000
"""Draws that are used."""
GRID = 801


class BayesFactor(NamedTuple):
    """Evidence for and against an effect.

    Attributes
    ----------
    against, error
        BF01: how much likelier the data are without the effect than with it; its Monte Carlo
        standard error.
    scales, curve
        Prior SDs of the effect, and BF01 at each; empty where the prior is not normal.
    method
        "conditional" density, or "kernel" estimate where that is not known.
    """

    against: float
    error: float
    scales: Float[np.ndarray, " scale"]
    curve: Float[np.ndarray, " scale"]
    method: str

    @property
    def words(self) -> str:
        """Jeffreys' grades (Theory of Probability, 1961, app. B)."""
        strength = abs(math.log10(self.against)) if 0 < self.against < math.inf else math.inf
        side = "against an effect" if self.against > 1 else "for an effect"
        for bound, word in ((0.5, "hardly any"), (1.0, "moderate"), (2.0, "strong")):
            if strength < bound:
                return f"{word} evidence {side}"
        return f"decisive evidence {side}"


def savage_dickey(fit: Fit, effect: CovariateEffect) -> BayesFactor | None:
    """The Bayes factor of an effect in a fitted model; None where no value means "no effect"."""
    if isinstance(effect, Maturation) or effect.name not in fit.samples.draws:
        return None
    draws = fit.samples.draws[effect.name]
    every = max(1, draws.size // MOST)
    own = np.arange(0, draws.shape[1], every)
    b = draws[:, own]
    prior_at = float(np.exp(np.asarray(distribution(effect.effect).log_prob(0.0))))
    if isinstance(effect, Linear) and isinstance(effect.effect, Normal):
        prior_at /= float(_allowed(fit, effect, np.array([effect.effect.scale]))[0])
    scales = np.array(SCALES) if isinstance(effect.effect, Normal) else np.zeros(0)
    known = _conditional(fit, effect, own)
    if known is None:
        at_zero, error = _smooth_at_zero(b)
        weight = _ratio(fit, effect, b.reshape(-1), scales).mean(axis=0)
        method = "kernel"
    else:
        grid, log_density, zero = known
        at = np.exp(zero)
        at_zero = float(at.mean())
        error = float(at.std() / math.sqrt(_size(at)))
        mean = np.exp(log_density).mean(axis=(0, 1))
        weight = np.trapezoid(mean[:, None] * _ratio(fit, effect, grid, scales), grid, axis=0)
        method = "conditional"
    against = at_zero / prior_at
    return BayesFactor(against, error / prior_at, scales, against / weight, method)


def kernel(b: Float[np.ndarray, "chain draw"], effect: CovariateEffect) -> float:
    """BF01 from an effect's draws alone, by a kernel estimate of their density at zero.

    Rough where zero lies out in the tail; NaN for a linear effect, whose prior is cut.
    """
    if isinstance(effect, Maturation | Linear):
        return math.nan
    prior_at = float(np.exp(np.asarray(distribution(effect.effect).log_prob(0.0))))
    return _smooth_at_zero(b)[0] / prior_at


def _smooth_at_zero(b: Float[np.ndarray, "chain draw"]) -> tuple[float, float]:
    """A kernel estimate of the density at zero, and its standard error."""
    density = gaussian_kde(b.reshape(-1))
    at_zero = float(density(0.0)[0])
    # Binomial error of the draws under the kernel's width
    width = float(density.factor * b.std()) * math.sqrt(4.0 * math.pi)
    return at_zero, math.sqrt(at_zero / width / _size(b))


def _allowed(
    fit: Fit, effect: Linear, scales: Float[np.ndarray, " scale"]
) -> Float[np.ndarray, " scale"]:
    """Mass of normal priors with these SDs where the effect leaves every factor positive."""
    prior, term = effect.effect, terms(effect, fit.data)
    assert isinstance(prior, Normal)
    low = -1.0 / term.max() if term.max() > 0 else -math.inf
    high = -1.0 / term.min() if term.min() < 0 else math.inf
    return norm.cdf((high - prior.loc) / scales) - norm.cdf((low - prior.loc) / scales)


def _ratio(
    fit: Fit,
    effect: CovariateEffect,
    b: Float[np.ndarray, " point"],
    scales: Float[np.ndarray, " scale"],
) -> Float[np.ndarray, "point scale"]:
    """Densities of priors with other SDs over that of the model's."""
    if not scales.size:
        return np.ones((len(b), 0))
    assert not isinstance(effect, Maturation)
    prior = effect.effect
    assert isinstance(prior, Normal)
    z = (b - prior.loc)[:, None]
    log_ratio = -0.5 * (z / scales) ** 2 + 0.5 * (z / prior.scale) ** 2
    ratio = np.exp(log_ratio) * prior.scale / scales
    if isinstance(effect, Linear):
        ratio *= _allowed(fit, effect, np.array([prior.scale])) / _allowed(fit, effect, scales)
    return ratio


def _size(values: Float[np.ndarray, "chain draw"]) -> float:
    return float(ess(values.T[None])[0])


def _conditional(
    fit: Fit, effect: CovariateEffect, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """A grid, the effect's log conditional density there and at zero, in each of the draws.

    None where the individual parameters do not determine it: without variability or with another
    than log-normal or Student-t, and where a covariate changes within a subject.
    """
    assert not isinstance(effect, Maturation)
    spec, draws = fit.model.spec, fit.samples.draws
    variability = spec.parameters[effect.parameter].variability
    values = fit.data.covariates[effect.covariate]
    varies = (np.where(fit.data.mask, values, values[:, :1]) != values[:, :1]).any()
    if variability is None or variability.distribution == "normal" or varies:
        return None
    correlated = spec.correlation is not None and effect.parameter in spec.correlation.parameters
    if correlated and variability.df is not None:
        return None
    term = terms(effect, fit.data)
    b = draws[effect.name][:, own]
    low, high = b.min(), b.max()
    room = 0.75 * (high - low)
    grid = np.union1d(np.linspace(min(low - room, -1e-3), max(high + room, 1e-3), GRID), [0.0])

    def change(b: np.ndarray) -> np.ndarray:
        """[..., subject] log factor at these coefficients; NaN where it is not allowed."""
        if isinstance(effect, Linear):
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.log1p(b[..., None] * term)
        return b[..., None] * term

    eta = draws[f"eta_{effect.parameter}"][:, own]
    mean, sd = _given_others(fit, effect.parameter, own)
    rest = eta - mean + change(b)  # what the effect and the deviation make up together
    shift = change(grid)
    allowed = np.isfinite(shift).all(axis=1)
    grid, shift = grid[allowed], shift[allowed]
    if variability.df is None:
        square = (rest**2).sum(axis=2)[..., None] - 2.0 * rest @ shift.T + (shift**2).sum(axis=1)
        log_density = -0.5 * square / sd[..., None] ** 2
    else:
        df = _df(fit, effect.parameter, own)[..., None]
        log_density = np.zeros((*b.shape, len(grid)))
        for i in range(len(term)):
            z = (rest[..., i, None] - shift[:, i]) / sd[..., None]
            log_density += gammaln(0.5 * (df + 1)) - gammaln(0.5 * df) - 0.5 * np.log(df)
            log_density -= 0.5 * (df + 1) * np.log1p(z * z / df)
    log_density += np.asarray(distribution(effect.effect).log_prob(grid))
    weights = np.log(np.gradient(grid))
    total: Any = logsumexp(log_density + weights, axis=2, keepdims=True)
    log_density -= total
    return grid, log_density, log_density[..., int(np.flatnonzero(grid == 0.0)[0])]


def _given_others(
    fit: Fit, name: str, own: np.ndarray
) -> tuple[Float[np.ndarray, "chain draw subject"], Float[np.ndarray, "chain draw"]]:
    """Mean and SD of a parameter's etas given those that they are correlated with."""
    draws, correlation = fit.samples.draws, fit.model.spec.correlation
    fixed = {k: float(v) for k, v in fit.model.fixed().items()}
    shape = draws[f"eta_{name}"][:, own].shape

    def sd(of: str) -> np.ndarray:
        key = f"omega_{of}"
        return draws[key][:, own] if key in draws else np.full(shape[:2], fixed[key])

    if correlation is None or name not in correlation.parameters:
        return np.zeros(shape), sd(name)
    block = [n for n in fit.model.spec.parameters if n in correlation.parameters]
    others = [n for n in block if n != name]

    def r(a: str, b: str) -> np.ndarray:
        first, second = sorted((a, b), key=block.index)
        return np.ones(shape[:2]) if a == b else draws[f"correlation_{first}_{second}"][:, own]

    among = np.stack([np.stack([r(a, b) for b in others], -1) for a in others], -2)
    across = np.stack([r(name, b) for b in others], -1)
    weight = np.linalg.solve(among, across[..., None])[..., 0]
    z = np.stack([draws[f"eta_{n}"][:, own] / sd(n)[..., None] for n in others], -1)
    mean = sd(name)[..., None] * (z * weight[:, :, None]).sum(-1)
    rest = np.sqrt(np.maximum(1.0 - (across * weight).sum(-1), 1e-12))
    return mean, sd(name) * rest


def _df(fit: Fit, name: str, own: np.ndarray) -> Float[np.ndarray, "chain draw"]:
    draws = fit.samples.draws
    shape = draws[f"eta_{name}"][:, own].shape[:2]
    if f"df_{name}" in draws:
        return draws[f"df_{name}"][:, own]
    return np.full(shape, float(fit.model.fixed()[f"df_{name}"]))
