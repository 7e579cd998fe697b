"""What the estimates of many replicates say together, with Monte Carlo errors."""

import math

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats.mstats import mjci

ENDS = {"q2_5": 0.025, "q5": 0.05, "q95": 0.95, "q97_5": 0.975}
"""Ends of the 90 % and 95 % percentile intervals."""


def distribution(
    estimates: Float[np.ndarray, "replicate name"],
    own: Float[np.ndarray, " name"],
    names: tuple[str, ...],
) -> pd.DataFrame:
    """Mean, bias, standard error and percentiles of each column.

    Parameters
    ----------
    estimates
        Of each replicate; NaN where one has none.
    own
        What bias is counted from: the estimates of the fit itself.
    names
        Of the columns.

    Returns
    -------
    DataFrame
        Index: parameter. ``mean`` over replicates; ``bias`` = mean - own and ``bias_error``;
        ``se``, the SD over replicates, and ``se_error``; ``q2_5``, ``q5``, ``q95``, ``q97_5`` and
        ``..._error`` (Maritz & Jarrett, J Am Stat Assoc 1978;73:194-6). All errors are Monte Carlo
        standard errors.
    """
    rows = {
        name: _of_one(column[np.isfinite(column)], float(value))
        for name, column, value in zip(names, estimates.T, own, strict=True)
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename_axis("parameter")


def _of_one(values: Float[np.ndarray, " replicate"], own: float) -> dict[str, float]:
    n = len(values)
    if n < 2:
        columns = ["mean", "bias", "bias_error", "se", "se_error"]
        columns += [c for end in ENDS for c in (end, f"{end}_error")]
        return dict.fromkeys(columns, math.nan)
    se = float(values.std(ddof=1))
    row = {
        "mean": float(values.mean()),
        "bias": float(values.mean()) - own,
        "bias_error": se / math.sqrt(n),
        "se": se,
        "se_error": sd_error(values),
    }
    errors = np.asarray(mjci(values, list(ENDS.values())))
    for (end, probability), error in zip(ENDS.items(), errors, strict=True):
        row[end] = float(np.quantile(values, probability))
        row[f"{end}_error"] = float(error)
    return row


def sd_error(values: Float[np.ndarray, " replicate"]) -> float:
    """Standard error of an SD, by the fourth moment."""
    deviation = values - values.mean()
    variance = float(np.mean(deviation**2))
    if not variance > 0:
        return 0.0
    spread = float(np.mean(deviation**4)) - variance**2
    return math.sqrt(max(spread, 0.0) / len(values)) / (2.0 * math.sqrt(variance))
