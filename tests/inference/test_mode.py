"""The mode search on densities whose mode and curvature are known."""

import numpy as np
import pytest

from popk.inference.mode import find_mode

P, K, SUBJECTS = 3, 2, 5
SIZE = P + K * SUBJECTS


def arrow_precision(rng):
    """A positive precision in arrow shape: subjects share nothing but the population."""
    factor = np.zeros((SIZE, SIZE))
    factor[:P, :P] = rng.standard_normal((P, P)) + 3.0 * np.eye(P)
    for i in range(SUBJECTS):
        own = slice(P + K * i, P + K * (i + 1))
        factor[own, own] = rng.standard_normal((K, K)) + 3.0 * np.eye(K)
        factor[own, :P] = rng.standard_normal((K, P))
    return factor.T @ factor


def normal(precisions, modes):
    """Log density and gradient of a normal for each trial."""

    def gradients(points):
        away = points - modes[:, None]
        slope = -np.einsum("tij,tpj->tpi", precisions, away)
        return 0.5 * np.einsum("tpi,tpi->tp", away, slope), slope

    return gradients


@pytest.mark.parametrize("seed", range(5))
def test_the_mode_and_the_curvature_of_a_normal(seed):
    rng = np.random.default_rng(seed)
    precisions = np.stack([arrow_precision(rng) for _ in range(3)])
    modes = 2.0 * rng.standard_normal((3, SIZE))
    found = find_mode(normal(precisions, modes), np.zeros((3, SIZE)), P, (SUBJECTS, K), 1e-4)
    assert found.found.all()
    covariances = np.linalg.inv(precisions)
    sds = np.sqrt(np.einsum("tii->ti", covariances))
    # A mode is found within 0.3 posterior SDs by definition; a normal's in one step
    np.testing.assert_allclose((found.vector - modes) / sds, 0.0, atol=1e-4)
    np.testing.assert_allclose(found.covariance, covariances[:, :P, :P], rtol=1e-3, atol=1e-6)
    for i in range(SUBJECTS):
        own = slice(P + K * i, P + K * (i + 1))
        np.testing.assert_allclose(
            found.precision.subject[:, i], precisions[:, own, own], rtol=1e-4, atol=1e-4
        )


def hierarchical(data, sd):
    """y_i ~ N(mu + omega x_i, sd²), x_i ~ N(0, 1), flat mu, log omega ~ N(0, 1)."""

    def gradients(points):
        mu, log_omega, x = points[..., 0], points[..., 1], points[..., 2:]
        omega = np.exp(log_omega)
        rest = (data - mu[..., None] - omega[..., None] * x) / sd**2
        value = -0.5 * (rest**2).sum(-1) * sd**2 - 0.5 * (x**2).sum(-1) - 0.5 * log_omega**2
        slope = np.concatenate(
            [
                rest.sum(-1)[..., None],
                ((rest * x).sum(-1) * omega - log_omega)[..., None],
                rest * omega[..., None] - x,
            ],
            axis=-1,
        )
        return value, slope

    return gradients


def marginal(data, sd, mu, log_omega):
    """The same with every x integrated out in closed form."""
    variance = sd**2 + np.exp(2 * log_omega)
    squares = ((data - mu) ** 2).sum()
    return -0.5 * squares / variance - 0.5 * len(data) * np.log(variance) - 0.5 * log_omega**2


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_mode_with_the_subjects_integrated_out(seed):
    """Of the joint density there is none: it rises without end as omega falls."""
    rng = np.random.default_rng(seed)
    sd = 0.3
    data = 1.0 + 0.8 * rng.standard_normal(12) + sd * rng.standard_normal(12)
    found = find_mode(hierarchical(data, sd), np.zeros((1, 14)), 2, (12, 1), 1e-4)
    assert found.found.all()
    mu, log_omega = found.vector[0, :2]
    grid = np.linspace(-3, 2, 20_001)
    values = np.array([marginal(data, sd, data.mean(), g) for g in grid])
    best = grid[np.argmax(values)]
    step = grid[1] - grid[0]
    curvature = -np.gradient(np.gradient(values, step), step)[np.argmax(values)]
    # Laplace's approximation is exact here; the search ends within 0.3 posterior SDs
    assert abs(log_omega - best) < 0.3 * curvature**-0.5
    assert abs(mu - data.mean()) < 0.3 * np.sqrt((sd**2 + np.exp(2 * best)) / 12)
    # What it has learnt of the curvature counts the volumes: within a half, from a few steps
    assert 0.5 < found.covariance[0, 1, 1] * curvature < 2.0


def test_a_step_too_far_is_taken_back():
    """A density that is no number beyond some distance, as in float32 where exponents overflow."""
    rng = np.random.default_rng(0)
    precisions, modes = arrow_precision(rng)[None], np.full((1, SIZE), 1.5)
    inner = normal(precisions, modes)

    def gradients(points):
        value, slope = inner(points)
        lost = np.abs(points[..., :P]).max(axis=-1) > 2.0
        return np.where(lost, np.nan, value), np.where(lost[..., None], np.nan, slope)

    found = find_mode(gradients, np.full((1, SIZE), -1.5), P, (SUBJECTS, K), 1e-4)
    assert found.found.all()
    assert np.abs(found.vector - modes).max() < 0.2


def test_a_density_that_is_nowhere_a_number_is_not_found_and_says_so():
    def gradients(points):
        return np.full(points.shape[:2], np.nan), np.full(points.shape, np.nan)

    found = find_mode(gradients, np.zeros((2, SIZE)), P, (SUBJECTS, K), 1e-4)
    assert not found.found.any()
    assert np.isfinite(found.covariance).all()
