"""What a row has behind it, and its arrays."""

from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popk.pk.dosing import Steps
from popk.pk.one_compartment import NO_DRUG, log_concentration
from popk.pk.past import Past, look_back, tabulate

POSITIVE = st.floats(0.1, 10.0)


def steps_of(**items):
    """Steps from lists; what is not said is nothing."""
    count = len(items["duration"])
    one = {"keep", "steady_interval"}
    rest = {f.name: np.full(count, float(f.name in one)) for f in fields(Steps)}
    return Steps(**rest | {name: np.array(values, dtype=float) for name, values in items.items()})


def all_rows(steps):
    return look_back(steps, np.arange(steps.duration.size))


def test_stretches_at_the_same_rate_are_one_infusion():
    steps = steps_of(duration=[0, 2, 3, 1, 4], rate=[0, 5, 5, 5, 7])
    found = [row.infusions for row in all_rows(steps)]
    assert found == [[], [(0, 2, 5)], [(0, 5, 5)], [(0, 6, 5)], [(0, 6, 5), (6, 10, 7)]]


def test_steps_of_no_duration_do_not_part_an_infusion():
    steps = steps_of(duration=[0, 2, 0, 3], rate=[0, 5, 5, 5], bolus=[0, 0, 8, 0])
    assert all_rows(steps)[-1].infusions == [(0, 5, 5)]
    assert all_rows(steps)[-1].boluses == [(2, 8)]


def test_rates_that_differ_by_rounding_are_the_same():
    steps = steps_of(duration=[0, 1, 1, 1], rate=[0, 0.3, 0.1 + 0.2, 0.3 * (1 + 1e-6)])
    assert all_rows(steps)[-1].infusions == [(0, 2, 0.3), (2, 3, 0.3 * (1 + 1e-6))]


def test_an_interrupted_infusion_is_two():
    steps = steps_of(duration=[0, 2, 1, 3], rate=[0, 5, 0, 5])
    assert all_rows(steps)[-1].infusions == [(0, 2, 5), (3, 6, 5)]
    assert all_rows(steps)[-1].widths == (2, 0, 0)


def test_nothing_lies_behind_a_row_before_a_dose_or_after_a_reset():
    steps = steps_of(
        duration=[0, 3, 2, 4, 1],
        rate=[0, 0, 6, 6, 0],
        keep=[1, 1, 1, 0, 1],
        bolus=[0, 0, 5, 0, 0],
    )
    found = all_rows(steps)
    assert [row.now for row in found] == [0, 3, 5, 9, 10]
    assert [row.widths for row in found] == [(0, 0, 0), (0, 0, 0), (1, 1, 0), (0, 0, 0), (0, 0, 0)]
    past = tabulate(found, (1, 1, 0))
    np.testing.assert_array_equal(past.since, [0, 0, 0, 0, 0])
    np.testing.assert_array_equal(past.rate, [[0, 0, 6, 0, 0]])
    ones = jnp.ones(5)
    log_c = log_concentration(jax.tree.map(jnp.asarray, past), 2.0 * ones, 7.0 * ones)
    np.testing.assert_array_equal(log_c == NO_DRUG, [1, 1, 0, 1, 1])


def test_an_emptying_step_keeps_its_own_dose():
    steps = steps_of(duration=[0, 3, 1], rate=[0, 2, 0], keep=[1, 0, 1], bolus=[4, 9, 0])
    assert all_rows(steps)[-1].infusions == []
    assert all_rows(steps)[-1].boluses == [(3, 9)]


def test_only_the_rows_asked_for():
    steps = steps_of(duration=[0, 1, 1, 1], rate=[0, 1, 0, 2], bolus=[3, 0, 0, 0])
    found, every = look_back(steps, np.array([1, 3])), all_rows(steps)
    assert found == [every[1], every[3]]
    assert look_back(steps, np.zeros(0, dtype=int)) == []


def test_steps_without_steady_states():
    steps = steps_of(duration=[0, 2], rate=[0, 0], bolus=[5, 0])
    none = {f.name: None for f in fields(Steps) if "steady" in f.name}
    assert all_rows(replace(steps, **none)) == all_rows(steps)


