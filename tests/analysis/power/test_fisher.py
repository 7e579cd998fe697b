"""First-order information against closed forms, a second derivation, and popk's own likelihood."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popk.analysis.power.candidates import at_samples, samples
from popk.analysis.power.fisher import estimated, information, moments, population, variance
from popk.inference.maximum import Likelihood, Settings
from popk.population.condensed import condense, trial_axes
from popk.population.events import arrange
from popk.population.simulated import simulate
from popk.spec.problem import PopkError
from tests.analysis.power.infusions import TIMES, TRUE, concentration, data_of, model_of, spread

ERRORS = {
    "lognormal": {"sigma": 0.15},
    "proportional": {"sigma": 0.2},
    "additive": {"sigma": 0.3},
    "combined": {"sigma_additive": 0.2, "sigma_proportional": 0.15},
}


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    return data_of(tmp_path_factory.mktemp("design") / "data.csv", [3, 9])


def normal_moments(error, values, young, times=TIMES):
    """Mean and covariance to first order by differences, from the closed form of an infusion."""

    def mean(eta_cl, eta_v):
        cl = values["TVCL"] * np.exp(eta_cl + values["CL_AGE_below"] * young)
        v = values["TVV"] * np.exp(eta_v)
        c = concentration(cl, v, times)
        return np.log(c) if error == "lognormal" else c

    h = 1e-4
    slopes = np.stack(
        [(mean(h, 0) - mean(-h, 0)) / (2 * h), (mean(0, h) - mean(0, -h)) / (2 * h)], axis=1
    )
    rho = values.get("correlation_CL_V", 0.0)
    sd = np.array([values["omega_CL"], values["omega_V"]])
    omega = np.outer(sd, sd) * np.array([[1, rho], [rho, 1]])
    f = mean(0, 0)
    own = {
        "lognormal": lambda: np.full(f.shape, values["sigma"] ** 2),
        "additive": lambda: np.full(f.shape, values["sigma"] ** 2),
        "proportional": lambda: (values["sigma"] * f) ** 2,
        "combined": lambda: values["sigma_additive"] ** 2 + (values["sigma_proportional"] * f) ** 2,
    }[error]()
    return f, slopes @ omega @ slopes.T + np.diag(own)


def divergence(one, other):
    """Kullback-Leibler divergence of two normals."""
    (m, v), (n, w) = one, other
    inverse, gap = np.linalg.inv(w), n - m
    logs = np.linalg.slogdet(w)[1] - np.linalg.slogdet(v)[1]
    return 0.5 * (np.trace(inverse @ v) + gap @ inverse @ gap - len(m) + logs)


def by_divergence(error, values, names, young):
    """Fisher information as the curvature of the divergence from the truth."""
    centre = normal_moments(error, values, young)
    steps = {name: 2e-3 * max(abs(values[name]), 0.1) for name in names}

    def at(*moves):
        moved = dict(values)
        for name, sign in moves:
            moved[name] += sign * steps[name]
        return divergence(centre, normal_moments(error, moved, young))

    out = np.zeros((len(names), len(names)))
    for (i, a), (j, b) in itertools.product(enumerate(names), repeat=2):
        signs = itertools.product((1, -1), repeat=2)
        found = sum(s * t * at((a, s), (b, t)) for s, t in signs)
        out[i, j] = found / (4 * steps[a] * steps[b])
    return out


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("correlated", [False, True])
def test_full_information_is_the_curvature_of_the_divergence(design, error, correlated):
    sections = {"correlation": {"parameters": ["CL", "V"]}} if correlated else {}
    model = model_of(error, **sections)
    values = TRUE | ERRORS[error] | ({"correlation_CL_V": 0.4} if correlated else {})
    names = estimated(model)
    assert set(names) == set(values)
    each = information(at_samples(model, design, values), full=True)
    for own, young in zip(each, (1.0, 0.0), strict=True):
        scale = np.array([max(abs(values[name]), 0.1) for name in names])
        expected = by_divergence(error, values, names, young)
        unit = np.outer(scale, scale)
        np.testing.assert_allclose(own * unit, expected * unit, rtol=2e-3, atol=1e-2)


def test_the_blocks_are_those_of_the_full_information(design):
    """What is left out is what the covariance says of fixed effects."""
    model, values = model_of("proportional"), TRUE | ERRORS["proportional"]
    found = at_samples(model, design, values)
    full, block = information(found, full=True), information(found)
    spread_ = ~found.fixed
    np.testing.assert_allclose(
        block[:, spread_][..., spread_], full[:, spread_][..., spread_], rtol=1e-10
    )
    np.testing.assert_allclose(block[:, spread_][..., found.fixed], 0.0, atol=1e-12)
    inverse = np.linalg.inv(found.covariance)
    mean = np.swapaxes(found.sensitivity, 1, 2) @ inverse @ found.sensitivity
    fixed = np.ix_(range(2), found.fixed, found.fixed)
    np.testing.assert_allclose(block[fixed], mean[fixed], rtol=1e-10)


def exact(counts, young, omega, sigma):
    """Information on log TVCL, the effect, omega and sigma of a random intercept."""
    out = np.zeros((4, 4))
    for n, own in zip(counts, young, strict=True):
        wide = sigma**2 + n * omega**2
        x = np.array([1.0, own])
        out[:2, :2] += n / wide * np.outer(x, x)
        out[2, 2] += 2 * omega**2 * (n / wide) ** 2
        out[3, 3] += 2 * sigma**2 * (1 / wide**2 + (n - 1) / sigma**4)
        out[2, 3] += 2 * omega * sigma * n / wide**2
        out[3, 2] = out[2, 3]
    return out


@pytest.mark.parametrize("full", [True, False])
def test_of_steady_states_it_is_that_of_the_linear_mixed_model(steady_state, full):
    model, data = steady_state.problem
    values = {"TVCL": 0.8, "CL_AGE_below": -0.3, "omega_CL": 0.3, "sigma": 0.2}
    found = information(at_samples(model, data, values), full=full).sum(axis=0)
    counts = np.bincount(steady_state.subject)
    expected = exact(counts, steady_state.young, 0.3, 0.2)
    scale = np.array([0.8, 1.0, 1.0, 1.0])
    order = [estimated(model).index(name) for name in values]
    np.testing.assert_allclose(found[np.ix_(order, order)] * np.outer(scale, scale), expected,
                               rtol=1e-9, atol=1e-9)  # fmt: skip


@pytest.mark.parametrize(
    ("variability", "omega", "df"),
    [
        (spread("student_t", df=4.0), 0.3 * np.sqrt(2.0), None),
        (spread("student_t", df={"prior": "gamma", "shape": 2.0, "rate": 0.1}), 0.3 * 2**0.5, 4.0),
        (spread("normal"), 0.3, None),
    ],
)
def test_other_distributions_count_with_their_variance(design, variability, omega, df):
    values = TRUE | {"sigma": 0.15, "omega_V": 0.3, "omega_CL": 0.3}
    model = model_of(variability=variability)
    heavy = dict.fromkeys(("df_CL", "df_V"), df) if df else {}
    found = at_samples(model, design, values | heavy)
    plain = at_samples(model_of(), design, values | {"omega_CL": omega, "omega_V": omega})
    np.testing.assert_allclose(found.covariance, plain.covariance, rtol=1e-10)
    assert not any(name.startswith("df_") for name in estimated(model))


@pytest.mark.slow
def test_scores_of_the_marginal_likelihood_vary_by_it(tmp_path):
    """The outer product of the scores, by quadrature on simulated data, is the information.

    To first order: with omegas of 0.2 and log-normal error that is near.
    """
    model, values, count = model_of(), TRUE | {"omega_CL": 0.2, "sigma": 0.15}, 3000
    data = data_of(tmp_path / "data.csv", np.tile([3, 9], count // 2))
    design = condense(arrange(model.spec, data)[0]).events
    trial = simulate(jax.random.key(1), model, design, 1, given=values).events
    own = iter(trial_axes(trial))
    one = jax.tree.map(lambda a: a[0] if next(own) else a, trial)
    likelihood = Likelihood(model, one, Settings(method="agq", nodes=5))
    vector = likelihood.vector(values)
    scores = likelihood(vector).scores @ np.linalg.inv(likelihood.natural(vector)[1])
    assert likelihood.names == estimated(model)
    expected = information(at_samples(model, data, values)).sum(axis=0)
    size = np.sqrt(np.diag(expected))
    found = scores.T @ scores / np.outer(size, size)
    spread_ = np.array([name.startswith(("omega_", "sigma")) for name in likelihood.names])
    # Scores of SDs go with z² - 1, whose square has a relative SD of sqrt(14): 7 % after 3000;
    # those of fixed effects with z: 2.6 %
    np.testing.assert_allclose(np.diag(found)[~spread_], 1.0, atol=0.1)
    np.testing.assert_allclose(np.diag(found)[spread_], 1.0, atol=0.2)
    off = expected / np.outer(size, size) - found
    assert np.abs(off - np.diag(np.diag(off))).max() < 0.1


def test_a_limit_of_the_assay_is_the_mean_over_what_is_left(design):
    """Against the information of all subsets, weighted by hand."""
    model, values = model_of(), TRUE | {"sigma": 0.15}
    limit = 1.5
    found = at_samples(model, design, values, limit)
    free = at_samples(model, design, values)
    np.testing.assert_array_equal(found.covariance, free.covariance)
    assert ((found.share > 0.01) & (found.share < 0.99)).any()
    mean, covariance = normal_moments("lognormal", values, 1.0)
    rng = np.random.default_rng(1)
    level = rng.random(4000)
    total = np.zeros_like(information(free)[0])
    for kept in np.unique(found.share[0][:, None] > level, axis=1).T:
        weight = (kept == ((found.share[0][:, None] > level).T)).all(axis=1).mean()
        if kept.any():
            total += weight * information(free, np.flatnonzero(kept))[0]
    size = np.sqrt(np.diag(information(free)[0]))
    unit = np.outer(size, size)
    # 4000 levels: a standard error of at most 0.008
    np.testing.assert_allclose(information(found)[0] / unit, total / unit, atol=0.03)
    draws = rng.multivariate_normal(mean, covariance, size=100_000)
    np.testing.assert_allclose(found.share[0], (draws > np.log(limit)).mean(axis=0), atol=0.006)


def test_samples_without_drug_tell_nothing(tmp_path):
    data = data_of(tmp_path / "data.csv", [3, 9])
    model, values = model_of(), TRUE | {"sigma": 0.15}
    events, layout = arrange(model.spec, data)
    rows = samples(data, layout.step)
    before = rows.step.copy()
    before[:, 0] = 0  # the dose record itself: nothing has flown in
    without = information(moments(model, values, events, rows._replace(step=before)))
    rest = information(moments(model, values, events, rows), np.arange(1, TIMES.size))
    np.testing.assert_allclose(without, rest, rtol=1e-10)


def test_subjects_with_fewer_samples_are_filled_up(tmp_path):
    model, values = model_of(), TRUE | {"sigma": 0.15}
    data = data_of(tmp_path / "data.csv", [3, 9])
    few = data_of(tmp_path / "few.csv", [3, 9], TIMES[:2])
    data.observed[1, 3:] = False
    found = information(at_samples(model, data, values))
    np.testing.assert_allclose(found[1], information(at_samples(model, few, values))[1], rtol=1e-10)


@settings(max_examples=40)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_variances_are_those_of_the_inverse(size, seed):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((size, size + 2)) * np.exp(3 * rng.standard_normal(size))[:, None]
    matrix, direction = root @ root.T, rng.standard_normal((3, size))
    expected = np.einsum("qi,ij,qj->q", direction, np.linalg.inv(matrix), direction)
    np.testing.assert_allclose(variance(matrix, direction), expected, rtol=1e-6)


def test_what_is_left_open_has_no_variance():
    matrix = np.array([[4.0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
    one, two, three, four = np.eye(4)
    np.testing.assert_allclose(variance(matrix, one), 0.25)
    assert variance(matrix, np.stack([two, three, four, two - three])).tolist() == [np.inf] * 4
    np.testing.assert_allclose(variance(matrix, two + three), 1.0)


def test_values_that_are_not_given_are_the_medians_of_the_priors():
    found = population(model_of(correlation={"parameters": ["CL", "V"]}), {"TVCL": 2})
    assert found == pytest.approx({
        "TVCL": 2.0, "TVV": 5.0, "CL_AGE_below": 0.0, "omega_CL": 0.33724, "omega_V": 0.33724,
        "sigma": 0.33724, "correlation_CL_V": 0.0,
    }, rel=1e-4)  # fmt: skip


def test_impossible_values_are_named():
    with pytest.raises(PopkError) as error:
        population(model_of(), {"TVKA": 1.0, "TVCL": -1.0, "sigma": np.nan})
    unknown, negative, nan = error.value.problems
    assert (unknown.key, negative.key, nan.key) == ("TVKA", "TVCL", "sigma")
    assert "TVCL, TVV, CL_AGE_below" in unknown.expected
    assert "TVCL = -1" in negative.found
    assert "above 0" in nan.expected
    assert all(problem.cure and problem.file == "infusion" for problem in error.value.problems)
