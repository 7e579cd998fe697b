"""The posterior of one new subject against closed forms and sums over a grid."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto, norm, truncnorm
from scipy.stats import multivariate_normal as mvn
from scipy.stats import multivariate_t as mvt
from scipy.stats import t as student

from popk.analysis.dosing.posterior import DRAWS, one_posterior, resampled, smoothed
from popk.inference import programs
from tests.analysis.dosing.cases import (
    AREA,
    END,
    KNOWN,
    RATE,
    infant,
    lognormal,
    model,
    populated,
)

SIGMAS = 4.5
"""Standard errors that an estimate may lie off: one test in 150,000 does so by chance."""
CSS = 1000.0 * RATE / (KNOWN["TVCL"] * AREA)
QUICK = {"TVV": 0.6, "omega_V": 0.02}
"""With such a V steady state is reached after 40 h or more, whatever CL is."""


def is_normal(values, mean, sd, ess):
    """Whether draws worth so many independent ones have this mean and SD."""
    assert abs(values.mean() - mean) < SIGMAS * sd / math.sqrt(ess)
    assert abs(values.std() - sd) < SIGMAS * sd / math.sqrt(2.0 * ess)


def steady(shift, sigma, count):
    """Log concentrations at steady state, and the samples."""
    logs = np.log(CSS) + shift + sigma * np.random.default_rng(1).standard_normal(count)
    return logs, [(47.0 + 0.1 * i, dv) for i, dv in enumerate(np.exp(logs).tolist())]


@settings(max_examples=15)
@given(st.integers(1, 5), st.floats(-1.0, 1.0), st.floats(0.1, 0.6), st.floats(0.1, 0.5))
def test_of_samples_at_steady_state_it_is_conjugate(count, shift, omega, sigma):
    """The log of Css is normal around that of the typical one: so is log CL, with known moments."""
    logs, samples = steady(shift, sigma, count)
    fit = populated(model(), omega_CL=omega, sigma=sigma, **QUICK)
    found = one_posterior(fit, infant(fit.model, samples), least_ess=50.0)
    precision = 1.0 / omega**2 + count / sigma**2
    mean = -np.sum(logs - np.log(CSS)) / sigma**2 / precision
    assert (found.method, found.refit) == ("importance", None)
    assert found.k < 0.5
    log_cl = np.log(found.parameters["CL"] / (KNOWN["TVCL"] * AREA))
    is_normal(log_cl, mean, 1.0 / math.sqrt(precision), found.ess)
    np.testing.assert_allclose(found.values["eta_CL"], log_cl, atol=1e-12)
    # Of V such samples say nothing
    log_v = np.log(found.parameters["V"] / (QUICK["TVV"] * AREA))
    is_normal(log_v, 0.0, QUICK["omega_V"], found.ess)


@pytest.mark.parametrize("varied", [True, False])
def test_what_is_not_known_of_the_population_is_learnt_too(varied):
    """TVCL log-normal over the fit's draws: the sample says something of it, and of CL."""
    unknown, omega, sigma = 0.25, 0.3, 0.2
    steps = norm.ppf((np.arange(4000) + 0.5) / 4000)
    typical = KNOWN["TVCL"] * np.exp(unknown * np.random.default_rng(2).permutation(steps))
    own = {} if varied else {"variability": None}
    case = model(own, own)
    fit = populated(case, TVCL=typical.reshape(4, 1000), omega_CL=omega, sigma=sigma, **QUICK)
    logs, samples = steady(0.4, sigma, 2)
    found = one_posterior(fit, infant(case, samples))
    between = omega**2 if varied else 0.0
    # Covariances of log TVCL and log CL with minus the mean of the logs of Css
    spread = unknown**2 + between + sigma**2 / 2
    reached = -(logs.mean() - np.log(CSS))
    for values, variance in (
        (found.values["TVCL"] / KNOWN["TVCL"], unknown**2),
        (found.parameters["CL"] / (KNOWN["TVCL"] * AREA), unknown**2 + between),
    ):
        shared = unknown**2 if variance == unknown**2 else variance
        mean, rest = shared / spread * reached, variance - shared**2 / spread
        is_normal(np.log(values), mean, math.sqrt(rest), found.ess)


