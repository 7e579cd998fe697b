"""Priors as NumPyro distributions; individual parameters from typical values and etas."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

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
    etas: Mapping[str, Eta], cholesky: Mapping[str, Float[Array, " k"]]
) -> dict[str, Float[Array, " subject"]]:
    """Individual deviations: one NumPyro sample site `x_NAME` for each parameter.

    The site's variable is x with theta = location + omega^(1-w) (x - w location), so that w = 1
    samples the log parameter itself ("centred"), w = 0 the standardised deviation, and any w
    between is possible for each subject (Papaspiliopoulos et al., Stat Sci 2007;22:59-73). A
    correlated parameter is conditioned on those before it, which leaves the joint distribution
    as it is: multivariate normal, or multivariate t with common df.

    Parameters
    ----------
    etas
        By parameter.
    cholesky
        For correlated parameters, in the order of `etas`, the rows of the lower Cholesky factor
        of their correlation matrix.

    Returns
    -------
    dict
        Parameter to [subject] eta: log P_i - log TV_i, or P_i/TV_i - 1 where relative.
    """
    drawn: dict[str, Array] = {}
    spherical: list[Array] = []
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
        anchor = eta.centring * (eta.location + shift)
        wide = scale**eta.centring
        site = dist.Normal(anchor, wide) if df is None else dist.StudentT(df, anchor, wide)
        with numpyro.plate("subject", eta.location.shape[0]):
            x = numpyro.sample(f"x_{name}", site)
        deviation = scale / wide * (x - anchor)
        drawn[name] = shift + deviation
        if name in cholesky:
            spherical.append(deviation / unit)
    return drawn


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
