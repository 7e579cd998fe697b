"""Fits side by side: what is compared, what cannot be, and that the numbers are those of others."""

from dataclasses import replace

import arviz
import numpy as np
import pytest

from popk.analysis.comparison import compare, same_observations
from popk.analysis.summary import parameters
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.model import ModelSpec
from popk.spec.problem import PopkError
from popk.study.fit import fit as run_fit
from popk.study.maximum import maximum
from tests.study.conftest import fitted as fitted
from tests.study.conftest import make_folder as make_folder


def changed(spec, **parts):
    return ModelSpec.model_validate(spec.model_dump() | {"name": "other"} | parts)


@pytest.fixture(scope="module")
def estimates(fitted):
    """FOCEI of the same data, CL without its scale, and once more with additive errors."""
    spec = fitted.model.spec
    parts = spec.model_dump()["parameters"]
    parts["CL"]["scale"] = ()
    bare = changed(spec, parameters=parts)
    additive = changed(spec, residual={"error": "additive", "sd": spec.residual.sd.model_dump()})
    settings = Sampler(method="focei")
    return [
        maximum(Model(own), fitted.data, settings, synthetic=True, name=own.name)
        for own in (bare, additive)
    ]


@pytest.fixture(scope="module")
def mixed(fitted, estimates):
    return compare(fitted, *estimates, names=("bayes", "bare", "additive"), checks=False)


@pytest.mark.slow
def test_parameters_stand_side_by_side(mixed, fitted, estimates):
    table, own = mixed.parameters, parameters(fitted)
    for name in own.index:
        assert table.loc[name, "bayes"] == own.loc[name, "median"]
        assert table.loc[name, "bayes_q95"] == own.loc[name, "q95"]
    other = parameters(estimates[1])
    assert table.loc["TVV", "additive"] == other.loc["TVV", "estimate"]
    spread = np.sqrt((own.loc["TVV", "sd"] ** 2 + other.loc["TVV", "se"] ** 2) / 2)
    expected = (other.loc["TVV", "estimate"] - own.loc["TVV", "median"]) / spread
    assert table.loc["TVV", "additive_sds"] == pytest.approx(expected)


@pytest.mark.slow
def test_other_units_are_not_subtracted(mixed):
    row = mixed.parameters.loc["TVCL"]
    assert row["unit"] == "L/h/kg or L/h"
    assert np.isnan(row["bare_sds"])
    assert np.isfinite(row["additive_sds"])


@pytest.mark.slow
def test_objective_functions_only_of_estimates(mixed, estimates):
    table = mixed.objective
    assert list(table.index) == ["bare", "additive"]
    change = estimates[1].estimate.ofv - estimates[0].estimate.ofv
    assert table.loc["additive", "dOFV"] == pytest.approx(change)
    assert table.loc["additive", "dAIC"] == pytest.approx(estimates[1].aic - estimates[0].aic)
    assert mixed.prediction.empty
    assert any("credible" in note for note in mixed.notes)


@pytest.mark.slow
def test_models_are_told_apart(mixed):
    assert mixed.changes["additive"] == ("residual lognormal → additive",)
    (line,) = mixed.changes["bare"]
    assert line.startswith("parameter CL: scale")
    assert '+error = "additive"' in mixed.diffs["additive"]
    assert mixed.fits.loc["bayes", "kind"] == "posterior"
    assert mixed.fits["same_data"].all()
    assert mixed.synthetic


@pytest.mark.slow
def test_against_itself_nothing_is_different_and_loo_is_arviz_s(fitted):
    found = compare(fitted, fitted)
    first, second = found.names
    assert found.names == ("tiny fit (1)", "tiny fit (2)")
    assert found.changes[second] == ()
    assert found.diffs[second] == ""
    assert (found.parameters[f"{second}_sds"] == 0).all()
    row = found.prediction.loc[second]
    assert row["loso_difference"] == row["loo_difference"] == row["loo_error"] == 0.0
    independent = arviz.loo(fitted.posterior, pointwise=True)
    assert row["loo"] == pytest.approx(float(independent.elpd_loo), rel=1e-6)
    for column in ("observed", "low", "high", "start"):
        np.testing.assert_array_equal(found.vpcs[first].table[column],
                                      found.vpcs[second].table[column])  # fmt: skip


@pytest.mark.slow
def test_of_other_data_only_parameters_are_compared(fitted):
    dv = fitted.data.dv.copy()
    dv[fitted.data.observed] *= 1.1
    other = replace(fitted, data=replace(fitted.data, dv=dv), name="other")
    assert not same_observations(fitted, other)
    found = compare(fitted, other)
    assert found.prediction.empty
    assert len(found.vpcs) == 1
    assert found.notes[0].startswith("other: other data than tiny fit: LOO and OFV cannot")
    assert found.parameters["other_sds"].notna().any()


def test_covariates_read_in_another_way_are_no_other_observations(fitted):
    values = {name: 2.0 * v for name, v in fitted.data.covariates.items()}
    other = replace(fitted, data=replace(fitted.data, covariates=values))
    assert same_observations(fitted, other)


@pytest.mark.slow
def test_ofv_by_other_approximations_is_not_subtracted(fitted, estimates):
    own = estimates[0]
    method = dict(own.provenance.method) | {"name": "laplace"}
    other = replace(own, provenance=replace(own.provenance, method=method), name="laplace")
    found = compare(own, other, checks=False)
    assert np.isnan(found.objective["dOFV"].iloc[1])
    assert any("approximations" in note for note in found.notes)


@pytest.mark.parametrize(
    ("names", "cure"), [(("a",), "different names"), (("a", "a"), "different names")]
)
def test_names_are_as_many_as_fits_and_differ(fitted, names, cure):
    with pytest.raises(PopkError, match=cure):
        compare(fitted, fitted, names=names)


def test_one_fit_is_nothing_to_compare(fitted):
    with pytest.raises(PopkError, match="name another one"):
        compare(fitted)


@pytest.mark.slow
def test_the_model_behind_the_data_predicts_better(fitted):
    """Twelve subjects whose V differs 50-fold: a model with one V cannot predict them."""
    spec = fitted.model.spec
    parts = spec.model_dump()["parameters"]
    parts["CL"]["variability"] = None
    rigid = run_fit(Model(changed(spec, parameters=parts)), fitted.data, Sampler(seed=3),
                    name="rigid")  # fmt: skip
    found = compare(fitted, rigid)
    row = found.prediction.loc["rigid"]
    assert np.isfinite(row["loso_difference"])
    assert row["loso_error"] > 0
    independent = arviz.loo(rigid.posterior, pointwise=True)
    assert row["loo"] == pytest.approx(float(independent.elpd_loo), rel=1e-6)
