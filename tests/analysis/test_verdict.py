"""From p values to outcomes, and Holm's correction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.analysis.verdict import by_p, holm


def test_p_values_and_their_outcomes():
    assert [by_p(p) for p in (1.0, 0.05, 0.049, 0.001, 0.0009, float("nan"))] == [
        "passed", "passed", "look here", "look here", "failed", "not possible"
    ]  # fmt: skip


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_each_p_and_bonferroni(values):
    p = np.array(values)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(p * len(p), 1.0) + 1e-12).all()
    assert adjusted.min() == pytest.approx(min(1.0, p.min() * len(p)))
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


def test_holm_by_hand_and_without_what_is_missing():
    np.testing.assert_allclose(
        holm(np.array([0.01, np.nan, 0.04, 0.03])), [0.03, np.nan, 0.06, 0.06]
    )
