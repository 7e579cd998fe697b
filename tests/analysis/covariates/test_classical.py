"""Tests on individual estimates: against what R prints, and by simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from popk.analysis.covariates.classical import correlated, two_groups, warning


def test_hodges_lehmann_is_that_of_a_textbook_example():
    """Hollander & Wolfe 1999, example 4.1 (R: wilcox.test(x, y, conf.int = TRUE)).

    Permeability of membranes at term (x) and at 12-26 weeks (y): shift 0.305, p = 0.2544 (exact,
    two-sided).
    """
    x = np.array([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46])
    y = np.array([1.15, 0.88, 0.90, 0.74, 1.21])
    found = two_groups(np.exp(np.append(x, y)), np.append(np.ones(10), np.zeros(5)))
    assert found.p == pytest.approx(0.2544, abs=5e-5)
    assert np.log(found.ratio) == pytest.approx(0.305, abs=1e-9)
    assert found.q2_5 < found.ratio < found.q97_5
    assert found.sizes == (10, 5)


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(2)
    first = np.append(np.ones(12), np.zeros(14))
    hits = 0
    for _ in range(1000):
        values = np.exp(0.3 * rng.standard_normal(26) + 0.4 * first)
        found = two_groups(values, first)
        hits += found.q2_5 <= np.exp(0.4) <= found.q97_5
    assert binomtest(hits, 1000, 0.95).pvalue > 1e-3


def test_spearman_sees_a_monotone_relation():
    age = np.linspace(1.0, 12.0, 26)
    assert correlated(np.exp(age), age).rho == pytest.approx(1.0)
    assert correlated(1.0 / age, age).rho == pytest.approx(-1.0)


def test_shrunk_estimates_are_warned_of():
    assert warning(0.1) == ""
    assert warning(float("nan")) == ""
    assert "48 %" in warning(0.48)
