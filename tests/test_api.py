"""The calls of a notebook."""

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import arviz
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro.handlers import substitute, trace

import popk

MODELS = Path(__file__).parents[1] / "models"
DATA = """ID,TIME,AMT,RATE,DV,EVID,MDV,WT,APGR
1,0,25,0,.,1,1,1.4,7
1,2,0,0,17.3,0,0,1.4,7
1,112.5,0,0,31,0,0,1.4,7
2,0,15,0,.,1,1,1.5,9
2,2,0,0,9.7,0,0,1.5,9
2,63.5,0,0,6.1,0,0,1.5,9
3,0,30,0,.,1,1,1.5,4
3,1.5,0,0,18,0,0,1.5,4
"""
COLUMNS = {
    "TIME": {"unit": "h"},
    "AMT": {"unit": "mg"},
    "DV": {"unit": "mg/L"},
    "WT": {"covariate": True, "unit": "kg"},
    "APGR": {"covariate": True},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("api") / "data.csv"
    file.write_text(DATA, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def fit(path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POPK_CACHE", "off")
        return popk.fit(
            popk.load_model(MODELS / "bolus_1cpt_wt.toml"),
            popk.read_data(path, columns=COLUMNS),
            method="nuts",
            draws=50,
            warmup=50,
            chains=2,
            seed=7,
        )


def test_three_calls_give_a_fit(fit):
    assert isinstance(fit, popk.Fit)
    assert isinstance(fit.posterior, arviz.InferenceData)
    posterior: Any = fit.posterior.to_dict()["posterior"]
    assert posterior["TVCL"].shape == (2, 50)
    assert fit.provenance.seed == 7
    assert fit.provenance.method["name"] == "nuts"
    assert not fit.converged
    assert not fit.synthetic


def test_tables_are_data_frames(fit):
    table = popk.parameters(fit)
    assert isinstance(table, pd.DataFrame)
    assert list(table.index) == ["TVCL", "TVV", "V_APGR_below", "omega_CL", "omega_V", "sigma"]
    assert table.loc["TVCL", "unit"] == "L/h/kg"
    individuals = popk.individuals(fit)
    assert list(individuals.index) == ["1", "2", "3"]
    assert np.all(individuals["CL_q5"] < individuals["CL_q95"])
    assert popk.paper_line(fit) is None  # boluses


def test_fit_does_not_change_the_precision_of_jax(fit):
    code = (
        "import popk, jax, jax.numpy as jnp\n"
        "import popk.study.fit, popk.population.model\n"
        "assert jnp.zeros(1).dtype == jnp.float32"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert fit.samples.draws["TVCL"].dtype == np.float64


def test_importing_popk_is_light():
    code = (
        "import sys, popk; sys.exit(bool({'jax', 'numpyro', 'arviz', 'pandas'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_names_of_the_package():
    assert set(dir(popk)) == set(popk.__all__)
    for name in popk.__all__:
        assert getattr(popk, name) is not None
    with pytest.raises(AttributeError, match="it has"):
        _ = popk.fits


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"chain": 4}, "chain"),
        ({"draws": -1}, "draws"),
        ({"method": "gibbs"}, "method"),
        ({"target_accept": 1.5}, "target_accept"),
        ({"dose": "15 mg"}, "nominal"),
    ],
)
def test_options_of_fit_that_are_none(path, options, key):
    model = popk.load_model(MODELS / "bolus_1cpt_wt.toml")
    data = popk.read_data(path, columns=COLUMNS)
    with pytest.raises(popk.PopkError) as caught:
        popk.fit(model, data, **options)
    assert caught.value.problems[0].key == key


def test_options_of_read_data_that_are_none(path):
    with pytest.raises(popk.PopkError, match="column"):
        popk.read_data(path, column={})
    with pytest.raises(popk.PopkError, match="delimiter"):
        popk.read_data(path, delimiter="|")


def test_data_that_lack_a_covariate_of_the_model(path):
    model = popk.load_model(MODELS / "bolus_1cpt_wt.toml")
    data = popk.read_data(path, columns={k: v for k, v in COLUMNS.items() if k != "APGR"})
    with pytest.raises(popk.PopkError, match="APGR"):
        popk.fit(model, data)


def test_every_model_of_the_project_loads():
    for file in sorted(MODELS.glob("*.toml")):
        assert isinstance(popk.load_model(file), popk.Model)


def test_events_are_what_the_numpyro_model_takes(fit):
    """Its log density is that of the parameters that it is given, and missing data are told."""
    events = popk.events(fit.model, fit.data)
    draws = {name: jnp.asarray(v[0, 0]) for name, v in fit.samples.draws.items()}
    values = {name: draws[name] for name in fit.model.population_names}
    values |= {f"x_{name}": draws[f"eta_{name}"] / draws[f"omega_{name}"] for name in ("CL", "V")}
    traced = trace(substitute(fit.model, values)).get_trace(events)
    assert events.observed.sum() == fit.data.observations
    np.testing.assert_allclose(traced["CL"]["value"], draws["CL"], rtol=1e-10)
    own = np.asarray(traced["DV"]["fn"].log_prob(events.dv))[events.observed]
    np.testing.assert_allclose(own, fit.samples.log_likelihood[0, 0], rtol=1e-8)
    with pytest.raises(popk.PopkError, match="APGR"):
        popk.events(fit.model, replace(fit.data, covariates={}, covariate_units={}))


def test_a_patient_in_python_is_that_of_its_file():
    file = MODELS.parent / "fits" / "blinatumomab-infants" / "patient.toml"
    words = tomllib.loads(file.read_text(encoding="utf-8"))
    assert popk.patient(**words) == popk.read_patient(file).model_copy(update={"file": "patient"})
    with pytest.raises(popk.PopkError, match="did you mean 'samples'"):
        popk.patient(**words, sample=[])


def test_load_fit_without_results(tmp_path):
    with pytest.raises(popk.PopkError):
        popk.load_fit(tmp_path)


def test_regimens_are_simulated_in_virtual_infants(fit):
    """The same calls as in the README, on a model that goes with weight."""
    regimen = popk.bolus("20 mg/kg").then(popk.pause("12 h"), popk.infusion("5 mg/kg/day", "3 day"))
    infants = popk.virtual_infants(20, like=fit.data, age=("0 day", "2 month"))
    with pytest.raises(popk.PopkError) as raised:  # the model asks for Apgar scores
        popk.simulate(fit, regimen, infants)
    assert "APGR" in str(raised.value)
    found = popk.simulate(fit, regimen, popk.resampled(20, fit.data))
    assert isinstance(found.summary, pd.DataFrame)
    assert found.summary.loc[("regimen", "all", "Css"), "n"] == 20
    own = popk.attainment(fit, (1.0, 3.0), popk.resampled(50, fit.data), bases=["mg/kg/day"])
    assert 0.0 < own.best["probability"].iloc[0] <= 1.0
    (given,) = {len(r.steps) for r in popk.regimens_of(fit.data)}
    assert given == 1
