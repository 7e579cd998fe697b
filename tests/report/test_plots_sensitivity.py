"""Figures of prior sensitivity and of sampling times: what they show, and that nothing overlaps."""

import numpy as np
import pandas as pd
import pytest

from popk.report.plots.sensitivity import of_information, of_sensitivity, to_files
from tests.report.drawn import overlapping, texts


def row(median, conflict_p=0.5, diagnosis="", **data):
    return {
        "prior": 0.01, "likelihood": 0.12, "conflict_p": conflict_p,
        "prior_median": 1.0, "prior_q5": 0.2, "prior_q95": 5.0,
        "median": median, "q5": 0.9 * median, "q95": 1.1 * median,
        "data": median, "data_q5": 0.8 * median, "data_q95": 1.2 * median,
        "diagnosis": diagnosis, **data,
    }  # fmt: skip


@pytest.fixture
def table():
    rows = {
        "TVCL": row(0.9),
        "TVV": row(400.0, 1e-9, "prior-data conflict"),
        "omega_V": row(0.4, np.nan, "strong prior or weak likelihood",
                       data=np.nan, data_q5=np.nan, data_q95=np.nan),
        "CL_AGE_below": row(0.1) | {"prior_median": 0.0, "prior_q5": -0.8, "prior_q95": 0.8},
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


@pytest.fixture
def times():
    time = np.linspace(0.0, 10.0, 21)
    table = pd.DataFrame(
        {
            "reference": ["start"] * 21 + ["end"] * 21,
            "time": np.tile(time, 2),
            "concentration": np.concatenate([1 - np.exp(-time), np.exp(-time)]),
            "sd_CL": np.full(42, 0.1),
            "sd_V": np.concatenate([0.1 + time / 30, 0.4 - time / 40]),
        }
    )
    table.attrs = {"sd": {"CL": 0.1, "V": 0.45}, "unit": "h", "concentration_unit": "pg/mL",
                   "infusion": True}  # fmt: skip
    return table


def test_sensitivities_and_diagnoses_stand_beside_the_intervals(table):
    figure = of_sensitivity(table, synthetic=True)
    said = "\n".join(text for text, _ in texts(figure))
    for expected in ("SYNTHETIC DATA", "TVCL\n0.9 (0.81 to 0.99)", "prior-data conflict",
                     "0.01   0.12   < 0.001", "p of their conflict", "data alone"):  # fmt: skip
        assert expected in said
    assert "SYNTHETIC" not in "".join(text for text, _ in texts(of_sensitivity(table)))
    assert not overlapping(figure)
    # The kinds differ by marker and line, not by colour alone; far away stands an arrow
    lines = figure.axes[0].get_lines()
    assert {"s", "o", "^", ">"} <= {line.get_marker() for line in lines}
    assert {line.get_linestyle() for line in lines if line.get_marker() == "None"} == {"-", "--"}


def test_sampling_times_have_units_and_markers(times):
    figure = of_information(times, "h", synthetic=True)
    said = [text for text, _ in texts(figure)]
    assert "time after the start of dosing (h)" in said
    assert "time after the end of the infusion (h)" in said
    assert "typical C\n(pg/mL)" in said
    assert any("SYNTHETIC DATA" in text for text in said)
    assert not overlapping(figure)
    curves = [line for line in figure.axes[2].get_lines() if line.get_marker() != "None"]
    assert len({line.get_marker() for line in curves}) == len(curves) == 2


def test_both_become_files(table, times):
    files = to_files(table, times, "h", synthetic=False)
    assert set(files) == {"prior_sensitivity.svg", "sampling_times.svg"}
    assert all("<svg" in text for text in files.values())
