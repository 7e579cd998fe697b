"""Rates, widths and coverage of trials whose results are written by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from popk.analysis.power.cells import CRITERIA, cells, rate_error

TRIALS = pd.DataFrame(
    {
        "ratio": [0.5, 0.6, 1.0, 1.3], "q2_5": [0.3, 0.4, 0.8, 0.99], "q5": [0.4, 0.5, 0.85, 1.01],
        "q95": [0.7, 0.9, 1.1, 1.7], "q97_5": [0.75, 1.1, 1.2, 1.8], "inside": [0.0, 0.1, 0.9, 0.3],
        "verdict": [0, 2, 1, 2], "BF01": [0.01, 0.5, 4.0, 0.3],
        "wilcoxon": [0.001, 0.04, 0.5, 0.06], "spearman": [0.2, 0.01, 0.02, 0.03],
        "lr": [0.01, math.nan, 0.2, 0.04],
        "passed": [True, True, False, True], "method": [0, 1, 2, 0],
        "rhat": [1.001, 1.002, 1.02, 1.005], "draws": [1600, 1600, 4000, 1600],
    },
    index=pd.MultiIndex.from_tuples(
        [(10, 0.6, i) for i in range(4)], names=["infants", "ratio", "trial"]
    ),
)  # fmt: skip


def test_shares_of_trials():
    row = cells(TRIALS).loc[(10, 0.6)]
    assert row["trials"] == 4
    assert row["excludes_90"] == 0.75
    assert row["excludes_95"] == 0.25
    assert (row["below_90"], row["above_90"]) == (0.5, 0.25)
    assert (row["relevant"], row["not_relevant"], row["unknown"]) == (0.25, 0.25, 0.5)
    assert row["bayes_factor"] == 0.5
    assert row["bayes_factor_none"] == 0.25
    assert row["wilcoxon"] == 0.5
    assert row["spearman"] == 0.75
    assert row["lr"] == 0.5  # a search that has not ended rejects nothing
    assert row["coverage"] == 0.5
    assert row["width"] == pytest.approx(np.mean(np.log(TRIALS["q95"] / TRIALS["q5"])))
    assert (row["missed"], row["refitted"], row["rhat"]) == (1, 2, 1.02)
    assert row["median"] == pytest.approx(np.prod(TRIALS["ratio"]) ** 0.25)
    assert all(row[f"{name}_error"] > 0 for name in CRITERIA)


def test_a_criterion_without_values_has_no_rate():
    row = cells(TRIALS.assign(BF01=math.nan, lr=math.nan)).loc[(10, 0.6)]
    assert math.isnan(row["bayes_factor"])
    assert math.isnan(row["bayes_factor_none"])
    assert math.isnan(row["lr"])
    assert row["wilcoxon"] == 0.5


def test_each_cell_has_a_row():
    other = TRIALS.rename({10: 20, 0.6: 1.0})
    table = cells(pd.concat([TRIALS, other]))
    assert list(table.index) == [(10, 0.6), (20, 1.0)]
    # The same intervals around another truth
    assert table.loc[(20, 1.0), "coverage"] == 0.25


def test_the_error_of_a_rate():
    assert rate_error(0.5, 500) == pytest.approx(math.sqrt(0.25 / 500))
    # Not zero where no trial of 500 did: about that of one in 500
    assert rate_error(0.0, 500) == pytest.approx(1 / 500, rel=0.02)
