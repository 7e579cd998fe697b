"""Data sets simulated from a fit's own estimates, on the design of its data."""

from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from popk.analysis.layout import layout, observed, shapes_of
from popk.analysis.observations import population_sites, population_values
from popk.data.dataset import Dataset
from popk.inference.programs import compiled, kept
from popk.population.condensed import with_slots
from popk.population.events import Events, arrange
from popk.population.model import Model
from popk.population.simulated import drawing
from popk.spec.residual import ERRORS
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

TOGETHER = 100
"""Data sets that one call of the program simulates."""


class Limits(NamedTuple):
    """What an assay can measure, in the model's concentration unit; None: without limit."""

    below: float | None = None
    above: float | None = None


class Observed(NamedTuple):
    """Simulated observations of several data sets, in the file's order.

    Attributes
    ----------
    values
        [replicate, observation] concentrations as an assay without limits would report them, in the
        model's unit; NaN where there is nothing to measure.
    limits
        Of the assay.
    censorable
        [observation] those beyond the limits in any replicate.
    """

    values: Float[np.ndarray, "replicate observation"]
    limits: Limits
    censorable: Bool[np.ndarray, " observation"]


def limits_of(model: Model, data: Dataset) -> Limits:
    """The limits at which the data's own rows are censored, on either side the most frequent."""
    events, _ = arrange(model.spec, data)
    censored, lower, upper = (np.asarray(a) for a in (events.censored, events.lower, events.upper))

    def most(values: np.ndarray) -> float | None:
        found, counts = np.unique(values, return_counts=True)
        return float(found[np.argmax(counts)]) if len(found) else None

    return Limits(most(upper[censored & (lower <= 0)]), most(lower[censored & np.isposinf(upper)]))


def simulated(fit: Fit | MaximumFit, replicates: int, seed: int, limits: Limits) -> Observed:
    """Simulate data sets with the fit's doses, sampling times and covariates.

    Parameters
    ----------
    fit
        Posterior medians, or estimates, are the truth of all data sets; etas are drawn anew.
    replicates
        How many.
    seed
        Replicate i has a random key of its own.
    limits
        Of the assay.

    Raises
    ------
    popk.PopkError
        If a covariate changes within a subject, or a row has very many doses behind it.
    """
    model = fit.model
    text = model.spec.model_dump_json()
    with jax.enable_x64(True):
        own = layout(text, fit.data)
        sites = population_sites(model, population_values(fit))
        base = jax.random.key(seed % (1 << 32))
        numbers = np.arange(-(-replicates // TOGETHER) * TOGETHER, dtype=np.uint32)
        keys = jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(base, numbers))
        key = ("resampling", text, shapes_of(own.events))

        def run(keys: jax.Array, events: Events, sites: dict[str, jax.Array]) -> tuple:
            return drawing(model)(jax.random.wrap_key_data(keys), events, sites)[:2]

        example = (keys[:TOGETHER], own.events, sites)
        program = kept(key, lambda: compiled(key, run, example))
        parts = [
            jax.tree.map(np.asarray, program(keys[i : i + TOGETHER], own.events, sites))
            for i in range(0, len(numbers), TOGETHER)
        ]
    dv, without = (np.concatenate(part)[:replicates, own.row] for part in zip(*parts, strict=True))
    if limits.below is None and ERRORS[model.spec.residual.error].vanishes:
        dv = np.where(without, np.nan, dv)
    low, high = _beyond(dv, limits)
    return Observed(dv, limits, np.asarray((low | high).any(axis=0)))


def events_of(model: str, data: Dataset, found: Observed) -> Events:
    """The data sets as trials of `popk.inference.batch.Batch`: only observations differ.

    `model` is a specification as JSON.
    """
    own = layout(model, data, found.censorable)
    low, high = _beyond(found.values, found.limits)
    possible = np.isfinite(found.values)
    values = np.where(possible, found.values, 1.0)
    events = observed(own, np.where(high, 1.0, values), found.limits.below, possible)
    if not high.any():
        return events
    assert own.events.slots is not None
    assert not (low & high).any()
    above = np.zeros(events.observed.shape, dtype=bool)
    above[:, own.row] = high
    limit = found.limits.above
    events = replace(
        events,
        dv=np.where(above, 1.0, events.dv),
        censored=events.censored | above,
        lower=np.where(above, limit, events.lower),
        upper=np.where(above, np.inf, events.upper),
        slots=None,
    )
    return with_slots(events, own.events.slots.count)


def _beyond(values: np.ndarray, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """Which are below the lower, and above the upper limit."""
    none = np.zeros(values.shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        return (
            none if limits.below is None else values < limits.below,
            none if limits.above is None else values > limits.above,
        )