OMEGAS = np.array([0.4, 0.3])
SHAPE = np.array([[0.16, 0.6 * 0.12], [0.6 * 0.12, 0.09]])
CORRELATED = {"correlation": {"parameters": ["CL", "V"]}}
HEAVY = {"variability": lognormal(distribution="student_t", df=4)}
HEAVIER = {"variability": lognormal(distribution="student_t", df=2)}
RELATIVE = {"variability": lognormal(distribution="normal")}
COMBINED = {
    "residual": {
        "error": "combined",
        "additive": {"prior": "halfnormal", "scale": 50.0},
        "proportional": {"prior": "halfnormal", "scale": 0.5},
    }
}
SD = {"prior": "halfnormal", "scale": 50.0}


def independent(first, second):
    """The prior density of etas that are not correlated."""
    return lambda eta: first(eta[..., 0]) * second(eta[..., 1])


def relative(omega):
    """Of P/TV - 1, by log P: a normal cut off at -1."""
    return lambda log_p: (
        np.exp(log_p) * truncnorm.pdf(np.expm1(log_p), -1.0 / omega, np.inf, scale=omega)
    )


def normal(omega):
    return norm(scale=omega).pdf


CASES = {
    "correlated": (
        model(**CORRELATED),
        {"correlation_CL_V": 0.6},
        mvn(cov=SHAPE).pdf,
        lambda c: (np.log(np.maximum(c, 1e-300)), 0.2, True),
    ),
    "correlated t": (
        model(HEAVY, HEAVY, **CORRELATED),
        {"correlation_CL_V": 0.6},
        mvt(shape=SHAPE, df=4).pdf,
        lambda c: (np.log(np.maximum(c, 1e-300)), 0.2, True),
    ),
    "heavy tails, combined": (
        model(HEAVIER, **COMBINED),
        {"sigma_additive": 30.0, "sigma_proportional": 0.15},
        independent(student(df=2, scale=0.4).pdf, normal(0.3)),
        lambda c: (c, np.sqrt(30.0**2 + (0.15 * c) ** 2), False),
    ),
    "relative, additive": (
        model(RELATIVE, residual={"error": "additive", "sd": SD}),
        {"sigma": 60.0},
        independent(relative(0.4), normal(0.3)),
        lambda c: (c, 60.0, False),
    ),
    "proportional": (
        model(residual={"error": "proportional", "sd": SD}),
        {},
        independent(normal(0.4), normal(0.3)),
        # A concentration is taken to be e^-20 at least
        lambda c: (np.maximum(c, math.exp(-20)), 0.2 * np.maximum(c, math.exp(-20)), False),
    ),
}
MIXED = [
    (3.0, 300.0),
    {"time": 30.0, "above": 900.0},
    {"time": 47.0, "below": 1400.0, "above": 1000.0},
    (END + 1.5, 700.0),
    {"time": END + 16.0, "below": 50.0},
]
"""Rise and fall, each kind of result; CL about 1.6 times lower than the typical one."""


def on_grid(density, scale, points=701, width=3.0):
    """Marginal distribution functions of log CL and log V, relative to the typical ones."""
    grid = np.linspace(-width, width, points)
    eta = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1)
    cl, v = KNOWN["TVCL"] * AREA * np.exp(eta[..., 0]), KNOWN["TVV"] * AREA * np.exp(eta[..., 1])
    with np.errstate(divide="ignore"):
        log_p = np.log(density(eta))
        for sample in MIXED:
            result = sample if isinstance(sample, dict) else {"time": sample[0], "DV": sample[1]}
            time = result["time"]
            k = cl / v
            c = (
                1000.0
                * RATE
                / cl
                * -np.expm1(-k * min(time, END))
                * np.exp(-k * max(time - END, 0))
            )
            mean, sd, logarithmic = scale(c)
            on = np.log if logarithmic else np.asarray
            if "DV" in result:
                log_p = log_p + norm.logpdf(on(result["DV"]), mean, sd)
                continue
            upper = norm.cdf(on(result["below"]), mean, sd) if "below" in result else 1.0
            lower = norm.cdf(on(result["above"]), mean, sd) if "above" in result else 0.0
            log_p = log_p + np.log(np.maximum(upper - lower, 0.0))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    # A point's mass lies around it
    return grid, [np.cumsum(p.sum(axis=axis)) - 0.5 * p.sum(axis=axis) for axis in (1, 0)]


SLOW = ("correlated", "correlated t", "proportional", "relative, additive", "heavy tails, combined")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES]
)
def test_it_is_the_sum_over_a_grid(name):
    """Every kind of variability and error, correlations, censoring on either side."""
    case, values, density, scale = CASES[name]
    grid, marginals = on_grid(density, scale)
    found = one_posterior(populated(case, **values), infant(case, MIXED))
    assert found.method == "importance"
    assert found.k < 0.7
    for parameter, whole in zip(("CL", "V"), marginals, strict=True):
        typical = KNOWN[f"TV{parameter}"] * AREA
        logs = np.log(found.parameters[parameter] / typical)
        for p in (0.05, 0.25, 0.5, 0.75, 0.95):
            below = np.mean(logs < np.interp(p, whole, grid))
            assert abs(below - p) < SIGMAS * math.sqrt(p * (1 - p) / found.ess), (parameter, p)


