"""The marginal likelihood against closed forms, brute-force integrals and NONMEM's OFV."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm, t

from popk.data.nonmem.read import read_data
from popk.inference.laplace import gauss_hermite, importance_nodes
from popk.inference.maximum import Likelihood, Settings, at, maximise
from popk.population.condensed import condense
from popk.population.events import arrange
from popk.population.model import Model
from popk.spec.fit import DataSpec
from popk.spec.model import ModelSpec, read_model
from popk.study.folder import open_study

ROOT = Path(__file__).parents[2]
INFUSION = ROOT.parent / "shared" / "data" / "infusion_1cpt.csv"
needs_infusion_file = pytest.mark.skipif(
    not INFUSION.exists(), reason="infusion_1cpt.csv (nlmixr2data, GPL-3) is not shipped"
)
SLOW = pytest.mark.slow
METHODS = pytest.mark.parametrize(
    "method",
    ["agq", *(pytest.param(name, marks=SLOW) for name in ("focei", "laplace", "importance"))],
)

# NONMEM 7.5.1 FOCEI (see fits/phenobarb-neonates); omegas and sigma as variances
WEIGHT = {
    "TVCL": 0.00469555, "TVV": 0.984258, "V_APGR_below": math.log(1.158920),
    "omega_CL": 0.0293508**0.5, "omega_V": 0.0279060**0.5, "sigma": 0.0132410**0.5,
}  # fmt: skip
WEIGHT_SE = {"TVCL": 0.00021, "TVV": 0.0269, "V_APGR_below": 0.0838 / 1.15892}
WEIGHT_VARIANCE_SE = {"omega_CL": 0.0134, "omega_V": 0.0075, "sigma": 0.0023}
PLAIN = {
    "TVCL": 0.00581756, "TVV": 1.44555,
    "omega_CL": 0.111053**0.5, "omega_V": 0.201526**0.5, "sigma": 0.0164177**0.5,
}  # fmt: skip
# NONMEM 7.4.3 FOCEI; SS and II dropped, as those runs did
INFUSIONS = {
    "SD=1": (19553.27620, (1.39335, 4.26940, 0.200449, 0.0774791, 0.0959909),
             (0.0257, 0.0287, 0.0033, 0.0097, 0.0116)),
    "SD=0": (44216.31399, (1.38771, 4.26684, 0.200171, 0.0796134, 0.0881169),
             (0.0259, 0.0276, 0.0024, None, None)),
}  # fmt: skip


def likelihood(model, data, method="focei", **settings):
    with jax.enable_x64(True):
        events, _ = condense(arrange(model.spec, data)[0])
    return Likelihood(model, events, Settings(method, **settings))


def ofv(own, values):
    """OFV at given values, and its Monte Carlo error."""
    found = own(own.vector(values), scores=False)
    assert (found.left < 1e-6).all()
    return (
        -2.0 * float(found.log_likelihood.sum()) - own.constant,
        2.0 * math.sqrt(found.variance.sum()),
    )


@pytest.fixture(scope="module")
def weight_model():
    return open_study(ROOT / "fits" / "phenobarb-neonates")


@pytest.fixture(scope="module")
def plain_model(weight_model):
    """Phenobarb without covariates."""
    spec = weight_model.model.spec.model_dump()
    for parameter in spec["parameters"].values():
        parameter["scale"] = ()
    spec["covariates"] = ()
    return Model(ModelSpec.model_validate(spec))


def test_focei_is_that_of_nonmem_for_phenobarb(weight_model, plain_model):
    data = weight_model.data
    found, _ = ofv(likelihood(weight_model.model, data), WEIGHT)
    assert found == pytest.approx(586.27606, abs=0.01)
    found, _ = ofv(likelihood(plain_model, data), PLAIN)
    assert found == pytest.approx(730.89473, abs=0.01)


@pytest.mark.slow
def test_quadrature_and_importance_sampling_agree_with_nonmem(weight_model, plain_model):
    """NONMEM's importance sampling gave 729.9547 at this point."""
    own = likelihood(plain_model, weight_model.data, "importance", samples=4000)
    sampled, error = ofv(own, PLAIN)
    assert 0 < error < 0.1
    assert abs(sampled - 729.9547) < 4 * math.hypot(error, 0.05)  # NONMEM's own error is unknown
    summed, _ = ofv(likelihood(plain_model, weight_model.data, "agq", nodes=9), PLAIN)
    assert abs(sampled - summed) < 4 * error


