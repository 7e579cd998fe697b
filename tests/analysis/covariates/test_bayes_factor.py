"""Savage-Dickey against the ratio of marginal likelihoods, where both are exact."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import halfnorm, norm

from popk.analysis.covariates.bayes_factor import BayesFactor, savage_dickey
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.model import ModelSpec
from popk.spec.relations import Linear
from popk.study.fit import fit as run_fit


def log_marginal(case, effect_sd, nodes=40):
    """Log density of the data: conjugate given omega and sigma, by quadrature over these.

    `effect_sd` is the prior SD of the effect; None leaves the effect out.
    """
    n, young = case.subject.size, case.young[case.subject]
    mean, shared = np.zeros((n, 1)), np.zeros((n, n))
    if effect_sd is not None:
        mean = mean + case.priors["mean"][1] * young[:, None]
        shared = effect_sd**2 * np.outer(young, young)
    return _log_marginal(case, mean, np.zeros(1), shared, nodes)


def log_marginal_of_linear(case, effect_sd, nodes=40):
    """The same for a linear effect b of AGE (center 6, per 3), normal, cut to -1 < b < 1."""
    b, weight = legendre(-1.0, 1.0, 60)
    density = norm.logpdf(b, scale=effect_sd) - math.log(2 * norm.cdf(1 / effect_sd) - 1)
    mean = np.log1p(np.where(case.young[case.subject] == 1, -1.0, 1.0)[:, None] * b)
    return _log_marginal(case, mean, density + np.log(weight), 0.0, nodes)


def legendre(low, high, nodes):
    x, w = np.polynomial.legendre.leggauss(nodes)
    return low + (x + 1) * (high - low) / 2, w * (high - low) / 2


def _log_marginal(case, mean, log_weight, shared, nodes):
    """`mean` [observation, node] of log CL, with the nodes' weights; `shared` its covariance."""
    omega, w_omega = legendre(0.0, 1.2, nodes)
    sigma, w_sigma = legendre(0.1, 0.5, nodes)
    z = case.log_rate - case.log_dv - case.log_size[case.subject]
    n = z.size
    of_subject = np.eye(case.young.size)[case.subject]
    same = of_subject @ of_subject.T
    shared = shared + np.ones((n, n)) * case.priors["sd"][0] ** 2
    terms = []
    for o, w in zip(omega, w_omega, strict=True):
        for s, v in zip(sigma, w_sigma, strict=True):
            lower = np.linalg.cholesky(shared + o**2 * same + s**2 * np.eye(n))
            white = np.linalg.solve(lower, z[:, None] - mean)
            density = -0.5 * (white**2).sum(axis=0) - np.log(np.diag(lower)).sum()
            prior = halfnorm.logpdf(o, scale=0.5) + halfnorm.logpdf(s, scale=0.5)
            terms.append(logsumexp(density + log_weight) + prior + math.log(w * v))
    return logsumexp(terms)


@pytest.fixture(scope="module")
def fitted(steady_state):
    return run_fit(*steady_state.problem, Sampler(ess=4000.0, seed=2))


@pytest.fixture(scope="module")
def linear(steady_state):
    model, data = steady_state.problem
    effect = Linear.model_validate(
        {"parameter": "CL", "covariate": "AGE", "relation": "linear", "center": 6.0, "per": 3.0,
         "effect": {"prior": "normal", "loc": 0.0, "scale": 0.8}}
    )  # fmt: skip
    changed = model.spec.model_dump() | {"covariates": [effect.model_dump()]}
    return run_fit(Model(ModelSpec.model_validate(changed)), data, Sampler(ess=2000.0, seed=2))


def test_savage_dickey_is_the_ratio_of_marginal_likelihoods(steady_state, fitted):
    (effect,) = fitted.model.spec.covariates
    found = savage_dickey(fitted, effect)
    without = log_marginal(steady_state, None)
    expected = math.exp(without - log_marginal(steady_state, 0.5))
    assert found.method == "conditional"
    assert 0 < found.error < 0.05 * found.against
    assert abs(found.against - expected) < 4 * found.error
    # Other prior scales from the same draws: their error is of the same relative size
    for scale, against in zip(found.scales, found.curve, strict=True):
        if 0.2 <= scale <= 1.5:
            exact = math.exp(without - log_marginal(steady_state, float(scale)))
            assert against == pytest.approx(exact, rel=8 * found.error / found.against + 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["conditional", "kernel"])
def test_the_prior_of_a_linear_effect_is_cut_where_a_factor_would_be_negative(
    steady_state, linear, monkeypatch, method
):
    if method == "kernel":
        monkeypatch.setattr("popk.analysis.covariates.bayes_factor._conditional", lambda *_: None)
    (effect,) = linear.model.spec.covariates
    found = savage_dickey(linear, effect)
    assert found.method == method
    without = log_marginal(steady_state, None)
    expected = math.exp(without - log_marginal_of_linear(steady_state, 0.8))
    # 21 % of the prior are cut off: without that the result would be a fifth too small
    assert found.error < {"conditional": 0.05, "kernel": 0.1}[method] * expected
    assert abs(found.against - expected) < 4 * found.error
    wide = math.exp(without - log_marginal_of_linear(steady_state, 2.0))
    curve = dict(zip(found.scales.tolist(), found.curve.tolist(), strict=True))
    assert curve[2.0] == pytest.approx(wide, rel=8 * found.error / found.against + 0.01)


def test_the_kernel_estimate_is_near_where_the_density_is_not_small(fitted, monkeypatch):
    (effect,) = fitted.model.spec.covariates
    exact = savage_dickey(fitted, effect)
    monkeypatch.setattr("popk.analysis.covariates.bayes_factor._conditional", lambda *_: None)
    kernel = savage_dickey(fitted, effect)
    assert kernel.method == "kernel"
    assert kernel.against == pytest.approx(exact.against, abs=5 * kernel.error)


def test_words_follow_jeffreys():
    def words(against):
        return BayesFactor(against, 0.0, np.zeros(0), np.zeros(0), "").words

    assert words(2.0) == "hardly any evidence against an effect"
    assert words(5.0) == "moderate evidence against an effect"
    assert words(1 / 50) == "strong evidence for an effect"
    assert words(1e-9) == "decisive evidence for an effect"
    assert words(0.0) == "decisive evidence for an effect"
