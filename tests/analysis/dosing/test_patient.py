"""One infant's dose: what the parts say together, and what is refused."""

import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from popk.analysis.dosing.patient import patient_dose
from popk.spec.problem import PopkError
from popk.study.maximum import MaximumFit
from tests.analysis.dosing.cases import AREA, END, KNOWN, model, patient, populated

SAMPLES = [(20.0, 650.0), (30.0, 600.0)]
PER_AREA = {"infusion": "15 ug/m^2/day", "duration": "28 day"}
WINDOW = {"window": ["500 pg/mL", "0.9 ng/mL"]}


@pytest.fixture(scope="module")
def fit():
    return populated(model())


@pytest.fixture(scope="module")
def dosed(fit):
    """For samples and parts of a patient file."""

    def of(samples=SAMPLES, of=fit, **parts):
        return patient_dose(of, patient(samples, **{"given": [PER_AREA], **parts}))

    return of


@pytest.mark.slow
def test_one_concentration(dosed):
    found = dosed(target={"css": "0.7 ng/mL"})
    table, css = found.summary, found.draws["Css"]
    rate = 15 * AREA / 24
    np.testing.assert_allclose(css, 1000.0 * rate / found.draws["CL"], rtol=1e-12)
    assert found.present.absolute == pytest.approx(rate)
    assert found.goal.css == 700.0
    # The recommended rate brings the median of Css to the target
    assert table.loc["Css_recommended", "median"] == pytest.approx(700.0, rel=1e-12)
    share = found.recommended.absolute / rate
    assert found.recommended.value == pytest.approx(15.0 * share)
    assert found.recommended.unit == "ug/m^2/day"
    exact = 700.0 * found.draws["CL"] / 1000.0
    for column, p in (("q5", 0.05), ("median", 0.5), ("q95", 0.95)):
        low = table.loc["rate_for_target_absolute", column]
        assert low == pytest.approx(np.quantile(exact, p), rel=1e-9)
        assert table.loc["rate_for_target", column] == pytest.approx(low * 24 / AREA, rel=1e-9)
    assert table.loc["rate_recommended_absolute", "median"] == found.recommended.absolute
    assert table["probability"].isna().all()
    assert table.loc["rate_recommended", "unit"] == "ug/m^2/day"
    assert table.loc["rate_recommended_absolute", "unit"] == "ug/h"


def test_a_window(dosed):
    found = dosed(target=WINDOW)
    assert found.goal.window == (500.0, 900.0)
    table = found.summary

    def inside(css):
        return np.mean((css > 500.0) & (css < 900.0))

    css = found.draws["Css"]
    assert table.loc["Css_present", "probability"] == inside(css)
    best = table.loc["Css_recommended", "probability"]
    assert best == inside(css * found.recommended.absolute / found.present.absolute)
    for factor in np.linspace(0.5, 2.0, 31):
        assert inside(css * factor) <= best
    middle = math.sqrt(500.0 * 900.0) / css * 15.0
    assert table.loc["rate_for_target", "median"] == pytest.approx(np.median(middle), rel=1e-12)
    others = table["probability"].drop(["Css_present", "Css_recommended"])
    assert others.isna().all()


def test_plain_numbers_are_in_the_unit_of_the_data(dosed, fit):
    milligrams = replace(fit.data, units=replace(fit.data.units, concentration="ng/mL"))
    other = dosed([(20.0, 0.65), (30.0, 0.6)], of=replace(fit, data=milligrams),
                  target={"css": 0.7})  # fmt: skip
    same = dosed(target={"css": "700 pg/mL"})
    assert other.goal == pytest.approx(same.goal)
    np.testing.assert_allclose(other.draws["CL"], same.draws["CL"], rtol=1e-9)


def test_without_a_target(dosed):
    found = dosed()
    assert (found.goal, found.recommended) == (None, None)
    names = ["CL", "CL_scaled", "V", "V_scaled", "half_life", "Css_present"]
    assert found.summary.index.tolist() == names
    assert found.units == {
        "CL": "L/h", "CL_scaled": "L/h/m²", "V": "L", "V_scaled": "L/m²", "half_life": "h",
        "Css": "pg/mL",
    }  # fmt: skip
    draws = found.draws
    np.testing.assert_allclose(draws["CL_scaled"] * AREA, draws["CL"], rtol=1e-12)
    half_life = math.log(2) * draws["V"] / draws["CL"]
    np.testing.assert_allclose(draws["half_life"], half_life, rtol=1e-12)
    for name in ("CL", "V", "half_life"):
        row = found.summary.loc[name]
        quantiles = np.quantile(draws[name], [0.05, 0.5, 0.95])
        np.testing.assert_allclose([row["q5"], row["median"], row["q95"]], quantiles)
    assert (found.id, found.name, found.synthetic) == ("new", "given", True)


