"""A posterior that is known exactly: log-normal steady states.

Given omega and sigma the model is linear and Gaussian, so typical value, effect and individual
clearances follow by conjugacy; a quadrature over (omega, sigma) does the rest.
"""

from typing import NamedTuple

import numpy as np
import pytest
from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]
from scipy.stats import halfnorm

# [sampler] of each method
SAMPLERS = {
    "nuts": {"method": "nuts", "draws": 1500, "warmup": 500, "chains": 4},
    "ensemble": {"method": "ensemble", "ess": 4000.0},
}
STANDARD_ERRORS = 4.0
OMEGA, SIGMA = (0.0, 1.2), (0.1, 0.5)  # where the quadrature runs


class Moments(NamedTuple):
    """Mean and SD of log TVCL, the effect, omega, sigma and each log CL, in this order."""

    mean: np.ndarray
    sd: np.ndarray


def exact(case, nodes):
    """Moments by Gauss-Legendre quadrature with `nodes` points for each of omega and sigma."""
    n, subjects = case.subject.size, case.young.size
    # z = log rate - log DV - log WT = log TVCL + effect young + eta - eps
    z = case.log_rate - case.log_dv - case.log_size[case.subject]
    of_subject = np.eye(subjects)[case.subject]
    design = np.hstack([np.ones((n, 1)), case.young[case.subject][:, None], of_subject])
    centre = np.concatenate([case.priors["mean"], np.zeros(subjects)])
    omega, w_omega = legendre(*OMEGA, nodes)
    sigma, w_sigma = legendre(*SIGMA, nodes)
    weights, means, variances = [], [], []
    for o, w in zip(omega, w_omega, strict=True):
        prior = np.diag(np.concatenate([case.priors["sd"] ** 2, np.full(subjects, o**2)]))
        covariance = design @ prior @ design.T + sigma[:, None, None] ** 2 * np.eye(n)
        residual = z - design @ centre
        solved = np.linalg.solve(covariance, residual[:, None])[..., 0]
        gain = prior @ design.T
        given = np.linalg.solve(covariance, np.broadcast_to(gain.T, (nodes, *gain.T.shape)))
        log_marginal = -0.5 * (solved @ residual + np.linalg.slogdet(covariance).logabsdet)
        log_prior = halfnorm.logpdf(o, scale=case.priors["omega"]) + halfnorm.logpdf(
            sigma, scale=case.priors["sigma"]
        )
        mean = centre + solved @ gain.T
        posterior = prior - gain @ given
        to_log_cl = np.hstack([np.ones((subjects, 1)), case.young[:, None], np.eye(subjects)])
        log_cl = mean @ to_log_cl.T + case.log_size
        var_cl = np.einsum("ij,gjk,ik->gi", to_log_cl, posterior, to_log_cl)
        zero = np.zeros(nodes)
        weights.append(np.log(w * w_sigma) + log_marginal + log_prior)
        means.append(np.column_stack([mean[:, :2], np.full(nodes, o), sigma, log_cl]))
        fixed = np.diagonal(posterior, axis1=1, axis2=2)[:, :2]
        variances.append(np.column_stack([fixed, zero, zero, var_cl]))
    log_weight = np.array(weights)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    edges = np.concatenate([weight[-1], weight[:, 0], weight[:, -1]])
    assert edges.max() < 1e-9 * weight.max()
    flat, given_mean = weight.reshape(-1), np.concatenate(means)
    mean = flat @ given_mean
    variance = flat @ (np.concatenate(variances) + (given_mean - mean) ** 2)
    return Moments(mean, np.sqrt(variance))


def legendre(low, high, nodes):
    x, w = np.polynomial.legendre.leggauss(nodes)
    return low + (x + 1) * (high - low) / 2, w * (high - low) / 2


def standard_errors(sampled):
    """Monte Carlo standard errors of mean and SD, [quantity], from [chain, draw, quantity].

    Each from the effective sample size of what is averaged: of the values, and of their squared
    deviations. Antithetic chains know a mean far better than an SD.
    """
    squares = (sampled - sampled.mean(axis=(0, 1))) ** 2

    def error(values):
        size = array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean")
        return values.std(axis=(0, 1)) / np.sqrt(np.asarray(size, float))

    return error(sampled), error(squares) / (2 * sampled.std(axis=(0, 1)))


@pytest.fixture(scope="module")
def truth(steady_state):
    return exact(steady_state, 80)


def test_quadrature_has_converged(steady_state, truth):
    finer = exact(steady_state, 56)
    np.testing.assert_allclose(truth.mean, finer.mean, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(truth.sd, finer.sd, rtol=1e-6)


@pytest.mark.parametrize("method", [pytest.param("nuts", marks=pytest.mark.slow), "ensemble"])
def test_posterior_means_and_sds_are_the_exact_ones(
    steady_state, truth, prepared, finished, method
):
    sampler = prepared(steady_state.problem, **SAMPLERS[method], seed=5)
    posterior = finished(sampler)
    draws = posterior.draws
    assert not posterior.stats["diverging"].any()
    flat = np.dstack(
        [np.log(draws["TVCL"]), draws["CL_AGE_below"], draws["omega_CL"], draws["sigma"]]
    )
    sampled = np.concatenate([flat, np.log(draws["CL"])], axis=2)
    error_of_mean, error_of_sd = standard_errors(sampled)
    # The comparison is worth something only where the Monte Carlo error is small
    assert np.all(error_of_mean < 0.05 * truth.sd)
    assert np.all(error_of_sd < 0.1 * truth.sd)
    mean, sd = sampled.mean(axis=(0, 1)), sampled.std(axis=(0, 1), ddof=1)
    assert np.all(np.abs(mean - truth.mean) < STANDARD_ERRORS * error_of_mean)
    assert np.all(np.abs(sd - truth.sd) < STANDARD_ERRORS * error_of_sd)
