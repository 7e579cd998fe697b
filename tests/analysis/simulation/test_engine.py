"""Simulated concentrations and exposure against an ODE solver and closed forms."""

import itertools

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from popk.analysis.simulation import engine
from popk.analysis.simulation.engine import Switches, Task, simulated
from popk.analysis.simulation.source import source_of
from popk.analysis.simulation.subjects import Subjects
from popk.data.regimens import scheduled
from popk.spec.regimen import bolus, infusion, pause
from popk.spec.virtual import Virtual

REGIMEN = bolus("10 ug/m^2").then(
    infusion("15 ug/m^2/day", "2 day"), pause("12 h"), infusion("5 ug/m^2/day", "1 day"),
    bolus("1 ug/kg"), infusion("28 ug/day", "30 h", cap="3 ug/day"),
)  # fmt: skip
TIMES = np.unique(np.concatenate([np.linspace(0.0, 150.0, 40), [48.0, 60.0, 84.0]]))
PER_LITER = 1000.0  # pg/mL in ug/L


@pytest.fixture
def task(small_fit):
    """A task on a few virtual infants; keywords replace its parts."""

    def of(regimen=REGIMEN, virtual=None, count=12, **parts):
        whole = Subjects.virtual(count, virtual or Virtual())
        days = regimen.length("day")
        own = {
            "source": source_of(small_fit(), uncertainty=True, seed=1),
            "switches": Switches(),
            "cohort": lambda number, n: whole.block(number, n, 1, days if whole.grows else 0.0),
            "schedule": lambda cohort: scheduled(regimen, cohort),
            "times": TIMES, "thresholds": (400.0,), "subjects": count, "seed": 1,
        }  # fmt: skip
        return Task(**{**own, **parts})

    return of


def joined(task):
    """All blocks of a task as one."""
    blocks = list(simulated(task))
    names = [n for n in engine.Simulated._fields if n not in ("first", "cohort", "measured")]
    return {n: np.concatenate([getattr(b, n) for b in blocks]) for n in names}, blocks


def by_ode(cl, v, schedule, subject, times, threshold):
    """Amounts, area and time above a threshold by an ODE solver, segment by segment.

    `cl` and `v` are functions of time that are constant between the times at which they change.
    """
    stops = np.unique(np.concatenate([times, schedule.start, schedule.start + schedule.duration,
                                      np.arange(0.0, times[-1] + 1e-9, 24.0)]))  # fmt: skip
    stops = stops[stops <= times[-1]]
    amount, area, above, found = 0.0, 0.0, 0.0, {}
    infused = schedule.duration > 0

    def give(now, amount):
        at_once = (schedule.start == now) & ~infused
        return amount + schedule.size[subject, at_once].sum()

    amount = give(stops[0], amount)
    found[stops[0]] = amount / v(stops[0])
    for begin, end in itertools.pairwise(stops):
        middle = 0.5 * (begin + end)
        runs = infused & (schedule.start <= begin) & (end <= schedule.start + schedule.duration)
        rate = schedule.size[subject, runs].sum()
        k, own_v = cl(middle) / v(middle), v(middle)

        def slope(_, y, rate=rate, k=k, own_v=own_v):
            return [rate - k * y[0], y[0] / own_v]

        def crossing(_, y, own_v=own_v):
            return y[0] / own_v * PER_LITER - threshold

        run = solve_ivp(slope, (begin, end), [amount, 0.0], rtol=1e-11, atol=1e-13,
                        events=crossing, method="DOP853")  # fmt: skip
        marks = np.concatenate([[begin], run.t_events[0], [end]])
        for a, b in itertools.pairwise(marks):
            level = rate / k + (amount - rate / k) * np.exp(-k * (0.5 * (a + b) - begin))
            above += (b - a) * (level / own_v * PER_LITER > threshold)
        area += run.y[1, -1]
        amount = give(end, run.y[0, -1])
        found[end] = amount / v(min(end, middle))
    return np.array([found[t] for t in times]) * PER_LITER, area * PER_LITER, above


