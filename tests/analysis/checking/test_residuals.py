"""Tests of NPDE along axes: exact under the model, and they find what they are for."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, chi2

from popk.analysis.checking.residuals import npde_tests


def table(values, rng):
    """Observations at times, times after dose and predictions that have nothing to do with them."""
    n = len(values)
    time = rng.uniform(0, 100, n).round(1)
    return pd.DataFrame(
        {"NPDE": values, "TIME": time, "TAD": time % 12, "PRED": rng.lognormal(0, 1, n)}
    )


@pytest.mark.slow
def test_of_standard_normal_numbers_they_reject_as_often_as_they_should():
    rng = np.random.default_rng(1)
    found = [npde_tests(table(rng.standard_normal(150), rng)) for _ in range(150)]
    for axis in ("time", "time after dose", "PRED"):
        for column in ("mean_p", "spread_p"):
            p = np.array([own.along.loc[axis, column] for own in found])
            low, high = binom.ppf([1e-4, 1 - 1e-4], 150, 0.1)
            assert low <= np.sum(p < 0.1) <= high
    trend = np.array([own.trend_p for own in found])
    assert np.sum(trend < 0.05) <= binom.ppf(1 - 1e-4, 150, 0.05)


def test_the_statistics_are_those_of_the_bins():
    rng = np.random.default_rng(2)
    own = table(rng.standard_normal(120) + 0.3, rng)
    found = npde_tests(own)
    binned = found.binned[found.binned["axis"] == "time"]
    square = (binned["n"] * binned["mean"] ** 2).sum()
    assert found.along.loc["time", "mean_p"] == pytest.approx(chi2.sf(square, len(binned)))
    for _, row in binned.iterrows():
        here = own["TIME"].between(row["start"], row["end"])
        assert here.sum() == row["n"]
        assert own.loc[here, "NPDE"].mean() == pytest.approx(row["mean"])
        assert own.loc[here, "NPDE"].std() == pytest.approx(row["sd"])
    assert found.mean == pytest.approx(own["NPDE"].mean())


@pytest.mark.parametrize(
    ("wrong", "column"),
    [
        (lambda z, t: z + 0.8 * np.cos(t["TIME"] / 15), "mean_p"),
        (lambda z, t: z * np.where(t["TIME"] > 50, 1.8, 0.6), "spread_p"),
    ],
)
def test_a_trend_along_one_axis_is_found_and_named(wrong, column):
    rng = np.random.default_rng(3)
    own = table(rng.standard_normal(150), rng)
    own["NPDE"] = wrong(own["NPDE"], own)
    found = npde_tests(own)
    assert found.along.loc["time", column] < 1e-3
    assert found.trend_p < 1e-2
    assert found.along["p_holm"].idxmin() == "time"


def test_one_bin_or_no_value_on_an_axis_is_no_test():
    own = pd.DataFrame({"NPDE": [0.0, 1.0, -1.0, 2.0, -2.0], "TIME": 1.0, "TAD": np.nan,
                        "PRED": 3.0})  # fmt: skip
    found = npde_tests(own)
    assert np.isnan(found.trend_p)
    assert found.along["bins"].tolist() == [1, 0, 1]