def test_estimates_and_errors_are_those_of_nonmem_for_phenobarb(weight_model):
    found = maximise(likelihood(weight_model.model, weight_model.data))
    assert found.ended
    assert found.ofv == pytest.approx(586.27606, abs=0.05)
    for name, se in WEIGHT_SE.items():
        assert abs(found[name] - WEIGHT[name]) < 0.2 * se
        assert found.se(name, sandwich=True) == pytest.approx(se, rel=0.1)
    for name, se in WEIGHT_VARIANCE_SE.items():
        # The SE of a variance from that of the SD
        assert 2 * found[name] * found.se(name, sandwich=True) == pytest.approx(se, rel=0.1)
        assert abs(found[name] ** 2 - WEIGHT[name] ** 2) < 0.2 * se


@pytest.fixture(scope="module")
def infusion():
    """From SD=0 or SD=1 to the likelihood of the proportional model."""

    def of(rows):
        spec = read_model(ROOT / "models" / "infusion_1cpt.toml").model_dump()
        columns = {
            "TIME": {"unit": "h"}, "AMT": {"unit": "ug"}, "DV": {"unit": "ug/L"},
            "SS": {"ignore": True}, "II": {"ignore": True},
        }  # fmt: skip
        chosen = {"accept": {"SD": [float(rows[-1])]}, "ignore": {"EVID": [2.0]}}
        data = read_data(INFUSION, DataSpec.model_validate({"columns": columns, "rows": chosen}))
        return likelihood(Model(ModelSpec.model_validate(spec)), data)

    return of


@needs_infusion_file
@pytest.mark.parametrize("rows", ["SD=1", pytest.param("SD=0", marks=SLOW)])
def test_focei_is_that_of_nonmem_for_infusions(infusion, rows):
    own = infusion(rows)
    expected, values, _ = INFUSIONS[rows]
    log_cl, log_v, sd, om_cl, om_v = values
    point = {
        "TVCL": math.exp(log_cl), "TVV": math.exp(log_v),
        "sigma": sd, "omega_CL": om_cl**0.5, "omega_V": om_v**0.5,
    }  # fmt: skip
    assert ofv(own, point)[0] == pytest.approx(expected, abs=0.01)


@needs_infusion_file
@pytest.mark.slow
@pytest.mark.parametrize("rows", INFUSIONS)
def test_estimates_and_errors_are_those_of_nonmem_for_infusions(infusion, rows):
    found = maximise(infusion(rows))
    expected, values, errors = INFUSIONS[rows]
    assert found.ended
    assert found.ofv == pytest.approx(expected, abs=0.05)
    own = (math.log(found["TVCL"]), math.log(found["TVV"]), found["sigma"],
           found["omega_CL"] ** 2, found["omega_V"] ** 2)  # fmt: skip
    scale = (1 / found["TVCL"], 1 / found["TVV"], 1.0,
             2 * found["omega_CL"], 2 * found["omega_V"])  # fmt: skip
    names = ("TVCL", "TVV", "sigma", "omega_CL", "omega_V")
    for name, mine, theirs, se, to in zip(names, own, values, errors, scale, strict=True):
        if se is not None:
            assert abs(mine - theirs) < 0.2 * se, name
            assert to * found.se(name, sandwich=True) == pytest.approx(se, rel=0.1), name


@METHODS
def test_log_normal_steady_states_are_integrated_exactly(steady_state, method):
    """There l(x) is a parabola: the data of a subject are multivariate normal."""
    own = likelihood(*steady_state.problem, method)
    values = {"TVCL": 0.9, "CL_AGE_below": -0.2, "omega_CL": 0.4, "sigma": 0.25}
    found = own(own.vector(values), scores=False)
    for i in range(steady_state.young.size):
        rows = steady_state.subject == i
        mean = steady_state.log_rate[rows] - (
            math.log(0.9) - 0.2 * steady_state.young[i] + steady_state.log_size[i]
        )
        covariance = 0.4**2 * np.ones((rows.sum(),) * 2) + 0.25**2 * np.eye(rows.sum())
        log_dv = steady_state.log_dv[rows]
        # The file holds DV with four decimals; the density is that of DV, not of its logarithm
        expected = multivariate_normal.logpdf(log_dv, mean, covariance) - log_dv.sum()
        error = max(5 * math.sqrt(found.variance[i]), 5e-3)
        assert found.log_likelihood[i] == pytest.approx(expected, abs=error)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["focei", "laplace", "agq", "importance"])
def test_scores_are_the_slopes_of_the_likelihood(course, method):
    """Through the subjects' modes, their curvature and the nodes that follow them."""
    own = likelihood(*course.problem, method, samples=200)
    vector = own.vector({"TVCL": 1.1, "TVV": 7.0, "omega_CL": 0.35, "sigma": 0.15})
    found = own(vector)
    for i in range(len(vector)):
        step = 1e-4 * np.eye(len(vector))[i]
        slope = (own(vector + step).log_likelihood - own(vector - step).log_likelihood) / 2e-4
        np.testing.assert_allclose(found.scores[:, i], slope, rtol=2e-5, atol=2e-6)


