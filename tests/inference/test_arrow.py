"""The metric from draws: near the covariance, however many subjects there are."""

import numpy as np
import pytest

from popk.inference.arrow import Arrow, arrow_from_draws


def dense(arrow):
    """The factor T as a matrix, of one trial."""
    p = arrow.population.shape[-1]
    subjects, k, _ = arrow.cross.shape
    matrix = np.zeros((p + subjects * k, p + subjects * k))
    matrix[:p, :p] = arrow.population
    matrix[p:, :p] = arrow.cross.reshape(-1, p)
    for i, block in enumerate(arrow.subject):
        rows = slice(p + i * k, p + (i + 1) * k)
        matrix[rows, rows] = block
    return matrix


def true_arrow(rng, subjects, k, p):
    lower = np.tril(rng.normal(0.0, 0.3, (subjects, k, k)), -1)
    return Arrow(
        np.tril(rng.normal(0.0, 0.2, (p, p)), -1) + np.diag(rng.uniform(0.5, 2.0, p)),
        rng.normal(0.0, 0.3, (subjects, k, p)),
        lower + np.eye(k) * rng.uniform(0.5, 2.0, (subjects, 1, k)),
    )


@pytest.mark.parametrize(("subjects", "count"), [(20, 640), (400, 160)])
def test_in_the_coordinates_of_the_metric_the_posterior_is_nearly_standard(subjects, count):
    """The eigenvalues of the whitened covariance say how far step sizes suit all directions."""
    rng = np.random.default_rng(3)
    true = true_arrow(rng, subjects, 2, 3)
    draws = rng.standard_normal((1, count, 3 + 2 * subjects)) @ dense(true).T
    one_trial = Arrow(*(a[None] for a in true))
    found = arrow_from_draws(draws, one_trial)
    relative = np.linalg.solve(dense(Arrow(*(a[0] for a in found))), dense(true))
    scales = np.linalg.svd(relative, compute_uv=False)
    # With so few draws a noisy regression of each of 400 subjects would shrink the least to 0.6
    assert scales.min() > 0.7
    assert scales.max() < 1.4


def test_a_wrong_guess_is_left_behind_as_draws_come_in():
    rng = np.random.default_rng(4)
    true = true_arrow(rng, 5, 2, 3)
    guess = Arrow(np.eye(3)[None], np.zeros((1, 5, 2, 3)), np.tile(np.eye(2), (1, 5, 1, 1)))
    draws = rng.standard_normal((1, 50_000, 13)) @ dense(true).T
    found = arrow_from_draws(draws, guess)
    covariance = dense(true) @ dense(true).T
    own = dense(Arrow(*(a[0] for a in found)))
    np.testing.assert_allclose(own @ own.T, covariance, atol=0.05 * np.abs(covariance).max())
