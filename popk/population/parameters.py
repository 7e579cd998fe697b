"""Priors as NumPyro distributions; individual parameters from typical values and etas."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from popk.pk.dosing import NumericArray
from popk.spec import priors


def distribution(prior: priors.Prior) -> dist.Distribution:
    """The NumPyro distribution of a prior (of a `Fixed` one: a point mass)."""
    match prior:
        case priors.Normal():
            return dist.Normal(prior.loc, prior.scale)
        case priors.LogNormal():
            return dist.LogNormal(jnp.log(prior.median), prior.sigma)
        case priors.HalfNormal():
            return dist.HalfNormal(prior.scale)
        case priors.Exponential():
            return dist.Exponential(1.0 / prior.scale)
        case priors.Gamma():
            return dist.Gamma(prior.shape, prior.rate)
        case priors.Uniform():
            return dist.Uniform(prior.low, prior.high)
        case priors.Fixed():
            return dist.Delta(prior.value)


def median(prior: priors.Prior) -> float:
    """The median of a prior (of a gamma prior its mean)."""
    match prior:
        case priors.Normal():
            return prior.loc
        case priors.LogNormal():
            return prior.median
        case priors.HalfNormal():
            return 0.6744897501960817 * prior.scale
        case priors.Exponential():
            return math.log(2.0) * prior.scale
        case priors.Gamma():
            return prior.shape / prior.rate
        case priors.Uniform():
            return 0.5 * (prior.low + prior.high)
        case priors.Fixed():
            return prior.value


def draw(name: str, prior: priors.Prior) -> Float[Array, ""]:
    """A NumPyro sample site with this prior; a fixed value makes no site."""
    if isinstance(prior, priors.Fixed):
        return jnp.asarray(prior.value)
    return jnp.asarray(numpyro.sample(name, distribution(prior)))


def draw_positive_linear(
    name: str, prior: priors.Normal | priors.Fixed, term: Float[Array, "subject column"]
) -> Float[Array, ""]:
    """A linear effect, cut to the values that leave 1 + effect * term positive for everyone."""
    if isinstance(prior, priors.Fixed):
        return jnp.asarray(prior.value)
    high, low = jnp.max(term), jnp.min(term)
    margin = 1.0 - 1e-6
    bounds = {
        "low": jnp.where(high > 0, -margin / jnp.where(high > 0, high, 1.0), -jnp.inf),
        "high": jnp.where(low < 0, -margin / jnp.where(low < 0, low, 1.0), jnp.inf),
    }
    # Where no value can make the factor negative the bound is far out in the prior's tail
    far = prior.scale * 1e3
    cut = {k: jnp.clip(v, prior.loc - far, prior.loc + far) for k, v in bounds.items()}
    site = dist.TruncatedNormal(prior.loc, prior.scale, low=cut["low"], high=cut["high"])
    return jnp.asarray(numpyro.sample(name, site))


class Known(NamedTuple):
    """What each subject's data know of its log parameters: about a multivariate normal likelihood.

    The parameters are those whose variability is not relative, in the order of the model, without
    their scales.

    information
        [subject, k, k] its precision.
    score
        [subject, k] precision times mean.
    sigma
        The residual SD at which that holds: the precision goes with 1/sigma². 0 where there
        are two residual SDs.
    """

    information: Float[NumericArray, "*trial subject k k"]
    score: Float[NumericArray, "*trial subject k"]
    sigma: Float[NumericArray, "*trial"]


Centring = Mapping[str, Float[NumericArray, "*trial subject"]] | Known
"""Parameter to weights between 0 (non-centred) and 1 (centred), or what the data know."""


class Eta(NamedTuple):
    """What the etas of one parameter are drawn with.

    omega
        SD on the log scale; for "normal" variability a fraction of the typical value.
    df
        Degrees of freedom of a Student-t; None for a normal.
    location
        [subject] log of the typical value with the subject's covariates.
    centring
        [subject] 0 samples standardised deviations, 1 the log parameter itself.
    relative
        True for "normal" variability.
    """

    omega: Float[Array, ""]
    df: Float[Array, ""] | None
    location: Float[Array, " subject"]
    centring: Float[Array, " subject"]
    relative: bool


def draw_etas(
    etas: Mapping[str, Eta],
    cholesky: Mapping[str, Float[Array, " k"]],
    known: "Elimination | None" = None,
) -> dict[str, Float[Array, " subject"]]:
    """Individual deviations: one NumPyro sample site `x_NAME` for each parameter.

    The site's variable is x with theta = location + omega^(1-w) (x - w location), so that w = 1
    samples the log parameter itself ("centred"), w = 0 the standardised deviation, and any w
    between is possible for each subject (Papaspiliopoulos et al., Stat Sci 2007;22:59-73). Where
    it is known what the data say, x is theta in units of its conditional posterior: another way
    to write the same model for any normal likelihood assumed, and with a good one x is near a
    standard normal whatever the population values are. A correlated parameter is conditioned on
    those before it, which leaves the joint distribution as it is: multivariate normal, or
    multivariate t with common df.

    Parameters
    ----------
    etas
        By parameter.
    cholesky
        For correlated parameters, in the order of `etas`, the rows of the lower Cholesky factor
        of their correlation matrix.
    known
        From `eliminated`; the weights of `etas` then count for nothing.

    Returns
    -------
    dict
        Parameter to [subject] eta: log P_i - log TV_i, or P_i/TV_i - 1 where relative.
    """
    drawn: dict[str, Array] = {}
    spherical: list[Array] = []
    thetas: list[Array] = []
    for name, eta in etas.items():
        if eta.relative:
            drawn[name] = _draw_relative(name, eta)
            continue
        scale, shift, df = eta.omega, jnp.zeros_like(eta.location), eta.df
        if name in cholesky:
            row = cholesky[name]
            for coefficient, z in zip(row, spherical, strict=False):
                shift = shift + scale * coefficient * z
            scale = scale * row[len(spherical)]
        unit = scale
        if df is not None and name in cholesky and spherical:
            squares = sum((z**2 for z in spherical), jnp.zeros_like(shift))
            scale = scale * jnp.sqrt((df + squares) / (df + len(spherical)))
            df = df + len(spherical)
        mean = eta.location + shift
        if known is not None:
            centre, narrow = known.conditional(thetas)
            anchor, wide = (mean - centre) / narrow, scale / narrow
        else:
            log_scale = jnp.log(scale)
            # By exponentials: a power costs several of them, its slope as many again
            wide = jnp.exp(eta.centring * log_scale)
            narrow = jnp.exp((1.0 - eta.centring) * log_scale)
            anchor = eta.centring * mean
        site = dist.Normal(anchor, wide) if df is None else dist.StudentT(df, anchor, wide)
        with numpyro.plate("subject", eta.location.shape[0]):
            x = numpyro.sample(f"x_{name}", site)
        deviation = narrow * (x - anchor)
        drawn[name] = shift + deviation
        thetas.append(mean + deviation)
        if name in cholesky:
            spherical.append(deviation / unit)
    return drawn


class Elimination(NamedTuple):
    """Log parameters of each subject given the population, each with those after it integrated out.

    pivot, rest
        Parameter by parameter the precision, and precision times mean where those before are 0.
    coupling
        For each parameter the precision it shares with each of those before it.
    """

    pivot: tuple[Float[Array, " subject"], ...]
    rest: tuple[Float[Array, " subject"], ...]
    coupling: tuple[tuple[Float[Array, " subject"], ...], ...]

    def conditional(self, before: list[Array]) -> tuple[Array, Array]:
        """Mean and SD of the next parameter given those before it."""
        j = len(before)
        rest = self.rest[j]
        for coupling, theta in zip(self.coupling[j], before, strict=True):
            rest = rest - coupling * theta
        return rest / self.pivot[j], jax.lax.rsqrt(self.pivot[j])


def eliminated(etas: Mapping[str, Eta], known: Known, sigma: Mapping[str, Array]) -> Elimination:
    """The normal posterior of each subject's log parameters, factored from the last to the first.

    Priors count with their omegas, uncorrelated, which is near enough: it only decides in what
    units etas are sampled.
    """
    varied = [eta for eta in etas.values() if not eta.relative]
    scales = known.sigma > 0
    ratio = jnp.where(scales, known.sigma, 1.0) / jnp.where(scales, sigma.get("sigma", 1.0), 1.0)
    factor = ratio * ratio
    matrix = [
        [factor * known.information[:, i, j] for j in range(i + 1)] for i in range(len(varied))
    ]
    rest = [factor * known.score[:, i] for i in range(len(varied))]
    for i, eta in enumerate(varied):
        precision = 1.0 / (eta.omega * eta.omega)
        matrix[i][i] = matrix[i][i] + precision
        rest[i] = rest[i] + precision * eta.location
    for last in reversed(range(1, len(varied))):
        for i in range(last):
            share = matrix[last][i] / matrix[last][last]
            rest[i] = rest[i] - share * rest[last]
            for j in range(i + 1):
                matrix[i][j] = matrix[i][j] - share * matrix[last][j]
    return Elimination(
        tuple(row[-1] for row in matrix), tuple(rest), tuple(tuple(row[:-1]) for row in matrix)
    )


def _draw_relative(name: str, eta: Eta) -> Float[Array, " subject"]:
    """Normal(0, omega) cut off at -1, as a monotone function of a standard normal x.

    By the quantile function: from the lower tail where x < 0, from the upper one elsewhere, so
    that the digits are kept on both sides.
    """
    with numpyro.plate("subject", eta.location.shape[0]):
        x = jnp.asarray(numpyro.sample(f"x_{name}", dist.Normal(0.0, 1.0)))
    edge = 1.0 / eta.omega
    negative = x < 0
    lower = ndtri(ndtr(jnp.minimum(x, 0.0)) * ndtr(edge) + ndtr(-edge))
    upper = -ndtri(ndtr(-jnp.maximum(x, 0.0)) * ndtr(edge))
    return eta.omega * jnp.where(negative, lower, upper)
