"""Laws that any one-compartment model keeps, and derivatives."""

from decimal import Decimal, localcontext
from fractions import Fraction as F

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popk.pk.one_compartment import NO_DRUG, log_concentration

DOSED = {"evid": 1, "amount": 60.0}
STEADY = {"ss": 1, "interval": F(8)}
REGIMENS = {
    "bolus": DOSED,
    "infusion": {**DOSED, "duration": F(5)},
    "additional doses": {**DOSED, "duration": F(2), "addl": 2, "interval": F(4)},
    "steady boluses": {**DOSED, **STEADY},
    "steady infusions": {**DOSED, **STEADY, "duration": F(3)},
    "long steady infusions": {**DOSED, **STEADY, "duration": F(20)},
    "constant infusion": {"evid": 1, "ss": 1, "constant": 6.0},
}


def history_of(record, regimen, *times, before=()):
    return [
        *(record(F(t)) for t in before),
        record(F(0), **REGIMENS[regimen]),
        *(record(F(t)) for t in times),
    ]


regimens = pytest.mark.parametrize("regimen", REGIMENS)


def test_no_drug_before_a_dose_and_after_a_reset(record, popk_log_c):
    records = [
        record(F(0)),
        record(F(3)),
        record(F(3), **REGIMENS["infusion"]),
        record(F(3)),  # after the dose record, but nothing has run in yet
        record(F(4)),
        record(F(5), evid=3),
        record(F(6)),
        record(F(7), **{**REGIMENS["bolus"], "evid": 4}),
    ]
    for constant in (False, True):
        none = popk_log_c(records, constant=constant) == NO_DRUG
        np.testing.assert_array_equal(none, [1, 1, 1, 1, 0, 1, 1, 0])


def test_an_observation_before_a_dose_row_is_pre_dose(record, popk_log_c):
    first = record(F(0), **REGIMENS["bolus"])
    dose = record(F(6), **REGIMENS["bolus"])
    records = [first, record(F(6)), dose, record(F(6))]
    pre, at, post = popk_log_c(records)[1:]
    left = 60.0 * np.exp(-6.0 * 2.0 / 7.0)
    np.testing.assert_allclose(np.exp(pre), left / 7.0, rtol=1e-12)
    np.testing.assert_allclose(np.exp([at, post]), (left + 60.0) / 7.0, rtol=1e-12)


def test_an_additional_dose_comes_before_a_record_of_the_same_time(record, popk_log_c):
    # 3 * 0.1 is not 0.3 in binary: equal times are equal to rounding
    dose = record(F(0), evid=1, amount=60.0, addl=3, interval=F(1, 10))
    found = np.exp(popk_log_c([dose, record(F(3, 10))])[1])
    k, times = 2.0 / 7.0, 0.3 - 0.1 * np.arange(4)
    np.testing.assert_allclose(found, (60.0 / 7.0 * np.exp(-k * times)).sum(), rtol=1e-12)


@settings(max_examples=60)
@given(data=st.data())
def test_superposition(data, record, popk_log_c):
    """Doses given together leave what each alone leaves, and twice the dose twice as much."""
    tenths = st.integers(0, 100)
    given_doses = [
        record(
            F(data.draw(tenths), 10),
            evid=1,
            amount=data.draw(st.floats(1.0, 100.0)),
            duration=F(data.draw(tenths), 10),
            addl=data.draw(st.integers(0, 2)),
            interval=F(data.draw(st.integers(10, 50)), 10),
            ss=data.draw(st.sampled_from([0, 2])),
        )
        for _ in range(3)
    ]
    start, end = record(F(0)), record(F(data.draw(tenths), 10) + 10)

    def concentration(doses):
        return np.exp(popk_log_c([start, *sorted(doses, key=lambda d: d.time), end])[-1])

    alone = [concentration([dose]) for dose in given_doses]
    np.testing.assert_allclose(concentration(given_doses), sum(alone), rtol=1e-12)
    twice = [dose._replace(amount=2.0 * dose.amount) for dose in given_doses]
    np.testing.assert_allclose(concentration(twice), 2.0 * sum(alone), rtol=1e-12)


