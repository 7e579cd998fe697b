"""Data sets simulated from a fit on its own design: what predictive checks compare with."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from popk.analysis.npde import imputed
from popk.analysis.observations import population_sites, population_values, predicted
from popk.analysis.predictive import cholesky_factors
from popk.data.last_dose import time_after_dose
from popk.inference.programs import kept
from popk.population.condensed import condense
from popk.population.events import arrange
from popk.population.simulated import replicating
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

COUNT = 2000


@dataclass(frozen=True, eq=False)
class Replicates:
    """Replicates of a fit's data, and the data, in the order of the file.

    Attributes
    ----------
    dv
        [replicate, observation] concentrations as an assay without limits would report them, in
        the model's unit; etas and residual errors are drawn anew.
    own
        [observation] the data; a censored row has one value drawn from what the model says of it
        (see `popk.analysis.npde`): a completed-data check (Gelman et al., Biometrics 2005;61:74).
    pred
        [observation] population prediction, at posterior medians or the estimates.
    subject, time, tad
        [observation] place of the subject; time and time after dose in the data's unit.
    censored, lower, upper
        [observation] where only the bounds are known, and the bounds, in the model's unit.
    of_draws
        True where every replicate comes from a posterior draw of its own, so that the spread
        holds the uncertainty of the parameters; False where all come from the estimates.
    """

    dv: Float[np.ndarray, "replicate observation"]
    own: Float[np.ndarray, " observation"]
    pred: Float[np.ndarray, " observation"]
    subject: Int[np.ndarray, " observation"]
    time: Float[np.ndarray, " observation"]
    tad: Float[np.ndarray, " observation"]
    censored: Bool[np.ndarray, " observation"]
    lower: Float[np.ndarray, " observation"]
    upper: Float[np.ndarray, " observation"]
    of_draws: bool


def replicates(fit: Fit | MaximumFit, *, seed: int | None = None, count: int = COUNT) -> Replicates:
    """Simulate data sets from a fit.

    Parameters
    ----------
    fit
        A posterior: evenly spaced draws of the population parameters are used; or estimates.
    seed
        The fit's by default.
    count
        How many.
    """
    model, data = fit.model, fit.data
    key = jax.random.key(fit.provenance.seed if seed is None else seed)
    # The same values for censored rows as those behind NPDE
    key_simulate, key_impute = jax.random.split(key)
    with jax.enable_x64(True):
        events, order = condense(arrange(model.spec, data)[0])
        values = population_values(fit)
        central = population_sites(model, values)
        sites = population_draws(fit, count)
        simulate = kept(
            (model.spec.model_dump_json(), "replicates", "npde"),
            lambda: jax.jit(replicating(model)),
        )
        keys = jax.random.split(jax.random.fold_in(key_simulate, 1), count)
        dv = np.asarray(simulate(keys, sites, events))
        completed = np.asarray(events.dv, float)
        if np.any(events.censored):
            completed = imputed(key_impute, model, events, central)
        log_pred, _ = predicted(model, {name: v[None] for name, v in values.items()}, events)
    observed = np.asarray(events.observed)

    def in_file(rows: np.ndarray) -> np.ndarray:
        return rows[..., observed][..., order]

    subject, _ = np.nonzero(data.observed)
    return Replicates(
        in_file(dv),
        in_file(completed),
        in_file(np.exp(log_pred[0])),
        subject,
        data.time[data.observed],
        time_after_dose(data)[data.observed],
        in_file(np.asarray(events.censored)),
        in_file(np.asarray(events.lower, float)),
        in_file(np.asarray(events.upper, float)),
        isinstance(fit, Fit),
    )


def population_draws(fit: Fit | MaximumFit, count: int) -> dict[str, np.ndarray]:
    """[replicate, ...] values of the population's sites: evenly spaced draws, or estimates."""
    model = fit.model
    names = (*model.population_names, *model.correlation_names)
    if isinstance(fit, MaximumFit):
        central = population_sites(model, population_values(fit))
        return {name: np.broadcast_to(v, (count, *np.shape(v))) for name, v in central.items()}
    flat = {name: np.concatenate(fit.samples.draws[name]) for name in names}
    own = np.linspace(0, len(flat[names[0]]) - 1, count).astype(int)
    chosen = {name: np.asarray(values[own], float) for name, values in flat.items()}
    sites = {name: chosen[name] for name in model.population_names}
    if model.correlation_names:
        sites["correlation_cholesky"] = cholesky_factors(model, chosen)
    return sites
