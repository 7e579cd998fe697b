"""Probability of a target by dose: against the normal distribution, and by brute force."""

import numpy as np
import pytest
from scipy.stats import norm

from popk.analysis.dosing import attainment as module
from popk.analysis.dosing.attainment import attainment, window_of
from popk.analysis.simulation.simulation import simulate
from popk.analysis.simulation.subjects import Subjects
from popk.data.cohort import cohort
from popk.spec.problem import PopkError
from popk.spec.regimen import infusion

WINDOW = ("500 pg/mL", "900 pg/mL")
CL, OMEGA = 0.9, 0.25


def certain(small_fit):
    """A fit in which all draws are the same."""
    fit = small_fit()
    for name, value in (("TVCL", CL), ("omega_CL", OMEGA)):
        fit.samples.draws[name][:] = value
    return fit


def of_normal(dose):
    """P(500 < Css < 900) with log Css normal around dose/CL."""
    middle = np.log(dose / 24.0 / CL * 1000.0)
    return norm.cdf((np.log(900) - middle) / OMEGA) - norm.cdf((np.log(500) - middle) / OMEGA)


@pytest.mark.slow
def test_per_m2_it_is_a_normal_probability(small_fit):
    """Dose and CL go with BSA: the window is an interval of a log-normal CL per m²."""
    found = attainment(certain(small_fit), WINDOW, doses=["10 ug/m^2/day"])
    n = module.SUBJECTS  # all draws have the same etas
    for dose, told in (("15 ug/m^2/day", 15.0), ("10 ug/m^2/day", 10.0)):
        p = of_normal(told)
        row = found.asked.loc[(dose, "all")]
        assert abs(row["probability"] - p) < 4.0 * np.sqrt(p * (1 - p) / n)
        assert row["q5"] == row["q95"]
        assert row["probability"] + row["below"] + row["above"] == pytest.approx(1.0)
    # The best dose has its log Css in the middle of the window
    best = found.best.loc[("ug/m^2/day", "all")]
    ideal = np.exp(0.5 * (np.log(500) + np.log(900))) * CL * 24.0 / 1000.0
    assert best["dose"] == pytest.approx(ideal, rel=0.06)
    assert abs(best["probability"] - of_normal(ideal)) < 4.0 * np.sqrt(0.25 / n)
    # Per kg and fixed doses scale worse: CL goes with BSA in this model
    assert found.best.loc[("ug/kg/day", "all"), "probability"] < best["probability"]
    assert (
        found.best.loc[("ug/day", "all"), "probability"]
        < found.best.loc[("ug/kg/day", "all"), "probability"]
    )


def test_what_is_not_known_widens_the_interval(small_fit):
    sure, unsure = (attainment(f, WINDOW) for f in (certain(small_fit), small_fit()))
    key = ("ug/m^2/day", "all")
    width = [a.best.loc[key, "dose_q95"] - a.best.loc[key, "dose_q5"] for a in (sure, unsure)]
    assert width[0] == 0.0
    # TVCL has an SD of 7 % on the log scale: so has the best dose
    logs = np.log(unsure.best.loc[key, ["dose_q5", "dose_q95"]].to_numpy(float))
    assert np.diff(logs)[0] == pytest.approx(2 * 1.645 * 0.07, rel=0.25)


def test_as_by_simulated_subjects(small_fit):
    """The same probabilities, within Monte Carlo error, as counted among simulated subjects."""
    fit, count = small_fit(), 4000
    found = attainment(fit, WINDOW, doses=["1 ug/kg/day"], age_groups=["6 month"])
    for name, key in (("15 ug/m^2/day", "15 ug/m^2/day"), ("1 ug/kg/day", "1 ug/kg/day")):
        own = simulate(fit, infusion(name, "5 day"), count, seed=9, age_groups=["6 month"])
        css = own.subjects["Css"]
        for group in ("all", "0 to 6 months"):
            chosen = css if group == "all" else css[own.subjects["group"] == group]
            counted = ((chosen > 500) & (chosen < 900)).mean()
            error = np.sqrt(0.25 / len(chosen) + 0.25 / found.asked.loc[(key, group), "n"])
            assert abs(counted - found.asked.loc[(key, group), "probability"]) < 4.0 * error


def test_the_best_dose_is_the_best_of_the_curve(small_fit):
    found = attainment(small_fit(), WINDOW, 500)
    for (basis, group), row in found.best.iterrows():
        own = found.curves[(found.curves["basis"] == basis) & (found.curves["group"] == group)]
        assert row["probability"] == own["probability"].max()
        assert own["dose"].min() < row["dose"] < own["dose"].max()


def test_from_priors_alone(compiled):
    found = attainment(compiled, WINDOW, 200)
    assert found.of == "priors"
    assert found.asked.empty
    best = found.best.loc[("ug/m^2/day", "all")]
    # CL is known to a factor of e only: no dose is likely to hit
    assert 0.05 < best["probability"] < 0.5


@pytest.mark.slow
def test_a_given_cohort_without_weight_has_no_dose_per_kg(small_fit):
    infants = cohort({"BSA": np.full((9, 1), 0.4)}, {"BSA": "m^2"})
    found = attainment(small_fit(), WINDOW, infants, bases=["ug/m^2/day", "ug/day"])
    # All of one size: a fixed dose is one per m²
    m2, fixed = (found.best.loc[(b, "all"), "dose"] for b in ("ug/m^2/day", "ug/day"))
    assert fixed == pytest.approx(0.4 * m2, rel=1e-6)
    with pytest.raises(PopkError) as raised:
        attainment(small_fit(), WINDOW, infants)
    assert raised.value.problems[0].key == "WT"


@pytest.mark.parametrize(
    "window", [(900, 500), ("900 pg/mL", "500 pg/mL"), (0, 500), (500, 500), ("1 kg", "2 kg")]
)
def test_a_window_upside_down_is_refused(small_fit, window):
    with pytest.raises(PopkError) as raised:
        attainment(small_fit(), window, 10)
    (problem,) = raised.value.problems
    assert problem.key == "window"
    assert "500 pg/mL" in problem.cure


def test_a_window_in_another_unit():
    assert window_of(("0.5 ng/mL", "0.9 ug/L"), "pg/mL") == pytest.approx((500.0, 900.0))


def test_resampled_subjects(small_fit):
    fit = small_fit()
    found = attainment(fit, WINDOW, Subjects.resampled(300, fit.data))
    assert list(found.best.index.get_level_values("group").unique()) == ["all"]
