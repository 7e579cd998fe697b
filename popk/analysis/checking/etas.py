"""Etas against covariates, and how far both etas and residuals shrink."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import kruskal, spearmanr

from popk.analysis.observations import individual_values
from popk.analysis.summary import parameters
from popk.analysis.verdict import holm
from popk.population.subjects import varied
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

SHRUNKEN = 0.30
"""Shrinkage from which plots of individual estimates mislead (Savic & Karlsson, AAPS J
2009;11:558-69: 20 to 30 %)."""
FEWEST = 5


class Etas(NamedTuple):
    """Individual deviations from what the model expects.

    Attributes
    ----------
    values
        Index: ID. ``NAME`` of each parameter with variability: posterior mean or conditional mode
        of eta; and every covariate at baseline (levels as words).
    tests
        One parameter and covariate a row: ``rho`` (Spearman; NaN for levels), ``p`` (of it; for
        levels Kruskal-Wallis), ``p_holm`` (of all rows together).
    shrinkage
        Name ("CL", ..., "residual") to 1 - SD/omega and 1 - SD(IWRES).
    units
        Covariate to its unit.
    """

    values: pd.DataFrame
    tests: pd.DataFrame
    shrinkage: dict[str, float]
    units: dict[str, str]


def etas(fit: Fit | MaximumFit, iwres: Float[np.ndarray, " observation"]) -> Etas:
    """Etas, their rank correlation with each covariate, and shrinkage.

    Parameters
    ----------
    fit
        A posterior or estimates.
    iwres
        Residuals in SDs, NaN where censored.
    """
    data = fit.data
    own = individual_values(fit)
    columns = {name: own[f"eta_{name}"].mean(axis=0) for name in varied(fit.model)}
    names = tuple(columns)
    units, rows = {}, []
    for covariate, values in data.covariates.items():
        levels = data.levels.get(covariate, ())
        baseline = values[:, 0]
        units[covariate] = data.covariate_units.get(covariate) or ""
        columns[covariate] = [levels[int(v)] for v in baseline] if levels else baseline
        rows += [
            {"parameter": name, "covariate": covariate, **_test(columns[name], baseline, levels)}
            for name in names
        ]
    tests = pd.DataFrame(rows, columns=["parameter", "covariate", "rho", "p"])
    tests["p_holm"] = holm(tests["p"].to_numpy(float))
    table: Any = parameters(fit)
    shrinkage = {name: float(table.loc[f"omega_{name}", "shrinkage"]) for name in names
                 if f"omega_{name}" in table.index}  # fmt: skip
    known = iwres[np.isfinite(iwres)]
    several = known.size > 1
    shrinkage["residual"] = 1.0 - float(known.std(ddof=1)) if several else float("nan")
    values = pd.DataFrame(columns, index=pd.Index(data.ids, name="ID"))
    return Etas(values, tests, shrinkage, units)


def _test(eta: np.ndarray, covariate: np.ndarray, levels: tuple[str, ...]) -> dict[str, float]:
    """Rank correlation, or for levels whether they differ; NaN where there is nothing to see."""
    several = np.unique(covariate)
    if len(eta) < FEWEST or len(several) < 2 or np.ptp(eta) == 0:
        return {"rho": float("nan"), "p": float("nan")}
    if levels:
        return {
            "rho": float("nan"),
            "p": float(kruskal(*(eta[covariate == v] for v in several)).pvalue),
        }
    found: Any = spearmanr(eta, covariate)
    return {"rho": float(found[0]), "p": float(found[1])}
