"""Maximum-likelihood fits in a fit folder: the same files, tables and commands."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from popk.analysis.summary import individuals, objective, parameters
from popk.cli import app
from popk.population.events import arrange
from popk.spec.fit import Sampler
from popk.spec.problem import PopkError
from popk.spec.record import validate
from popk.study.folder import load, open_study, run, stale
from popk.study.maximum import MaximumFit, maximum

SLOW = pytest.mark.slow
METHODS = ("laplace", *(pytest.param(m, marks=SLOW) for m in ("focei", "agq", "importance")))


@pytest.fixture(scope="module")
def phenobarb():
    study = open_study("fits/phenobarb-neonates")
    return maximum(study.model, study.data, Sampler(method="focei"), name="phenobarb")


@pytest.fixture
def ml_folder(folder, replace_in):
    replace_in(folder / "fit.toml", 'method = "nuts"', 'method = "laplace"')
    return folder


def test_the_table_has_what_nonmem_prints(phenobarb):
    table = parameters(phenobarb)
    assert phenobarb.converged
    columns = ["unit", "estimate", "se", "se_sandwich", "rse_percent", "q5", "q95", "cv_percent",
               "shrinkage", "note"]  # fmt: skip
    assert list(table.columns) == columns
    assert (table["q5"] < table["estimate"]).all()
    assert (table["estimate"] < table["q95"]).all()
    np.testing.assert_allclose(table["rse_percent"], 100 * table["se"] / table["estimate"])
    assert table.loc["omega_CL", "cv_percent"] == pytest.approx(17.3, abs=0.1)
    # ETASHRINKSD by its definition
    for name in ("CL", "V"):
        shrinkage = 1 - phenobarb.etas[name].std(ddof=1) / table.loc[f"omega_{name}", "estimate"]
        assert table.loc[f"omega_{name}", "shrinkage"] == pytest.approx(shrinkage)
    shrinkage = 1 - phenobarb.iwres.std()
    assert table.loc["sigma", "shrinkage"] == pytest.approx(shrinkage)


def test_criteria_follow_their_definitions(phenobarb):
    found = objective(phenobarb)
    minus2 = found["-2 log L"]
    assert found["OFV"] == pytest.approx(minus2 - 155 * np.log(2 * np.pi))
    assert found["AIC"] == pytest.approx(minus2 + 2 * 6)
    assert found["BIC"] == pytest.approx(minus2 + 6 * np.log(155))
    assert found["parameters"] == 6


def test_residuals_stand_in_the_order_of_the_file(phenobarb):
    """IWRES = (DV - IPRED) / (sigma IPRED) for a proportional error, row by row."""
    model, data = phenobarb.model, phenobarb.data
    events, layout = arrange(model.spec, data)
    found = phenobarb.estimate
    values = {name: jnp.asarray(found[name]) for name in found.names}
    values |= {f"eta_{name}": jnp.asarray(eta) for name, eta in phenobarb.etas.items()}
    log_c = np.asarray(model.predict(values, events).log_concentration)
    ipred = np.exp(np.take_along_axis(log_c, layout.step, axis=1))[data.observed]
    expected = (data.dv[data.observed] - ipred) / (phenobarb.estimate["sigma"] * ipred)
    np.testing.assert_allclose(phenobarb.iwres, expected, rtol=1e-6, atol=1e-8)


def test_individuals_are_empirical_bayes(phenobarb):
    table = individuals(phenobarb)
    assert len(table) == 59
    weight = phenobarb.data.covariates["WT"][:, 0]
    mode = phenobarb.estimate["TVCL"] * weight * np.exp(phenobarb.etas["CL"])
    # The median of 2,000 normal draws around the mode
    np.testing.assert_allclose(table["CL"], mode, rtol=0.03)
    assert ((table["CL_q5"] < mode) & (mode < table["CL_q95"])).all()


@pytest.mark.parametrize(
    "method", [pytest.param(m, marks=pytest.mark.slow) if m == "laplace" else m for m in METHODS]
)
def test_a_folder_keeps_the_estimates(folder, replace_in, method):
    replace_in(folder / "fit.toml", 'method = "nuts"', f'method = "{method}"\nsamples = 200')
    study = open_study(folder)
    result = run(study, lambda _: {"parameters.csv": "text"})
    assert isinstance(result, MaximumFit)
    names = {path.name for path in (folder / "results").iterdir()}
    assert names == {"run.json", "estimates.npz", "parameters.csv"}
    again = load(study)
    assert isinstance(again, MaximumFit)
    assert stale(study, again) == []
    assert parameters(again).equals(parameters(result))
    assert individuals(again).equals(individuals(result))
    assert again.checks == result.checks or not result.converged
    record = json.loads((folder / "results" / "run.json").read_text())
    assert record["objective"]["OFV"] == pytest.approx(result.estimate.ofv)
    assert record["provenance"]["method"]["name"] == method


def test_commands_show_the_estimates(ml_folder):
    runner = CliRunner()
    done = runner.invoke(app, ["fit", str(ml_folder), "--no-report"])
    assert done.exit_code in (0, 3), done.output
    for words in ("SYNTHETIC", "estimate", "RSE", "OFV", "maximum likelihood: laplace"):
        assert words in done.output
    shown = runner.invoke(app, ["summary", str(ml_folder), "--json"])
    content = json.loads(shown.stdout)
    assert content["objective"]["parameters"] == 4
    assert content["parameters"]["TVCL"]["estimate"] > 0
    done = runner.invoke(app, ["covariates", str(ml_folder)])
    assert isinstance(done.exception, PopkError)
    assert "a posterior" in done.exception.problems[0].expected


def test_an_interrupted_search_goes_on(ml_folder):
    study = open_study(ml_folder)
    seen = []

    def watch(reached):
        seen.append(reached)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, lambda _: {}, watch)
    assert (ml_folder / ".checkpoint.pickle").exists()
    resumed = run(study, lambda _: {})
    assert not (ml_folder / ".checkpoint.pickle").exists()
    fresh = maximum(study.model, study.data, study.spec.sampler)
    assert resumed.estimate.ofv == pytest.approx(fresh.estimate.ofv, abs=1e-4)
    assert resumed.estimate.evaluations > 2


def test_broken_estimates_are_a_problem_with_a_cure(ml_folder):
    study = open_study(ml_folder)
    run(study, lambda _: {})
    (ml_folder / "results" / "estimates.npz").write_bytes(b"PK broken")
    with pytest.raises(PopkError, match="no complete results"):
        load(study)


def test_estimates_of_other_subjects_are_refused(ml_folder, replace_in):
    run(open_study(ml_folder), lambda _: {})
    text = (ml_folder / "data.csv").read_text().replace("\nb,", "\nbb,")
    (ml_folder / "data.csv").write_text(text)
    with pytest.raises(PopkError, match="other subjects"):
        load(open_study(ml_folder))


@pytest.mark.parametrize("setting", [{"precision": "float32"}, {"device": "gpu"}])
def test_maximum_likelihood_computes_in_float64_on_the_cpu(setting):
    with pytest.raises(PopkError, match="float64 on the CPU"):
        validate(Sampler, {"method": "focei", **setting}, "fit.toml")


def test_focei_with_heavy_tails_is_refused(ml_folder, replace_in):
    replace_in(ml_folder / "model.toml", 'distribution = "lognormal"',
               'distribution = "student_t", df = 4')  # fmt: skip
    study = open_study(ml_folder)
    with pytest.raises(PopkError, match="Student-t") as error:
        maximum(study.model, study.data, Sampler(method="focei"))
    assert "laplace" in error.value.problems[0].cure


def test_nothing_to_estimate_is_refused(ml_folder):
    path = ml_folder / "model.toml"
    fixed = re.sub(r"\{prior = [^}]*\}", "{prior = 'fixed', value = 0.5}", path.read_text())
    path.write_text(fixed)
    study = open_study(ml_folder)
    with pytest.raises(PopkError, match="every population parameter fixed"):
        maximum(study.model, study.data, Sampler(method="focei"))
