"""Tests of NPDE: standard normal as a whole, and along time, time after dose and prediction."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm

from popk.analysis.checking.bins import bins
from popk.analysis.npde import Normality, normality
from popk.analysis.verdict import holm

SMALLEST = 1e-300
AXES = {"time": "TIME", "time after dose": "TAD", "PRED": "PRED"}


class NpdeTests(NamedTuple):
    """Whether NPDE are what a right model would give.

    Attributes
    ----------
    whole
        Tests of mean, variance and shape (see `popk.analysis.npde`).
    mean, sd
        Of the NPDE; 0 and 1 are expected.
    along
        One axis a row: ``mean_p`` (that all bins have mean 0), ``spread_p`` (that all have
        variance 1), ``bins``; ``p_holm`` of the smaller of both, doubled, over the axes.
    binned
        One axis and bin a row: ``axis``, ``middle``, ``start``, ``end``, ``n``, ``mean``, ``sd``.
    """

    whole: Normality
    mean: float
    sd: float
    along: pd.DataFrame
    binned: pd.DataFrame

    @property
    def trend_p(self) -> float:
        """Of all axes together; NaN without one."""
        p = self.along["p_holm"].to_numpy(float)
        known = p[np.isfinite(p)]
        return float(known.min()) if known.size else float("nan")


def npde_tests(table: pd.DataFrame) -> NpdeTests:
    """Test NPDE of an `observations` table.

    Under the right model the mean of n NPDE has variance 1/n, so that n mean² summed over bins is
    chi-square with a degree of freedom for each bin; so is the sum of squared normal scores of the
    bins' variances. NPDE of one subject are uncorrelated by construction.
    """
    values = table["NPDE"].to_numpy(float)
    rows, binned = {}, []
    for axis, column in AXES.items():
        places = bins(table[column].to_numpy(float))
        rows[axis], own = _along(values, places.of)
        for b, row in enumerate(own):
            edges = {"middle": places.middle[b], "start": places.start[b], "end": places.end[b]}
            binned.append({"axis": axis, "bin": b, **edges, **row})
    along = pd.DataFrame.from_dict(rows, orient="index").rename_axis("axis")
    both = np.minimum(2.0 * along[["mean_p", "spread_p"]].to_numpy(float).min(axis=1), 1.0)
    along["p_holm"] = holm(both)
    several = len(values) > 1
    return NpdeTests(
        normality(values),
        float(values.mean()),
        float(values.std(ddof=1)) if several else float("nan"),
        along,
        pd.DataFrame(binned),
    )


def _along(values: np.ndarray, of: np.ndarray) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Tests over the bins of one axis, and each bin's mean and SD."""
    count = int(of.max()) + 1 if of.size else 0
    own, means, spreads, several = [], 0.0, 0.0, 0
    for b in range(count):
        here = values[of == b]
        n, sd = here.size, float("nan")
        means += n * here.mean() ** 2
        if n > 1:
            sd, several = float(here.std(ddof=1)), several + 1
            square = (n - 1) * sd**2
            # The normal score of the smaller tail, lest the larger one be rounded to 1
            tail = min(chi2.cdf(square, n - 1), chi2.sf(square, n - 1))
            spreads += float(norm.isf(max(tail, SMALLEST))) ** 2
        own.append({"n": n, "mean": float(here.mean()), "sd": sd})
    if count < 2:
        return {"mean_p": float("nan"), "spread_p": float("nan"), "bins": count}, own
    spread = float(chi2.sf(spreads, several)) if several else float("nan")
    return {"mean_p": float(chi2.sf(means, count)), "spread_p": spread, "bins": count}, own
