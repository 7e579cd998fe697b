"""All checks together: of sound data, of studies at the edge of what can be checked, and words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from popk.analysis.checking import check_verdicts
from popk.analysis.checking.checks import checks
from popk.analysis.checking.outliers import Outliers
from popk.analysis.checking.residuals import npde_tests
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.model import ModelSpec
from popk.spec.problem import PopkError
from popk.study.fit import fit
from popk.study.maximum import maximum

SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def estimated(steady_state):
    return maximum(*steady_state.problem, Sampler(method="laplace"))


def outcomes(found):
    return {own.check: own.outcome for own in found.verdicts}


@pytest.mark.slow
def test_of_estimates_there_is_all_but_what_needs_a_posterior(estimated):
    found = checks(estimated)
    own = outcomes(found)
    for check in ("convergence", "NPDE, mean and spread", "VPC", "prediction-corrected VPC",
                  "Css and CL of the sample", "outlying points", "shrinkage"):  # fmt: skip
        assert own[check] in ("passed", "look here"), check
    assert "failed" not in own.values()
    assert found.sensitivity.empty
    assert found.outliers.subjects["pareto_k"].isna().all()
    assert "kind of variability" not in own
    assert list(found.table.index) == [v.check for v in found.verdicts]
    again = checks(estimated)
    pd.testing.assert_frame_equal(again.table, found.table)
    pd.testing.assert_frame_equal(again.vpc.table, found.vpc.table)


@pytest.mark.slow
def test_a_wrong_prediction_fails_loudly_and_names_its_figure(estimated):
    """The same estimates beside data that are two thirds higher from the third sample on."""
    data = estimated.data
    count = np.cumsum(data.observed, axis=1)
    later = np.where(data.observed & (count > 2), data.dv / 0.4, data.dv)
    wrong = replace(estimated, data=replace(data, dv=later))
    found = {own.check: own for own in checks(wrong).verdicts}
    trend = found["NPDE, along time, time after dose and PRED"]
    assert (trend.outcome, trend.figure) == ("failed", "residuals")
    assert found["prediction-corrected VPC"].outcome != "passed"
    assert "too high" in found["prediction-corrected VPC"].meaning


def study(text):
    """A study's rows: one infusion of 28 days at 0.25 ug/h, samples at these times."""
    return "ID,TIME,AMT,RATE,DV,CENS,EVID,MDV,BSA,WT\n" + text


def rows(who, values, censored=0):
    bsa = 0.4 + 0.01 * (int(who) % 7)
    lines = [f"{who},0,168,0.25,.,0,1,1,{bsa},7"]
    lines += [f"{who},{24 * (i + 1)},0,0,{v},{censored},0,0,{bsa},7" for i, v in enumerate(values)]
    return lines


STUDIES = {
    "one subject": rows("1", [600, 650, 580, 640, 610]),
    "one observation a subject": [r for i in range(8) for r in rows(str(i), [500 + 40 * i])],
}


@SLOW
@pytest.mark.parametrize("name", STUDIES)
def test_studies_at_the_edge_are_checked_as_far_as_they_go(read, model, columns, name):
    from popk.report.checked import of_checks as tables
    from popk.report.plots.checks import of_checks as figures

    data = read(study("\n".join([*STUDIES[name], ""])), columns=columns)
    own = fit(Model(ModelSpec.model_validate(model())), data, Sampler(seed=1))
    found = checks(own, compare=name == "one subject")
    said = outcomes(found)
    assert said["VPC"] in ("passed", "look here")
    if name == "one subject":
        assert said["shrinkage"] in ("look here", "passed", "not possible")
        assert said["etas against covariates"] == "not possible"
        assert found.variability.empty
    drawn, written = figures(found), tables(found)
    assert {"vpc.svg", "npde.svg", "individuals_1.svg"} <= drawn.keys()
    assert "verdicts.csv" in written


def test_a_study_without_any_measured_value_is_refused_when_it_is_read(read, columns):
    text = study("\n".join([*(r for i in range(6) for r in rows(str(i), [50, 50], 1)), ""]))
    with pytest.raises(PopkError, match="only censored observations"):
        read(text, columns=columns)


@pytest.mark.parametrize(
    ("shift", "factor", "words"),
    [
        (1.0, 1.0, "too low on the whole"),
        (-1.0, 1.0, "too high on the whole"),
        (0.0, 2.5, "too little spread"),
        (0.0, 0.4, "too much spread"),
    ],
)
def test_npde_verdicts_say_what_is_wrong(shift, factor, words):
    rng = np.random.default_rng(1)
    values = shift + factor * rng.standard_normal(120)
    table = pd.DataFrame({"NPDE": values, "TIME": rng.uniform(0, 9, 120), "TAD": 1.0, "PRED": 1.0})
    amount, *_ = check_verdicts.npde(npde_tests(table), 120)
    assert amount.outcome == "failed"
    assert words in amount.meaning
    impossible = check_verdicts.npde(npde_tests(table), 2)
    assert {own.outcome for own in impossible} == {"not possible"}


def test_who_lies_far_out_or_carries_the_fit_is_named():
    ids = pd.Index(["3", "14", "22"], name="ID")
    subjects = pd.DataFrame({"z_CL": [0.1, 3.6, -1.0], "probability_CL": [0.0, 0.8, 0.0],
                             "pareto_k": [0.1, 0.4, 0.9]}, index=ids)  # fmt: skip
    points = pd.DataFrame({"ID": ["3"], "line": [17], "TIME": [48.0], "z": [5.2],
                           "probability": [0.97], "pareto_k": [0.3]})  # fmt: skip
    far, point = check_verdicts.outlying(Outliers(subjects, points, 3.1, 3.6))
    assert far.outcome == point.outcome == "look here"
    assert "ID 14: CL +3.6 SD" in far.meaning
    assert "Pareto k 0.90" in far.meaning
    assert "ID 3 " not in far.meaning
    assert "line 17" in point.meaning
    calm = Outliers(subjects.iloc[:1], points.assign(probability=0.1), 3.1, 3.6)
    assert {own.outcome for own in check_verdicts.outlying(calm)} == {"passed"}
