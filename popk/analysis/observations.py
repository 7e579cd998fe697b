"""Every observation beside its predictions and residuals: what goodness-of-fit plots show."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.npde import REPLICATES, npde
from popk.analysis.predictive import cholesky_factors
from popk.data.last_dose import time_after_dose
from popk.inference.programs import kept
from popk.population.condensed import condense
from popk.population.events import Events, arrange
from popk.population.model import Model, Values
from popk.population.subjects import varied
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

DRAWS = 400
"""Posterior draws in which individual predictions are computed."""


def observations(
    fit: Fit | MaximumFit, *, seed: int | None = None, replicates: int = REPLICATES
) -> pd.DataFrame:
    """Predictions and residuals, one observation a row, in the file's order.

    Parameters
    ----------
    fit
        A posterior or maximum-likelihood estimates.
    seed
        Of the replicates behind NPDE; the fit's by default.
    replicates
        How many; with 0 there is no NPDE (NaN), which takes most of the time.

    Returns
    -------
    DataFrame
        ``ID``, ``line`` (of the file), ``TIME`` and ``TAD`` (time after dose; in the data's unit),
        ``DV`` (for a censored row its limit), ``censored``; ``PRED`` (population parameters at the
        posterior median or the estimates, etas zero), ``IPRED`` (individual; posterior median, or
        at the conditional modes), all in the model's concentration unit; ``IWRES`` (its residual
        in SDs, on the log scale where the error is log-normal; NaN where censored) and ``NPDE``
        (see `popk.analysis.npde`).

    Raises
    ------
    popk.PopkError
        If the data lack what the model needs.
    """
    model, data = fit.model, fit.data
    with jax.enable_x64(True):
        events, order = condense(arrange(model.spec, data)[0])
        central = population_values(fit)
        log_pred, _ = predicted(model, {k: v[None] for k, v in central.items()}, events)
        log_ipred, iwres = predicted(model, individual_values(fit), events)
        key = jax.random.key(fit.provenance.seed if seed is None else seed)
        errors = np.full(order.shape, np.nan)
        if replicates:
            errors = npde(key, model, events, population_sites(model, central), replicates)[order]
    observed = np.asarray(events.observed)

    def in_file(rows: np.ndarray) -> np.ndarray:
        return rows[observed][order]

    censored = in_file(np.asarray(events.censored))
    subject, _ = np.nonzero(data.observed)
    residual = in_file(np.median(iwres, axis=0))
    return pd.DataFrame(
        {
            "ID": [data.ids[i] for i in subject],
            "line": data.line[data.observed],
            "TIME": data.time[data.observed],
            "TAD": time_after_dose(data)[data.observed],
            "DV": _reported(events, order),
            "censored": censored,
            "PRED": in_file(np.exp(log_pred[0])),
            "IPRED": in_file(np.exp(np.median(log_ipred, axis=0))),
            "IWRES": np.where(censored, np.nan, residual),
            "NPDE": errors,
        }
    )


def population_values(fit: Fit | MaximumFit) -> dict[str, Float[np.ndarray, ""]]:
    """Population parameters and correlations: posterior medians, or the estimates."""
    names = (*fit.model.population_names, *fit.model.correlation_names)
    if isinstance(fit, MaximumFit):
        return {name: np.asarray(fit.estimate[name]) for name in names}
    return {name: np.asarray(np.median(fit.samples.draws[name])) for name in names}


def population_sites(model: Model, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of the model's sample sites: correlations as their Cholesky factor."""
    sites = {name: values[name] for name in model.population_names}
    if model.correlation_names:
        one = {name: value[None] for name, value in values.items()}
        sites["correlation_cholesky"] = cholesky_factors(model, one)[0]
    return sites


def individual_values(fit: Fit | MaximumFit) -> dict[str, Float[np.ndarray, "draw ..."]]:
    """Population parameters and etas, in draws or at the one estimate."""
    names = fit.model.population_names
    if isinstance(fit, MaximumFit):
        etas = {f"eta_{name}": eta[None] for name, eta in fit.etas.items()}
        return {name: value[None] for name, value in population_values(fit).items()} | etas
    draws = fit.samples.draws
    chosen = [*names, *(f"eta_{name}" for name in varied(fit.model))]
    flat = {name: np.concatenate(draws[name]) for name in chosen}
    count = len(flat[names[0]])
    own = np.linspace(0, count - 1, min(DRAWS, count)).astype(int)
    return {name: values[own] for name, values in flat.items()}


def predicted(
    model: Model, values: Mapping[str, np.ndarray], events: Events
) -> tuple[Float[np.ndarray, "draw ..."], Float[np.ndarray, "draw ..."]]:
    """Log concentrations, and residuals in SDs, in each draw."""

    def all_of(values: Values, events: Events) -> Any:
        def one(values: Values) -> tuple[jax.Array, jax.Array]:
            log_c = model.predict(values, events).log_concentration
            scale = model.observation(log_c, values, events).scale
            dv = jnp.asarray(events.dv)
            dv = jnp.log(jnp.where(dv > 0, dv, 1.0)) if scale.logarithmic else dv
            return log_c, scale.standardised(dv)

        return jax.lax.map(one, dict(values))

    run = kept((model.spec.model_dump_json(), "observations"), lambda: jax.jit(all_of))
    log_c, residual = run({k: jnp.asarray(v) for k, v in values.items()}, events)
    return np.asarray(log_c), np.asarray(residual)


def _reported(events: Events, order: np.ndarray) -> Float[np.ndarray, " observation"]:
    """What the assay reported: a value, or the limit that it lies beyond."""
    lower, upper = np.asarray(events.lower, float), np.asarray(events.upper, float)
    limit = np.where(np.isfinite(upper), upper, lower)
    dv = np.where(np.asarray(events.censored), limit, np.asarray(events.dv, float))
    return dv[np.asarray(events.observed)][order]
