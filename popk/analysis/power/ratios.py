"""From the ratio that an effect is to have to its coefficient, and what values a truth may have."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from popk.analysis.covariates.effects import Contrast, ratio_draws
from popk.analysis.observations import population_values
from popk.population.model import Model
from popk.population.parameters import distribution, median
from popk.spec.priors import Fixed
from popk.spec.problem import PopkError, Problem
from popk.spec.relations import CovariateEffect, Linear, Maturation
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

PRIOR_DRAWS = 4000


def coefficient(effect: CovariateEffect, between: Contrast, ratio: float) -> float:
    """The coefficient with which an effect has this ratio between two covariate values.

    Raises
    ------
    popk.PopkError
        If no value of the coefficient does, or the relation is one of maturation.
    """
    high, low = between.high, between.low
    match effect:
        case Maturation():
            raise _no_coefficient(effect, ratio, "a relation with one coefficient")
        case Linear():
            slope = high - ratio * low
            value = (ratio - 1.0) / slope if slope else math.inf
            if not (1.0 + value * high > 0.0 and 1.0 + value * low > 0.0):
                raise _no_coefficient(effect, ratio, "a ratio that a straight line can have")
            return value
        case _:
            return math.log(ratio) / (high - low)


def ratio_of(
    effect: CovariateEffect, between: Contrast, value: Float[np.ndarray, "*draw"]
) -> Float[np.ndarray, "*draw"]:
    """The ratio that `coefficient` inverts, as `ratio_draws` has it.

    In NumPy: for the draws of thousands of trials, each of its own length, JAX would take longer
    to begin than to compute.
    """
    if isinstance(effect, Linear):
        return (1.0 + value * between.high) / (1.0 + value * between.low)
    return np.exp(value * (between.high - between.low))


def _no_coefficient(effect: CovariateEffect, ratio: float, expected: str) -> PopkError:
    return PopkError(
        Problem(
            key=effect.name,
            found=f"a ratio of {ratio:g} by the relation {effect.relation!r}",
            expected=expected,
            cure="test the covariate by relation = 'below', 'power' or 'exponential'",
        )
    )


def truth_of(
    source: Fit | MaximumFit | Model,
    values: Mapping[str, float] | None,
    effect: CovariateEffect,
) -> dict[str, float]:
    """The population values of simulated trials: those given, the others as the source has them.

    Parameters
    ----------
    source
        A fit: its posterior medians or estimates. A model: the medians of its priors, and
        correlations of zero.
    values
        By name, instead of these.
    effect
        Whose value the ratio of a cell gives.

    Raises
    ------
    popk.PopkError
        Naming each value that is not the model's, that its prior excludes, or that the ratio
        gives already.
    """
    model = source if isinstance(source, Model) else source.model
    priors = model.population_priors()
    if isinstance(source, Model):
        truth = {name: median(priors[name]) for name in model.population_names}
        truth |= dict.fromkeys(model.correlation_names, 0.0)
    else:
        truth = {name: float(value) for name, value in population_values(source).items()}
    problems = []
    for name, value in (values or {}).items():
        if name == effect.name:
            found, expected, cure = (
                f"a chosen value for {name}", "other population values",
                "leave it out: the true ratios say what it is",
            )  # fmt: skip
        elif name not in truth:
            found, expected, cure = (
                f"a chosen value for {name!r}", f"one of {', '.join(truth)}",
                "correct the name; a value that the model file fixes is changed there",
            )  # fmt: skip
        elif not _allowed(model, name, value):
            found, expected, cure = (
                f"{name} = {value:g}", "a value that its prior allows",
                "choose another, or another prior in the model file",
            )  # fmt: skip
        else:
            continue
        problems.append(
            Problem(file=model.spec.name, key=name, found=found, expected=expected, cure=cure)
        )
    if problems:
        raise PopkError(*problems)
    return truth | {name: float(value) for name, value in (values or {}).items()}


def _allowed(model: Model, name: str, value: float) -> bool:
    if not math.isfinite(value):
        return False
    if name in model.correlation_names:
        return abs(value) < 1.0
    support: Any = distribution(model.population_priors()[name]).support
    return bool(support(value))


def log_ratio_draws(
    source: Fit | Model, effect: CovariateEffect, between: Contrast, *, seed: int = 1
) -> Float[np.ndarray, " draw"]:
    """What is believed of an effect, as draws of its log ratio.

    Parameters
    ----------
    source
        A fit: draws of its posterior. A model: quantiles of the effect's prior, evenly spaced in
        probability and in random order.
    effect, between
        The effect, and the two covariate values that the ratio compares.
    seed
        Of the order.

    Raises
    ------
    popk.PopkError
        If the effect is not among those that the source estimates.
    """
    model = source if isinstance(source, Model) else source.model
    prior = model.population_priors().get(effect.name)
    if prior is None or isinstance(prior, Fixed):
        raise PopkError(
            Problem(
                file=model.spec.name,
                key=effect.name,
                found="no estimated effect of this name",
                expected=f"one of {', '.join(e.name for e in model.spec.covariates) or 'none'}",
                cure="choose an effect that the model estimates, with a prior",
            )
        )
    if isinstance(source, Model):
        u = (np.arange(PRIOR_DRAWS) + 0.5) / PRIOR_DRAWS
        named: Any = distribution(prior)
        draws = np.random.default_rng(seed).permutation(np.asarray(named.icdf(u), float))
    else:
        draws = np.asarray(source.samples.draws[effect.name], float).reshape(-1)
    return np.log(ratio_draws(effect, between, {effect.name: draws}))