def test_samples_narrow_what_the_population_says(dosed):
    before, after = dosed([]), dosed()
    assert before.posterior.method == "population"
    assert after.posterior.method == "importance"

    def width(found):
        low, high = found.summary.loc["Css_present", ["q5", "q95"]]
        return math.log(high / low)

    expected = 2 * 1.6449 * KNOWN["omega_CL"]
    assert width(before) == pytest.approx(expected, rel=0.05)
    assert width(after) < 0.5 * expected
    # Steady state of both samples would be near 625 pg/mL
    assert 560 < after.summary.loc["Css_present", "median"] < 680


def test_a_time_after_the_end_is_allowed(dosed):
    steps = [{"infusion": "15 ug/m^2/day", "duration": "2 day"}]
    found = dosed([(20.0, 650.0), (END + 5.0, 200.0)], given=steps)
    assert found.course["TIME"].max() > END + 5.0
    assert found.present.value == pytest.approx(15.0)


@pytest.mark.slow
def test_boluses_have_no_css(dosed):
    found = dosed([(2.0, 600.0)], given=[{"bolus": "1 ug"}])
    assert (found.present, found.recommended) == (None, None)
    assert "Css" not in found.draws
    assert "Css_present" not in found.summary.index


def test_a_second_patient_compiles_nothing(dosed):
    """Not even with one sample more: that is what makes the answer come at once."""
    compiled = []

    def listen(event, *_, **__):
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        dosed(target=WINDOW)
        jax.jit(lambda x: x + 1.0)(np.zeros(3))  # the listener hears
        assert compiled
        compiled.clear()
        dosed([*SAMPLES, (40.0, 700.0)], target=WINDOW)
        assert compiled == []
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def fault(fit, samples=SAMPLES, **parts):
    with pytest.raises(PopkError) as caught:
        patient_dose(fit, patient(samples, **{"given": [PER_AREA], **parts}))
    for problem in caught.value.problems:
        assert problem.file == "patient.toml"
        assert problem.cure
    return caught.value.problems


@pytest.mark.parametrize("when", [-1.0, 0.0, "12 h"])
def test_a_sample_before_the_first_dose(fit, when):
    given = [{"pause": "12 h"}, PER_AREA]
    (problem,) = fault(fit, [(20.0, 650.0), (when, 100.0)], given=given)
    assert problem.key == "samples.2.time"
    assert f"a measured value at {when}" in problem.found
    assert "a time after 12 h" in problem.expected
    assert "lognormal" in problem.expected
    assert "below = the assay's limit" in problem.cure


def test_each_of_them_is_named(fit):
    problems = fault(fit, [(0.0, 650.0), (20.0, 100.0), (-3.0, 3.0)])
    assert [p.key for p in problems] == ["samples.1.time", "samples.3.time"]


def test_before_the_first_dose_a_limit_is_no_fault(dosed):
    early = {"time": -1.0, "below": 50.0}
    found = dosed([early, *SAMPLES])
    np.testing.assert_allclose(found.draws["CL"], dosed().draws["CL"], rtol=1e-6)


@pytest.mark.slow
def test_before_the_first_dose_with_an_error_that_allows_it():
    sd = {"prior": "halfnormal", "scale": 50.0}
    fit = populated(model(residual={"error": "additive", "sd": sd}), sigma=60.0)
    found = patient_dose(fit, patient([(-1.0, 20.0), *SAMPLES]))
    assert found.posterior.method == "importance"


def test_a_rate_is_asked_and_nothing_is_infused(fit):
    (problem,) = fault(fit, [(2.0, 600.0)], given=[{"bolus": "1 ug"}], target=WINDOW)
    assert problem.key == "target"
    assert "without an infusion" in problem.found
    assert "[[given]] infusion" in problem.cure


def test_faults_of_the_data_are_told_of_the_patient(fit):
    (problem,) = fault(fit, covariates={"WT": 8})
    assert problem.key == "covariates.BSA"
    (problem,) = fault(fit, id="a")
    assert problem.key == "id"


def test_a_covariate_that_no_parameter_can_have(fit):
    (problem,) = fault(fit, covariates={"BSA": -0.4}, given=[{"infusion": "1 ug/h",
                       "duration": "1 day"}])  # fmt: skip
    assert problem.key == "BSA"
    assert "BSA = -0.4" in problem.found


def test_maximum_likelihood_has_no_posterior(fit):
    estimates = MaximumFit(
        fit.model, fit.data, None, {}, np.zeros(0), fit.samples, (), fit.provenance
    )
    with pytest.raises(PopkError, match="no posterior") as caught:
        patient_dose(estimates, patient(SAMPLES))
    assert 'method = "ensemble"' in caught.value.problems[0].cure
