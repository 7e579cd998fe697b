"""Predictive checks of the figures that a paper prints: Css (mean, SD) and CL (median, range).

Css and CL are taken from concentrations alone, without the model's individual estimates, in the
data and in every replicate: what was measured at steady state, and rate over that.
"""

from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.checking.replicates import Replicates
from popk.analysis.exposure import current_rate
from popk.analysis.observations import population_values
from popk.population.events import arrange
from popk.spec.units import conversion_factor
from popk.study.fit import Fit, dosed_size
from popk.study.maximum import MaximumFit

LEAST_SUBJECTS = 3
NEAR = 0.02
"""Distance of the population prediction from rate/CL, on the log scale, at steady state."""


class PaperCheck(NamedTuple):
    """A predictive check of the figures of a paper.

    Attributes
    ----------
    table
        One figure a row: ``unit``, ``observed``, ``low``, ``median``, ``high`` (5, 50, 95 % of the
        replicates), ``p`` (two-sided, of the observed figure among them).
    replicates
        Figure to its value in each replicate.
    subjects, rows
        How many subjects, and concentrations at steady state, they are made of.
    """

    table: pd.DataFrame
    replicates: dict[str, Float[np.ndarray, " replicate"]]
    subjects: int
    rows: int


def paper_check(fit: Fit | MaximumFit, reps: Replicates) -> PaperCheck | None:
    """Compare Css and CL from concentrations at steady state with those of replicates.

    Returns
    -------
    PaperCheck or None
        None where fewer than three subjects were measured at the steady state of an infusion.
        CL of a subject is the geometric mean of rate/concentration at steady state, per unit of
        CL's scale; Css is what it gives at the nominal dose, where fit.toml has one.
    """
    spec = fit.model.spec
    cl_of_row, scale = _rate_over_unit(fit, reps)
    use = np.isfinite(cl_of_row)
    subjects = np.unique(reps.subject[use])
    if len(subjects) < LEAST_SUBJECTS:
        return None
    weights = (reps.subject[use][None, :] == subjects[:, None]).astype(float)
    weights /= weights.sum(axis=1, keepdims=True)
    floor = np.finfo(float).tiny

    def cl_of(dv: np.ndarray) -> np.ndarray:
        log_cl = np.log(cl_of_row[use]) - np.log(np.maximum(dv[..., use], floor))
        return np.exp(log_cl @ weights.T)

    figures = {
        "CL median": lambda cl: np.median(cl, axis=-1),
        "CL minimum": lambda cl: cl.min(axis=-1),
        "CL maximum": lambda cl: cl.max(axis=-1),
    }
    if fit.dose is not None:
        amount, time = spec.units.amount, spec.units.time
        rate = fit.dose.rate(amount, time) * dosed_size(fit.dose, fit.data)[subjects]
        per_cl = f"({amount})/({time})/({spec.parameters['CL'].unit})"
        dose = rate / scale[subjects] * conversion_factor(per_cl, spec.units.concentration)
        figures = {
            "Css mean": lambda cl: (dose / cl).mean(axis=-1),
            "Css SD": lambda cl: (dose / cl).std(axis=-1, ddof=1),
        } | figures
    own, simulated = cl_of(reps.own), cl_of(reps.dv)
    rows, replicated = {}, {}
    for name, figure in figures.items():
        value, values = float(figure(own)), figure(simulated)
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        rows[name] = {
            "unit": spec.units.concentration if name[:3] == "Css" else spec.typical_unit("CL"),
            "observed": value,
            "low": low,
            "median": middle,
            "high": high,
            "p": two_sided(value, values),
        }
        replicated[name] = values
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("figure")
    return PaperCheck(table, replicated, len(subjects), int(use.sum()))


def two_sided(value: float, values: Float[np.ndarray, " replicate"]) -> float:
    """Twice the smaller tail of a value among replicates, itself among them."""
    below, above = np.sum(values <= value), np.sum(values >= value)
    return float(min(1.0, 2.0 * (min(below, above) + 1) / (len(values) + 1)))


def _rate_over_unit(
    fit: Fit | MaximumFit, reps: Replicates
) -> tuple[Float[np.ndarray, " observation"], Float[np.ndarray, " subject"]]:
    """Rate in the unit of CL times concentration, per unit of scale; NaN off steady state.

    With it the scale of each subject.
    """
    model, data, spec = fit.model, fit.data, fit.model.spec
    amount, time = data.units.amount or spec.units.amount, data.units.time or spec.units.time
    unit = f"({amount})/({time})/({spec.units.concentration})"
    rate = current_rate(data)[data.observed]
    rate = rate * conversion_factor(unit, spec.parameters["CL"].unit)
    with jax.enable_x64(True):
        events, _ = arrange(spec, data)
        typical = np.asarray(model.predict(population_values(fit), events).parameters["CL"])
    scale = np.exp(np.asarray(events.log_scale["CL"])[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.log(reps.pred) + np.log(typical[reps.subject, 0]) - np.log(rate)
    steady = (rate > 0) & (np.abs(distance) < NEAR)
    return np.where(steady, rate / scale[reps.subject], np.nan), scale
