"""Figures of checks: labelled, without overlapping text, with one subject and with many."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from popk.analysis.checking.checks import Checks
from popk.analysis.checking.etas import Etas
from popk.analysis.checking.outliers import Outliers
from popk.analysis.checking.paper_check import PaperCheck
from popk.analysis.checking.replicates import Replicates
from popk.analysis.checking.residuals import npde_tests
from popk.analysis.checking.vpc import beyond_limits, vpc
from popk.report.plots import residuals, subjects
from popk.report.plots import vpc as over_time
from popk.report.plots.checks import of_checks
from popk.report.plots.style import svg
from tests.report.drawn import overlapping


def made(count, each=6, censored=True):
    """Checks of a study that needs no fit: numbers of the right kind."""
    rng = np.random.default_rng(count)
    n = count * each
    subject = np.repeat(np.arange(count), each)
    time = np.tile(np.linspace(2, 650, each), count) + rng.uniform(0, 3, n)
    pred = np.full(n, 650.0)
    dv = pred * np.exp(0.3 * rng.standard_normal((101, n)))
    hidden = (dv[0] > 1000) if censored else np.zeros(n, bool)
    lower = np.where(hidden, 1000.0, -np.inf)
    reps = Replicates(dv[1:], dv[0], pred, subject, time, time, hidden, lower,
                      np.full(n, np.inf), True)  # fmt: skip
    ids = [f"<{i + 1}>" for i in range(count)]
    table = pd.DataFrame(
        {
            "ID": [ids[i] for i in subject], "line": np.arange(n) + 2, "TIME": time, "TAD": time,
            "DV": np.where(hidden, 1000.0, dv[0]), "censored": hidden, "PRED": pred,
            "IPRED": pred * np.exp(0.1 * rng.standard_normal(n)),
            "IWRES": np.where(hidden, np.nan, rng.standard_normal(n)),
            "NPDE": rng.standard_normal(n),
        }
    )  # fmt: skip
    covariates = {name: rng.uniform(1, 9, count) for name in ("AGE", "WT", "HT", "BSA")}
    sexes = [("boy", "girl")[i % 2] for i in range(count)]
    own = pd.DataFrame({"CL": rng.normal(0, 0.3, count), "V": rng.normal(0, 0.2, count),
                        **covariates, "SEX": sexes}, index=ids)  # fmt: skip
    tests = pd.DataFrame([{"parameter": p, "covariate": c, "rho": 0.1, "p": 0.5, "p_holm": 1.0}
                          for c in (*covariates, "SEX") for p in ("CL", "V")])  # fmt: skip
    far = pd.DataFrame({"z_CL": rng.normal(0, 1, count), "z_V": rng.normal(0, 1, count),
                        "probability_CL": 0.0, "probability_V": 0.0,
                        "pareto_k": rng.uniform(0, 0.6, count)},
                       index=pd.Index(ids, name="ID"))  # fmt: skip
    far.iloc[-1, far.columns.get_loc("pareto_k")] = 0.9
    grid = np.tile(np.linspace(0, 660, 40), count)
    curves = pd.DataFrame({"ID": np.repeat(ids, 40), "TIME": grid})
    for kind, spread in (("individual", 0.1), ("population", 0.4)):
        curves[kind] = 650.0
        curves[f"{kind}_low"], curves[f"{kind}_high"] = 650 * (1 - spread), 650 * (1 + spread)
    figures = ("Css mean", "Css SD", "CL median", "CL minimum", "CL maximum")
    paper = PaperCheck(
        pd.DataFrame({"unit": "pg/mL", "observed": 1.0, "low": 0.5, "median": 1.0, "high": 2.0,
                      "p": 0.4}, index=figures),
        {name: rng.lognormal(0, 0.3, 200) for name in figures}, count, n,
    )  # fmt: skip
    nothing = pd.DataFrame()
    points = pd.DataFrame({"probability": np.zeros(n), "pareto_k": np.zeros(n)})
    return Checks(
        (), table, npde_tests(table), vpc(reps), vpc(reps, corrected=True), beyond_limits(reps),
        paper, Etas(own, tests, {"CL": 0.1, "V": 0.5, "residual": 0.2}, {"AGE": "month"}),
        Outliers(far, points, 3.1, 3.6), curves, nothing, nothing, nothing, "made", True,
        "h", "pg/mL",
    )  # fmt: skip


DRAWN = {
    "predictions": residuals.predictions,
    "residuals": residuals.residuals,
    "npde": residuals.npde,
    "vpc": lambda checks: over_time.vpc(checks, checks.vpc),
    "pcvpc": lambda checks: over_time.vpc(checks, checks.pcvpc),
    "limits": over_time.limits,
    "etas": subjects.etas,
    "outliers": subjects.outliers,
    "sample_figures": subjects.sample_figures,
    "individuals": lambda checks: subjects.individuals(checks)[0],
}


@pytest.fixture(scope="module", params=[1, pytest.param(60, marks=pytest.mark.slow)])
def checks(request):
    return made(request.param)


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_covers_another(checks, name):
    figure = DRAWN[name](checks)
    if figure is None:
        assert name == "limits"
        return
    assert overlapping(figure) == []


def test_axes_have_labels_with_units(checks):
    figure = over_time.vpc(checks, checks.pcvpc)
    (axes,) = figure.axes
    assert "time (h)" in axes.get_xlabel()
    assert "(pg/mL)" in axes.get_ylabel()
    assert "bins" in axes.get_xlabel()
    left, right = residuals.predictions(checks).axes
    assert left.get_xlabel() == "PRED, population prediction (pg/mL)"
    assert left.get_ylabel() == "DV (pg/mL)"
    assert right.get_xlabel() == "IPRED, individual prediction (pg/mL)"


def test_every_subject_has_a_panel_and_its_name_is_text(checks):
    pages = subjects.individuals(checks)
    names = [axes.get_title() for page in pages for axes in page.axes if axes.get_visible()]
    assert names == [f"ID {who}" for who in dict.fromkeys(checks.profiles["ID"])]
    text = svg(pages[0])
    assert "&lt;1&gt;" in text
    assert "<1>" not in text


@pytest.mark.parametrize("name", DRAWN)
def test_synthetic_data_are_called_so_and_others_not(checks, name):
    for own, called in ((checks, True), (replace(checks, synthetic=False), False)):
        figure = DRAWN[name](own)
        if figure is not None:
            assert ("SYNTHETIC DATA" in figure.get_suptitle()) == called


@pytest.mark.slow
def test_files_are_the_same_each_time_and_only_of_what_was_computed():
    few = made(2, censored=False)
    files = of_checks(few)
    assert {"vpc.svg", "individuals_1.svg", "sample_figures.svg"} <= files.keys()
    assert not {"prior_sensitivity.svg", "sampling_times.svg", "limits.svg"} & files.keys()
    assert svg(residuals.npde(few)) == files["npde.svg"]
