"""Covariate tests on data whose answer is known."""

import json
import math
import shutil

import numpy as np
import pytest
from scipy.stats import chi2
from typer.testing import CliRunner

from popk.analysis.covariates.covariate_tests import covariate_tests
from popk.analysis.predictive import over_subjects, without
from popk.cli import app
from popk.spec.fit import Sampler
from popk.spec.relations import Power
from popk.study.fit import fit as run_fit
from popk.study.folder import open_study, run

PRIOR = {"prior": "normal", "loc": 0.0, "scale": 0.5}


@pytest.fixture(scope="module")
def found(steady_state):
    """True effect of age -0.3 on the log scale in 15 of 30 subjects; none of weight on CL/kg."""
    fit = run_fit(*steady_state.problem, Sampler(seed=2))
    weight = Power.model_validate(
        {"parameter": "CL", "covariate": "WT", "relation": "power", "reference": "6 kg",
         "effect": PRIOR}
    )  # fmt: skip
    return covariate_tests(fit, [*fit.model.spec.covariates, weight])


@pytest.mark.slow
def test_every_model_is_fitted_and_converges(found):
    assert set(found.fits) == {"without", "CL_AGE_below", "CL_WT_power", "all"}
    assert all(fit.converged for fit in found.fits.values())
    assert found.specs["all"].name.endswith("with all")
    assert [e.name for e in found.specs["CL_WT_power"].covariates] == ["CL_WT_power"]


@pytest.mark.slow
def test_the_tests_agree_on_the_true_effect(found):
    row = found.table.loc["CL_AGE_below"]
    assert row["q5"] < math.exp(-0.3) < row["q95"]
    assert row["direction"] > 0.9
    assert row["p"] == pytest.approx(chi2.sf(-row["dOFV"], 1))
    # With a prior as wide as this one the two-sided p is about twice the posterior's tail
    assert abs(row["p"] / 2 - (1 - row["direction"])) < 0.03
    assert row["BF01"] < 1.0
    assert row["classical_p"] < 0.1
    assert row["classical_q2_5"] < row["ratio"] < row["classical_q97_5"]
    assert row["loso"] > 0


@pytest.mark.slow
def test_the_tests_agree_where_there_is_no_effect(found):
    row = found.table.loc["CL_WT_power"]
    assert row["q5"] < 1.0 < row["q95"]
    assert row["p"] > 0.05
    assert row["BF01"] > 1.0
    assert row["classical"] == "Spearman's rho"


@pytest.mark.slow
def test_joint_ratios_stand_beside_those_of_single_tests(found):
    assert list(found.joint.index) == list(found.table.index)
    ratio = found.joint["ratio"] / found.table["ratio"]
    assert ratio.between(0.8, 1.25).all()


@pytest.mark.slow
def test_curves_show_what_the_prior_does(found):
    curve = found.curves["CL_WT_power"].set_index("prior_sd")["BF01"]
    # Under a wider prior the same data speak more for no effect (Lindley's paradox)
    assert (curve.loc[0.35:].diff().dropna() > 0).all()
    assert curve.loc[0.05] == pytest.approx(1.0, abs=0.15)  # a prior without width is no effect
    assert curve.loc[0.5] == pytest.approx(found.table.loc["CL_WT_power", "BF01"])


@pytest.mark.slow
def test_subjects_left_out_agree_with_exact_refits():
    """On all 26 infants: importance sampling against a fit of the other 25."""
    study = open_study("fits/blinatumomab-infants")
    fit = run_fit(study.model, study.data, Sampler(ess=2000.0, seed=1))
    smoothed = over_subjects(fit, refit=False)
    assert (smoothed.k < 0.7).all()
    exact = np.array([without(fit, i) for i in range(fit.data.subjects)])
    # The error of a log mean of 500 draws of either side, and that of a sum of 26
    assert np.abs(smoothed.elpd - exact).max() < 0.5
    assert abs(smoothed.total - exact.sum()) < 1.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The infants' fit, in a folder of its own."""
    root = tmp_path_factory.mktemp("project")
    for name in ("models", "fits/blinatumomab-infants"):
        shutil.copytree(name, root / name, ignore=shutil.ignore_patterns("results*", ".*"))
    place = root / "fits" / "blinatumomab-infants"
    run(open_study(place), lambda _: {})
    return place


@pytest.mark.slow
def test_the_command_prints_and_writes_every_part(folder):
    done = CliRunner().invoke(app, ["covariates", str(folder), "--no-refit"])
    assert done.exit_code == 0, done.output
    for words in ("SYNTHETIC", "AGE < 6 month", "the data cannot tell", "Rule:", "Savage-Dickey",
                  "likelihood ratio", "Wilcoxon"):  # fmt: skip
        assert words in done.output
    results = folder / "results"
    assert (results / "posterior.nc").exists()
    assert (results / "covariates.csv").read_text().startswith("# SYNTHETIC DATA")
    for figure in ("covariates.svg", "bayes_factors.svg"):
        assert "<svg" in (results / figure).read_text()
    for name, effects in (("without", 0), ("CL_AGE_below", 1)):
        child = open_study(results / "candidates" / name)
        assert len(child.model.spec.covariates) == effects
        assert child.data.subjects == 26
        assert child.spec.synthetic


@pytest.mark.slow
def test_the_command_gives_json(folder):
    """With refits of the subjects whose weights are unreliable."""
    done = CliRunner().invoke(app, ["covariates", str(folder), "--json"])
    assert done.exit_code == 0
    content = json.loads(done.stdout)
    assert content["single"]["CL_AGE_below"]["verdict"] == "the data cannot tell"
    assert content["curves"]["CL_AGE_below"]["BF01"]