def test_without_samples_it_is_the_population():
    spread = KNOWN["TVCL"] * np.exp(0.2 * np.random.default_rng(1).standard_normal((4, 1000)))
    fit = populated(model(), TVCL=spread)
    found = one_posterior(fit, infant(fit.model))
    assert (found.method, found.ess) == ("population", DRAWS)
    assert np.isnan(found.k)
    assert "no samples" in found.why
    np.testing.assert_array_equal(np.sort(found.values["TVCL"]), np.sort(spread.ravel()))
    own = np.log(found.parameters["CL"] / (found.values["TVCL"] * AREA))
    is_normal(own, 0.0, KNOWN["omega_CL"], DRAWS)
    is_normal(np.log(found.parameters["V"] / (3.0 * AREA)), 0.0, KNOWN["omega_V"], DRAWS)


@pytest.mark.slow
def test_draws_in_which_the_subject_is_impossible_do_not_count():
    """A linear effect that the data of the others allow, and this weight does not."""
    effect = {
        "parameter": "CL", "covariate": "WT", "relation": "linear", "center": "8 kg",
        "per": "1 kg", "effect": {"prior": "normal", "loc": 0.0, "scale": 0.5},
    }  # fmt: skip
    case = model(covariates=[effect])
    slope = np.where(np.arange(4000) % 4 == 0, -0.4, 0.0).reshape(4, 1000)
    fit = populated(case, CL_WT_linear=slope)
    for samples in ([], [(47.0, CSS)]):
        found = one_posterior(fit, infant(case, samples, covariates={"BSA": AREA, "WT": 12.0}))
        assert (found.values["CL_WT_linear"] == 0.0).all()
        assert np.isfinite(found.parameters["CL"]).all()
    assert found.ess < 3000


def test_the_same_seed_gives_the_same_draws():
    fit = populated(model())
    data = infant(fit.model, [(10.0, 600.0)])
    first, again, other = (one_posterior(fit, data, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.parameters["CL"], again.parameters["CL"])
    assert not np.array_equal(first.parameters["CL"], other.parameters["CL"])


@pytest.mark.slow
def test_patients_share_one_program():
    fit = populated(model(name="a model of its own"))
    for count in range(6):
        one_posterior(fit, infant(fit.model, MIXED[:count]), least_ess=1.0)
    own = fit.model.spec.model_dump_json()
    assert sum(key[0] == own for key in programs._KEPT) == 1


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_k_is_that_of_the_weights(shape):
    """Of weights from a Pareto distribution with this k; its own error is some 0.1."""
    rng = np.random.default_rng(3)
    found = smoothed(np.log(genpareto(shape).rvs(20_000, random_state=rng) + 0.01))
    assert abs(found.k - shape) < 0.25
    assert found.weight.sum() == pytest.approx(1.0)
    assert found.ess == pytest.approx(1.0 / np.sum(found.weight**2))


def test_weights_that_are_no_numbers_are_zero():
    log_weight = np.random.default_rng(1).standard_normal(1000)
    log_weight[:10], log_weight[10:20] = np.nan, -np.inf
    found = smoothed(log_weight)
    assert (found.weight[:20] == 0.0).all()
    assert (found.weight[20:] > 0.0).all()
    assert smoothed(np.where(np.arange(1000) < 399, 0.0, -np.inf)).k == np.inf


def test_equal_weights_have_no_tail():
    found = smoothed(np.zeros(1000))
    assert (found.k, found.ess) == (0.0, pytest.approx(1000.0))


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40).filter(lambda w: sum(w) > 0.01))
def test_resampling_gives_each_draw_its_share(weight):
    weight = np.array(weight) / np.sum(weight)
    rng = np.random.default_rng(1)
    along = rng.standard_normal(weight.size)
    counts = np.bincount(resampled(rng, weight, along), minlength=weight.size)
    assert counts.sum() == weight.size
    assert (np.abs(counts - weight.size * weight) < 1.0 + 1e-9).all()
    # In the order of `along` no distribution function is further off than one draw
    order = np.argsort(along)
    reached = np.cumsum(counts[order] - weight.size * weight[order])
    assert np.abs(reached).max() < 1.0 + 1e-9
