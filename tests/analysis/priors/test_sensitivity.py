"""Power-scaling against exact posteriors; conflict where prior and data disagree, not elsewhere."""

from pathlib import Path

import arviz
import numpy as np
import pytest
from scipy import stats

from popk.analysis.priors.conflict import PLACES, conflict_p
from popk.analysis.priors.sensitivity import (
    CONFLICT,
    POSSIBLE,
    STRONG,
    UNKNOWN,
    _diagnosis,
    log_priors,
    power_scaling,
    sensitivity,
    verdicts_of,
)
from popk.analysis.verdict import FAILED, LOOK, PASSED
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.model import ModelSpec
from popk.study.fit import fit
from popk.study.folder import open_study
from popk.study.maximum import maximum

INFANTS = Path(__file__).parents[3] / "fits" / "blinatumomab-infants"


class Conjugate:
    """A normal mean with known variance: every power of prior or likelihood is normal again."""

    def __init__(self, prior, data):
        self.prior, self.data = prior, data

    def posterior(self, prior_power=1.0, likelihood_power=1.0):
        (m, s), (y, e) = self.prior, self.data
        a, b = prior_power / s**2, likelihood_power / e**2
        return stats.norm((a * m + b * y) / (a + b), (a + b) ** -0.5)

    def draws(self):
        # 4 chains of 4000: places of the quantiles, in random order
        p = np.random.default_rng(0).permutation((np.arange(16_000) + 0.5) / 16_000)
        return self.posterior().ppf(p).reshape(4, -1)

    def components(self, draws):
        return stats.norm(*self.prior).logpdf(draws), stats.norm(*self.data).logpdf(draws)

    def exact(self, draws, power):
        """Sensitivity from the exact distribution functions, over the range of the draws."""
        x = np.linspace(draws.min(), draws.max(), 200_001)

        def distance(sign, alpha):
            p, q = (
                d.cdf(x) if sign > 0 else d.sf(x)
                for d in (self.posterior(), self.posterior(**{power: alpha}))
            )
            m = 0.5 * (p + q)
            dx = x[1] - x[0]
            one, two = (
                np.sum(f * np.log2(f / m) + 0.5 / np.log(2) * (g - f)) * dx
                for f, g in ((p, q), (q, p))
            )
            return np.sqrt((one + two) / (np.sum(p + q) * dx))

        far = {a: max(distance(1, a), distance(-1, a)) for a in (0.99, 1.01)}
        return 0.5 * (far[1.01] / np.log2(1.01) - far[0.99] / np.log2(0.99))


