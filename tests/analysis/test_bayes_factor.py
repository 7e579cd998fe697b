"""Savage-Dickey against the ratio of marginal likelihoods, where both are exact."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import halfnorm

from popk.analysis.bayes_factor import BayesFactor, savage_dickey
from popk.spec.fit import Sampler
from popk.study.fit import fit as run_fit


def log_marginal(case, effect_sd, nodes=40):
    """Log density of the data: conjugate given omega and sigma, by quadrature over these.

    `effect_sd` is the prior SD of the effect; None leaves the effect out.
    """

    def legendre(low, high):
        x, w = np.polynomial.legendre.leggauss(nodes)
        return low + (x + 1) * (high - low) / 2, w * (high - low) / 2

    omega, w_omega = legendre(0.0, 1.2)
    sigma, w_sigma = legendre(0.1, 0.5)
    z = case.log_rate - case.log_dv - case.log_size[case.subject]
    n = z.size
    of_subject = np.eye(case.young.size)[case.subject]
    young = case.young[case.subject]
    mean, shared = np.zeros(n), np.ones((n, n)) * case.priors["sd"][0] ** 2
    if effect_sd is not None:
        mean = mean + case.priors["mean"][1] * young
        shared = shared + effect_sd**2 * np.outer(young, young)
    same = of_subject @ of_subject.T
    terms = []
    for o, w in zip(omega, w_omega, strict=True):
        for s, v in zip(sigma, w_sigma, strict=True):
            covariance = shared + o**2 * same + s**2 * np.eye(n)
            lower = np.linalg.cholesky(covariance)
            white = np.linalg.solve(lower, z - mean)
            density = -0.5 * white @ white - np.log(np.diag(lower)).sum()
            prior = halfnorm.logpdf(o, scale=0.5) + halfnorm.logpdf(s, scale=0.5)
            terms.append(density + prior + math.log(w * v))
    return logsumexp(terms)


@pytest.fixture(scope="module")
def fitted(steady_state):
    return run_fit(*steady_state.problem, Sampler(ess=4000.0, seed=2))


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


def test_the_kernel_estimate_is_near_where_the_density_is_not_small(fitted, monkeypatch):
    (effect,) = fitted.model.spec.covariates
    exact = savage_dickey(fitted, effect)
    monkeypatch.setattr("popk.analysis.bayes_factor._conditional", lambda *_: None)
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