def area(record, popk_log_c, regimen, start, end):
    """Area under the curve from `start` to `end` by Gauss-Legendre on every hour."""
    nodes, weights = np.polynomial.legendre.leggauss(10)
    total = 0.0
    for left in np.arange(start, end, 10):
        right = min(left + 10, end)
        points = np.concatenate([a + 0.5 * (nodes + 1.0) for a in np.arange(left, right, 1.0)])
        records = [record(F(0), **regimen), *(record(F(float(t))) for t in points)]
        c = np.exp(popk_log_c(records, constant=True)[1:])
        total += float(c @ np.tile(0.5 * weights, len(points) // 10))
    return total


@pytest.mark.parametrize(
    ("regimen", "dose"), [("bolus", 60.0), ("infusion", 60.0), ("additional doses", 180.0)]
)
def test_mass_balance(regimen, dose, record, popk_log_c):
    """The dose is what is left plus what was cleared, and in the end all is cleared."""
    items = REGIMENS[regimen]
    for end in (15, 80):
        cleared = 2.0 * area(record, popk_log_c, items, 0, end)
        left = 7.0 * np.exp(popk_log_c([record(F(0), **items), record(F(end))])[-1])
        np.testing.assert_allclose(cleared + left, dose, rtol=1e-9)
    # 80 hours are 33 half-lives
    np.testing.assert_allclose(cleared, dose, rtol=1e-9)


@pytest.mark.parametrize("regimen", ["steady boluses", "steady infusions", "long steady infusions"])
def test_area_over_an_interval_at_steady_state_is_dose_over_clearance(regimen, record, popk_log_c):
    items = {**REGIMENS[regimen], "addl": 3}
    np.testing.assert_allclose(2.0 * area(record, popk_log_c, items, 0, 8), 60.0, rtol=1e-9)


@pytest.mark.parametrize("regimen", ["steady boluses", "steady infusions", "long steady infusions"])
def test_a_steady_state_repeats_itself(regimen, record, popk_log_c):
    dose = record(F(0), **{**REGIMENS[regimen], "addl": 5})
    times = [F(t) for t in (1, 4, 7)]
    found = popk_log_c([dose, *(record(t + shift) for shift in (0, 8, 32) for t in times)])[1:]
    np.testing.assert_allclose(found.reshape(3, 3), [found[:3]] * 3, rtol=0, atol=1e-12)


FORMS = ("one k", "k per step", "superposition")
forms = pytest.mark.parametrize("form", FORMS)


@jax.jit
def _last(history, cl, v, place):
    return jax.value_and_grad(
        lambda cl, v: log_concentration(history, cl, v)[place], argnums=(0, 1)
    )(cl, v)


def value_and_slopes(laid, tabulated, dtype, form):
    """Of the last record's log concentration, in CL and in V."""
    history, place = laid.steps, laid.place[-1]
    cl, v = (jnp.asarray(a, dtype) for a in (laid.cl, laid.v))
    if form == "one k":
        cl, v = cl[0], v[0]
    elif form == "superposition":
        history, place, cl, v = tabulated(laid.behind[-1:]), 0, cl[:1], v[:1]
    history = jax.tree.map(lambda a: jnp.asarray(a, dtype), history)
    value, slopes = _last(history, cl, v, place)
    assert value.dtype == dtype
    return float(value), [float(jnp.sum(s)) for s in slopes]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@forms
@regimens
def test_200_half_lives_after_the_last_dose(
    regimen, form, dtype, record, laid_out, tabulated, popk_log_c
):
    half_life = np.log(2.0) * 7.0 / 2.0
    late = F(round(200 * half_life)) + 20
    laid = laid_out(history_of(record, regimen, 20, late), "nocb")
    at_20 = popk_log_c(history_of(record, regimen, 20), constant=True)[-1]
    with jax.enable_x64(dtype == "float64"):
        value, (by_cl, by_v) = value_and_slopes(laid, tabulated, dtype, form)
        near = value_and_slopes(
            laid_out(history_of(record, regimen, 20), "nocb"), tabulated, dtype, form
        )[1]
    since = float(late - 20)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(value, at_20 - since * 2.0 / 7.0, rtol=20 * eps)
    # d(-k t)/dCL = -t/V, d(-k t)/dV = t CL/V^2
    np.testing.assert_allclose(by_cl - near[0], -since / 7.0, rtol=50 * eps)
    np.testing.assert_allclose(by_v - near[1], since * 2.0 / 49.0, rtol=50 * eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@forms
def test_a_sample_when_an_infusion_starts_after_very_long(form, dtype, record, laid_out, tabulated):
    """Nothing has run in yet: the sample still sees what the dose of long ago has left."""
    start = F(4000)
    records = [
        record(F(0), **REGIMENS["bolus"]),
        record(start, **REGIMENS["infusion"]),
        record(start),
    ]
    with jax.enable_x64(dtype == "float64"):
        laid = laid_out(records, "nocb")
        value, (by_cl, _) = value_and_slopes(laid, tabulated, dtype, form)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(value, np.log(60.0 / 7.0) - 4000.0 * 2.0 / 7.0, rtol=20 * eps)
    np.testing.assert_allclose(by_cl, -4000.0 / 7.0, rtol=20 * eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@forms
@pytest.mark.parametrize("pause", [0, 1, 200])
def test_steady_state_of_very_long_infusions(pause, form, dtype, record, laid_out, tabulated):
    """Pulses of 1000 half-lives: e^(k d) overflows, the steady state does not."""
    duration = 2500
    dose = record(
        F(0), evid=1, amount=1e4, duration=F(duration), ss=1, interval=F(duration + pause)
    )
    records = [dose, record(F(0)), record(F(duration))]
    eps = np.finfo(dtype).eps
    plateau = np.log(1e4 / duration / 2.0)
    with jax.enable_x64(dtype == "float64"):
        start, end = (
            value_and_slopes(laid_out(rows, "nocb"), tabulated, dtype, form)
            for rows in (records[:2], records)
        )
    tolerance = 20 * eps * max(1.0, pause * 2.0 / 7.0)
    np.testing.assert_allclose(start[0], plateau - pause * 2.0 / 7.0, rtol=0, atol=tolerance)
    np.testing.assert_allclose(end[0], plateau, rtol=0, atol=20 * eps)
    np.testing.assert_allclose(start[1][0], -1 / 2.0 - pause / 7.0, rtol=50 * eps)
    np.testing.assert_allclose(end[1][0], -1 / 2.0, rtol=50 * eps)


def one_k(steps, place, p):
    return log_concentration(steps, p[0], p[1])[place]


def k_per_step(steps, place, p):
    ones = jnp.ones_like(steps.duration)
    return log_concentration(steps, p[0] * ones, p[1] * ones)[place]


def superposed(past, p):
    ones = jnp.ones_like(past.since)
    return log_concentration(past, p[0] * ones, p[1] * ones)


@jax.jit
def _derivatives(steps, place, past, p):
    forms = (one_k, k_per_step)
    first = [d(f, argnums=2) for f in forms for d in (jax.grad, jax.jacfwd)]
    second = [jax.hessian(one_k, argnums=2), jax.jacrev(jax.grad(one_k, argnums=2), argnums=2)]
    both = tuple([jax.vmap(d, (0, 0, None))(steps, place, p) for d in ds] for ds in (first, second))
    of_sum = [d(superposed, argnums=1) for d in (jax.jacrev, jax.jacfwd)]
    twice = [d(slopes, argnums=1) for slopes in of_sum for d in (jax.jacrev, jax.jacfwd)]
    for found, more in zip(both, (of_sum, twice), strict=True):
        found.extend(derivative(past, p) for derivative in more)
    return both


@pytest.mark.slow
def test_first_and_second_derivatives(record, laid_out, tabulated, exact_log_c):
    """Against differences of the reference in 40 digits, whose error is below 1e-12."""
    histories = [history_of(record, regimen, 2, 13, before=[0]) for regimen in REGIMENS]
    laid = [laid_out(records, "nocb") for records in histories]
    steps = jax.tree.map(lambda *a: jnp.stack(a), *[one.steps for one in laid])
    place = jnp.array([one.place[-1] for one in laid])
    past = jax.tree.map(jnp.asarray, tabulated([one.behind[-1] for one in laid]))
    first, second = _derivatives(steps, place, past, jnp.array([2.0, 7.0]))
    assert (len(first), len(second)) == (6, 6)
    for i, records in enumerate(histories):
        gradient, hessian = differences(exact_log_c, records)
        for found in first:
            np.testing.assert_allclose(found[i], gradient, rtol=1e-9, atol=1e-12)
        for found in second:
            np.testing.assert_allclose(found[i], hessian, rtol=1e-8, atol=1e-11)


def differences(exact_log_c, records):
    """Gradient and Hessian in (CL, V) at (2, 7)."""
    with localcontext(prec=40):
        h = Decimal("1e-8")

        def moved(i, j):
            return exact_log_c(records, 2 + i * h, 7 + j * h)

        left, right, down, up = moved(-1, 0), moved(1, 0), moved(0, -1), moved(0, 1)
        gradient = [(right - left) / (2 * h), (up - down) / (2 * h)]
        across = (moved(1, 1) - moved(1, -1) - moved(-1, 1) + moved(-1, -1)) / (4 * h * h)
        twice = 2 * moved(0, 0)
        hessian = [[(right - twice + left) / h**2, across], [across, (up - twice + down) / h**2]]
    return np.array(gradient, dtype=float), np.array(hessian, dtype=float)


def test_slopes_in_the_doses(record, laid_out, tabulated):
    """One k has a derivative of its own; it must not lose those in amounts and rates."""
    records = history_of(record, "long steady infusions", 2, before=[0])
    records.append(record(F(4), **REGIMENS["bolus"]))
    laid = laid_out([*records, record(F(6))], "nocb")

    p, last = jnp.array([2.0, 7.0]), int(laid.place[-1])
    found, wanted = (
        jax.jit(jax.grad(f, argnums=(0, 2)), static_argnums=1)(laid.steps, last, p)
        for f in (one_k, k_per_step)
    )
    assert float(jnp.abs(wanted[0].bolus).max()) > 0
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13), found, wanted
    )
    # Of a sum over doses: a dose more in proportion is as much more in the logarithm
    past = jax.tree.map(jnp.asarray, tabulated(laid.behind[-1:]))
    by_dose, by_p = jax.jit(jax.grad(lambda *a: superposed(*a)[0], argnums=(0, 1)))(past, p)
    np.testing.assert_allclose(by_p, wanted[1], rtol=1e-9)
    dosed = np.argmax(laid.steps.bolus)
    np.testing.assert_allclose(by_dose.bolus[-1, 0], wanted[0].bolus[dosed], rtol=1e-9)
    items = ("rate", "bolus", "steady_rate", "steady_bolus", "steady_pulse")
    total = sum(float((getattr(past, n) * getattr(by_dose, n)).sum()) for n in items)
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)


@pytest.mark.parametrize("constant", [True, False])
def test_padding_does_nothing(constant, record, laid_out):
    laid = laid_out(history_of(record, "infusion", 2, 9), "nocb")
    cl, v = (laid.cl[0], laid.v[0]) if constant else (laid.cl, laid.v)
    last = int(laid.place[-1])
    log_c = np.asarray(log_concentration(laid.steps, cl, v))
    np.testing.assert_array_equal(log_c[last:], log_c[last])
    short = jax.tree.map(lambda a: a[: last + 1], laid.steps)
    short_cl, short_v = (a if constant else a[: last + 1] for a in (cl, v))
    np.testing.assert_array_equal(log_concentration(short, short_cl, short_v), log_c[: last + 1])


def test_gradients_hold_no_nan(record, laid_out, tabulated):
    """Every step of a history with everything in it: before doses, after resets, in padding."""
    records = [record(F(0)), record(F(1))]
    for number, items in enumerate(REGIMENS.values()):
        start = F(40 * number + 2)
        records += [record(start, **items), record(start + 1), record(start + 39, evid=3)]
        records += [record(start + 39)]
    laid = laid_out(records, "nocb")

    places = jnp.arange(laid.steps.duration.size)
    past = jax.tree.map(jnp.asarray, tabulated(laid.behind))

    @jax.jit
    def slopes(p):
        modes = (jax.jacfwd, jax.jacrev)
        by_step = [d(f, argnums=2)(laid.steps, places, p) for f in (one_k, k_per_step)
                   for d in modes]  # fmt: skip
        return by_step + [d(superposed, argnums=1)(past, p) for d in modes]

    for cl, v in ((2.0, 7.0), (1e-4, 50.0), (50.0, 0.05)):
        for found in slopes(jnp.array([cl, v])):
            assert np.isfinite(found).all()
