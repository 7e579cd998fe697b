"""What the trials of each cell say together: rates of the criteria, width, coverage."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.covariates.criteria import VERDICTS
from popk.analysis.covariates.effects import NOT_RELEVANT, RELEVANT, UNKNOWN

CRITERIA = {
    "excludes_90": "90 % interval excludes 1",
    "excludes_95": "95 % interval excludes 1",
    "below_90": "90 % interval lies below 1",
    "above_90": "90 % interval lies above 1",
    "bayes_factor": "BF01 < 1/3",
    "bayes_factor_none": "BF01 > 3",
    "lr": "likelihood ratio, p < 0.05",
    "wilcoxon": "Wilcoxon-Mann-Whitney on individual estimates, p < 0.05",
    "spearman": "Spearman's correlation of individual estimates, p < 0.05",
    "relevant": f"verdict: {RELEVANT}",
    "not_relevant": f"verdict: {NOT_RELEVANT}",
    "unknown": f"verdict: {UNKNOWN}",
}
"""Columns of `cells` that are shares of trials, in words."""
VERDICT_COLUMNS = dict(zip(("relevant", "not_relevant", "unknown"), VERDICTS, strict=True))
FALLING = ("unknown", "width")
"""What falls as infants are added."""


def cells(trials: pd.DataFrame) -> pd.DataFrame:
    """One cell a row, from one trial a row.

    Parameters
    ----------
    trials
        Index infants, ratio, trial; columns as in `popk.analysis.power.trials.done`.

    Returns
    -------
    DataFrame
        Index ``infants``, ``ratio`` (the true one). ``trials``; the shares of `CRITERIA`;
        ``coverage`` of the 90 % interval; ``width``, the mean of log(q95/q5); each with its Monte
        Carlo standard error in ``..._error``. ``median``: the geometric mean of the posterior
        medians. ``lr_left``: likelihoods whose search has not ended. ``missed``: trials without a
        converged posterior, which are counted in every column; ``refitted``: those that needed a
        fit of their own; ``rhat``: the worst.
        A share for which no trial has a value (the Bayes factor of a linear effect, a test that
        was not made) is NaN. A likelihood whose search has not ended rejects nothing.
    """
    rows: dict[tuple[int, float], dict[str, float]] = {}
    for key, own in trials.groupby(level=["infants", "ratio"], sort=True):
        cell: Any = key
        rows[cell] = _row(own, float(cell[1]))
    table = pd.DataFrame.from_records(list(rows.values()))
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["infants", "ratio"])
    return table.astype({"trials": int, "lr_left": int, "missed": int, "refitted": int})


def _row(own: pd.DataFrame, ratio: float) -> dict[str, float]:
    q5, q95 = own["q5"].to_numpy(float), own["q95"].to_numpy(float)
    said = {
        "excludes_90": (q5 > 1.0) | (q95 < 1.0),
        "excludes_95": (own["q2_5"].to_numpy() > 1.0) | (own["q97_5"].to_numpy() < 1.0),
        "below_90": q95 < 1.0,
        "above_90": q5 > 1.0,
        "bayes_factor": _where_known(own["BF01"].to_numpy(float), 1.0 / 3.0),
        "bayes_factor_none": _where_known(-own["BF01"].to_numpy(float), -3.0),
        "lr": _where_known(own["lr"].to_numpy(float), 0.05),
        "wilcoxon": _where_known(own["wilcoxon"].to_numpy(float), 0.05),
        "spearman": _where_known(own["spearman"].to_numpy(float), 0.05),
        **{
            name: own["verdict"].to_numpy() == VERDICTS.index(word)
            for name, word in VERDICT_COLUMNS.items()
        },
        "coverage": (q5 <= ratio) & (ratio <= q95),
    }
    row: dict[str, float] = {"trials": len(own)}
    for name, each in said.items():
        row[name] = float(np.mean(each))
        row[f"{name}_error"] = rate_error(row[name], len(own))
    width = np.log(q95 / q5)
    row["width"] = float(width.mean())
    row["width_error"] = float(width.std(ddof=1) / np.sqrt(len(width)))
    row["median"] = float(np.exp(np.log(own["ratio"].to_numpy(float)).mean()))
    # Of a test that was not made it says nothing
    left = np.isnan(own["lr"].to_numpy(float))
    row["lr_left"] = 0 if left.all() else int(left.sum())
    row["missed"] = int((~own["passed"].to_numpy(bool)).sum())
    row["refitted"] = int((own["method"].to_numpy() != 0).sum())
    row["rhat"] = float(own["rhat"].to_numpy(float).max())
    return row


def rate_error(rate: float, trials: int) -> float:
    """Monte Carlo standard error of a share of trials.

    With one success and one failure added: it is not zero where no trial, or every one, did
    (Agresti & Coull, Am Stat 1998;52:119-26).
    """
    smooth = (rate * trials + 1.0) / (trials + 2.0)
    return float(np.sqrt(smooth * (1.0 - smooth) / trials))


def _where_known(values: Float[np.ndarray, " trial"], limit: float) -> Float[np.ndarray, " trial"]:
    """1 where a value is below the limit, 0 where not; NaN for all where none is known."""
    return np.where(np.isnan(values).all(), np.nan, (values < limit).astype(float))
