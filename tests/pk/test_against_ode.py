"""The closed form against an independent simulation of random dosing histories."""

from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popk.pk.one_compartment import NO_DRUG

INTERPOLATIONS = ("nocb", "locf")
TENTHS = st.integers(0, 120) | st.sampled_from([0, 0, 30, 60])


@st.composite
def histories(draw, *, varying: bool):
    """Records of one subject as plain dictionaries; ties in time are frequent."""
    time, records = F(0), []
    cl, v = draw(st.floats(0.2, 5.0)), draw(st.floats(1.0, 20.0))
    for _ in range(draw(st.integers(1, 8))):
        evid = draw(st.sampled_from([0, 0, 0, 1, 1, 1, 1, 2, 3, 4]))
        time += F(draw(TENTHS), 10)
        if evid in (3, 4) and draw(st.booleans()):
            time = F(0)  # a reset may set the clock back
        if varying and draw(st.booleans()):
            cl, v = draw(st.floats(0.2, 5.0)), draw(st.floats(1.0, 20.0))
        records.append({"time": time, "evid": evid, "cl": cl, "v": v})
        if evid in (1, 4):
            records[-1] |= draw(doses())
            if "constant" in records[-1] and draw(st.booleans()):
                # the infusion goes on
                records.append({**records[-1], **draw(infusions()), "evid": 1, "ss": 0})
                del records[-1]["constant"]
    records.append({"time": time + F(draw(TENTHS), 10), "cl": cl, "v": v})
    return records


@st.composite
def infusions(draw):
    return {
        "amount": draw(st.floats(1.0, 100.0)),
        "duration": F(draw(st.integers(1, 200)), 10),
    }


@st.composite
def doses(draw):
    """Dose items: a bolus, or an infusion shorter or longer than its interval; or constant."""
    ss = draw(st.sampled_from([0, 0, 1, 2]))
    if ss and draw(st.integers(0, 4)) == 0:
        return {"ss": ss, "constant": draw(st.floats(0.1, 10.0))}
    items = {"ss": ss, "amount": draw(st.floats(1.0, 100.0))}
    if draw(st.booleans()):
        items |= draw(infusions())
    addl = draw(st.integers(0, 3))
    if ss or addl:
        # 3 h and 6 h meet the gaps between records and multiples of durations
        tenths = draw(st.sampled_from([30, 60]) | st.integers(20, 120))
        items |= {"addl": addl, "interval": F(tenths, 10)}
    return items


def assert_equal(found: np.ndarray, wanted: np.ndarray) -> None:
    none = np.isneginf(wanted)
    np.testing.assert_array_equal(found[none], NO_DRUG)
    # Of the logarithm: a relative error of the concentration
    np.testing.assert_allclose(found[~none], wanted[~none], rtol=0, atol=1e-9)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@settings(max_examples=200)
@given(rows=histories(varying=True))
def test_closed_form_with_changing_parameters(rows, interpolation, record, popk_log_c, reference):
    records = [record(**row) for row in rows]
    assert_equal(popk_log_c(records, interpolation), reference(records, interpolation))


@settings(max_examples=120)
@given(rows=histories(varying=False))
def test_closed_form_with_one_clearance_and_volume(rows, record, popk_log_c, reference):
    records = [record(**row) for row in rows]
    wanted = reference(records)
    assert_equal(popk_log_c(records, constant=True), wanted)
    assert_equal(popk_log_c(records, "locf", constant=True), wanted)


HOUR = F(1)
NAMED = {
    "bolus, gap, bolus": [
        {"time": F(0), "evid": 1, "amount": 100.0},
        {"time": F(5)},
        {"time": F(20), "evid": 1, "amount": 30.0},
        {"time": F(21)},
    ],
    "overlapping infusions and a rate change": [
        {"time": F(0), "evid": 1, "amount": 100.0, "duration": 10 * HOUR},
        {"time": F(4), "evid": 1, "amount": 10.0, "duration": 20 * HOUR},
        {"time": F(9), "cl": 3.0, "v": 9.0},
        {"time": F(12), "evid": 1, "amount": 70.0, "duration": 7 * HOUR, "cl": 3.0, "v": 9.0},
        {"time": F(30), "cl": 1.0, "v": 9.0},
    ],
    "reset, then the clock starts again": [
        {"time": F(0), "evid": 1, "amount": 100.0, "duration": 10 * HOUR},
        {"time": F(5), "evid": 3},
        {"time": F(6)},
        {"time": F(0), "evid": 4, "amount": 40.0, "addl": 2, "interval": 4 * HOUR},
        {"time": F(8)},  # where the last additional dose falls
        {"time": F(9)},
    ],
    "steady state of boluses, cancelling": [
        {"time": F(0), "evid": 1, "amount": 50.0, "duration": 30 * HOUR},
        {"time": F(3), "evid": 1, "amount": 20.0, "ss": 1, "interval": 6 * HOUR},
        {"time": F(8)},
    ],
    "steady state added, infusion shorter than its interval": [
        {"time": F(0), "evid": 1, "amount": 50.0, "duration": 30 * HOUR},
        {"time": F(3), "evid": 1, "amount": 20.0, "duration": 2 * HOUR, "ss": 2,
         "interval": 6 * HOUR, "addl": 1},
        {"time": F(8)},
        {"time": F(16)},
    ],
    "steady state, infusion longer than its interval": [
        {"time": F(0), "evid": 1, "amount": 20.0, "duration": F(35, 2), "ss": 1,
         "interval": 5 * HOUR, "addl": 1},
        {"time": F(1), "cl": 1.5},
        {"time": F(7)},
        {"time": F(30)},
    ],
    "constant infusion that goes on": [
        {"time": F(0), "evid": 1, "constant": 4.0, "ss": 1},
        {"time": F(0), "evid": 1, "amount": 40.0, "duration": 10 * HOUR},
        {"time": F(10)},
        {"time": F(14)},
    ],
}  # fmt: skip


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("case", NAMED)
def test_closed_form_and_reference_equal_an_ode_solver(
    case, interpolation, record, popk_log_c, reference
):
    records = [record(**row) for row in NAMED[case]]
    by_ode = reference(records, interpolation, ode=True)
    assert_equal(popk_log_c(records, interpolation), by_ode)
    np.testing.assert_allclose(reference(records, interpolation), by_ode, rtol=0, atol=1e-9)