CASES = {
    "weak": Conjugate((0.0, 10.0), (1.0, 0.3)),
    "in agreement": Conjugate((0.0, 0.5), (0.1, 0.5)),
    "in conflict": Conjugate((0.0, 0.5), (3.0, 0.5)),
    "strong": Conjugate((0.0, 0.05), (0.1, 1.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_power_scaling_is_that_of_the_exact_posteriors(name):
    case = CASES[name]
    draws = case.draws()
    prior, likelihood = case.components(draws)
    for component, power in ((prior, "prior_power"), (likelihood, "likelihood_power")):
        found, exact = power_scaling(draws, component), case.exact(draws, power)
        # Draws at quantiles have no sampling error but in the tails, which are smoothed
        np.testing.assert_allclose(found, exact, rtol=0.05, atol=5e-4)


def test_power_scaling_tells_the_cases_apart():
    found = {n: [power_scaling(c.draws(), x) for x in c.components(c.draws())]
             for n, c in CASES.items()}  # fmt: skip
    assert found["weak"][0] < 0.05 <= found["weak"][1]
    assert min(found["in conflict"]) > 0.2
    assert found["strong"][1] < 0.05 <= found["strong"][0]
    assert found["in agreement"][0] < 0.5 * found["in conflict"][0]


def test_power_scaling_is_arviz_s():
    rng = np.random.default_rng(2)
    draws, other = rng.gamma(3.0, size=(2, 4, 1000))
    prior, likelihood = -draws + 0.3 * other, 0.5 * np.log(draws) - other
    data = arviz.from_dict({"x": draws}, log_likelihood={"y": likelihood[..., None]})
    data.add_groups({"log_prior": {"x": prior}})
    for component, own in (("prior", prior), ("likelihood", likelihood)):
        theirs = float(arviz.psens(data, component=component)["x"])
        np.testing.assert_allclose(power_scaling(draws, own), theirs, rtol=0.02)


def test_what_does_not_vary_has_no_sensitivity():
    draws = np.random.default_rng(1).standard_normal((2, 100))
    assert np.isnan(power_scaling(np.ones((2, 100)), draws))
    assert np.isnan(power_scaling(draws, np.where(draws > 2, np.nan, draws)))
    assert power_scaling(draws, np.zeros((2, 100))) == 0.0


def test_conflict_is_a_tail_probability():
    quantiles = 1.0 + 0.5 * PLACES
    for estimate, error in ((1.0, 0.1), (2.0, 0.3), (-1.5, 0.4)):
        z = (1.0 - estimate) / np.hypot(0.5, error)
        found = conflict_p(estimate, error, quantiles)
        np.testing.assert_allclose(found, 2 * stats.norm.sf(abs(z)), rtol=1e-6)
    assert np.isnan(conflict_p(1.0, np.nan, quantiles))
    assert np.isnan(conflict_p(np.nan, 1.0, quantiles))


def test_priors_are_those_of_the_model(course):
    model, _ = course.problem
    rng = np.random.default_rng(3)
    draws = {name: rng.uniform(0.1, 0.9, (2, 5)) for name in model.population_names}
    draws |= {name: rng.uniform(-0.9, 0.9, (2, 5)) for name in model.correlation_names}
    found = log_priors(model, draws)
    assert set(found) == {*model.population_names, "correlation"}
    # Log-normal: the density of the logarithm; half-normal: of the parameter
    expected = stats.norm(np.log(8.0), 1.0).logpdf(np.log(draws["TVV"]))
    np.testing.assert_allclose(found["TVV"], expected)
    np.testing.assert_allclose(found["sigma"], stats.halfnorm(scale=0.5).logpdf(draws["sigma"]))
    concentration = model.spec.correlation.concentration
    expected = (concentration - 1.0) * np.log1p(-(draws["correlation_CL_V"] ** 2))
    np.testing.assert_allclose(found["correlation"], expected, atol=1e-12)


def changed(model, name, **typical):
    spec = model.spec.model_dump()
    spec["parameters"][name]["typical"] = typical
    return Model(ModelSpec.model_validate(spec))


@pytest.fixture(scope="module")
def wrong(steady_state):
    """The prior of TVCL three times too high, and narrow."""
    return changed(steady_state.problem.model, "CL", prior="lognormal", median=2.4, sigma=0.1)


@pytest.fixture(scope="module")
def tight(wrong, steady_state):
    return sensitivity(fit(wrong, steady_state.problem.data, Sampler(seed=3)))


@pytest.mark.slow
def test_the_data_alone_are_maximum_likelihood(wrong, tight, steady_state):
    estimate = maximum(wrong, steady_state.problem.data, Sampler(method="agq", nodes=5)).estimate
    for name in wrong.population_names:
        value, error = estimate[name], estimate.se(name)
        # The faint prior weighs 1 %: with an SD of 0.1 as much as an error of 1
        assert abs(tight.loc[name, "data"] - value) < 0.2 * error
        width = tight.loc[name, "data_q95"] - tight.loc[name, "data_q5"]
        np.testing.assert_allclose(width, 2 * 1.645 * error, rtol=0.1)


@pytest.mark.parametrize(
    ("prior", "likelihood", "p", "contraction", "expected"),
    [
        (0.01, 0.20, 0.5, 0.9, ""),
        (0.20, 0.20, 0.04, 0.9, CONFLICT),
        (0.20, 0.20, 0.06, 0.9, STRONG),  # both count, and agree
        (0.20, 0.20, np.nan, 0.3, STRONG),
        (0.20, 0.01, 1e-5, 0.0, CONFLICT),  # the prior has silenced the likelihood
        (0.20, 0.01, 0.04, 0.0, STRONG),
        (0.01, 0.20, 0.009, 0.9, POSSIBLE),
        (0.01, 0.20, 0.04, 0.9, ""),  # one in twenty is nothing among five
        (0.01, 0.01, np.nan, 0.05, UNKNOWN),
    ],
)
def test_diagnoses(prior, likelihood, p, contraction, expected):
    row = {"prior": prior, "likelihood": likelihood, "conflict_p": p, "contraction": contraction}
    row |= {"most": "TVV", "own": "TVV"}
    assert _diagnosis(row, 5) == expected
    moved = expected.replace(STRONG, "moved by the prior of TVCL")
    assert _diagnosis({**row, "most": "TVCL"}, 5) == moved


@pytest.mark.slow
def test_weakly_informative_priors_raise_nothing(steady_state):
    model, data = steady_state.problem
    table = sensitivity(fit(model, data, Sampler(seed=3)))
    assert (table["diagnosis"] == "").all()
    assert (table["likelihood"] > 0.05).all()
    assert [verdict.outcome for verdict in verdicts_of(table)] == [PASSED] * 3


@pytest.mark.slow
def test_a_wrong_prior_is_in_conflict(tight):
    row = tight.loc["TVCL"]
    assert row["diagnosis"] == CONFLICT
    assert row["conflict_p"] < 1e-6
    assert row["most"] == "TVCL"
    assert row["data_q5"] < 0.8 < row["data_q95"]
    # The likelihood given the etas hardly knows of it: see the module
    assert row["conditional"] < 0.5 * row["likelihood"]
    conflict, *_ = verdicts_of(tight)
    assert (conflict.check, conflict.outcome) == ("prior-data conflict", FAILED)
    assert "TVCL (prior 2.4, data 0.7" in conflict.meaning
    assert "2024;34:57" in conflict.source


@pytest.mark.slow
def test_words_for_what_is_strong_and_what_is_not_known(tight):
    table = tight.copy()
    table["conflict_p"] = 0.5
    table.loc["TVCL", ["diagnosis", "contraction", "likelihood"]] = [STRONG, 0.02, 0.01]
    table.loc["omega_CL", "diagnosis"] = ""
    conflict, strength, known = verdicts_of(table)
    assert [conflict.outcome, strength.outcome, known.outcome] == [PASSED, LOOK, LOOK]
    assert "TVCL" in strength.meaning
    assert "CL cannot be estimated from these samples" in known.meaning
    table.loc["TVCL", "contraction"] = 0.3
    assert "CL is driven by its prior" in verdicts_of(table)[2].meaning


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "conflict"), [(None, False), (0.1, True), (0.05, True)])
def test_the_published_prior_is_in_conflict_with_the_infants(sigma, conflict):
    study = open_study(INFANTS)
    model = study.model
    if sigma is not None:
        model = changed(model, "CL", prior="lognormal", median=2.24, sigma=sigma)
    table = sensitivity(fit(model, study.data, study.spec.sampler))
    assert (table.loc["TVCL", "diagnosis"] == CONFLICT) == conflict
    assert conflict or (table["diagnosis"] == "").all()
    assert (table.loc[["TVV", "omega_V", "sigma"], "diagnosis"] == "").all()
