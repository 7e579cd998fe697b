"""Every record of the file, dose rows among them, with predictions: what NONMEM's $TABLE writes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.observations import individual_values, observations, population_values
from popk.data.dataset import Dataset
from popk.data.last_dose import time_after_dose
from popk.inference.programs import kept
from popk.population.events import Events, Layout, arrange
from popk.population.model import Model, Values
from popk.population.subjects import varied
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

RESIDUALS = ("IWRES", "NPDE")


def records(fit: Fit | MaximumFit) -> pd.DataFrame:
    """One row for each record, in the file's order.

    Parameters
    ----------
    fit
        A posterior or maximum-likelihood estimates.

    Returns
    -------
    DataFrame
        ``ID``, ``line``, ``TIME``, ``TAD`` (time after dose), ``AMT``, ``RATE`` in the data's
        units; ``EVID``; ``MDV`` (1 where the record is not in the likelihood); ``CENS`` (1 below,
        -1 above the DV); ``DV``, ``PRED``, ``IPRED`` in the model's concentration unit, ``IWRES``
        and ``NPDE``, on observations as in `popk.analysis.observations`. On other records PRED
        and IPRED are the concentration just after the record, DV and residuals are 0 as NONMEM
        writes them. IWRES is NaN on a censored row.
        One column for each individual parameter (its unit in ``attrs["units"]``): posterior
        median, or at the conditional mode; one for each eta, ``ETA1``, ... (their parameters in
        ``attrs["etas"]``); one for each covariate.
    """
    data, model = fit.data, fit.model
    there = data.mask
    subject = np.nonzero(there)[0]
    with jax.enable_x64(True):
        events, layout = arrange(model.spec, data)
        central = {name: value[None] for name, value in population_values(fit).items()}
        pred, _ = _predictions(model, central, events, layout)
        ipred, parameters = _predictions(model, individual_values(fit), events, layout)
    etas = _etas(fit)
    columns: dict[str, Any] = {
        "ID": [data.ids[i] for i in subject],
        "line": data.line[there],
        "TIME": data.time[there],
        "TAD": time_after_dose(data)[there],
        "EVID": data.evid[there],
        "MDV": (~data.observed[there]).astype(int),
        "AMT": data.amount[there],
        "RATE": data.rate[there],
        "CENS": _censored(data)[there],
        "DV": 0.0,
        "PRED": pred[there],
        "IPRED": ipred[there],
        **dict.fromkeys(RESIDUALS, 0.0),
    }
    table = pd.DataFrame(columns)
    observed = data.observed[there]
    found = observations(fit)
    for name in ("DV", "PRED", "IPRED", *RESIDUALS):
        table.loc[observed, name] = found[name].to_numpy()
    if not _varies(parameters):  # as in the table of individuals, which uses all draws
        parameters |= _baseline(fit, parameters)
    for name, values in parameters.items():
        table[name] = np.broadcast_to(values, there.shape)[there]
    for number, values in enumerate(etas.values(), start=1):
        table[f"ETA{number}"] = values[subject]
    for name, values in data.covariates.items():
        # A covariate with the name of a parameter (a true CL, say) does not take its place
        table[name if name not in table else f"{name}_covariate"] = values[there]
    table.attrs["units"] = {name: own.unit for name, own in model.spec.parameters.items()}
    table.attrs["etas"] = {f"ETA{i}": name for i, name in enumerate(etas, start=1)}
    return table


def _predictions(
    model: Model, values: dict[str, np.ndarray], events: Events, layout: Layout
) -> tuple[Float[np.ndarray, "subject record"], dict[str, np.ndarray]]:
    """Medians over draws: concentration at each record, parameters at each record or [subject, 1].

    Medians are taken of logarithms, as in the table of observations.
    """

    def all_of(values: Values, events: Events) -> Any:
        def one(values: Values) -> Any:
            found = model.predict(values, events)
            return found.log_concentration, found.parameters

        log_c, parameters = jax.lax.map(one, dict(values))
        return jnp.median(log_c, axis=0), {k: jnp.median(v, axis=0) for k, v in parameters.items()}

    run = kept((model.spec.model_dump_json(), "records"), lambda: jax.jit(all_of))
    log_c, parameters = run({k: jnp.asarray(v) for k, v in values.items()}, events)

    def at_records(steps: np.ndarray) -> np.ndarray:
        return np.take_along_axis(steps, layout.step, axis=1)

    own = {name: np.asarray(value) for name, value in parameters.items()}
    own = {name: at_records(v) if v.shape[1] > 1 else v for name, v in own.items()}
    return np.exp(at_records(np.asarray(log_c))), own


def _etas(fit: Fit | MaximumFit) -> dict[str, Float[np.ndarray, " subject"]]:
    """Posterior medians, or conditional modes, by parameter."""
    if isinstance(fit, MaximumFit):
        return dict(fit.etas)
    draws = fit.samples.draws
    return {name: np.median(draws[f"eta_{name}"], axis=(0, 1)) for name in varied(fit.model)}


def _baseline(fit: Fit | MaximumFit, names: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if isinstance(fit, MaximumFit):
        return {}
    return {name: np.median(fit.samples.draws[name], axis=(0, 1))[:, None] for name in names}


def _varies(parameters: dict[str, np.ndarray]) -> bool:
    return any(values.shape[1] > 1 for values in parameters.values())


def _censored(data: Dataset) -> np.ndarray:
    """[subject, record] 1 where the value lies below the DV, -1 above, 0 where it was measured."""
    censored = data.observed & (data.censoring == 1)
    above = censored & np.isposinf(data.upper)
    return np.where(above, -1, censored.astype(int))
