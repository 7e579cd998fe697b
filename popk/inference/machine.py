"""What the ensemble and the batch share: the program at work, from the mode search to sampling.

All arrays have a leading axis of trials, of length one for a single fit. A trial's random numbers
come from its own seed, and the stretches of a run are the same for all: a trial's result does not
depend on those beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt32

from popk.inference.adaptation import (
    Tuning,
    dispersed,
    known_at,
    laplace_arrow,
    retuned,
    revived,
)
from popk.inference.arrow import Arrow, arrow_from_draws
from popk.inference.diagnostics import superchains_of
from popk.inference.lockstep import Chains, Program, Schedule, Trace, program
from popk.inference.mode import Mode, find_mode, subject_modes
from popk.inference.programs import compiled, kept, recalled
from popk.inference.threads import double_precision, real_type, side_by_side
from popk.population.condensed import subjects_differ
from popk.population.events import Events
from popk.population.flat import FlatDensity, centre_of, flatten
from popk.population.model import Model
from popk.population.parameters import Known
from popk.spec.relations import Linear

CHUNK = 25
"""Transitions of one run of the program."""
WARMUP = (10, 10, 20)
"""Transitions of the stages of warm-up; step size and metric are renewed after each."""

Named = Callable[[Float[np.ndarray, "trial d"], Known], Mapping[str, np.ndarray]]
"""Named values at one vector of each trial: [trial, ...]."""


class Tuned(NamedTuple):
    """Chains and how they are tuned.

    Attributes
    ----------
    chains
        [trial, chain, ...] positions, log densities and gradients.
    centring
        What each subject's data know of its parameters; frozen after the mode search.
    arrow, tuning
        Metric, step size and integrator steps; frozen after the warm-up.
    """

    chains: Chains
    centring: Known
    arrow: Arrow
    tuning: Tuning


@dataclass(frozen=True, eq=False)
class Machine:
    """The program of one model for data of one shape.

    Attributes
    ----------
    model
        The model.
    events
        Data of all trials.
    own
        Of each leaf of the events, whether it has an axis of trials.
    trials, chains
        Trials, and chains of each.
    block
        Trials computed side by side.
    groups
        Parts into which the chains are shared, one thread each.
    """

    model: Model
    events: Events
    own: tuple[bool, ...]
    trials: int = 1
    chains: int = 32
    block: int = 1
    groups: int = 1

    def of(self, events: Events) -> "Machine":
        """The same program for other data of the same shape."""
        other = replace(self, events=events)
        vars(other).update(flat=self.flat, shape=self.shape)
        return other

    def begin(
        self,
        seeds: UInt32[np.ndarray, " trial"],
        named: Named,
        start: Float[np.ndarray, " d"] | None = None,
    ) -> Tuned:
        """Mode, centring, metric and dispersed starting points.

        The mode search begins at `start`, by default at the centre of the priors.
        """
        flat, p, k = self.flat, self.flat.population, self.flat.individual
        difference = 1e-4 if double_precision() else 1e-2
        mode = self.mode(start)
        centring = self._known(mode, named)
        vector, precision = subject_modes(
            lambda x: self.gradients(x, centring),
            np.concatenate([mode.vector[:, :p], np.zeros_like(mode.vector[:, p:])], axis=1),
            p,
            (self.events.subjects, k),
            difference,
        )
        arrow = laplace_arrow(mode, precision)
        points = dispersed(
            [np.random.default_rng([int(seed), 0]) for seed in seeds],
            lambda x: self.gradients(x, centring)[0],
            vector,
            arrow,
            self.chains,
            self.chains // superchains if (superchains := superchains_of(self.chains)) else 1,
        )
        density, gradient = self.gradients(points, centring)
        tuning = Tuning.first(flat.start.size, self.trials)
        return Tuned(Chains(points, density, gradient), centring, arrow, tuning)

    def mode(self, start: Float[np.ndarray, " d"] | None = None) -> Mode:
        """The mode of each trial, in numbers that are not centred."""
        flat, none = self.flat, self.uncentred
        difference = 1e-4 if double_precision() else 1e-2
        centre = np.asarray(flat.start if start is None else start, dtype=float)
        first = np.tile(centre, (self.trials, 1))
        p, each = flat.population, (self.events.subjects, flat.individual)
        if subjects_differ(self.events):
            first[:, p:] = 0.0  # zero but for the rounding of other trials' covariates
        return find_mode(lambda x: self.gradients(x, none), first, p, each, difference)

    def warm(
        self, tuned: Tuned, stage: int, seeds: UInt32[np.ndarray, " trial"], target: float
    ) -> Tuned:
        """One stage of warm-up, from 1 on."""
        chains, trace = self.run(tuned, seeds, stage, WARMUP[stage - 1], retries=False)
        tuning = retuned(tuned.tuning, trace.acceptance, target)
        arrow = tuned.arrow
        if stage > 1:
            draws = np.moveaxis(trace.vector, 0, 1)
            arrow = arrow_from_draws(draws.reshape(self.trials, -1, draws.shape[-1]), arrow)
        rngs = [np.random.default_rng([int(seed), 1, stage]) for seed in seeds]
        return Tuned(revived(rngs, chains, trace), tuned.centring, arrow, tuning)

    def run(
        self,
        tuned: Tuned,
        seeds: UInt32[np.ndarray, " trial"],
        stage: int,
        count: int,
        trials: int | None = None,
        retries: bool | Bool[np.ndarray, " trial"] = True,
    ) -> tuple[Chains, Trace]:
        """`count` transitions of all chains, of the first `trials` where that is given.

        `retries` says in which trials trajectories that diverge are tried again with shorter steps.
        """
        rng = np.random.default_rng([2, stage])
        stretch = np.ones(CHUNK)
        stretch[:count] = rng.uniform(0.75, 1.25, count)
        blocks = -(-(trials or self.trials) // self.block)
        schedule = Schedule(stretch, np.int32(count), np.int32(blocks))
        chains, centring, arrow, tuning = tuned
        size, gradients = tuning.step_size, 2 * tuning.steps
        again = np.broadcast_to(retries, self.trials)
        rest = (centring, arrow, size, gradients, again, schedule)
        return self._spread(chains, seeds, stage, *rest)

    def gradients(
        self, points: Float[np.ndarray, "trial point d"], centring: Known
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log densities and gradients at any number of points: a transition of no length."""
        flat, n = self.flat, self.events.subjects
        p, k, count, t = flat.population, flat.individual, points.shape[1], self.trials
        still = Arrow(np.tile(np.eye(p), (t, 1, 1)), np.zeros((t, n, k, p)), np.zeros((t, n, k, k)))
        once = Schedule(np.zeros(CHUNK), np.int32(1), np.int32(-(-t // self.block)))
        width = self.chains // self.groups
        padded = np.concatenate([points, np.repeat(points[:, :1], -count % width, axis=1)], axis=1)
        ones = np.ones(t, dtype=np.int32)
        keys = _keys(np.zeros(t, dtype=np.uint32), 0, 0)
        never = np.zeros(t, dtype=bool)
        shared = (self.leaves, *_real((centring, still, np.zeros(t), ones, never, once)))
        shares = []
        for first in range(0, count, width):
            block = padded[:, first : first + width]
            chains = Chains(block, np.full(block.shape[:2], -np.inf), np.zeros(block.shape))
            shares.append((_real(chains), keys, *shared))
        found = [chains for chains, _ in self._all(shares)]
        return (
            _joined([chains.log_density for chains in found], 1)[:, :count],
            _joined([chains.gradient for chains in found], 1)[:, :count],
        )

    def compile(self) -> None:
        """Compile now, before threads share the program."""
        size, t = self.flat.start.size, self.trials
        self.gradients(np.zeros((t, 1, size)), self.uncentred)

    @cached_property
    def flat(self) -> FlatDensity:
        """The density; its shapes are those of one trial."""
        none = jax.tree.map(lambda a: a[0], self.uncentred)
        covariates = self._covariates

        def make() -> FlatDensity:
            key = (*self.shape, covariates, "centre")
            centre = recalled(key, lambda: centre_of(self.model, self.one_trial, none))
            return flatten(self.model, self.one_trial, none, centre)

        return kept((*self.shape, covariates, "flat"), make)

    @property
    def _covariates(self) -> tuple[Any, ...]:
        """What of the covariates matters to where a search begins: bounds of linear effects."""
        if not subjects_differ(self.events):
            return tuple(np.asarray(a).tobytes() for a in jax.tree.leaves(self.events.terms))
        linear = [e.name for e in self.model.spec.covariates if isinstance(e, Linear)]
        terms = [np.asarray(self.one_trial.terms[name]) for name in linear]
        return tuple((float(term.min()), float(term.max())) for term in terms)

    @cached_property
    def one_trial(self) -> Events:
        """The events of the first trial."""
        leaves, tree = jax.tree.flatten(self.events)
        return jax.tree.unflatten(
            tree, [a[0] if has else a for a, has in zip(leaves, self.own, strict=True)]
        )

    @property
    def uncentred(self) -> Known:
        """Knowing nothing: every subject's numbers are standardised deviations."""
        n, k, t = self.events.subjects, len(self._places), self.trials
        return Known(np.zeros((t, n, k, k)), np.zeros((t, n, k)), np.zeros(t))

    def _known(self, mode: Mode, named: Named) -> Known:
        values = dict(named(mode.vector, self.uncentred))
        for name, value in self.model.fixed().items():
            values[name] = np.full(self.trials, float(value))
        log_scale = {
            name: np.broadcast_to(
                np.asarray(self.events.log_scale[name])[..., 0],
                (self.trials, self.events.subjects),
            )
            for name in self._places
        }
        return known_at(mode, values, log_scale, self._places)

    def _spread(
        self, chains: Chains, seeds: UInt32[np.ndarray, " trial"], stage: int, *rest: Any
    ) -> tuple[Chains, Trace]:
        """Run the program on equal shares of the chains, one thread each."""
        *_, schedule = rest
        shared = (self.leaves, *_real(rest))
        shares = [
            (_real(_part(chains, i, self.groups)), _keys(seeds, stage, i), *shared)
            for i in range(self.groups)
        ]
        ends, traces = zip(*self._all(shares), strict=True)
        count = int(schedule.count)
        whole = jax.tree.map(lambda *parts: _joined(parts, 1), *ends)
        return whole, jax.tree.map(lambda *parts: _joined(parts, 2)[:count], *traces)

    def _all(self, shares: Sequence[Any]) -> list[tuple[Chains, Trace]]:
        """Run the program on every share, as many threads at once as there are groups."""
        run = self._compiled(shares[0])
        if self.groups == 1:
            return [jax.block_until_ready(run(*share)) for share in shares]
        return side_by_side(lambda share: run(*share), shares)

    def _compiled(self, share: Any) -> Program:
        """The program, compiled once and before the threads start."""
        chains, precision = share[0].vector.shape[:2], share[0].vector.dtype.str
        key = (*self.shape, self.own, self.block, chains, precision)
        return kept(
            key,
            lambda: compiled(key, program(self.flat, self.events, self.own, self.block), share),
        )

    @cached_property
    def shape(self) -> tuple[Any, ...]:
        """What a compiled program depends on: the model, the data's shapes, precision, device."""
        return (
            self.model.spec.model_dump_json(),
            str(jax.tree.structure(self.events)),
            tuple(np.shape(a) for a in jax.tree.leaves(self.one_trial)),
            double_precision(),
            str(jax.config.values["jax_default_device"]),
        )

    @cached_property
    def leaves(self) -> tuple[jax.Array, ...]:
        """The events' leaves as the program takes them."""
        dtype = real_type()
        return tuple(
            jnp.asarray(a, dtype if a.dtype.kind == "f" else a.dtype)
            for a in jax.tree.leaves(self.events)
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        """Parameters of which the data may know something, and their place among the numbers."""
        spec = self.model.spec.parameters
        varied = {n: p.variability for n, p in spec.items() if p.variability is not None}
        order = sorted(varied, key=lambda n: f"x_{n}")
        return {n: order.index(n) for n, v in varied.items() if v.distribution != "normal"}


def trial_seeds(seed: int, trials: Sequence[int]) -> UInt32[np.ndarray, " trial"]:
    """A seed for each trial, from that of the run and the trial's number."""
    entropy = [np.random.SeedSequence([seed % (1 << 63), trial]) for trial in trials]
    return np.array([e.generate_state(1)[0] for e in entropy], dtype=np.uint32)


def _keys(seeds: UInt32[np.ndarray, " trial"], stage: int, group: int) -> jax.Array:
    """Data of a random key for each trial."""
    return _made(np.asarray(seeds, dtype=np.uint32), np.int32(stage), np.int32(group))


@jax.jit
def _made(seeds: jax.Array, stage: jax.Array, group: jax.Array) -> jax.Array:
    def one(seed: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stage), group)
        return jax.random.key_data(key)

    return jax.vmap(one)(seeds)


def _real(tree: Any) -> Any:
    """Arrays as the program takes them."""
    dtype = real_type()
    return jax.tree.map(
        lambda a: np.ascontiguousarray(a, dtype if a.dtype.kind == "f" else None).reshape(a.shape),
        tree,
    )


def _part(chains: Chains, i: int, groups: int) -> Chains:
    """One of equal parts of the chains."""
    size = chains.vector.shape[1] // groups
    return Chains(*(a[:, i * size : (i + 1) * size] for a in chains))


def _joined(parts: Sequence[Any], axis: int) -> np.ndarray:
    if len(parts) == 1:
        return np.asarray(parts[0])
    return np.concatenate([np.asarray(part) for part in parts], axis=axis)
