"""The maxima of many marginal likelihoods of one design, searched side by side.

Quasi-Newton steps (BFGS; Nocedal & Wright, Numerical Optimization 2006, ch. 6), halved where they
do not climb. Each search begins with a metric of its own, best the covariance of a posterior, in
which a step is about Newton's: then few are needed. All searches share one program, which
evaluates a block of them at a time; one that ends makes room for the next.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from popk.inference.conditional import STUCK
from popk.inference.laplace import evaluating
from popk.inference.maximum import GRADIENT, Likelihood, bounds_of, scale_of
from popk.inference.programs import compiled, kept
from popk.population.condensed import trial_axes
from popk.population.events import Events

BLOCK = 16
"""Searches that are evaluated at a time: what they work on fits the processor's cache."""
MOST = 40
"""Evaluations of a search, at most."""
SHORTEST = 1e-5
"""Part of a step at which a search is given up."""
LONGEST = 4.0
"""Length of a step in the metric, at most: standard errors, about."""
CLIMB = 1e-4
"""Part of the expected gain that a step must bring (Armijo's condition)."""
NOISE = 1e-10
"""Relative error of a log likelihood: a step that loses no more is not halved."""


class Searches(NamedTuple):
    """Where searches begin.

    Attributes
    ----------
    trial
        [search] whose likelihood; several searches may have the same.
    vector
        [search, p] unconstrained coordinates.
    metric
        [search, p, p] about the inverse of the Hessian of minus the log likelihood; zero for what
        is held.
    free
        [search, p] False where a coordinate is held.
    """

    trial: Int[np.ndarray, " search"]
    vector: Float[np.ndarray, "search p"]
    metric: Float[np.ndarray, "search p p"]
    free: Bool[np.ndarray, "search p"]


class Maxima(NamedTuple):
    """Where they ended.

    Attributes
    ----------
    vector, log_likelihood, x
        [search, ...] the highest point, the log likelihood there, and the subjects' modes.
    slope
        [search] the largest slope left, as in `popk.inference.maximum.Estimate`.
    evaluations
        [search] of the likelihood.
    ended
        [search] whether the slope is below `GRADIENT`.
    """

    vector: Float[np.ndarray, "search p"]
    log_likelihood: Float[np.ndarray, " search"]
    x: Float[np.ndarray, "search subject k"]
    slope: Float[np.ndarray, " search"]
    evaluations: Int[np.ndarray, " search"]
    ended: Bool[np.ndarray, " search"]


class Found(NamedTuple):
    """Minus the log likelihood at one point, its slope, the scores' outer product, modes."""

    value: float
    slope: Float[np.ndarray, " p"]
    outer: Float[np.ndarray, "p p"]
    x: Float[np.ndarray, "subject k"]
    left: float


Evaluate = Callable[[np.ndarray, np.ndarray, np.ndarray], list[Found]]
"""Of [search] coordinates, modes to begin at, and numbers of trials."""


class _Here(NamedTuple):
    """A search: its best point, and by which part of which step it tries to go on."""

    vector: Float[np.ndarray, " p"]
    x: Float[np.ndarray, "subject k"]
    value: float
    slope: Float[np.ndarray, " p"]
    metric: Float[np.ndarray, "p p"]
    step: Float[np.ndarray, " p"]
    part: float
    left: float
    evaluations: int

    @property
    def over(self) -> bool:
        spent = self.evaluations >= MOST or self.part < SHORTEST
        return spent or self.left < GRADIENT


def maxima(likelihood: Likelihood, events: Events, searches: Searches) -> Maxima:
    """Search many maxima.

    Parameters
    ----------
    likelihood
        Of one of the trials: says what is computed, and by which coordinates. Not for methods with
        nodes.
    events
        Condensed events; observations and slots have a leading axis of trials.
    searches
        Where they begin.
    """
    modes = np.zeros((likelihood.events.subjects, likelihood.k))
    with jax.enable_x64(True):
        return climbed(_evaluating(likelihood, events), searches, modes)


def climbed(
    evaluate: Evaluate, searches: Searches, modes: Float[np.ndarray, "subject k"]
) -> Maxima:
    """Search the maxima of what `evaluate` says, the subjects' modes from here on."""
    paths = [
        _Here(vector, modes, np.inf, np.zeros_like(vector), metric, np.zeros_like(vector), 1.0,
              np.inf, 0)
        for vector, metric in zip(searches.vector, searches.metric, strict=True)
    ]  # fmt: skip
    waiting = list(range(len(paths)))
    while waiting:
        now = waiting[:BLOCK]
        there = np.stack([paths[i].vector + paths[i].part * paths[i].step for i in now])
        found = evaluate(there, np.stack([paths[i].x for i in now]), searches.trial[now])
        for i, own in zip(now, found, strict=True):
            paths[i] = _onward(paths[i], searches.free[i], own)
        waiting = [i for i in now if not paths[i].over] + waiting[BLOCK:]
    slope = np.array([path.left for path in paths])
    return Maxima(
        np.stack([path.vector for path in paths]),
        np.array([-path.value for path in paths]),
        np.stack([path.x for path in paths]),
        slope,
        np.array([path.evaluations for path in paths]),
        slope < GRADIENT,
    )


