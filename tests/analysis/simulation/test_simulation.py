"""Simulations as tables: groups, regimens side by side, thresholds, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from popk.analysis.simulation import simulation as module
from popk.analysis.simulation.groups import groups_of
from popk.analysis.simulation.simulation import simulate
from popk.analysis.simulation.subjects import Subjects
from popk.data.cohort import cohort
from popk.population.model import Model
from popk.spec.model import ModelSpec
from popk.spec.problem import PopkError
from popk.spec.regimen import bolus, infusion, pause, read_regimen
from popk.spec.virtual import Virtual

STANDARD = infusion("15 ug/m^2/day", "28 day")
HALF = infusion("7.5 ug/m^2/day", "28 day")


@pytest.mark.slow
def test_regimens_meet_the_same_subjects(small_fit):
    """Half the dose is half of everything: same infants, same CL, same errors."""
    found = simulate(
        small_fit(), {"whole": STANDARD, "half": HALF}, 40, thresholds=["500 pg/mL", 0.1]
    )
    whole, half = (found.subjects.loc[name] for name in ("whole", "half"))
    for name in ("AGE", "WT", "HT", "BSA", "CL", "V", "t90"):
        np.testing.assert_array_equal(whole[name], half[name])
    for name in ("Css", "AUC"):
        np.testing.assert_allclose(whole[name], 2.0 * half[name], rtol=1e-12)
    assert list(whole.index) == [str(i) for i in range(1, 41)]
    bands = found.bands.set_index("regimen")
    np.testing.assert_allclose(bands.loc["whole", "q95"], 2.0 * bands.loc["half", "q95"], rtol=1e-6)
    # 28 days and one more: above and below are all of the time
    both = whole["above 500 pg/mL"] + whole["below 500 pg/mL"]
    np.testing.assert_allclose(both, 29 * 24.0, rtol=1e-12)
    assert (whole["above 0.1 pg/mL"] >= whole["above 500 pg/mL"]).all()
    assert found.units["AUC"] == "pg/mL*h"


def test_bands_are_quantiles_of_what_is_kept(small_fit):
    blocks = []
    found = simulate(
        small_fit(), STANDARD, 60, times=[0, 24, 48], keep=lambda *block: blocks.append(block)
    )
    ((name, block, times),) = blocks
    assert (name, list(times)) == ("regimen", [0, 24, 48])
    for column, share in module.QUANTILES.items():
        for prefix, values in (("", block.concentration), ("measured_", block.measured)):
            np.testing.assert_allclose(
                found.bands[f"{prefix}{column}"], np.quantile(values, share, axis=0), rtol=1e-6
            )
    assert (found.bands["subjects"] == 60).all()


def test_summary_by_age(small_fit):
    found = simulate(small_fit(), STANDARD, 300, age_groups=["2 month", "8 month"])
    own = found.subjects.loc["regimen"]
    young = own[own["AGE"] < 2.0]
    row = found.summary.loc[("regimen", "0 to 2 months", "Css")]
    assert row["n"] == len(young)
    np.testing.assert_allclose(
        [row["mean"], row["sd"], row["median"], row["q5"], row["q95"]],
        [young["Css"].mean(), young["Css"].std(), young["Css"].median(),
         young["Css"].quantile(0.05), young["Css"].quantile(0.95)],
    )  # fmt: skip
    assert set(found.summary.index.get_level_values("group")) == {
        "all", "0 to 2 months", "2 to 8 months", "8 months and over"}  # fmt: skip
    assert found.summary.loc[("regimen", "all", "Css"), "n"] == 300


def test_an_age_at_a_limit_belongs_to_the_older_group():
    table = pd.DataFrame({"AGE": [0.0, 2.999, 3.0, 6.0]})
    subjects = Subjects.virtual(1, Virtual())
    names = groups_of(table, subjects, ["3 month", "6 month"])
    assert list(names) == ["0 to 3 months"] * 2 + ["3 to 6 months", "6 months and over"]


def test_resampled_subjects_are_those_of_the_data(small_fit):
    fit = small_fit()
    found = simulate(fit, STANDARD, Subjects.resampled(200, fit.data))
    own = set(fit.data.covariates["BSA"][:, 0])
    assert set(found.subjects["BSA"]) == own
    # Each of three with its share, within four binomial standard errors
    counts = found.subjects["BSA"].value_counts()
    assert (abs(counts - 200 / 3) < 4.0 * np.sqrt(200 * (1 / 3) * (2 / 3))).all()
    assert set(found.subjects["group"]) == {"all"}  # no AGE in these data


def test_published_summary_lies_within_what_is_simulated(small_fit):
    """Css 706 ± 194 (Martins 2026) among simulated studies of 26, from CL as it was published.

    `CENTRE` has the published median CL, about, and the variability of the published Css.
    """
    found = simulate(small_fit(), STANDARD, 26 * 200, residual=False)
    studies = found.subjects["Css"].to_numpy().reshape(200, 26)
    for figure, published in ((studies.mean(axis=1), 706.0), (studies.std(axis=1, ddof=1), 194.0)):
        assert np.quantile(figure, 0.025) < published < np.quantile(figure, 0.975)


def test_a_given_cohort(small_fit):
    infants = cohort({"BSA": np.array([[0.4], [0.2]])}, {"BSA": "m^2"}, ids=["a", "b"])
    found = simulate(small_fit(), STANDARD, infants, uncertainty=False, variability=False)
    own = found.subjects.loc["regimen"]
    assert list(own.index) == ["a", "b"]
    np.testing.assert_allclose(own["Css"]["a"], own["Css"]["b"], rtol=1e-12)


@pytest.mark.slow
def test_growth_raises_the_dose_of_the_next_step(small_fit):
    course = infusion("15 ug/m^2/day", "28 day").then(pause("14 day"))
    virtual = Virtual(age=("1 month", "2 month"), grow=True)
    found = simulate(small_fit(), course.repeat(2), Subjects.virtual(20, virtual))
    still = simulate(small_fit(), course.repeat(2), Subjects.virtual(20, Virtual(age=virtual.age)))
    bands = [s.bands.set_index("TIME")["median"] for s in (found, still)]
    # CL grows too: within a step Css falls, as the dose is that of its start
    assert bands[0].loc[: 27 * 24].iloc[-1] < bands[1].loc[: 27 * 24].iloc[-1]


@pytest.mark.parametrize("name", ["standard", "interruption", "step", "cycles_3", "cap"])
def test_ready_regimens_run(small_fit, name):
    regimen = read_regimen(name)
    found = simulate(small_fit(), regimen, 5)
    assert np.isfinite(found.bands["median"]).all()
    assert found.bands["TIME"].max() == pytest.approx(regimen.length("h") + 24.0)


def refused(call) -> str:
    with pytest.raises(PopkError) as raised:
        call()
    problem = raised.value.problems[0]
    assert problem.cure
    return str(problem)


def test_bad_input(small_fit, compiled):
    fit = small_fit()
    assert "500 kg" in refused(lambda: simulate(fit, STANDARD, 5, thresholds=["500 kg"]))
    assert "above 0" in refused(lambda: simulate(fit, STANDARD, 5, thresholds=[-1.0]))
    assert "later than the one before" in refused(lambda: simulate(fit, STANDARD, 5, times=[5, 5]))
    assert "do not rise" in refused(
        lambda: simulate(fit, STANDARD, 5, age_groups=["6 month", "3 month"])
    )
    # µg/kg where no weight is known
    infants = cohort({"BSA": np.array([[0.4]])}, {"BSA": "m^2"})
    found = refused(lambda: simulate(fit, infusion("1 ug/kg/h", "1 day"), infants))
    assert "WT" in found
    # Ages beyond the standards
    old = Virtual(age=("0 day", "3 year"))
    assert "730" in refused(lambda: simulate(fit, STANDARD, Subjects.virtual(5, old)))
    # A covariate that virtual infants do not have
    needs = {
        "parameter": "V", "covariate": "APGR", "relation": "below", "cut": 5.0,
        "effect": {"prior": "normal", "loc": 0.0, "scale": 1.0},
    }  # fmt: skip
    own = Model(ModelSpec.model_validate({**compiled.spec.model_dump(), "covariates": [needs]}))
    assert "APGR" in refused(lambda: simulate(own, STANDARD, 5))


def test_a_linear_effect_beyond_its_range_is_refused(compiled):
    """1 + effect (AGE - 6) becomes negative for a newborn: no CL, and no silent NaN."""
    effect = {
        "parameter": "CL", "covariate": "AGE", "relation": "linear", "center": "6 month",
        "per": "1 month", "effect": {"prior": "normal", "loc": 0.3, "scale": 0.01},
    }  # fmt: skip
    spec = ModelSpec.model_validate({**compiled.spec.model_dump(), "covariates": [effect]})
    young = Subjects.virtual(20, Virtual(age=("0 month", "1 month")))
    found = refused(lambda: simulate(Model(spec), STANDARD, young, uncertainty=False))
    assert "no CL or V above 0" in found


@pytest.mark.slow
def test_boluses_only(small_fit):
    found = simulate(small_fit(), bolus("2 ug/m^2").then(pause("1 day")).repeat(3), 10)
    assert "Css" not in found.summary.index.get_level_values("quantity")
    assert found.subjects["Css"].isna().all()


def test_what_was_assumed_is_said_where_it_matters(compiled):
    """SEX in numbers is ambiguous: a model that uses it is warned, another is not."""
    numbers = cohort({"SEX": np.zeros((1, 1)), "AGE": np.ones((1, 1))},
                     {"SEX": None, "AGE": "month"})  # fmt: skip
    subjects = Subjects.virtual(5, like=numbers)
    assert subjects.warnings_for(compiled.spec) == ()
    effect = {
        "parameter": "CL", "covariate": "SEX", "relation": "category", "level": 1.0,
        "effect": {"prior": "normal", "loc": 0.0, "scale": 1.0},
    }  # fmt: skip
    using = ModelSpec.model_validate({**compiled.spec.model_dump(), "covariates": [effect]})
    (warning,) = subjects.warnings_for(using)
    assert warning.key == "columns.SEX.levels"
