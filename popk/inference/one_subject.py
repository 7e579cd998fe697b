"""One new subject's numbers in draws of the population, proposed and weighed by its data.

With each draw of the population the subject's numbers x are drawn from a proposal q and weighed by
p(y | x) p(x) / q(x). The proposal is a multivariate t around the mode of the numbers, with the
curvature there, and with a small share their prior: no part of that is then out of reach, and a
weight is at most the likelihood over that share (Hesterberg, Technometrics 1995;37:185-94).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float
from scipy.special import gammaln

from popk.inference.conditional import back_solved, log_determinant, subject_modes
from popk.inference.laplace import DF, importance_nodes
from popk.inference.programs import compiled, kept
from popk.pk.dosing import Steps
from popk.pk.past import Past
from popk.population.condensed import UNOBSERVED, Rows, condense
from popk.population.events import Events
from popk.population.gathering import Places
from popk.population.model import Model, Values
from popk.population.subjects import per_subject, shares, varied

PRIOR_SHARE = 0.1
"""Share of the draws that are proposed from the prior."""
FEWEST_STEPS, FEWEST_ROWS, FEWEST_DOSES = 16, 8, 2
"""Steps, rows and doses are filled up to these numbers times a power of 2: few programs."""
INFUSIONS = ("rate", "ran", "ended")
"""Of `Past`: there is always room for them, for boluses and steady states only where there are."""


class Weighed(NamedTuple):
    """Proposed draws.

    Attributes
    ----------
    log_weight
        [draw], up to a constant; -inf where the population's values are impossible for the
        subject.
    etas, parameters
        By parameter, [draw].
    """

    log_weight: Float[np.ndarray, " draw"]
    etas: dict[str, Float[np.ndarray, " draw"]]
    parameters: dict[str, Float[np.ndarray, " draw"]]


def weighed(
    model: Model,
    events: Events,
    sites: Mapping[str, Float[np.ndarray, "draw ..."]],
    seed: int,
    prior_share: float = PRIOR_SHARE,
) -> Weighed:
    """Propose and weigh the numbers of one subject.

    Parameters
    ----------
    model, events
        The model, and one subject's events from `arrange`, not condensed. JAX is in float64.
    sites
        Values of the model's sample sites for the population.
    seed
        Of the proposals.
    prior_share
        1 to draw from the prior alone.
    """
    draws = len(next(iter(sites.values())))
    k = len(varied(model))
    rng = np.random.default_rng([seed, 6])
    of_prior = rng.permutation(np.arange(draws) < round(prior_share * draws))
    arguments = (
        np.asarray(jax.random.key_data(jax.random.split(jax.random.key(seed), draws))),
        {name: np.asarray(value, dtype=float) for name, value in sites.items()},
        jax.tree.map(np.asarray, observed_rows(events)),
        np.asarray(importance_nodes(seed, draws, 1, k).z[:draws]),
        of_prior,
        np.asarray(of_prior.mean()),
    )
    # A loop over many steps is worth the time to compile it well
    quickly = isinstance(arguments[2].steps, Rows)
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple((a.shape, str(a.dtype)) for a in leaves)
    key = (model.spec.model_dump_json(), "one subject", shapes, str(structure))
    run = kept(key, lambda: compiled(key, _weighing(model), arguments, quickly=quickly))
    found: Weighed = jax.tree.map(lambda a: np.asarray(a)[:, 0], Weighed(*run(*arguments)))
    possible = np.all([np.isfinite(value) for value in found.parameters.values()], axis=0)
    return found._replace(log_weight=np.where(possible, found.log_weight, -np.inf))


def observed_rows(events: Events) -> Events:
    """One subject's events with its observed rows alone, in sizes that few programs are made for.

    One block of condensed rows; where their doses are too many, all steps, `padded`.
    """
    # Without samples there is one row, which then is not observed
    marked, any_sample = events.observed.copy(), bool(events.observed.any())
    marked[0, -1] |= not any_sample
    one_block = condense(replace(events, observed=marked), censorable=marked).events
    if not isinstance(one_block.steps, Rows):
        return padded(events)
    (past,) = one_block.steps.blocks
    count = past.since.shape[0]
    rows = _room(count, FEWEST_ROWS)

    def rows_of(name: str, rest: float | bool) -> np.ndarray:
        return np.pad(getattr(one_block, name), (0, rows - count), constant_values=rest)

    def filled(name: str) -> np.ndarray:
        values = getattr(past, name)
        more = [(0, rows - count)]
        if values.ndim == 2:
            doses = values.shape[0]
            wanted = doses > 0 or name in INFUSIONS
            more = [(0, _room(doses, FEWEST_DOSES) - doses if wanted else 0), *more]
        return np.pad(values, more, constant_values=1.0 if name == "steady_interval" else 0.0)

    return replace(
        one_block,
        steps=Rows(
            (Past(**{f.name: filled(f.name) for f in fields(Past)}),),
            (Places(np.ones((1, rows, 1))),),
        ),
        slots=None,
        observed=rows_of("observed", False) & any_sample,
        **{name: rows_of(name, rest) for name, rest in UNOBSERVED.items()},
    )


def padded(events: Events) -> Events:
    """One subject's events with room for more steps, in which nothing happens.

    Histories that are about as long then share one compiled program.
    """
    count = events.observed.shape[1]
    room = _room(count, FEWEST_STEPS)

    def filled(values: Any, fill: float | bool) -> Any:
        if values is None:
            return None
        return np.pad(values, ((0, 0), (0, room - count)), constant_values=fill)

    def columns(values: Any) -> Any:
        more = ((0, 0), (0, room - count))
        return values if values.shape[1] == 1 else np.pad(values, more, mode="edge")

    ones = ("keep", "steady_interval")
    steps = {f.name: getattr(events.steps, f.name) for f in fields(Steps)}
    rest = {
        "observed": False, "dv": 1.0, "censored": False, "lower": -np.inf, "upper": np.inf,
    }  # fmt: skip
    return replace(
        events,
        steps=Steps(**{k: filled(v, 1.0 if k in ones else 0.0) for k, v in steps.items()}),
        log_scale={name: columns(values) for name, values in events.log_scale.items()},
        terms={name: columns(values) for name, values in events.terms.items()},
        **{name: filled(getattr(events, name), fill) for name, fill in rest.items()},
    )


def _room(count: int, fewest: int) -> int:
    """The next size that programs are made for."""
    room = fewest
    while room < count:
        room *= 2
    return room


def _weighing(model: Model) -> Callable[..., tuple[Array, dict[str, Array], dict[str, Array]]]:
    """What proposes the subject's numbers in each draw of the population, and weighs them."""
    names = varied(model)
    k = len(names)
    constant = gammaln(0.5 * (DF + k)) - gammaln(0.5 * DF) - 0.5 * k * math.log(DF * math.pi)

    def one(
        key: Array, values: Values, events: Events, z: Array, of_prior: Array, prior_share: Array
    ) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        def log_joint(x: Array) -> Array:
            own = shares(model, events, values, x)
            return own.log_prior + per_subject(own.row_log_likelihood, events)

        modes = subject_modes(log_joint, jnp.zeros((1, k)))
        # With any proposal the weights are right: where no mode was found, a t around the prior's
        good = jnp.isfinite(modes.factor).all() & jnp.isfinite(modes.x).all()
        lower = jnp.where(good, modes.factor, jnp.eye(k))
        mode = jnp.where(good, modes.x, 0.0)
        prior = _from_prior(model, names, jax.random.wrap_key_data(key), values, events)
        x = jnp.where(of_prior, prior, mode + back_solved(lower, z))
        standard = jnp.einsum("sji,sj->si", lower, x - mode)
        log_t = constant - 0.5 * (DF + k) * jnp.log1p((standard**2).sum(axis=1) / DF)
        log_t = log_t + 0.5 * log_determinant(lower)
        own = shares(model, events, values, x)
        log_q = jnp.logaddexp(jnp.log1p(-prior_share) + log_t, jnp.log(prior_share) + own.log_prior)
        log_weight = own.log_prior + per_subject(own.row_log_likelihood, events) - log_q
        return log_weight, own.etas, own.parameters

    return jax.vmap(one, (0, 0, None, 0, 0, None))


def _from_prior(
    model: Model, names: tuple[str, ...], key: Array, values: Values, events: Events
) -> Float[Array, "subject k"]:
    """The subject's numbers, drawn from their prior."""
    seeded = numpyro.handlers.substitute(numpyro.handlers.seed(model, key), data=dict(values))
    trace = numpyro.handlers.trace(seeded).get_trace(events)
    own = [trace[f"x_{name}"]["value"] for name in names]
    return jnp.stack(own, axis=1) if own else jnp.zeros((events.subjects, 0))
