"""Trials simulated from a model on a design: parameters, and what an assay reports."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Bool, Float

from popk.pk.one_compartment import NO_DRUG
from popk.population.condensed import Rows, censored_last
from popk.population.events import Events
from popk.population.model import Model
from popk.spec.problem import PopkError, Problem
from popk.spec.residual import ERRORS

TOGETHER = 50
"""Replicates that are computed side by side."""


class Simulated(NamedTuple):
    """Simulated trials.

    Attributes
    ----------
    events
        The design with simulated observations; these and the slots of censored rows have a
        leading axis of trials, everything else is the design's.
    truth
        Every named value of the model that the trial was simulated with, [trial, ...].
    """

    events: Events
    truth: dict[str, np.ndarray]


def simulate(
    key: jax.Array,
    model: Model,
    design: Events,
    trials: int,
    *,
    given: Mapping[str, float] | None = None,
    below: float | None = None,
) -> Simulated:
    """Simulate trials.

    Parameters
    ----------
    key
        Random key.
    model, design
        The model, and condensed events whose doses, rows and covariates are kept.
    trials
        How many.
    given
        Population values that are the same in every trial (TVCL, omega_CL, ...). The others are
        drawn from their priors, etas always.
    below
        Lower limit of the assay in the model's concentration unit: values under it are censored.

    Raises
    ------
    popk.PopkError
        If `given` names what the model does not estimate, or the design is not condensed.

    Notes
    -----
    A row without drug leaves nothing to measure where the residual error is proportional or
    log-normal; unless it is censored it is not observed.
    """
    _refuse(model, design, given or {})
    keys = jax.random.split(key, trials)
    held = {name: jnp.asarray(value, jnp.zeros(0).dtype) for name, value in (given or {}).items()}
    run = jax.jit(drawing(model))
    dv, without, truth = jax.tree.map(np.asarray, run(keys, design, held))
    possible = ~without if below is None and ERRORS[model.spec.residual.error].vanishes else True
    observed = design.observed & possible & np.ones_like(dv, dtype=bool)
    censored = observed & (dv < below) if below is not None else np.zeros_like(observed)
    events = replace(
        design,
        observed=observed,
        dv=np.where(observed & ~censored, dv, 1.0),
        censored=censored,
        lower=np.full(dv.shape, -np.inf),
        upper=np.where(censored, below if below is not None else np.inf, np.inf),
        slots=None,
    )
    return Simulated(censored_last(events), truth)


def drawing(model: Model) -> Callable[..., tuple[Array, Array, dict[str, Array]]]:
    """What draws trials, one for each key; to be compiled.

    Returns
    -------
    Callable
        Of [trial] random keys, condensed events, and values of sample sites that are the same in
        all trials: [trial, row] concentrations as an assay without limits would report them, which
        rows are without drug, and every named value of the model, [trial, ...].
    """
    return jax.vmap(partial(_one, model), (0, None, None))


Replicating = Callable[[jax.Array, Mapping[str, Array], Events], Array]


def replicating(model: Model) -> Replicating:
    """What simulates data sets on a design, one for each key; to be compiled.

    Returns
    -------
    Callable
        Of [replicate] random keys, [replicate] values of the model's sample sites for the
        population, and events: [replicate, ...row] concentrations as an assay without limits
        would report them. Etas are drawn anew; only observed rows mean anything.
    """

    def all_of(keys: jax.Array, values: Mapping[str, Array], events: Events) -> Array:
        def one(given: tuple[jax.Array, Mapping[str, Array]]) -> Array:
            return _one(model, given[0], events, given[1])[0]

        return jax.lax.map(one, (keys, values), batch_size=TOGETHER)

    return all_of


def redrawing(model: Model) -> Callable[..., dict[str, Array]]:
    """What draws etas anew for given population values; to be compiled.

    Returns
    -------
    Callable
        Arguments as for `replicating`: every named value of the model, [draw, ...].
    """

    def all_of(keys: jax.Array, values: Mapping[str, Array], events: Events) -> dict[str, Array]:
        def one(given: tuple[jax.Array, Mapping[str, Array]]) -> dict[str, Array]:
            return drawn_values(model, given[0], events, given[1])

        return jax.lax.map(one, (keys, values), batch_size=TOGETHER)

    return all_of


def _one(
    model: Model, key: jax.Array, design: Events, held: Mapping[str, Array]
) -> tuple[Float[Array, "*row"], Bool[Array, "*row"], dict[str, Array]]:
    """Observations of one trial, which rows are without drug, and the values behind them."""
    key_values, key_dv = jax.random.split(key)
    values = drawn_values(model, key_values, design, held)
    log_c = model.predict(values, design).log_concentration
    dv = model.observation(log_c, values, design).sample(key_dv)
    return dv, log_c == NO_DRUG, values


def drawn_values(
    model: Model, key: jax.Array, design: Events, held: Mapping[str, Array]
) -> dict[str, Array]:
    """Every named value of the model: sites that are not held are drawn, etas among them."""
    seeded = numpyro.handlers.substitute(numpyro.handlers.seed(model, key), data=dict(held))
    sites = numpyro.handlers.trace(seeded).get_trace(design)
    return {
        name: site["value"]
        for name, site in sites.items()
        if name != "DV" and site["type"] in ("sample", "deterministic")
        and not name.startswith("x_") and name != "correlation_cholesky"
    }  # fmt: skip


def _refuse(model: Model, design: Events, given: Mapping[str, float]) -> None:
    problems = [
        Problem(
            file=model.spec.name,
            key=name,
            found=f"a given value for {name!r}",
            expected=f"one of {', '.join(model.population_names)}",
            cure="correct the name; a value that the model file fixes is changed there",
        )
        for name in given
        if name not in model.population_names
    ]
    if not isinstance(design.steps, Rows):
        problems.append(
            Problem(
                file=model.spec.name,
                key="design",
                found="events with one loop over time for each subject",
                expected="condensed events (see popk.population.condensed): covariates that do not "
                "change within a subject, and no more than 24 doses behind a row",
                cure="simulate and fit such trials one by one",
            )
        )
    if problems:
        raise PopkError(*problems)
