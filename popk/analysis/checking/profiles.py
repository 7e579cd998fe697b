"""Each subject's concentrations over time: individual and population bands around the samples."""

from typing import Any

import jax
import numpy as np
import pandas as pd

from popk.analysis.checking.replicates import population_draws
from popk.analysis.observations import individual_values
from popk.data.grid import at_times
from popk.inference.programs import kept
from popk.population.condensed import condense
from popk.population.events import Events, arrange
from popk.population.model import Values
from popk.population.simulated import redrawing
from popk.population.subjects import varied
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

POINTS = 100
"""Times of each subject, besides those around its doses."""
BAND_DRAWS = 100
"""Posterior draws behind the bands; each gives one individual and one population curve."""


def profiles(fit: Fit | MaximumFit, *, seed: int | None = None) -> pd.DataFrame:
    """Concentrations over time, by subject.

    Returns
    -------
    DataFrame
        One subject and time a row: ``ID``, ``TIME`` (data's unit); ``individual``,
        ``individual_low``, ``individual_high``: median and 90 % band of the subject's own
        concentration, given its data; ``population``, ``population_low``, ``population_high``:
        the same of another subject with these doses and covariates, etas drawn anew. In the
        model's concentration unit, without residual error. At maximum-likelihood estimates the
        individual curve is the one at the conditional modes, without a band.
    """
    model, data = fit.model, fit.data
    own = individual_values(fit)
    draws = len(next(iter(own.values())))
    chosen = np.linspace(0, draws - 1, min(BAND_DRAWS, draws)).astype(int)
    values = {name: np.asarray(v[chosen], float) for name, v in own.items()}
    key = jax.random.key(fit.provenance.seed if seed is None else seed)
    times = _grid(fit)
    with jax.enable_x64(True):
        others = _others(fit, key)
        extended, record = at_times(data, times)
        events, layout = arrange(model.spec, extended)
        step = np.take_along_axis(layout.step, record, axis=1)
        individual = _predicted(fit, values, events, step)
        population = _predicted(fit, others, events, step)
    columns: dict[str, Any] = {
        "ID": np.repeat(data.ids, times.shape[1]),
        "TIME": np.take_along_axis(extended.time, record, axis=1).ravel(),
    }
    for name, curves in (("individual", individual), ("population", population)):
        low, middle, high = np.quantile(curves, [0.05, 0.5, 0.95], axis=0)
        columns |= {
            name: middle.ravel(),
            f"{name}_low": low.ravel(),
            f"{name}_high": high.ravel(),
        }
    return pd.DataFrame(columns)


def _grid(fit: Fit | MaximumFit) -> np.ndarray:
    """[subject, time] even times from first to last record, and more around doses."""
    data = fit.data
    rows = []
    for subject in range(data.subjects):
        own = data.time[subject, data.mask[subject]]
        even = np.linspace(own.min(), own.max(), POINTS)
        # A dose and its end change the slope: a point just before and just after each
        least = 1e-4 * max(own.max() - own.min(), 1e-9)
        doses = own[data.amount[subject, data.mask[subject]] > 0]
        ends = (own + _lengths(fit, subject))[data.rate[subject, data.mask[subject]] > 0]
        turns = np.concatenate([doses, ends])
        marks = np.concatenate([turns - least, turns, turns + least])
        marks = np.clip(marks, own.min(), own.max())
        rows.append(np.sort(np.concatenate([even, marks])))
    width = max(map(len, rows))
    return np.stack([np.r_[row, np.full(width - len(row), row[-1])] for row in rows])


def _lengths(fit: Fit | MaximumFit, subject: int) -> np.ndarray:
    """How long the infusion of each record lasts; 0 for all other records."""
    data, here = fit.data, fit.data.mask[subject]
    amount, rate = data.amount[subject, here], data.rate[subject, here]
    return np.where(rate > 0, amount / np.where(rate > 0, rate, 1.0), 0.0)


def _others(fit: Fit | MaximumFit, key: jax.Array) -> dict[str, np.ndarray]:
    """Population values, and etas of other subjects with the same covariates."""
    model = fit.model
    events, _ = condense(arrange(model.spec, fit.data)[0])
    run = kept((model.spec.model_dump_json(), "others"), lambda: jax.jit(redrawing(model)))
    sites = population_draws(fit, BAND_DRAWS)
    drawn = run(jax.random.split(key, BAND_DRAWS), sites, events)
    names = (*model.population_names, *(f"eta_{name}" for name in varied(model)))
    return {name: np.asarray(drawn[name]) for name in names}


def _predicted(
    fit: Fit | MaximumFit, values: Values, events: Events, step: np.ndarray
) -> np.ndarray:
    """[draw, subject, time] concentrations."""

    def all_of(values: Values, events: Events) -> jax.Array:
        def one(values: Values) -> jax.Array:
            return fit.model.predict(values, events).log_concentration

        return jax.lax.map(one, dict(values))

    run = kept((fit.model.spec.model_dump_json(), "profiles"), lambda: jax.jit(all_of))
    log_c = np.asarray(run(dict(values), events))
    return np.exp(np.take_along_axis(log_c, step[None], axis=2))
