"""Area and time above a threshold against ODE solvers, sums in 50 digits and closed forms."""

from decimal import Decimal, localcontext
from fractions import Fraction as F

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from popk.pk.dosing import Steps
from popk.pk.exposure import area, time_above
from popk.pk.one_compartment import log_concentration

LENGTH = 8
"""Steps of a random history; one compilation serves every test."""


@jax.jit
def exposure(steps, CL, V, threshold):
    concentration = jnp.exp(log_concentration(steps, CL, V))
    above = time_above(steps, CL, V, concentration, threshold)
    return concentration, area(steps, CL, V, concentration), above


def as_steps(rows, dtype=float):
    """Steps from rows of (duration, rate, keep, bolus, five of the steady state)."""
    return Steps(*(jnp.asarray(column, dtype) for column in zip(*rows, strict=True)))


@st.composite
def random_steps(draw, dtype=float):
    """Rows of `Steps`, CL and V of each step."""
    rows, cl, v = [], [], []
    for i in range(LENGTH):
        steady = (0.0, 0.0, 0.0, 0.0, 1.0)
        if draw(st.integers(0, 4)) == 0:
            interval = draw(st.floats(2.0, 12.0))
            pulse = draw(st.floats(0.1, 0.9)) * interval
            size = draw(st.floats(1.0, 20.0))
            steady = draw(
                st.sampled_from(
                    [
                        (0.0, size, 0.0, 0.0, interval),
                        (size, 0.0, 0.0, 0.0, 1.0),
                        (size, 0.0, 2.0, pulse, interval),
                    ]
                )
            )
        duration = 0.0 if i == 0 else draw(st.sampled_from([0.0, 1e-3]) | st.floats(0.1, 24.0))
        rate = draw(st.sampled_from([0.0, 0.0, 3.0]) | st.floats(0.1, 10.0))
        keep = float(draw(st.integers(0, 5)) > 0)
        bolus = draw(st.sampled_from([0.0, 0.0, 50.0]) | st.floats(1.0, 100.0))
        rows.append((duration, rate, keep, bolus, *steady))
        cl.append(draw(st.floats(0.2, 5.0)))
        v.append(draw(st.floats(1.0, 20.0)))
    return rows, np.array(cl, dtype), np.array(v, dtype)


def steady_amount(rate, bolus, pulse, duration, interval, k):
    """Dose by dose, the last ones first, until nothing more is added."""
    total, n = rate / k, 1
    while n < 4 or k * n * interval < 45.0:
        total += bolus * np.exp(-k * n * interval)
        begun, ended = n * interval, n * interval - duration
        total += pulse / k * (np.exp(-k * ended) - np.exp(-k * begun))
        n += 1
    return total


def by_ode(rows, cl, v, threshold):
    """Area, and time above a threshold, of each step by a solver that knows no closed form."""
    amount, areas, times = 0.0, [], []
    for (duration, rate, keep, bolus, *steady), CL, V in zip(rows, cl, v, strict=True):
        found = _one_step(amount, duration, rate, CL, V, threshold)
        amount, own_area, own_time = found
        areas.append(own_area)
        times.append(own_time)
        amount = amount * keep + bolus + steady_amount(*steady, CL / V)
    return np.array(areas), np.array(times)


def _one_step(amount, duration, rate, CL, V, threshold):
    def crossing(_, y):
        return y[0] / V - threshold

    if duration == 0.0:
        return amount, 0.0, 0.0
    path = solve_ivp(
        lambda _, y: [rate - CL / V * y[0], y[0] / V],
        (0.0, duration),
        [amount, 0.0],
        method="DOP853",
        rtol=1e-11,
        atol=1e-11,
        events=crossing,
        dense_output=True,
    )
    ends = np.array([0.0, *path.t_events[0], duration])
    middles = path.sol((ends[1:] + ends[:-1]) / 2)[0] / V
    return path.y[0, -1], path.y[1, -1], np.diff(ends)[middles > threshold].sum()


