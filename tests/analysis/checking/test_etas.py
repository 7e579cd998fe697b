"""Etas against covariates, and shrinkage."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from popk.analysis.checking.etas import etas


def test_an_eta_that_goes_with_a_covariate_is_found(steady_state, drawn):
    model, data = steady_state.problem
    rng = np.random.default_rng(1)
    weight = data.covariates["WT"][:, 0]
    eta = (weight - weight.mean()) / weight.std() * 0.3 + 0.05 * rng.standard_normal(len(weight))
    shape = (2, 40, len(weight))
    fit = drawn(model.spec.model_dump(), data, draws={"eta_CL": np.broadcast_to(eta, shape).copy()})
    iwres = rng.standard_normal(data.observations) * 0.8
    iwres[3] = np.nan
    found = etas(fit, iwres)
    rows = found.tests.set_index("covariate")
    assert rows.loc["WT", "rho"] == pytest.approx(spearmanr(eta, weight)[0])
    assert rows.loc["WT", "p_holm"] < 1e-6
    assert rows.loc["AGE", "p_holm"] > 1e-3
    np.testing.assert_allclose(found.values["CL"], eta, atol=1e-12)
    assert found.shrinkage["residual"] == pytest.approx(1 - np.nanstd(iwres, ddof=1))
    omega = np.median(fit.samples.draws["omega_CL"])
    assert found.shrinkage["CL"] == pytest.approx(1 - eta.std(ddof=1) / omega)


@pytest.mark.slow
def test_levels_are_compared_by_their_ranks(read, model, drawn):
    rows = ["ID,TIME,AMT,RATE,DV,EVID,MDV,BSA,SEX"]
    for i in range(12):
        who = f"0.4,{'girl' if i % 2 else 'boy'}"
        rows += [f"{i},0,20,0.5,.,1,1,{who}", f"{i},30,0,0,{500 + i},0,0,{who}"]
    columns = {"BSA": {"covariate": True, "unit": "m^2"},
               "SEX": {"covariate": True, "levels": ["boy", "girl"]}}  # fmt: skip
    data = read("\n".join([*rows, ""]), columns=columns)
    eta = np.where(np.arange(12) % 2, 0.5, -0.5) + 0.01 * np.arange(12)
    own = np.broadcast_to(eta, (2, 40, 12)).copy()
    found = etas(drawn(model(), data, draws={"eta_CL": own}), np.zeros(12))
    row = found.tests.query("parameter == 'CL' and covariate == 'SEX'").iloc[0]
    assert np.isnan(row["rho"])
    assert row["p"] < 0.01
    assert list(found.values["SEX"][:2]) == ["boy", "girl"]
    # The same BSA in all: nothing to see
    assert np.isnan(found.tests.query("covariate == 'BSA'")["p"]).all()
