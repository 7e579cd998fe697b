"""Maximum likelihood: population values that maximise the marginal likelihood, and their errors.

Minimised is minus the log likelihood over unconstrained coordinates, first scaled by the inverse of
the outer product of the subjects' scores (Berndt, Hall, Hall, Hausman 1974), in which a unit is
about a standard error in every direction. Derivatives are exact (see `laplace`); the Hessian is the
central difference of exact gradients.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.optimize import minimize

from popk.inference.conditional import STUCK
from popk.inference.laplace import Method, Nodes, evaluating, gauss_hermite, importance_nodes
from popk.inference.programs import compiled, kept
from popk.population.events import Events
from popk.population.model import Model
from popk.population.subjects import (
    Coordinates,
    coordinates,
    natural,
    natural_names,
    per_subject,
    varied,
)
from popk.spec.relations import Linear

GRADIENT = 1e-3
"""Largest slope of minus the log likelihood, by the scaled coordinates, at a minimum: the
log likelihood is then within a millionth of its maximum."""
DIFFERENCE = 1e-2
"""Step of the differences of gradients, in scaled coordinates."""
LEAST_CURVATURE = 1e-4
"""Eigenvalue of the Hessian, by the scaled coordinates, below which a direction is flat: where
the model is right the Hessian is near the scores' outer product, and the eigenvalues near one."""
SUMMED = ("log_likelihood", "scores", "variance")
"""What of an evaluation is a sum over subjects."""
FAR = 1e12
"""What stands for a likelihood that is no number."""


class Settings(NamedTuple):
    """How the marginal likelihood is computed.

    Attributes
    ----------
    method
        "focei", "laplace", "agq" (adaptive Gauss-Hermite quadrature) or "importance".
    nodes
        Quadrature nodes for each of a subject's numbers.
    samples
        Draws of importance sampling for each subject.
    seed
        Of those draws.
    """

    method: Method = "focei"
    nodes: int = 7
    samples: int = 1000
    seed: int = 1


class Evaluation(NamedTuple):
    """The marginal likelihood at one point.

    Attributes
    ----------
    log_likelihood, scores
        [subject] and [subject, p], its slopes by the unconstrained coordinates.
    x, left, curvature_factor, variance
        See `popk.inference.laplace.Marginal`.
    """

    log_likelihood: Float[np.ndarray, " subject"]
    scores: Float[np.ndarray, "subject p"]
    x: Float[np.ndarray, "subject k"]
    left: Float[np.ndarray, " subject"]
    curvature_factor: Float[np.ndarray, "subject k k"]
    variance: Float[np.ndarray, " subject"]


