"""Records added at any times: what was there stays, and the new ones are as if always there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popk.data.dataset import PER_RECORD
from popk.data.grid import at_times
from popk.population.events import arrange
from popk.population.model import Model
from popk.spec.model import ModelSpec

BETWEEN = {"distribution": "lognormal", "sd": {"prior": "halfnormal", "scale": 0.5}}
SPEC = ModelSpec.model_validate(
    {
        "name": "grid",
        "structure": "one_compartment",
        "units": {"time": "h", "amount": "mg", "concentration": "mg/L"},
        "parameters": {
            "CL": {
                "unit": "L/h",
                "scale": {"covariate": "WT", "reference": "5 kg"},
                "typical": {"prior": "lognormal", "median": 1.0, "sigma": 1.0},
                "variability": BETWEEN,
            },
            "V": {
                "unit": "L",
                "scale": {"covariate": "WT", "reference": "5 kg"},
                "typical": {"prior": "lognormal", "median": 5.0, "sigma": 1.0},
                "variability": BETWEEN,
            },
        },
        "residual": {"error": "additive", "sd": {"prior": "halfnormal", "scale": 0.5}},
    }
)
HEAD = "ID,TIME,AMT,RATE,DV,EVID,MDV,SS,II,ADDL,WT"
ROWS = {
    "infused": [
        (0, "48,2,.,1,1,0,0,0", 5.0),
        (6, "0,0,8,0,0,0,0,0", 5.5),
        (24, "0,0,9,0,0,0,0,0", 6.5),
        (30, "0,0,2,0,0,0,0,0", 7.0),
    ],
    "repeated": [
        (1, "0,0,1,0,0,0,0,0", 3.0),
        (2, "20,0,.,1,1,0,6,3", 3.5),
        (2, "0,0,4,0,0,0,0,0", 4.0),
        (15, "0,0,3,0,0,0,0,0", 4.5),
        (26, "30,10,.,1,1,0,0,0", 5.0),
        (40, "0,0,1,0,0,0,0,0", 6.0),
    ],
    "steady": [(0, "10,5,.,1,1,1,8,1", 8.0), (3, "0,0,5,0,0,0,0,0", 8.5)],
    "reset": [
        (0, "20,0,.,1,1,0,0,0", 4.0),
        (10, "0,0,3,0,0,0,0,0", 4.5),
        (0, "30,3,.,4,1,0,0,0", 5.0),
        (4, "0,0,6,0,0,0,0,0", 5.5),
    ],
}
COLUMNS = {"WT": {"covariate": True, "unit": "kg"}, "TIME": {"unit": "h"}}
VALUES = {"TVCL": np.array(0.8), "TVV": np.array(4.0)}


def text(rows):
    lines = [HEAD]
    for name, records in rows.items():
        lines += [f"{name},{time!r},{items},{wt}" for time, items, wt in records]
    return "\n".join([*lines, ""])


def predicted(data):
    """[subject, record] log concentrations."""
    events, layout = arrange(SPEC, data)
    values = VALUES | {f"eta_{p}": np.linspace(-0.3, 0.3, data.subjects) for p in ("CL", "V")}
    log_c = np.asarray(Model(SPEC).predict(values, events).log_concentration)
    return np.take_along_axis(log_c, layout.step, axis=1)


def of_records(data, record, values):
    return np.take_along_axis(values, record, axis=1)


TIMES = st.lists(
    st.one_of(st.floats(-2.0, 60.0).map(lambda t: round(t, 2)), st.sampled_from([0.0, 2, 24, 26])),
    min_size=4,
    max_size=4,
)


@pytest.mark.parametrize("interpolation", ["nocb", pytest.param("locf", marks=pytest.mark.slow)])
def test_predictions_of_the_records_stay(read, interpolation):
    data = read(text(ROWS), columns=COLUMNS, interpolation=interpolation)
    before = predicted(data)

    @settings(max_examples=15)
    @given(TIMES)
    def stay(times):
        extended, record = at_times(data, np.tile(times, (data.subjects, 1)))
        after = predicted(extended)
        for i in range(data.subjects):
            is_new = np.zeros(extended.mask.shape[1], dtype=bool)
            is_new[record[i]] = True
            kept = extended.mask[i] & ~is_new
            np.testing.assert_allclose(after[i, kept], before[i, data.mask[i]], rtol=1e-12)
            for name in PER_RECORD:
                old, new = getattr(data, name)[i, data.mask[i]], getattr(extended, name)[i]
                np.testing.assert_array_equal(new[kept], old)
        assert extended.observations == data.observations
        new = np.take_along_axis(extended.time, record, axis=1)
        np.testing.assert_allclose(new, np.tile(times, (data.subjects, 1)), atol=1e-6)
        assert (extended.evid[np.arange(data.subjects)[:, None], record] == 2).all()

    stay()


def with_rows(rows, times, interpolation):
    """The rows of one subject with EVID=2 rows written into them by hand."""
    rows = [(time, items, wt, False) for time, items, wt in rows]
    for time in sorted(times):
        place = sum(row[0] <= time for row in rows)
        here = place > 0 and rows[place - 1][0] == time
        later = interpolation == "nocb" and place < len(rows) and not here
        own = rows[min(place, len(rows) - 1)] if later else rows[max(place - 1, 0)]
        rows.insert(place, (time, ".,.,.,2,1,.,.,.", own[2], True))
    return [row[:3] for row in rows], [i for i, row in enumerate(rows) if row[3]]


@pytest.mark.parametrize("interpolation", ["nocb", "locf"])
def test_new_records_are_as_if_they_had_stood_in_the_file(read, interpolation):
    rows = {name: ROWS[name] for name in ("infused", "repeated", "steady")}
    data = read(text(rows), columns=COLUMNS, interpolation=interpolation)
    times = [0.0, 1.5, 2.0, 8.0, 14.25, 24.0, 25.5, 29.0, 30.0, 50.0]
    written = {name: with_rows(own, times, interpolation) for name, own in rows.items()}
    direct = read(
        text({name: own for name, (own, _) in written.items()}),
        columns=COLUMNS,
        interpolation=interpolation,
    )
    extended, record = at_times(data, np.tile(times, (data.subjects, 1)))
    np.testing.assert_array_equal(record, [places for _, places in written.values()])
    for name in (n for n in PER_RECORD if n != "line"):
        np.testing.assert_array_equal(getattr(extended, name), getattr(direct, name), err_msg=name)
    np.testing.assert_array_equal(extended.covariates["WT"], direct.covariates["WT"])
    np.testing.assert_allclose(predicted(extended), predicted(direct), rtol=1e-12)


def test_a_dose_at_the_time_counts_and_order_does_not(read):
    data = read(text({"a": [(0, "20,0,.,1,1,0,0,0", 5.0), (5, "0,0,2,0,0,0,0,0", 5.0)]}),
                columns=COLUMNS)  # fmt: skip
    extended, record = at_times(data, np.array([[5.0, 0.0, 2.0, 0.1 + 0.2 - 0.3]]))
    log_c = predicted(extended)[0, record[0]]
    eta = -0.3
    cl, v = 0.8 * np.exp(eta), 4.0 * np.exp(eta)
    expected = np.log(20 / v) - cl / v * np.array([5.0, 0.0, 2.0, 0.0])
    np.testing.assert_allclose(log_c, expected, rtol=1e-12)


def test_after_a_reset_times_belong_to_the_last_stretch(read):
    data = read(text({"a": ROWS["reset"]}), columns=COLUMNS)
    extended, record = at_times(data, np.array([[3.0, 12.0, -1.0]]))
    np.testing.assert_array_equal(record[0], [4, 6, 0])
    np.testing.assert_array_equal(extended.time[0], [-1.0, 0.0, 10.0, 0.0, 3.0, 4.0, 12.0])
    np.testing.assert_array_equal(extended.covariates["WT"][0], [4, 4, 4.5, 5, 5.5, 5.5, 5.5])


@pytest.mark.parametrize("times", [[[np.nan]], [[1.0], [2.0]], [1.0]])
def test_wrong_times_are_refused(read, times):
    data = read(text({"a": ROWS["infused"]}), columns=COLUMNS)
    with pytest.raises(ValueError, match="expected finite ones"):
        at_times(data, np.array(times))
