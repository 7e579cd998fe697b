"""Every record of the file with predictions, beside the table of observations and closed forms."""

import numpy as np
import pytest

from popk.analysis.observations import observations
from popk.analysis.record_table import records
from popk.data.nonmem.read import read_data
from popk.population.model import Model
from popk.spec.fit import DataSpec, Sampler
from popk.spec.model import ModelSpec
from popk.study.maximum import maximum

pytestmark = pytest.mark.slow  # tests/cli/test_cli.py compares a table with observations

MODEL = {
    "name": "two subjects",
    "structure": "one_compartment",
    "units": {"time": "h", "amount": "mg", "concentration": "mg/L"},
    "parameters": {
        "CL": {
            "unit": "L/h",
            "scale": {"covariate": "WT", "reference": "1 kg"},
            "typical": {"prior": "lognormal", "median": 0.01, "sigma": 0.5},
            "variability": {
                "distribution": "lognormal",
                "sd": {"prior": "halfnormal", "scale": 0.3},
            },
        },
        "V": {"unit": "L", "typical": {"prior": "fixed", "value": 2.0}},
    },
    "residual": {"error": "proportional", "sd": {"prior": "halfnormal", "scale": 0.3}},
}
DATA = """
ID,TIME,AMT,DV,EVID,MDV,CENS,WT
7,0,40,.,1,1,0,1.5
7,2,0,19,0,0,0,1.5
7,12,10,.,1,1,0,1.5
7,20,0,.,2,1,0,1.5
9,0,40,.,1,1,0,2.0
9,8,0,18,0,0,0,2.0
9,90,0,5,0,0,1,2.0
"""
SETTINGS = {
    "TIME": {"unit": "h"},
    "AMT": {"unit": "mg"},
    "DV": {"unit": "mg/L"},
    "WT": {"covariate": True, "unit": "kg"},
}


def estimated(path, text):
    path.write_text(text.lstrip(), encoding="utf-8")
    data = read_data(path, DataSpec.model_validate({"columns": SETTINGS}))
    return maximum(Model(ModelSpec.model_validate(MODEL)), data, Sampler(method="laplace"))


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    return estimated(tmp_path_factory.mktemp("records") / "data.csv", DATA)


def test_all_rows_in_file_order_and_observations_as_in_their_own_table(fit):
    table, found = records(fit), observations(fit)
    assert list(table["line"]) == [2, 3, 4, 5, 6, 7, 8]
    assert list(table["MDV"]) == [1, 0, 1, 1, 1, 0, 0]
    assert list(table["CENS"]) == [0, 0, 0, 0, 0, 0, 1]
    own = table[table["MDV"] == 0]
    for name in ("ID", "TIME", "DV", "PRED", "IPRED", "IWRES", "NPDE"):
        assert list(own[name].fillna(-9)) == list(found[name].fillna(-9)), name
    other = table[table["MDV"] == 1]
    assert (other[["DV", "IWRES", "NPDE"]] == 0).all(axis=None)


def test_predictions_on_other_rows_are_just_after_the_record(fit):
    table = records(fit)
    cl = {who: fit.estimate["TVCL"] * w for who, w in ((7, 1.5), (9, 2.0))}
    own = {7: cl[7] * np.exp(fit.etas["CL"][0]), 9: cl[9] * np.exp(fit.etas["CL"][1])}

    def at(cl, time):
        return (
            40 * np.exp(-cl / 2 * time) + (10 * np.exp(-cl / 2 * (time - 12))) * (time >= 12)
        ) / 2

    np.testing.assert_allclose(
        table["PRED"][[0, 2, 3, 4]], [at(cl[7], t) for t in (0, 12, 20)] + [20]
    )
    np.testing.assert_allclose(table["IPRED"][:4], [at(own[7], t) for t in (0, 2, 12, 20)])
    np.testing.assert_allclose(table["CL"], [own[7]] * 4 + [own[9]] * 3)
    np.testing.assert_allclose(table["ETA1"], [fit.etas["CL"][0]] * 4 + [fit.etas["CL"][1]] * 3)
    assert (table["V"] == 2.0).all()
    assert table.attrs["etas"] == {"ETA1": "CL"}
    assert table.attrs["units"] == {"CL": "L/h", "V": "L"}


def test_a_covariate_that_changes_changes_clearance(tmp_path):
    changed = DATA.replace("9,90,0,5,0,0,1,2.0", "9,90,0,5,0,0,1,3.0")
    fit = estimated(tmp_path / "data.csv", changed)
    table = records(fit)
    cl = fit.estimate["TVCL"] * np.exp(fit.etas["CL"])
    weights = [1.5] * 4 + [2.0, 2.0, 3.0]
    np.testing.assert_allclose(table["WT"], weights)
    np.testing.assert_allclose(table["CL"], cl[[0, 0, 0, 0, 1, 1, 1]] * weights)


def test_of_a_posterior_they_are_medians(steady_state, drawn):
    model, data = steady_state.problem
    fit = drawn(model.spec.model_dump(), data)
    table = records(fit)
    draws = fit.samples.draws
    subject = np.nonzero(data.mask)[0]
    np.testing.assert_allclose(table["CL"], np.median(draws["CL"], axis=(0, 1))[subject])
    np.testing.assert_allclose(table["ETA1"], np.median(draws["eta_CL"], axis=(0, 1))[subject])
    assert len(table) == data.mask.sum()
