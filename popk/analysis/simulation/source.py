"""Where a simulation has its population values from: a posterior, estimates, or priors alone."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from popk.analysis.checking.replicates import population_draws
from popk.analysis.observations import population_sites, population_values
from popk.analysis.predictive import cholesky_factors
from popk.population.model import Model
from popk.population.parameters import median
from popk.spec.fit import Dose
from popk.spec.problem import PopkError, Problem
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

DRAWS = 4000
"""Posterior draws that are used, evenly spaced; normal draws around estimates."""


@dataclass(frozen=True, eq=False)
class Source:
    """A model, and values of its population.

    Attributes
    ----------
    model
        What is simulated.
    sites
        Name to [draw, ...] values of the model's sample sites for the population. Empty where
        each subject draws them from the priors.
    of
        "posterior", "estimates" or "priors".
    synthetic
        True where the data behind the values are simulated.
    dose
        The nominal dose of the fit, if any.
    name
        Of the fit or the model.
    """

    model: Model
    sites: dict[str, Float[np.ndarray, "draw ..."]]
    of: str
    synthetic: bool
    dose: Dose | None
    name: str

    @property
    def draws(self) -> int:
        """Number of draws of the population; 0 where the priors give them."""
        return len(next(iter(self.sites.values()))) if self.sites else 0


def source_of(
    given: Fit | MaximumFit | Model, *, uncertainty: bool, seed: int, draws: int = DRAWS
) -> Source:
    """Population values of a fit, or of a model's priors.

    Parameters
    ----------
    given
        A posterior: its draws. Maximum-likelihood estimates: draws from their asymptotic normal
        distribution, on the log scale for what is positive and by Fisher's z for correlations. A
        model: its priors.
    uncertainty
        False for one value instead: posterior medians, the estimates, the priors' medians.
    seed
        Of the draws around estimates.
    draws
        How many draws at most.

    Raises
    ------
    popk.PopkError
        If uncertainty is asked of estimates without standard errors.
    """
    if isinstance(given, Model):
        sites = {} if uncertainty else _prior_medians(given)
        return Source(given, sites, "priors", False, None, given.spec.name)
    model = given.model
    if not uncertainty:
        one = population_sites(model, population_values(given))
        sites = {name: np.asarray(value)[None] for name, value in one.items()}
    elif isinstance(given, MaximumFit):
        sites = _around(given, np.random.default_rng(seed), draws)
    else:
        available = given.samples.draws[model.population_names[0]].size
        sites = population_draws(given, min(draws, available))
    of = "posterior" if isinstance(given, Fit) else "estimates"
    return Source(model, sites, of, given.synthetic, given.dose, given.name)


def _prior_medians(model: Model) -> dict[str, np.ndarray]:
    priors = model.population_priors()
    sites = {name: np.array([median(priors[name])]) for name in model.population_names}
    if model.correlation_names:
        none = {name: np.zeros(1) for name in model.correlation_names}
        sites["correlation_cholesky"] = cholesky_factors(model, none)
    return sites


def _around(fit: MaximumFit, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Draws from the asymptotic distribution of the estimates, by the inverse Hessian."""
    found, model = fit.estimate, fit.model
    names = (*model.population_names, *model.correlation_names)
    where = [found.names.index(name) for name in names]
    values = found.values[where]
    covariance = found.covariance[np.ix_(where, where)]
    positive = np.array([name.startswith(("TV", "omega_", "sigma", "df_")) for name in names])
    correlation = np.array([name in model.correlation_names for name in names])
    if not np.isfinite(covariance).all() or (values[positive] <= 0).any():
        raise PopkError(
            Problem(
                file=fit.name or model.spec.name,
                found="estimates without standard errors",
                expected="a covariance of the estimates, for the uncertainty of the parameters",
                cure="simulate without it (--no-uncertainty, uncertainty=False), or sample the "
                'posterior: method = "ensemble" in fit.toml',
            )
        )
    # The delta method on the scale on which an estimate is nearest to normal
    slope = np.where(positive, 1.0 / np.where(positive, values, 1.0), 1.0)
    slope = np.where(correlation, 1.0 / (1.0 - np.where(correlation, values, 0.0) ** 2), slope)
    centre = np.where(positive, np.log(np.where(positive, values, 1.0)), values)
    centre = np.where(correlation, np.arctanh(np.where(correlation, values, 0.0)), centre)
    drawn = rng.multivariate_normal(centre, covariance * np.outer(slope, slope), size=count)
    drawn = np.where(positive, np.exp(drawn), np.where(correlation, np.tanh(drawn), drawn))
    named = {name: drawn[:, i] for i, name in enumerate(names)}
    sites = {name: named[name] for name in model.population_names}
    if model.correlation_names:
        sites["correlation_cholesky"] = cholesky_factors(model, named)
    return sites
