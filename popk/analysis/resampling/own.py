"""What a fit itself says of its population parameters, as what its refits are held against."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import norm

from popk.analysis.exposure import main_rate
from popk.analysis.summary import parameters
from popk.data.dataset import Dataset
from popk.population.events import arrange
from popk.population.model import Model
from popk.spec.fit import Dose
from popk.spec.units import conversion_factor
from popk.study.fit import Fit, dosed_size
from popk.study.maximum import MaximumFit

SAME = 1e-6
"""Relative difference up to which a figure is the same for all subjects."""
CSS = "Css"
MOST = 2000
"""Draws that are kept to be drawn."""


class Own(NamedTuple):
    """A fit's population values and how sure it is of them.

    Attributes
    ----------
    table
        Index: parameter. ``unit``, ``estimate`` (posterior median, or the estimate), ``fit_sd``
        (posterior SD, or the standard error by the Hessian), ``fit_q5``, ``fit_q95`` (90 %
        interval). The last row may be ``Css``, at the nominal dose with the typical clearance.
    mean, covariance
        Posterior mean and covariance, or estimates and theirs, without Css.
    error
        Monte Carlo standard error of the mean.
    draws
        One parameter a column, Css among them: posterior draws, evenly chosen ones; for estimates
        quantiles of a normal with the standard error by the Hessian. To be drawn.
    css
        Css times TVCL; None where it is not the same for all subjects, or there is no dose.
    """

    table: pd.DataFrame
    mean: Float[np.ndarray, " name"]
    covariance: Float[np.ndarray, "name name"]
    error: Float[np.ndarray, " name"]
    draws: pd.DataFrame
    css: float | None

    @property
    def names(self) -> tuple[str, ...]:
        """Population parameters, correlations last, without Css."""
        return tuple(str(name) for name in self.table.index if name != CSS)


def own_of(fit: Fit | MaximumFit) -> Own:
    """The fit's own population values."""
    table, names = parameters(fit), (*fit.model.population_names, *fit.model.correlation_names)
    if isinstance(fit, MaximumFit):
        middle, spread = "estimate", "se"
        mean, covariance = np.asarray(fit.estimate.values), np.asarray(fit.estimate.covariance)
        error = np.zeros(len(names))
    else:
        middle, spread = "median", "sd"
        flat = np.stack([fit.samples.draws[name].reshape(-1) for name in names], axis=1)
        mean, covariance = flat.mean(axis=0), np.atleast_2d(np.cov(flat, rowvar=False))
        bulk = table.loc[list(names), "ess_bulk"].to_numpy(float)
        error = np.sqrt(np.diag(covariance) / bulk)
    columns = {
        "unit": "unit", middle: "estimate", spread: "fit_sd", "q5": "fit_q5", "q95": "fit_q95",
    }  # fmt: skip
    own = table.loc[list(names), list(columns)].rename(columns=columns)
    css = css_by_clearance(fit.model, fit.data, fit.dose)
    if css is not None and "TVCL" in names:
        own.loc[CSS] = _of_css(fit, css, own)
    draws = _draws(fit, own)
    return Own(own, mean, covariance, error, draws, css if CSS in own.index else None)


def css_by_clearance(model: Model, data: Dataset, dose: Dose | None) -> float | None:
    """Css at the nominal dose times TVCL, in the model's units; for infusions.

    None where there is no nominal dose, or where Css of a typical subject depends on its size: a
    dose per m² and a clearance that is proportional to BSA leave one number.
    """
    if dose is None or np.isnan(main_rate(data)).all():
        return None
    spec, amount, time = model.spec, model.spec.units.amount, model.spec.units.time
    rate = dose.rate(amount, time) * dosed_size(dose, data)
    unit = spec.parameters["CL"].unit
    factor = conversion_factor(f"({amount})/({time})/({unit})", spec.units.concentration)
    events, _ = arrange(spec, data)
    each = factor * rate / np.exp(np.asarray(events.log_scale["CL"])[:, 0])
    middle = float(np.median(each))
    return middle if float(np.ptp(each)) <= SAME * middle else None


def _draws(fit: Fit | MaximumFit, own: pd.DataFrame) -> pd.DataFrame:
    columns = {}
    for name in (str(n) for n in own.index if n != CSS):
        if isinstance(fit, MaximumFit):
            spread = float(own.loc[name, "fit_sd"])  # pyright: ignore[reportArgumentType]
            columns[name] = fit.estimate[name] + spread * norm.ppf((np.arange(MOST) + 0.5) / MOST)
        else:
            flat = np.asarray(fit.samples.draws[name], float).reshape(-1)
            columns[name] = flat[np.linspace(0, flat.size - 1, min(MOST, flat.size)).astype(int)]
    if CSS in own.index:
        product = float(own.loc[CSS, "estimate"]) * float(own.loc["TVCL", "estimate"])  # pyright: ignore[reportArgumentType]
        columns[CSS] = product / columns["TVCL"]
    return pd.DataFrame(columns)


def _of_css(fit: Fit | MaximumFit, css: float, own: pd.DataFrame) -> list[object]:
    unit = fit.model.spec.units.concentration
    row = own.loc["TVCL"]
    if isinstance(fit, MaximumFit):
        estimate = css / float(row["estimate"])
        spread = estimate * float(row["fit_sd"]) / float(row["estimate"])
    else:
        draws = css / fit.samples.draws["TVCL"].reshape(-1)
        estimate, spread = float(np.median(draws)), float(draws.std(ddof=1))
    return [unit, estimate, spread, css / float(row["fit_q95"]), css / float(row["fit_q5"])]