@settings(max_examples=100)
@given(drawn=random_steps(), threshold=st.floats(0.5, 10.0))
def test_equal_an_ode_solver(drawn, threshold):
    rows, cl, v = drawn
    _, areas, times = exposure(as_steps(rows), jnp.asarray(cl), jnp.asarray(v), threshold)
    wanted_area, wanted_time = by_ode(rows, cl, v, threshold)
    np.testing.assert_allclose(areas, wanted_area, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(times, wanted_time, rtol=0, atol=1e-6)
    assert (np.asarray(times) <= np.array([row[0] for row in rows])).all()
    assert (np.asarray(times) >= 0.0).all()


@settings(max_examples=60)
@given(drawn=random_steps())
def test_what_comes_in_is_cleared_or_still_there(drawn):
    rows, cl, v = drawn
    concentration, areas, _ = exposure(as_steps(rows), jnp.asarray(cl), jnp.asarray(v), 1.0)
    amount, cleared = 0.0, []
    for (duration, rate, keep, bolus, *steady), CL, V, c in zip(
        rows, cl, v, np.asarray(concentration), strict=True
    ):
        # just before the dose of the step: what is there less what the step adds
        added = bolus + steady_amount(*steady, CL / V)
        before = c * V - added if keep else None
        cleared.append(None if before is None else amount + rate * duration - before)
        amount = c * V
    for one, CL, found in zip(cleared, cl, np.asarray(areas), strict=True):
        if one is not None:
            assert CL * found == pytest.approx(one, rel=1e-9, abs=1e-8)


# In one step of a history: what a caller computes before and after it
def one_step(amount, rate, duration, CL, V, dtype=float):
    rows = [(0.0, 0.0, 1.0, amount, 0.0, 0.0, 0.0, 0.0, 1.0),
            (duration, rate, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)]  # fmt: skip
    return as_steps(rows, dtype), jnp.asarray(CL, dtype), jnp.asarray(V, dtype)


def exact_area(amount, rate, duration, CL, V):
    """By the closed form in 50 digits, where cancellation does no harm."""
    if duration == 0.0:
        return 0.0
    with localcontext(prec=60):
        a, r, d, cl, v = map(Decimal, (amount, rate, duration, CL, V))
        k = cl / v
        lost = 1 - (-k * d).exp()
        return float((a * lost / k + r * (d - lost / k) / k) / v)


@pytest.mark.parametrize(("dtype", "rel"), [(np.float64, 1e-15), (np.float32, 1e-6)])
@settings(max_examples=300)
@given(
    size=st.tuples(st.sampled_from([0.0, 100.0]), st.sampled_from([0.0, 3.0])),
    log_x=st.floats(-16.0, 2.0),
    duration=st.sampled_from([0.015625, 1.0, 672.0]),
)
@example(size=(0.0, 3.0), log_x=np.log10(0.5), duration=1.0)
@example(size=(0.0, 3.0), log_x=np.log10(0.50001), duration=1.0)
def test_no_digits_are_lost_however_little_is_cleared(dtype, rel, size, log_x, duration):
    V = 4.0
    CL = float(np.float32(10.0**log_x / duration * V))
    with jax.enable_x64(dtype is np.float64):
        history, cl, v = one_step(*size, duration, CL, V, dtype)
        concentration = jnp.asarray([size[0] / V, 0.0], dtype)
        found = np.asarray(area(history, cl, v, concentration))
    assert found.dtype == dtype
    assert found[1] == pytest.approx(exact_area(*size, duration, CL, V), rel=3 * rel)


def test_constant_infusion_clears_its_dose():
    """AUC to infinity is dose/CL, whatever V is."""
    for V in (1.0, 5.0, 30.0):
        rows = [(0.0, 0.0, 1.0, 0.0), (672.0, 0.25, 1.0, 0.0), (40.0 * V, 0.0, 1.0, 0.0)]
        steps = Steps(*map(jnp.asarray, np.array(rows).T), *[None] * 5)
        _, areas, _ = exposure(steps, jnp.asarray(0.9), jnp.asarray(V), 0.1)
        assert float(areas.sum()) == pytest.approx(672.0 * 0.25 / 0.9, rel=1e-13)


def test_bolus_area_and_time_above():
    """AUC to infinity is dose/CL; c is reached after log(C0/c)/k."""
    steps, CL, V = one_step(100.0, 0.0, 200.0, 2.0, 5.0)
    _, areas, times = exposure(steps, CL, V, 4.0)
    assert float(areas.sum()) == pytest.approx(50.0, rel=1e-14)
    assert float(times.sum()) == pytest.approx(2.5 * np.log(20.0 / 4.0), rel=1e-14)


def test_the_amount_carries_over_a_change_of_volume():
    """V doubles for the second step: its concentration starts at half of what was there."""
    rows = [(0.0, 0.0, 1.0, 100.0), (5.0, 0.0, 1.0, 0.0)]
    steps = Steps(*map(jnp.asarray, np.array(rows).T), *[None] * 5)
    CL, V = jnp.array([2.0, 2.0]), jnp.array([5.0, 10.0])
    _, areas, times = exposure(steps, CL, V, 12.0)
    assert float(areas[1]) == pytest.approx(100.0 * (1 - np.exp(-1.0)) / 2.0, rel=1e-14)
    assert float(times.sum()) == 0.0


#  name: (amount before, rate, threshold) -> hours of 10 with CL 2, V 4 (k 0.5)
EDGES = {
    "nothing at all": (0.0, 0.0, 1.0, 0.0),
    "nothing, threshold 0": (0.0, 0.0, 0.0, 0.0),
    "some drug, threshold 0": (4.0, 0.0, 0.0, 10.0),
    "threshold below 0": (0.0, 0.0, -1.0, 10.0),
    "at the steady state, above": (8.0, 4.0, 1.9, 10.0),
    "at the steady state, at it": (8.0, 4.0, 2.0, 0.0),
    "at the steady state, below": (8.0, 4.0, 2.1, 0.0),
    "rises to it": (0.0, 4.0, 2.0, 0.0),
    "falls to it": (16.0, 4.0, 2.0, 10.0),
    "rises from it": (4.0, 4.0, 1.0, 10.0),
    "falls from it": (16.0, 4.0, 4.0, 0.0),
    "rises through it": (0.0, 4.0, 1.0, 10.0 - 2.0 * np.log(2.0)),
    "falls through it": (16.0, 4.0, 3.0, 2.0 * np.log(2.0)),
    "rises, too late": (0.0, 4.0, 1.99, 0.0),
    "falls, too late": (16.0, 4.0, 2.01, 10.0),
}


@pytest.mark.parametrize("case", EDGES)
def test_time_above_where_it_starts_ends_or_stays(case):
    amount, rate, threshold, wanted = EDGES[case]
    steps, CL, V = one_step(amount, rate, 10.0, 2.0, 4.0)
    concentration = jnp.array([amount / 4.0, 0.0])
    found = time_above(steps, CL, V, concentration, threshold)
    assert float(found[1]) == pytest.approx(wanted, rel=1e-14)
    assert float(found[0]) == 0.0


def test_subjects_side_by_side_in_both_precisions():
    """vmap, jit and float32; a threshold for each step."""
    rng = np.random.default_rng(8)
    duration = np.concatenate([np.zeros((5, 1)), rng.uniform(0, 20, (5, 6))], axis=1)
    rate, bolus = rng.uniform(0, 5, (2, 5, 7))
    CL, V = rng.uniform(1, 5, (2, 5))
    threshold = rng.uniform(0.5, 3.0, (5, 7))

    def all_of(dtype):
        def of(values):
            return jnp.asarray(values, dtype)

        with jax.enable_x64(dtype is np.float64):
            items = (duration, rate, np.ones_like(rate), bolus)
            steps = Steps(*map(of, items), *[None] * 5)
            run = jax.jit(jax.vmap(exposure))
            found = run(steps, of(CL), of(V), of(threshold))
        assert all(a.dtype == dtype for a in found)
        return [np.asarray(a) for a in found]

    double, single = all_of(np.float64), all_of(np.float32)
    for a, b, size in zip(double, single, (1.0, 10.0, 20.0), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * size)
    for i in range(5):
        own = Steps(*(jnp.asarray(a[i]) for a in (duration, rate, np.ones_like(rate), bolus)),
                    *[None] * 5)  # fmt: skip
        alone = exposure(own, jnp.asarray(CL[i]), jnp.asarray(V[i]), jnp.asarray(threshold[i]))
        for a, b in zip(double, alone, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-14)


@pytest.mark.parametrize("interpolation", ["nocb", "locf"])
def test_records_of_a_file(record, laid_out, interpolation):
    """Doses, a reset and covariates that change, from records to exposure, by quadrature.

    A bolus of 50 at 0 h, an infusion of 40 over 10 h from 4 h on, a reset at 12 h with a bolus
    of 10; CL goes from 2 to 3 and V from 7 to 9 at 6 h.
    """
    late = {"cl": 3.0, "v": 9.0}
    records = [
        record(F(0), evid=1, amount=50.0),
        record(F(4), evid=1, amount=40.0, duration=F(10)),
        record(F(6), **late),
        record(F(12), evid=4, amount=10.0, **late),
        record(F(20), **late),
    ]
    change = 4.0 if interpolation == "nocb" else 6.0

    def amount(t):
        since = max(t - change, 0.0)
        decay = 2 / 7 * (t - since) + 3 / 9 * since
        total = 50.0 * np.exp(-decay)
        for begin, end, k in ((4.0, change, 2 / 7), (change, 12.0, 3 / 9)):
            if t > begin:
                ran = min(t, end) - begin
                later = 3 / 9 * max(t - end, 0.0)
                total += 4.0 / k * -np.expm1(-k * ran) * np.exp(-later)
        return total

    def concentration(t):
        if t > 12.0:
            return 10.0 * np.exp(-3 / 9 * (t - 12.0)) / 9.0
        return amount(t) / (7.0 if t <= change else 9.0)

    laid = laid_out(records, interpolation)
    _, areas, times = exposure(laid.steps, laid.cl, laid.v, 1.2)
    cumulative, time = (np.cumsum(np.asarray(each))[laid.place] for each in (areas, times))
    spans = [(0.0, 4.0), (4.0, 6.0), (6.0, 12.0), (12.0, 20.0)]
    wanted = [quad(concentration, *span, epsabs=1e-12)[0] for span in spans]
    wanted[2] = 0.0  # the time that leads to a reset
    np.testing.assert_allclose(np.diff(cumulative), wanted, rtol=1e-9)
    step = 1e-3
    grids = [np.arange(a, b, step) + step / 2 for a, b in spans]
    above = [step * sum(concentration(t) > 1.2 for t in grid) for grid in grids]
    above[2] = 0.0
    np.testing.assert_allclose(np.diff(time), above, atol=2 * step)