@pytest.mark.slow
def test_one_node_is_laplace_and_more_nodes_are_the_integral(course):
    """Correlated etas, a proportional error and censored rows, by adaptive quadrature of SciPy."""
    values = {
        "TVCL": 1.05, "TVV": 8.5, "omega_CL": 0.3, "omega_V": 0.25, "sigma": 0.12,
        "correlation_cholesky": np.array([[1.0, 0.0], [0.4, math.sqrt(1 - 0.16)]]),
    }  # fmt: skip

    def found(method, **settings):
        own = likelihood(*course.problem, method, **settings)
        value = own(own.vector(values), scores=False)
        # Nodes that are not drawn have no Monte Carlo error
        assert not value.variance.any()
        return value.log_likelihood

    one, laplace = found("agq", nodes=1), found("laplace")
    np.testing.assert_allclose(one, laplace, rtol=1e-12)
    many = found("agq", nodes=15)
    lower = np.linalg.cholesky(np.array([[0.3**2, 0.4 * 0.3 * 0.25], [0.4 * 0.3 * 0.25, 0.25**2]]))
    x, weight = np.polynomial.legendre.leggauss(160)
    x, weight = 6.0 * x, 6.0 * weight
    grid = np.stack([g.ravel() for g in np.meshgrid(x, x, indexing="ij")])
    eta = lower @ grid
    cl, v = 1.05 * np.exp(eta[0]), 8.5 * np.exp(eta[1])
    every = course.concentration(np.tile(cl[:, None], 10), np.tile(v[:, None], 10))
    for i in range(10):
        c = every[:, i]
        z = (course.dv[i] - c) / (0.12 * c)
        rows = np.where(course.censored[i], norm.logcdf(z), norm.logpdf(z) - np.log(0.12 * c))
        log_joint = rows.sum(axis=1) + norm.logpdf(grid).sum(axis=0)
        expected = math.log(np.outer(weight, weight).ravel() @ np.exp(log_joint))
        assert many[i] == pytest.approx(expected, abs=1e-5)
        # Laplace is near, not exact
        assert 1e-7 < abs(laplace[i] - expected) < 0.1


@pytest.mark.slow
def test_student_t_etas_are_integrated(steady_state):
    spec = steady_state.problem.model.spec.model_dump()
    variability = spec["parameters"]["CL"]["variability"]
    spec["parameters"]["CL"]["variability"] = {**variability, "distribution": "student_t", "df": 4}
    model = Model(ModelSpec.model_validate(spec))
    own = likelihood(model, steady_state.problem.data, "agq", nodes=25)
    values = {"TVCL": 0.9, "CL_AGE_below": -0.2, "omega_CL": 0.4, "sigma": 0.25}
    found = own(own.vector(values), scores=False).log_likelihood
    for i in (0, 1, 2):
        rows = steady_state.subject == i
        mean = steady_state.log_rate[rows] - (
            math.log(0.9) - 0.2 * steady_state.young[i] + steady_state.log_size[i]
        )
        log_dv = steady_state.log_dv[rows]

        def integrand(x, mean=mean, log_dv=log_dv):
            rest = norm.logpdf(log_dv, mean - 0.4 * x, 0.25) - log_dv
            return math.exp(rest.sum() + t.logpdf(x, 4))

        expected, _ = quad(integrand, -30, 30, epsabs=0, epsrel=1e-9, limit=400, points=[0.0])
        assert found[i] == pytest.approx(math.log(expected), abs=5e-3)


@pytest.mark.parametrize(("nodes", "k"), [(1, 1), (5, 1), (3, 2), (4, 3), (2, 0)])
def test_nodes_integrate_polynomials_times_a_normal(nodes, k):
    found = gauss_hermite(nodes, k)
    weight = np.exp(found.log_weight - 0.5 * (found.z**2).sum(axis=1)) / math.sqrt(2 * math.pi) ** k
    assert weight.sum() == pytest.approx(1.0)
    if k and nodes > 1:
        np.testing.assert_allclose(weight @ found.z**2, 1.0)
        np.testing.assert_allclose(weight @ found.z**3, 0.0, atol=1e-12)


def test_importance_weights_are_those_of_the_proposal():
    found = importance_nodes(1, 20_000, 3, 2)
    total = np.exp(found.log_weight - 0.5 * (found.z**2).sum(axis=2)) / (2 * math.pi)
    np.testing.assert_allclose(total.sum(axis=0), 1.0, atol=0.03)
    np.testing.assert_allclose(found.z.mean(axis=0), 0.0, atol=1e-12)  # antithetic