def test_times_count_from_when_drug_last_came_in():
    steps = steps_of(
        duration=[0, 2, 3, 1],
        rate=[0, 5, 0, 0],
        bolus=[7, 0, 0, 0],
        steady_bolus=[0, 0, 4, 0],
        steady_interval=[1, 1, 6, 1],
    )
    past = tabulate(all_rows(steps)[1:], (1, 1, 1))
    np.testing.assert_array_equal(past.since, [0, 0, 1])
    np.testing.assert_array_equal(past.ran, [[2, 2, 2]])
    np.testing.assert_array_equal(past.ended, [[0, 3, 3]])
    np.testing.assert_array_equal(past.bolus_ended, [[2, 5, 5]])
    np.testing.assert_array_equal(past.steady_bolus, [[0, 4, 4]])
    np.testing.assert_array_equal(past.steady_interval, [[1, 6, 6]])
    np.testing.assert_array_equal(past.steady_ended, [[0, 0, 0]])


@pytest.mark.parametrize("widths", [(0, 0, 0), (2, 0, 1), (1, 3, 0)])
def test_shapes_follow_the_widths(widths):
    past = tabulate(all_rows(steps_of(duration=[0, 1, 1], rate=[0, 0, 0])), widths)
    infusion, bolus, steady = widths
    for field in fields(Past):
        first = field.name.split("_")[0]
        rows = {"bolus": bolus, "steady": steady, "since": None}.get(first, infusion)
        wanted = (3,) if rows is None else (rows, 3)
        assert getattr(past, field.name).shape == wanted
    np.testing.assert_array_equal(past.steady_interval, 1.0)


@st.composite
def some_steps(draw):
    def listed(values):
        return draw(st.lists(values, min_size=6, max_size=6))

    return steps_of(
        duration=[0.0, *listed(POSITIVE | st.just(0.0))],
        rate=[0.0, *listed(st.sampled_from([0.0, 0.0, 3.0]) | POSITIVE)],
        keep=[1.0, *listed(st.sampled_from([1.0, 1.0, 0.0]))],
        bolus=[0.0, *listed(st.just(0.0) | POSITIVE)],
        steady_bolus=[0.0, *listed(st.just(0.0) | POSITIVE)],
        steady_interval=[1.0, *listed(POSITIVE)],
    )


@settings(max_examples=12)
@given(steps=some_steps(), cl=POSITIVE, v=POSITIVE)
def test_more_room_than_needed_changes_nothing(steps, cl, v, tabulated):
    rows = all_rows(steps)
    ones = jnp.ones(len(rows))
    needed, more = (
        log_concentration(jax.tree.map(jnp.asarray, past), cl * ones, v * ones)
        for past in (tabulated(rows), tabulate(rows, (8, 9, 7)))
    )
    np.testing.assert_allclose(more, needed, rtol=1e-14)


@jax.jit
def values_and_slopes(past, steps, k):
    """Log concentration of each row with its slope in k, at a volume of one.

    Of the sum over doses forwards and backwards, of the loop over steps forwards.
    """

    def of_sum(k):
        return log_concentration(past, k, jnp.ones_like(k))

    each = k * jnp.ones_like(past.since)
    value, along = jax.jvp(of_sum, (each,), (jnp.ones_like(each),))
    back = jax.vjp(of_sum, each)[1](jnp.ones_like(each))[0]
    of_loop = jax.jvp(lambda k: log_concentration(steps, k, jnp.ones(())), (k,), (jnp.ones(()),))
    return (value, along), (value, back), of_loop


@settings(max_examples=50)
@given(steps=some_steps(), k=st.floats(0.01, 3.0))
def test_slope_in_k_forwards_and_backwards(steps, k):
    """Both ways the same, and that of the loop over steps."""
    past = tabulate(all_rows(steps), (7, 7, 7))
    forward, backward, of_loop = values_and_slopes(past, steps, jnp.asarray(k))
    np.testing.assert_allclose(backward, forward, rtol=1e-14)
    np.testing.assert_allclose(forward, of_loop, rtol=1e-9, atol=1e-11)
