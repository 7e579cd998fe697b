"""Predictive checks on replicates made by hand, so that every figure is known."""

import numpy as np
import pytest
from scipy.stats import binom

from popk.analysis.checking.replicates import Replicates
from popk.analysis.checking.vpc import beyond_limits, correction, time_bins, vpc

TIMES = np.array([2.0, 24.0, 48.0, 96.0])


def made(seed, shift=0.0, subjects=30, count=400, limits=(None, None), sd=0.3):
    """Log-normal data around a prediction that depends on the subject's dose and on time."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), TIMES.size)
    time = np.tile(TIMES, subjects)
    dose = np.exp(np.linspace(-3.0, 3.0, subjects))[subject]
    pred = dose * np.exp(-0.02 * time)
    eta = sd * rng.standard_normal((count + 1, subjects))[:, subject]
    dv = pred * np.exp(eta + 0.1 * rng.standard_normal((count + 1, time.size)))
    own = dv[0] * np.exp(shift * (time > 40))
    lower, upper = (np.full(time.size, bound) for bound in (-np.inf, np.inf))
    low, high = limits
    below = own < low if low is not None else np.zeros(time.size, bool)
    above = own > high if high is not None else np.zeros(time.size, bool)
    upper = np.where(below, low if low is not None else np.inf, upper)
    lower = np.where(above, high if high is not None else -np.inf, lower)
    censored = below | above
    return Replicates(dv[1:], own, pred, subject, time, time, censored, lower, upper, True)


def test_the_table_holds_the_quantiles_of_each_bin():
    reps = made(1)
    found = vpc(reps)
    assert found.table["bin"].nunique() == 4
    for (b, level), row in found.table.groupby(["bin", "quantile"]):
        here = reps.time == TIMES[b]
        row = row.iloc[0]
        assert row["observed"] == pytest.approx(np.quantile(reps.own[here], level))
        own = np.quantile(reps.dv[:, here], level, axis=1)
        assert row["low"] == pytest.approx(np.quantile(own, 0.05))
        assert row["high"] == pytest.approx(np.quantile(own, 0.95))
        assert row["band_low"] <= row["low"]
        assert row["band_high"] >= row["high"]
        assert (row["n"], row["start"], row["end"]) == (30, TIMES[b], TIMES[b])
    # Few in a bin: the outer quantiles are not the extremes
    assert sorted(found.table["quantile"].unique()) == [0.1, 0.5, 0.9]
    assert sorted(vpc(made(1, subjects=40)).table["quantile"].unique()) == [0.05, 0.5, 0.95]


@pytest.mark.parametrize("corrected", [False, True])
def test_a_right_model_is_rejected_as_rarely_as_it_should(corrected):
    p = np.array([vpc(made(seed, count=200), corrected=corrected).p for seed in range(100)])
    assert np.sum(p < 0.05) <= binom.ppf(1 - 1e-4, 100, 0.05)
    assert np.mean(p < 0.5) > 0.3  # and not never


def test_correction_brings_all_doses_together_and_sees_more():
    reps = made(2, shift=0.25)
    factor = correction(reps, time_bins(reps))
    for t in TIMES:
        here = reps.time == t
        np.testing.assert_allclose((reps.pred * factor)[here], np.median(reps.pred[here]))
    # Doses differ by a factor of 400: uncorrected quantiles hide a quarter's shift
    shifted = [made(seed, shift=0.25) for seed in range(10)]
    caught = [sum(vpc(r, corrected=c).p < 0.05 for r in shifted) for c in (False, True)]
    assert caught[1] >= caught[0] + 3
    out = vpc(reps, corrected=True).table.query("outside")
    assert (out["start"] > 40).all()


def test_rows_without_a_prediction_are_not_corrected():
    reps = made(3)
    reps.pred[:2] = 0.0
    factor = correction(reps, time_bins(reps))
    assert (factor[:2] == 1.0).all()
    assert np.isfinite(factor).all()


def test_fractions_beyond_both_limits_are_counted_in_each_bin():
    reps = made(4, limits=(0.1, 5.0))
    found = beyond_limits(reps)
    assert found.limits == {"below": (0.1,), "above": (5.0,)}
    for (side, b), row in found.table.groupby(["side", "bin"]):
        here = reps.time == TIMES[b]
        out = reps.own[here] < 0.1 if side == "below" else reps.own[here] > 5.0
        simulated = reps.dv[:, here] < 0.1 if side == "below" else reps.dv[:, here] > 5.0
        row = row.iloc[0]
        assert row["observed"] == pytest.approx(out.mean())
        assert row["median"] == pytest.approx(np.median(simulated.mean(axis=1)))
    assert found.p > 0.05
    # The same data censored by a better assay than the model is told of
    wrong = made(4, limits=(0.1, 5.0))
    wrong.dv[:] = wrong.dv * 3.0
    assert beyond_limits(wrong).p < 0.01


def test_a_measured_value_below_the_limit_of_others_has_no_limit():
    reps = made(5, limits=(0.1, None))
    here = np.flatnonzero(~reps.censored)[0]
    reps.own[here] = 0.05
    low = beyond_limits(reps).table
    assert low["n"].sum() == reps.own.size - 1
    assert set(low["side"]) == {"below"}


def test_without_censored_rows_there_is_nothing_to_compare():
    found = beyond_limits(made(6))
    assert found.table.empty
    assert np.isnan(found.p)