@pytest.mark.slow
def test_the_error_of_importance_sampling_is_its_spread_over_seeds(course):
    values = {"TVCL": 1.05, "TVV": 8.5, "omega_CL": 0.3, "omega_V": 0.25, "sigma": 0.12}
    totals, errors = [], []
    for seed in range(40):
        own = likelihood(*course.problem, "importance", samples=100, seed=seed)
        found, error = ofv(own, values)
        totals.append(found)
        errors.append(error)
    # 40 seeds: the SD has a standard error of 11 %
    assert np.std(totals, ddof=1) == pytest.approx(np.mean(errors), rel=0.45)


def test_maximum_of_the_exact_model(steady_state):
    """Balanced by hand: the likelihood of the closed form has no higher point nearby."""
    own = likelihood(*steady_state.problem, "focei")
    found = maximise(own)
    assert found.ended

    def exact(log_tvcl, effect, omega, sigma):
        total = 0.0
        for i in range(steady_state.young.size):
            rows = steady_state.subject == i
            mean = steady_state.log_rate[rows] - (
                log_tvcl + effect * steady_state.young[i] + steady_state.log_size[i]
            )
            size = (rows.sum(),) * 2
            covariance = omega**2 * np.ones(size) + sigma**2 * np.eye(rows.sum())
            total += multivariate_normal.logpdf(steady_state.log_dv[rows], mean, covariance)
        return total

    point = np.array(
        [math.log(found["TVCL"]), found["CL_AGE_below"], found["omega_CL"], found["sigma"]]
    )
    best = exact(*point)
    hessian = np.zeros((4, 4))
    h = 1e-3 * np.eye(4)
    for i in range(4):
        assert exact(*(point + 20 * h[i])) < best
        assert exact(*(point - 20 * h[i])) < best
        for j in range(4):
            hessian[i, j] = -(
                exact(*(point + h[i] + h[j])) - exact(*(point + h[i] - h[j]))
                - exact(*(point - h[i] + h[j])) + exact(*(point - h[i] - h[j]))
            ) / 4e-6  # fmt: skip
    se = np.sqrt(np.diag(np.linalg.inv(hessian)))
    assert found.se("TVCL") / found["TVCL"] == pytest.approx(se[0], rel=5e-3)
    for name, expected in zip(("CL_AGE_below", "omega_CL", "sigma"), se[1:], strict=True):
        assert found.se(name) == pytest.approx(expected, rel=5e-3)


@pytest.mark.slow
def test_methods_agree_on_estimates_of_correlated_etas(course):
    found = {m: maximise(likelihood(*course.problem, m)) for m in ("laplace", "agq")}
    assert all(estimate.ended for estimate in found.values())
    assert found["agq"].names[-1] == "correlation_CL_V"
    for name in found["agq"].names:
        distance = abs(found["agq"][name] - found["laplace"][name])
        assert distance < 0.5 * found["agq"].se(name), name


@pytest.mark.slow
def test_a_search_that_was_cut_off_goes_on_where_it_was(steady_state):
    own = likelihood(*steady_state.problem, "focei")
    seen = []

    class Interrupted(Exception):
        pass

    def watch(state):
        seen.append(state)
        if len(seen) == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        maximise(own, watch=watch)
    resumed, whole = maximise(own, seen[-1]), maximise(own)
    assert seen[-1].value < seen[0].value
    assert resumed.ofv == pytest.approx(whole.ofv, abs=1e-5)
    np.testing.assert_allclose(resumed.values, whole.values, rtol=1e-3)


def test_a_parameter_that_the_data_say_nothing_of_is_no_maximum(steady_state):
    """V does not matter at steady state: there is no curvature along it."""
    spec = steady_state.problem.model.spec.model_dump()
    spec["parameters"]["V"]["typical"] = {"prior": "lognormal", "median": 3.0, "sigma": 0.5}
    own = likelihood(Model(ModelSpec.model_validate(spec)), steady_state.problem.data)
    found = maximise(own)
    assert not found.ended
    assert not found.least_curvature > 1e-6


@pytest.mark.slow
def test_starting_points_far_away_lead_to_the_same_maximum(steady_state):
    own = likelihood(*steady_state.problem, "laplace")
    near = maximise(own)
    far = own.vector({"TVCL": 5.0, "CL_AGE_below": 1.0, "omega_CL": 1.5, "sigma": 1.0})
    assert maximise(own, at(far)).ofv == pytest.approx(near.ofv, abs=1e-4)
    assert jnp.isfinite(near.values).all()
