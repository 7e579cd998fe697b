"""Likelihood-ratio tests between nested models, and the ratio of a covariate effect by Wald."""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2, norm

from popk.analysis.covariates.effects import contrast, ratio_draws
from popk.data.dataset import Dataset
from popk.inference.maximum import Estimate
from popk.population.model import Model
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.model import ModelSpec
from popk.spec.relations import CovariateEffect, Maturation
from popk.study.maximum import MaximumFit, maximum

REACH = float(norm.ppf(0.95))
"""Standard errors on either side that hold 90 %."""


class Test(NamedTuple):
    """Twice the log likelihood ratio of two nested models.

    Attributes
    ----------
    change
        OFV with the effect less that without: the more negative, the better it is with it.
    df
        Parameters that the effect has.
    p
        By the chi-square distribution (Wilks, Ann Math Stat 1938;9:60-2); NaN where one of the
        two searches has not come to the highest likelihood.
    """

    change: float
    df: int
    p: float


class Interval(NamedTuple):
    """Estimate and bounds of the 90 % confidence interval; NaN where there is no standard error."""

    estimate: float
    q5: float
    q95: float


def likelihood_of(spec: ModelSpec, settings: SamplerSpec | None = None) -> SamplerSpec:
    """What computes the likelihood: the settings if they say, else FOCEI.

    Laplace where etas are not normal.
    """
    if settings is not None and settings.maximises:
        return settings
    varied = (p.variability for p in spec.parameters.values())
    student = any(v is not None and v.df is not None for v in varied)
    return SamplerSpec(method="laplace" if student else "focei")


def maximised(
    spec: ModelSpec, data: Dataset, settings: SamplerSpec, start: MaximumFit | None = None
) -> MaximumFit:
    """The maximum of a model's likelihood, searched from another model's estimates if given."""
    return maximum(Model(spec), data, settings, name=spec.name, start=start)


def likelihood_ratio(with_effect: Estimate, without: Estimate) -> Test:
    """The test of what the first model has and the second has not."""
    change = with_effect.ofv - without.ofv
    df = with_effect.parameters - without.parameters
    ended = with_effect.highest and without.highest
    p = float(chi2.sf(max(-change, 0.0), df)) if df > 0 and ended else math.nan
    return Test(change, df, p)


def wald_ratio(fit: MaximumFit, effect: CovariateEffect) -> Interval:
    """The ratio of the parameter that an effect makes, between the values of its contrast.

    The interval is symmetric on the scale of the coefficient.
    """
    assert not isinstance(effect, Maturation)
    b, se = fit.estimate[effect.name], fit.estimate.se(effect.name)
    ends = b + REACH * se * np.array([0.0, -1.0, 1.0])
    ratio = ratio_draws(effect, contrast(effect, fit.data), {effect.name: ends})
    low, high = sorted(ratio[1:].tolist())
    return Interval(float(ratio[0]), low, high)
