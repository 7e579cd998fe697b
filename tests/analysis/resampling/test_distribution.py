"""Percentiles, bias and their Monte Carlo errors against what is known of normal samples."""

import numpy as np
import pytest
from scipy.stats import norm

from popk.analysis.resampling.distribution import ENDS, distribution, sd_error

N, REPEATS = 400, 300


def test_errors_are_those_of_repeated_samples():
    """Each stated error is, on average, the SD of what it is the error of."""
    rng = np.random.default_rng(1)
    samples = 2.0 + 0.5 * rng.standard_normal((N, REPEATS))
    table = distribution(samples, np.full(REPEATS, 1.9), tuple(map(str, range(REPEATS))))
    # The SD over 300 samples is known to 4 %, an order statistic's error is itself an estimate
    for figure in ("bias", "se", *ENDS):
        spread = table[figure].std()
        assert table[f"{figure}_error"].mean() == pytest.approx(spread, rel=0.2)
    assert table["bias"].mean() == pytest.approx(0.1, abs=4 * 0.5 / np.sqrt(N * REPEATS))
    assert table["se"].mean() == pytest.approx(0.5, rel=0.01)
    for end, probability in ENDS.items():
        wanted = 2.0 + 0.5 * norm.ppf(probability)
        assert table[end].mean() == pytest.approx(wanted, abs=0.02)


def test_replicates_without_an_estimate_are_left_out():
    values = np.array([[1.0], [np.nan], [3.0]])
    row = distribution(values, np.array([1.5]), ("x",)).loc["x"]
    assert (row["mean"], row["bias"]) == (2.0, 0.5)
    assert np.isnan(distribution(values[:1], np.array([1.5]), ("x",)).loc["x", "se"])


def test_an_sd_of_equal_values_has_no_error():
    assert sd_error(np.ones(5)) == 0.0