def one_of(events: Events, trial: int) -> Events:
    """The events of one trial, without an axis of trials."""
    leaves, tree = jax.tree.flatten(events)
    own = trial_axes(events)
    return jax.tree.unflatten(
        tree, [a[trial] if o else a for a, o in zip(leaves, own, strict=True)]
    )


def _onward(here: _Here, free: Bool[np.ndarray, " p"], found: Found) -> _Here:
    """What a search knows after an evaluation at the end of its step."""
    here = here._replace(evaluations=here.evaluations + 1)
    begun = np.isfinite(here.value)
    usable = np.isfinite(found.value) and np.isfinite(found.slope).all() and found.left < STUCK
    if not usable and not begun:
        return here._replace(part=0.0)  # nowhere to begin
    gain = float(here.slope @ here.step) * here.part
    rise = found.value - here.value if begun else -np.inf
    if not usable or rise > CLIMB * gain + NOISE * (1.0 + abs(found.value)):
        # As a parabola through both ends would have it
        best = -0.5 * gain / (rise - gain) if usable else 0.25
        return here._replace(part=here.part * float(np.clip(best, 0.1, 0.5)))
    slope = np.where(free, found.slope, 0.0)
    metric = (
        _updated(here.metric, here.part * here.step, slope - here.slope) if begun else here.metric
    )
    own = scale_of(found.outer[np.ix_(free, free)])
    step = -metric @ slope
    if not slope @ step < 0.0:  # rounding has spoilt it: anew from the scores
        metric = np.zeros_like(metric)
        metric[np.ix_(free, free)] = own @ own.T
        step = -metric @ slope
    length = np.sqrt(max(-slope @ step, 0.0))
    return here._replace(
        vector=here.vector + here.part * here.step,
        x=found.x,
        value=found.value,
        slope=slope,
        metric=metric,
        step=step * min(1.0, LONGEST / max(length, LONGEST)),
        part=1.0,
        left=float(np.abs(own.T @ slope[free]).max(initial=0.0)),
    )


def _updated(
    metric: Float[np.ndarray, "p p"], step: Float[np.ndarray, " p"], change: Float[np.ndarray, " p"]
) -> Float[np.ndarray, "p p"]:
    """The metric after a step that has changed the slope (BFGS); the same where that is concave."""
    along = float(step @ change)
    if not along > 1e-8 * float(np.sqrt((step @ step) * (change @ change))):
        return metric
    turned = metric @ change
    shared = np.outer(turned, step)
    return (
        metric
        + (1.0 + (change @ turned) / along) * np.outer(step, step) / along
        - (shared + shared.T) / along
    )


def _evaluating(likelihood: Likelihood, events: Events) -> Evaluate:
    """Of coordinates, modes and the numbers of trials, up to a block of them."""
    model, method, of = likelihood.model, likelihood.settings.method, likelihood.coordinates
    leaves, tree = jax.tree.flatten(events)
    own = trial_axes(events)
    slots = events.slots
    censoring = slots.count > 0 if slots is not None else bool(np.any(events.censored))
    evaluate = evaluating(model, of, method, censoring=censoring)

    def one(vector: Array, x: Array, leaves: list[Array]) -> tuple[Array, ...]:
        events = jax.tree.unflatten(tree, leaves)
        log_likelihood, scores, modes, left, *_ = evaluate(vector, x, events, None)
        return -log_likelihood.sum(), -scores.sum(axis=0), scores.T @ scores, modes, left.max()

    many = jax.vmap(one, (0, 0, [0 if has else None for has in own]))

    def of_trials(trial: np.ndarray) -> list[Any]:
        return [
            np.asarray(a)[trial] if has else np.asarray(a)
            for a, has in zip(leaves, own, strict=True)
        ]

    first = np.zeros(BLOCK, dtype=int)
    shape = (likelihood.events.subjects, likelihood.k)
    example = (np.zeros((BLOCK, of.start.size)), np.zeros((BLOCK, *shape)), of_trials(first))
    shapes = tuple((np.shape(a), str(np.asarray(a).dtype)) for a in jax.tree.leaves(example))
    about = (str(tree), own, shapes, method, censoring, "maxima")
    key = (model.spec.model_dump_json(), *about, *bounds_of(likelihood))
    program = kept(key, lambda: compiled(key, many, example))

    def run(vector: np.ndarray, x: np.ndarray, trial: np.ndarray) -> list[Found]:
        full = np.resize(np.arange(len(trial)), BLOCK)
        arguments = jax.tree.map(jnp.asarray, (vector[full], x[full], of_trials(trial[full])))
        found = [np.asarray(part) for part in program(*arguments)]
        return [
            Found(float(value), slope, outer, modes, float(left))
            for value, slope, outer, modes, left in zip(
                *(f[: len(trial)] for f in found), strict=True
            )
        ]

    return run