def test_profiles_areas_and_times_equal_an_ode_solution(task):
    found, (block,) = joined(task())
    schedule = scheduled(REGIMEN, block.cohort)
    for subject in range(4):
        cl, v = found["CL"][subject], found["V"][subject]
        curve, area, above = by_ode(
            lambda _, cl=cl: cl, lambda _, v=v: v, schedule, subject, TIMES, 400.0
        )
        np.testing.assert_allclose(found["concentration"][subject], curve, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(found["AUC"][subject], area, rtol=1e-8)
        np.testing.assert_allclose(found["above"][subject, 0], above, atol=1e-6)


def test_growing_infants_equal_an_ode_solution(task):
    """CL and V follow body size: between two weighings that of the later one (nocb)."""
    virtual = Virtual(age=("1 month", "2 month"), grow=True)
    regimen = infusion("15 ug/m^2/day", "10 day").then(infusion("15 ug/m^2/day", "10 day"))
    times = np.linspace(0.0, 24.0 * 20, 41)
    found, (block,) = joined(task(regimen, virtual, count=3, times=times))
    cohort, schedule = block.cohort, scheduled(regimen, block.cohort)
    knots, bsa = cohort.time[0], cohort.covariates["BSA"]
    assert (np.diff(bsa, axis=1) > 0).all()
    assert (schedule.size[:, 1] > schedule.size[:, 0]).all()
    for subject in range(3):
        # At baseline CL is that of the first record; by the model it is proportional to BSA
        def of(name, t, subject=subject):
            record = np.searchsorted(knots, t - 1e-9)
            return found[name][subject] * bsa[subject, record] / bsa[subject, 0]

        curve, area, above = by_ode(
            lambda t, of=of: of("CL", t),
            lambda t, of=of: of("V", t),
            schedule,
            subject,
            times,
            400.0,
        )
        np.testing.assert_allclose(found["concentration"][subject], curve, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(found["AUC"][subject], area, rtol=1e-8)
        np.testing.assert_allclose(found["above"][subject, 0], above, atol=1e-6)


def test_css_is_rate_over_cl(task):
    regimen = infusion("5 ug/m^2/day", "7 day").then(infusion("15 ug/m^2/day", "21 day"))
    found, (block,) = joined(task(regimen, times=np.array([0.0, 672.0])))
    rate = 15.0 / 24.0 * block.cohort.covariates["BSA"][:, 0]
    np.testing.assert_allclose(found["Css"], rate / found["CL"] * PER_LITER, rtol=1e-14)
    np.testing.assert_allclose(found["concentration"][:, -1], found["Css"], rtol=1e-10)
    # All that was given has to be eliminated: CL times area is the dose, less what is left
    given = block.cohort.covariates["BSA"][:, 0] * (5.0 * 7 + 15.0 * 21)
    left = found["concentration"][:, -1] * found["V"] / PER_LITER
    np.testing.assert_allclose(found["AUC"] * found["CL"] / PER_LITER, given - left, rtol=1e-10)
    # After t90 a change of rate is complete to 90 %
    np.testing.assert_allclose(np.exp(-found["CL"] / found["V"] * found["t90"]), 0.1, rtol=1e-12)


def test_no_infusion_no_css(task):
    found, _ = joined(task(bolus("1 ug/kg"), count=3, times=np.array([0.0, 5.0])))
    assert np.isnan(found["Css"]).all()
    assert np.isfinite(found["AUC"]).all()


def test_neither_blocks_nor_parts_change_a_number(task, monkeypatch):
    """A subject's numbers come from the seed and its own number."""
    whole, _ = joined(task())
    monkeypatch.setattr(engine, "MOST", 200)
    parts, _ = joined(task())
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, rtol=1e-13, err_msg=name)
    other, _ = joined(task(seed=2))
    assert (np.abs(other["CL"] / whole["CL"] - 1.0) > 1e-6).all()


def test_blocks_go_on_where_the_last_one_ended(task, monkeypatch):
    monkeypatch.setattr(engine, "BLOCK", 5)
    whole, blocks = joined(task())
    assert [b.first for b in blocks] == [0, 5, 10]
    assert len(np.unique(whole["CL"])) == 12


def test_what_varies_can_be_switched(task, small_fit):
    """Without uncertainty and etas all of one size are alike; then residual error too."""
    certain = source_of(small_fit(), uncertainty=False, seed=1)
    found, (block,) = joined(task(source=certain, switches=Switches(False, False)))
    assert block.measured is None
    per_m2 = found["CL"] / block.cohort.covariates["BSA"][:, 0]
    median = np.median(small_fit().samples.draws["TVCL"])
    np.testing.assert_allclose(per_m2, median, rtol=1e-12)
    only_uncertain, (block,) = joined(task(switches=Switches(False, False)))
    drawn = np.unique((only_uncertain["CL"] / block.cohort.covariates["BSA"][:, 0]).round(12))
    assert set(drawn) <= set(small_fit().samples.draws["TVCL"].ravel().round(12))
    assert len(drawn) > 1


@pytest.mark.parametrize("precision", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_moments_are_those_of_the_population(task, small_fit, precision):
    """Log CL per m² and log residuals: mean and variance by the law of total variance."""
    count = 4000
    found, (block,) = joined(task(infusion("15 ug/m^2/day", "5 day"), count=count,
                                  times=np.array([24.0, 96.0]), precision=precision))  # fmt: skip
    assert block.concentration.dtype == np.dtype(precision)
    draws = {k: v.ravel() for k, v in small_fit().samples.draws.items() if v.ndim == 2}
    for name in ("CL", "V"):
        values = np.log(found[name] / block.cohort.covariates["BSA"][:, 0])
        log_tv, omega = np.log(draws[f"TV{name}"]), draws[f"omega_{name}"]
        variance = log_tv.var() + (omega**2).mean()
        assert abs(values.mean() - log_tv.mean()) < 4.0 * np.sqrt(variance / count)
        # The SD of a variance: by its own fourth moment
        error = np.sqrt(((values - values.mean()) ** 2).var() / count)
        assert abs(values.var() - variance) < 4.0 * error
    residual = np.log(block.measured / block.concentration)[:, 1]
    error = np.sqrt((residual**2).var() / count)
    assert abs((residual**2).mean() - (draws["sigma"] ** 2).mean()) < 4.0 * error


@pytest.mark.slow
def test_the_model_file_alone_gives_the_prior_predictive(task, compiled):
    source = source_of(compiled, uncertainty=True, seed=1)
    count = 4000
    found, (block,) = joined(task(infusion("15 ug/m^2/day", "5 day"), source=source, count=count,
                                  times=np.array([0.0, 96.0])))  # fmt: skip
    values = np.log(found["CL"] / block.cohort.covariates["BSA"][:, 0])
    # TVCL ~ LogNormal(0, 1), omega ~ HalfNormal(0.5): variance 1 + 0.25
    assert abs(values.mean()) < 4.0 * np.sqrt(1.25 / count)
    error = np.sqrt(((values - values.mean()) ** 2).var() / count)
    assert abs(values.var() - 1.25) < 4.0 * error


def test_settings_of_jax_are_left_alone(task):
    with jax.enable_x64(False):
        list(simulated(task()))
        assert not jax.config.values["jax_enable_x64"]
