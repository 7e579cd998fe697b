"""Searches side by side, of likelihoods that are written down."""

import numpy as np

from popk.inference.maxima import BLOCK, MOST, Found, Searches, _updated, climbed

CENTRES = np.linspace(-1.0, 1.0, 3 * BLOCK)[:, None] * np.array([1.0, -0.5])


def valley(vector, trial):
    """A bent valley (Rosenbrock's) around each trial's own centre: value, slope, outer product."""
    a, b = vector - CENTRES[trial]
    turn = b - a * a
    slope = np.array([2.0 * a - 40.0 * a * turn, 20.0 * turn])
    outer = np.array([[2.0 + 80.0 * a * a, -40.0 * a], [-40.0 * a, 20.0]])
    return a * a + 10.0 * turn * turn, slope, outer


def evaluated(vectors, x, trials):
    """Far away nothing is known."""
    return [
        Found(*valley(vector, trial), modes, 1.0 if np.abs(vector).max() > 50 else 0.0)
        for vector, modes, trial in zip(vectors, x, trials, strict=True)
    ]


def searched(begin, free=(True, True), evaluate=evaluated):
    count = len(begin)
    held = np.array(np.broadcast_to(np.asarray(free), (count, 2)))
    metric = 0.1 * np.eye(2) * held[:, :, None] * held[:, None, :]
    return climbed(evaluate, Searches(np.arange(count), begin, metric, held), np.zeros((1, 1)))


def test_every_search_finds_its_own_maximum():
    sizes = []

    def counted(vectors, x, trials):
        sizes.append(len(trials))
        return evaluated(vectors, x, trials)

    found = searched(CENTRES + np.array([0.8, 0.9]), evaluate=counted)
    assert found.ended.all()
    np.testing.assert_allclose(found.vector, CENTRES, atol=2e-3)
    assert (found.log_likelihood > -1e-5).all()
    assert (found.evaluations < MOST).all()
    # Places that become free are taken by searches that wait
    assert sum(sizes) == found.evaluations.sum()
    assert len(sizes) < sum(sizes) / BLOCK + MOST


def test_what_is_held_stays():
    begin = CENTRES + np.array([0.8, 0.3])
    found = searched(begin, (True, False))
    assert found.ended.all()
    np.testing.assert_array_equal(found.vector[:, 1], begin[:, 1])
    a = found.vector[:, 0] - CENTRES[:, 0]
    np.testing.assert_allclose(2.0 * a - 40.0 * a * (0.3 - a * a), 0.0, atol=0.05)


def test_nowhere_to_begin():
    begin = CENTRES.copy()
    begin[3] = 99.0
    found = searched(begin)
    assert not found.ended[3]
    assert found.evaluations[3] == 1
    assert np.isneginf(found.log_likelihood[3])
    assert found.ended.sum() == len(begin) - 1


def test_the_metric_learns_the_curvature():
    """A step's change of slope is undone by the new metric (the secant condition)."""
    rng = np.random.default_rng(1)
    metric, step = np.diag([1.0, 2.0, 0.5]), rng.normal(size=3)
    change = np.diag([2.0, 1.0, 3.0]) @ step
    updated = _updated(metric, step, change)
    np.testing.assert_allclose(updated @ change, step)
    assert (np.linalg.eigvalsh(updated) > 0).all()
    np.testing.assert_array_equal(_updated(metric, step, -change), metric)