@dataclass(frozen=True, eq=False)
class Likelihood:
    """The marginal likelihood of a model given data, compiled once for data of one shape.

    Attributes
    ----------
    model, events, settings
        What it is of, and how it is computed.
    times
        [subject] how often each subject counts, as if there were so many of it; None: once.
    """

    model: Model
    events: Events
    settings: Settings
    times: Int[np.ndarray, " subject"] | None = None

    def __call__(
        self,
        vector: Float[np.ndarray, " p"],
        start: Float[np.ndarray, "subject k"] | None = None,
        *,
        scores: bool = True,
    ) -> Evaluation:
        """The likelihood and the subjects' scores at unconstrained coordinates.

        `start` is where the search for the subjects' modes begins, by default at zero. Without
        `scores` they are empty; the program is then compiled three times as fast.
        """
        x = np.zeros((self.events.subjects, self.k)) if start is None else start
        arguments = (np.asarray(vector, dtype=float), np.asarray(x, dtype=float), *self._data)
        with jax.enable_x64(True):
            found = self._program(arguments, scores)(*arguments)
        own = Evaluation(*(np.asarray(part) for part in found))
        return own if self.times is None else _multiplied(own, self.times)

    def outer(self, scores: Float[np.ndarray, "subject p"]) -> Float[np.ndarray, "p p"]:
        """The sum of the outer products of the scores, of each subject as often as it counts."""
        if self.times is None:
            return scores.T @ scores
        return scores.T @ (scores / np.maximum(self.times, 1)[:, None])

    @cached_property
    def coordinates(self) -> Coordinates:
        """Unconstrained coordinates of the population values."""
        with jax.enable_x64(True):
            return kept(self._key("coordinates"), lambda: coordinates(self.model, self.events))

    def _key(self, what: str) -> tuple[Any, ...]:
        """What something traced for these coordinates is kept under."""
        shapes = tuple(np.shape(a) for a in jax.tree.leaves(self.events))
        # The bounds of a linear effect depend on the covariates
        terms = tuple(np.asarray(a).tobytes() for a in jax.tree.leaves(self.events.terms))
        return (self.model.spec.model_dump_json(), shapes, terms, what)

    @cached_property
    def natural(self) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """From coordinates to the values of the tables, and the matrix of their slopes."""

        def both(vector: Array) -> tuple[Array, Array]:
            def of(v: Array) -> Array:
                return natural(self.model, self.coordinates, v)

            return of(vector), jax.jacfwd(of)(vector)

        def computed(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            with jax.enable_x64(True):
                values, slopes = run(jnp.asarray(vector))
            return np.asarray(values), np.asarray(slopes)

        run = kept(self._key("natural"), lambda: jax.jit(both))
        return computed

    def vector(self, values: Mapping[str, float | np.ndarray]) -> Float[np.ndarray, " p"]:
        """Unconstrained coordinates of these values; what is not given is at the priors' centre."""
        with jax.enable_x64(True):
            return np.asarray(self.coordinates.vector(values))

    def vectors(self, draws: Mapping[str, np.ndarray]) -> Float[np.ndarray, "n p"]:
        """The same for many draws, which are the first axis of each array."""
        with jax.enable_x64(True):
            of = self.coordinates.vector
            run = kept(self._key("vectors"), lambda: jax.jit(jax.vmap(of)))
            return np.asarray(run(dict(draws)))

    @property
    def names(self) -> tuple[str, ...]:
        """What `natural` returns."""
        return natural_names(self.model)

    @property
    def k(self) -> int:
        """Numbers of each subject."""
        return len(varied(self.model))

    @cached_property
    def constant(self) -> float:
        """N log 2 pi, N measured rows: what an OFV leaves out of -2 log L."""
        events = self.events
        rows = np.asarray(events.observed & ~events.censored, dtype=float)
        if self.times is not None:
            rows = self.times * np.asarray(per_subject(jnp.asarray(rows), events))
        return float(rows.sum()) * math.log(2.0 * math.pi)

    @cached_property
    def _data(self) -> tuple[Any, ...]:
        with jax.enable_x64(True):
            return jax.tree.map(jnp.asarray, (self.events, self._nodes))

    @cached_property
    def _nodes(self) -> Nodes | None:
        s = self.settings
        if s.method == "agq":
            return gauss_hermite(s.nodes, self.k)
        if s.method == "importance":
            return importance_nodes(s.seed, s.samples, self.events.subjects, self.k)
        return None

    def _program(self, arguments: Any, slopes: bool) -> Callable[..., Any]:
        model, method, of = self.model, self.settings.method, self.coordinates
        slots = self.events.slots
        # By shape where it can be: trials of one design share a program, censored rows or not
        censoring = slots.count > 0 if slots is not None else bool(np.any(self.events.censored))

        evaluate = evaluating(model, of, method, censoring=censoring, scores=slopes)
        shapes = tuple((a.shape, str(a.dtype)) for a in jax.tree.leaves(arguments))
        structure = str(jax.tree.structure(arguments))
        about = (method, censoring, slopes, "marginal")
        key = (model.spec.model_dump_json(), structure, shapes, *about, *bounds_of(self))
        return kept(key, lambda: compiled(key, evaluate, arguments, quickly=True))


def bounds_of(likelihood: Likelihood) -> tuple[bytes, ...]:
    """What else than shapes a program for these coordinates depends on.

    Where an effect is linear its bounds follow from the subjects' covariates.
    """
    effects = likelihood.model.spec.covariates
    linear = [effect.name for effect in effects if isinstance(effect, Linear)]
    return tuple(np.asarray(likelihood.events.terms[name]).tobytes() for name in linear)


def _multiplied(found: Evaluation, times: Int[np.ndarray, " subject"]) -> Evaluation:
    """The same with each subject counted so many times; one that does not count may be unknown."""

    def weighed(values: np.ndarray) -> np.ndarray:
        weight = times.reshape(-1, *(1,) * (values.ndim - 1))
        return np.where(weight > 0, weight * values, 0.0)

    counted = {name: weighed(getattr(found, name)) for name in SUMMED}
    return found._replace(left=np.where(times > 0, found.left, 0.0), **counted)


@dataclass(frozen=True, eq=False)
class Estimate:
    """Maximum-likelihood estimates.

    Attributes
    ----------
    names, values
        [quantity] population values as tables show them (omegas and sigmas are SDs).
    covariance, sandwich
        [quantity, quantity] of the estimates: the inverse Hessian of minus the log likelihood
        (NONMEM's R), and R^-1 S R^-1 with S the sum of the subjects' squared scores (NONMEM's
        default; White, Econometrica 1982;50:1-25). NaN where the Hessian is not positive.
    vector
        [p] the unconstrained coordinates of the estimates.
    log_likelihood, ofv
        At the estimates; OFV = -2 log L - N log 2 pi for N measured rows, as NONMEM prints it.
    error
        Monte Carlo standard error of the OFV; zero but for importance sampling.
    x, curvature_factor
        Modes of the subjects' standardised deviations, and the factor of the curvature there.
    evaluations
        Of the likelihood.
    slope
        The largest slope left, by coordinates in which a unit is about a standard error.
    least_curvature
        The smallest eigenvalue of the Hessian in these coordinates: not above `LEAST_CURVATURE`
        where there is no maximum.
    condition
        Ratio of the largest to the smallest eigenvalue of the estimates' correlation matrix.
    lost
        Subjects, by their order from 0, whose mode was not found.
    message
        How the search ended.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, " quantity"]
    covariance: Float[np.ndarray, "quantity quantity"]
    sandwich: Float[np.ndarray, "quantity quantity"]
    vector: Float[np.ndarray, " p"]
    log_likelihood: float
    ofv: float
    error: float
    x: Float[np.ndarray, "subject k"]
    curvature_factor: Float[np.ndarray, "subject k k"]
    evaluations: int
    slope: float
    least_curvature: float
    condition: float
    lost: tuple[int, ...]
    message: str

    def __getitem__(self, name: str) -> float:
        """The estimate of one quantity."""
        return float(self.values[self.names.index(name)])

    @property
    def parameters(self) -> int:
        """Number of parameters that were estimated."""
        return len(self.vector)

    @property
    def ended(self) -> bool:
        """Whether the search has ended at a maximum."""
        return self.highest and self.least_curvature > LEAST_CURVATURE

    @property
    def highest(self) -> bool:
        """Whether the likelihood is as high as it gets, be it along a flat direction.

        Where an omega goes to zero there is no maximum inside, but a highest likelihood.
        """
        return self.slope < GRADIENT and not self.lost

    def se(self, name: str, *, sandwich: bool = False) -> float:
        """Standard error of one quantity."""
        i = self.names.index(name)
        return float(np.sqrt((self.sandwich if sandwich else self.covariance)[i, i]))


class State(NamedTuple):
    """How far a search is: the best point so far.

    Attributes
    ----------
    vector, x
        The unconstrained coordinates, and the subjects' modes there (None: not known).
    evaluations
        Of the likelihood so far.
    value
        Minus the log likelihood there.
    """

    vector: Float[np.ndarray, " p"]
    x: Float[np.ndarray, "subject k"] | None
    evaluations: int
    value: float


def at(vector: Float[np.ndarray, " p"]) -> State:
    """A search that begins here."""
    return State(np.array(vector, dtype=float), None, 0, np.inf)


def maximise(
    likelihood: Likelihood,
    start: State | None = None,
    *,
    watch: Callable[[State], None] | None = None,
    most: int = 200,
) -> Estimate:
    """Maximise a marginal likelihood.

    Parameters
    ----------
    likelihood
        What is maximised.
    start
        Where to begin, e.g. what `watch` was given; the centre of the priors where None.
    watch
        Called after every evaluation that is the best so far; it may raise to interrupt.
    most
        Iterations of the search.
    """
    search = _Search(likelihood, start or at(likelihood.coordinates.start), watch)
    vector = np.array(search.best.vector)
    message = ""
    # Scores far from the maximum say little of the scale there: it is renewed where the search
    # has come to an end
    for _ in range(4):
        scaled = search.scaled()

        def turned(
            u: np.ndarray, origin: np.ndarray = vector, turn: np.ndarray = scaled
        ) -> tuple[float, np.ndarray]:
            value, slope = search.at(origin + turn @ u)
            return value, turn.T @ slope

        options = {"gtol": 0.1 * GRADIENT, "maxiter": most}
        found = minimize(turned, np.zeros(len(vector)), jac=True, method="BFGS", options=options)
        message = str(found.message)
        vector = np.array(search.best.vector)
        slope = np.abs(search.scaled().T @ search.at(vector)[1]).max()
        if slope < GRADIENT:
            break
    return _described(likelihood, search, message)


class _Search:
    """Evaluations of a likelihood, each from the subjects' modes of the best one before it."""

    def __init__(
        self,
        likelihood: Likelihood,
        start: State,
        watch: Callable[[State], None] | None,
    ) -> None:
        self.likelihood, self.watch = likelihood, watch
        self.count = start.evaluations
        self.last: tuple[bytes, Evaluation] | None = None
        self.best = start
        self.at(np.asarray(start.vector, dtype=float))

    def evaluation(self, vector: Float[np.ndarray, " p"]) -> Evaluation:
        """The likelihood, remembered for the slope that is asked for next."""
        key = np.asarray(vector, dtype=float).tobytes()
        if self.last is None or self.last[0] != key:
            self.count += 1
            found = self.likelihood(vector, self.best.x)
            if not np.isfinite(found.log_likelihood).all() or (found.left > STUCK).any():
                # From other modes: those of the best point may lie far away
                other = self.likelihood(vector)
                worse = np.nan_to_num(found.log_likelihood.sum(), nan=-np.inf)
                if np.nan_to_num(other.log_likelihood.sum(), nan=-np.inf) > worse:
                    found = other
            self.last = (key, found)
        return self.last[1]

    def at(self, vector: Float[np.ndarray, " p"]) -> tuple[float, Float[np.ndarray, " p"]]:
        """Minus the log likelihood, and its slope."""
        found = self.evaluation(vector)
        value = -float(found.log_likelihood.sum())
        slope = -found.scores.sum(axis=0)
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return FAR, np.zeros_like(slope)
        if value < self.best.value:
            self.best = State(np.array(vector), found.x, self.count, value)
            if self.watch is not None:
                self.watch(self.best)
        return value, slope

    def scaled(self) -> Float[np.ndarray, "p p"]:
        """A factor of the inverse of the scores' outer product at the best point."""
        scores = np.nan_to_num(self.evaluation(self.best.vector).scores)
        return scale_of(self.likelihood.outer(scores))


def scale_of(outer: Float[np.ndarray, "p p"]) -> Float[np.ndarray, "p p"]:
    """A factor of the inverse of the scores' outer product."""
    # A direction that the data say nothing of is as long as one that they say little of
    ridge = 1e-3 * max(float(np.trace(outer)) / max(len(outer), 1), 1e-8)
    diagonal = np.maximum(np.diag(outer), 1e-3 * ridge)
    return np.linalg.cholesky(np.linalg.inv(outer + np.diag(1e-2 * diagonal)))


def _described(likelihood: Likelihood, search: _Search, message: str) -> Estimate:
    """Estimates, their errors, and whether they are a maximum."""
    vector = search.best.vector
    here = search.evaluation(vector)
    scaled = search.scaled()
    size = len(vector)
    # Central differences of exact slopes, in units in which they are of order one
    curvature = np.zeros((size, size))
    for i in range(size):
        step = DIFFERENCE * scaled[:, i]
        up = likelihood(vector + step, here.x).scores.sum(axis=0)
        down = likelihood(vector - step, here.x).scores.sum(axis=0)
        curvature[i] = -scaled.T @ (up - down) / (2.0 * DIFFERENCE)
    curvature = 0.5 * (curvature + curvature.T)
    values, slopes = likelihood.natural(vector)
    count = len(values)
    covariance = sandwich = np.full((count, count), np.nan)
    least = float(np.linalg.eigvalsh(curvature)[0]) if np.isfinite(curvature).all() else np.nan
    condition = np.nan
    if least > 0:
        inverse = scaled @ np.linalg.inv(curvature) @ scaled.T
        outer = likelihood.outer(here.scores)
        covariance = slopes @ inverse @ slopes.T
        sandwich = slopes @ inverse @ outer @ inverse @ slopes.T
        sd = np.sqrt(np.diag(covariance))
        eigenvalues = np.linalg.eigvalsh(covariance / np.outer(sd, sd))
        condition = float(eigenvalues[-1] / eigenvalues[0])
    total = float(here.log_likelihood.sum())
    slope = np.abs(scaled.T @ here.scores.sum(axis=0)).max()
    lost = ~(here.left < STUCK) | ~np.isfinite(here.log_likelihood)
    return Estimate(
        names=likelihood.names,
        values=values,
        covariance=covariance,
        sandwich=sandwich,
        vector=vector,
        log_likelihood=total,
        ofv=-2.0 * total - likelihood.constant,
        error=2.0 * float(np.sqrt(here.variance.sum())),
        x=here.x,
        curvature_factor=here.curvature_factor,
        evaluations=search.count,
        slope=float(slope),
        least_curvature=least,
        condition=condition,
        lost=tuple(np.flatnonzero(lost).tolist()),
        message=message,
    )
