"""How well simulated truths are recovered: bias, RMSE and coverage, with Monte Carlo errors."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import binomtest, norm

from popk.analysis.exposure import main_rate
from popk.data.dataset import Dataset
from popk.population.model import Model
from popk.spec.fit import Dose
from popk.spec.units import conversion_factor
from popk.study.fit import dosed_size

INTERVAL = 0.9


class Quantity(NamedTuple):
    """An individual quantity: truth [trial, subject]; estimates [trial, subject, 4]."""

    truth: np.ndarray
    estimate: np.ndarray
    unit: str


def quantities_of(
    model: Model,
    parameters: tuple[str, ...],
    truth: Float[np.ndarray, "trial parameter subject"],
    estimate: Float[np.ndarray, "trial parameter subject 4"],
    rate: Float[np.ndarray, " subject"],
) -> dict[str, Quantity]:
    spec = model.spec
    found = {
        name: Quantity(truth[:, j], estimate[:, j], spec.parameters[name].unit)
        for j, name in enumerate(parameters)
    }
    if "CL" in found and not np.isnan(rate).all():
        cl = found["CL"]
        # Css falls with CL: its quantiles are CL's in the opposite order
        turned = rate[:, None] / cl.estimate[..., [0, 3, 2, 1]]
        css = Quantity(rate / cl.truth, turned, spec.units.concentration)
        found = {"CL": found.pop("CL"), "Css": css, **found}
    return found


def rates(model: Model, data: Dataset, dose: Dose | None) -> tuple[np.ndarray, str]:
    """Rates over CL, in its unit, that give Css in the model's unit; and which they are."""
    units, unit = model.spec.units, model.spec.parameters["CL"].unit
    amount, time_unit = data.units.amount or units.amount, data.units.time or units.time
    rate, what = main_rate(data), "each subject's own rate"
    if dose is not None and not np.isnan(rate).all():
        amount, time_unit, what = units.amount, units.time, dose.nominal
        rate = dose.rate(amount, time_unit) * dosed_size(dose, data)
    factor = conversion_factor(f"({amount})/({time_unit})/({unit})", units.concentration)
    return factor * rate, what


def described(
    truth: Float[np.ndarray, "trial column"],
    estimate: Float[np.ndarray, "trial column 4"],
    positive: list[bool],
) -> dict[str, Any]:
    """Bias, RMSE and coverage of each column, with Monte Carlo errors."""
    n = len(truth)
    error = estimate[..., 2] - truth
    rmse = np.sqrt(np.mean(error**2, axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(positive, 100.0 * error / truth, np.nan)
        rmse_error = np.std(error**2, axis=0, ddof=1) / (2.0 * rmse * math.sqrt(n))
    inside = covered(truth, estimate)
    count = inside.sum(axis=0)
    # Half a trial each way: no error of zero where all intervals cover
    share = (count + 0.5) / (n + 1.0)
    return {
        "truth": truth.mean(axis=0),
        "bias": error.mean(axis=0),
        "bias_error": error.std(axis=0, ddof=1) / math.sqrt(n),
        "rmse": rmse,
        "rmse_error": rmse_error,
        "bias_percent": relative.mean(axis=0),
        "rmse_percent": np.sqrt(np.mean(relative**2, axis=0)),
        "coverage": count / n,
        "coverage_error": np.sqrt(share * (1.0 - share) / n),
        "coverage_p": [float(binomtest(int(k), n, INTERVAL).pvalue) for k in count],
    }


def covered(truth: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    return (estimate[..., 1] <= truth) & (truth <= estimate[..., 3])


def individuals(ids: tuple[str, ...], quantities: Mapping[str, Quantity]) -> pd.DataFrame:
    tables = {
        name: pd.DataFrame(
            described(own.truth, own.estimate, [True] * len(ids)), index=pd.Index(ids, name="ID")
        )
        for name, own in quantities.items()
    }
    if not tables:
        index = pd.MultiIndex.from_arrays([[], []], names=["quantity", "ID"])
        return pd.DataFrame({"coverage": [], "coverage_p": []}, index=index)
    return pd.concat(tables, names=["quantity"])


def overall(quantities: Mapping[str, Quantity]) -> pd.DataFrame:
    rows = {}
    for name, own in quantities.items():
        share = covered(own.truth, own.estimate).mean(axis=1)
        error = float(share.std(ddof=1)) / math.sqrt(len(share))
        z = (share.mean() - INTERVAL) / error if error else math.inf
        rows[name] = {
            "coverage": float(share.mean()),
            "coverage_error": error,
            "p": 2.0 * float(norm.sf(abs(z))),
        }
    columns = ["coverage", "coverage_error", "p"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.rename_axis("quantity")
