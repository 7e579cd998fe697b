"""Many chains in lockstep: the default sampler.

Starting points, metric and centring come from the posterior mode and its curvature; a short
warm-up pools all chains; then everything is frozen and what follows is plain Hamiltonian Monte
Carlo (Neal 2011) with trajectories of a quarter turn of the whitened posterior, jittered. It
stops when the convergence gate holds, checked on a fixed schedule.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from popk.inference.adaptation import (
    MOST_LEAPS,
    QUARTER_TURN,
    Tuning,
    centring_from,
    dispersed,
    laplace_arrow,
    retuned,
    revived,
)
from popk.inference.arrow import Arrow, arrow_from_draws
from popk.inference.convergence import constants, diagnostics, gate
from popk.inference.draws import Collect, collector
from popk.inference.lockstep import Chains, Program, Trace, program
from popk.inference.mode import find_mode, subject_modes
from popk.inference.posterior import Posterior, Progress
from popk.inference.threads import cores, double_precision, side_by_side
from popk.population.events import Events
from popk.population.model import FlatDensity, Model, flatten
from popk.spec.fit import Sampler as Settings
from popk.spec.priors import Fixed

CHUNK = 25
"""Transitions of one run of the program."""
WARMUP = (10, 10, 20, 25, 25)
"""Transitions of the stages of warm-up; step size and metric are renewed after each."""
CHECKED_AFTER = (100, 150, 200, 300, 400, 600, 800)
"""Draws of each chain after which the gate is tried; then every 200."""


SHORTER = 0.6
MOST_SHORTENED = 3
"""After divergences the step size is cut by this factor, at most so often."""


class State(NamedTuple):
    """Where all chains are, how they are tuned, and what they have drawn.

    Attributes
    ----------
    stage
        0 before the mode search, then the stages of warm-up, then sampling.
    chains
        [1, chain, ...] positions, log densities and gradients.
    centring
        Parameter to [subject] weights, frozen after the mode search.
    arrow, step_size, leaps
        Metric, step size and leapfrog steps; frozen after the warm-up.
    draws, log_likelihood, stats
        What was drawn since, as in `Posterior`.
    shortened, dropped
        How often the step size was cut because of divergences, and the draws of each chain that
        were dropped then.
    finished, failed
        Whether the gate holds or the draws are spent, and which checks failed then.
    """

    stage: int
    chains: Chains
    centring: dict[str, np.ndarray]
    arrow: Arrow
    tuning: Tuning
    draws: dict[str, np.ndarray]
    log_likelihood: np.ndarray
    stats: dict[str, np.ndarray]
    shortened: int
    dropped: int
    finished: int
    failed: str

    @property
    def drawn(self) -> int:
        """Draws of each chain so far."""
        return self.log_likelihood.shape[1]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A lockstep ensemble for one model and data set; see `popk.inference.posterior.Sampler`."""

    model: Model
    events: Events
    settings: Settings

    def start(self) -> State:
        """The state before the mode search."""
        flat, count = self._flat, self._count
        p, k, n = flat.population, flat.individual, self.events.subjects
        size = flat.start.size
        chains = Chains(
            np.tile(np.asarray(flat.start), (1, count, 1)),
            np.full((1, count), -np.inf),
            np.zeros((1, count, size)),
        )
        arrow = Arrow(np.eye(p)[None], np.zeros((1, n, k, p)), np.tile(np.eye(k), (1, n, 1, 1)))
        centring = {name: np.zeros(n) for name in self._varied}
        return State(0, chains, centring, arrow, Tuning.first(size), *self._nothing, 0, 0, 0, "")

    def advance(self, state: State) -> State:
        """The mode search, one stage of warm-up, or `CHUNK` draws and the gate where it is due."""
        if state.stage == 0:
            return self._begin(state)
        if state.stage <= len(WARMUP):
            return self._warm(state)
        return self._sample(state)

    def progress(self, state: State) -> Progress:
        """How far the chains are; `total` is the most that may be needed until it is known."""
        warm = sum(WARMUP) + state.dropped
        before = sum(WARMUP[: max(state.stage - 1, 0)])
        done = before if state.stage <= len(WARMUP) else warm + state.drawn
        sampling = state.stage > len(WARMUP)
        return Progress(
            "sampling" if sampling else "warm-up" if state.stage else "mode search",
            done,
            done if state.finished else warm + self.settings.draws,
            self._count,
            int(state.stats["diverging"].sum()),
        )

    def posterior(self, state: State) -> Posterior:
        """Constrained draws of a finished state."""
        method = {
            "name": "ensemble",
            "chains": self._count,
            "draws": state.drawn,
            "warmup": sum(WARMUP),
            "leapfrog_steps": int(state.tuning.leaps),
            "step_size": float(state.tuning.step_size[0]),
            "seed": self.settings.seed,
        }
        return Posterior(state.draws, state.stats, state.log_likelihood, method)

    def _begin(self, state: State) -> State:
        """Mode, centring, metric and dispersed starting points."""
        flat, p, k = self._flat, self._flat.population, self._flat.individual
        difference = 1e-4 if double_precision() else 1e-2
        first = np.asarray(flat.start, dtype=float)[None]
        none = state.centring
        mode = find_mode(lambda x: self._gradients(x, none), first, p, k, difference)
        weights = centring_from(mode, state.centring, self._flat)
        centring = {name: w[0] for name, w in weights.items()}
        vector, precision = subject_modes(
            lambda x: self._gradients(x, centring),
            self._recentred(mode.vector, centring),
            p,
            k,
            difference,
        )
        arrow = laplace_arrow(mode, precision)
        rng = np.random.default_rng([self.settings.seed, 0])
        points = dispersed(
            rng, lambda x: self._gradients(x, centring)[0], vector, arrow, self._count
        )
        density, gradient = self._gradients(points, centring)
        return state._replace(
            stage=1, chains=Chains(points, density, gradient), centring=centring, arrow=arrow
        )

    def _recentred(
        self, vector: np.ndarray, centring: dict[str, np.ndarray]
    ) -> Float[np.ndarray, "trial d"]:
        """The same point under other centring, from a non-centred one: x = w loc + eta omega^(w-1).

        With a correlation near enough to start Newton's method from.
        """
        none = {name: np.zeros_like(w) for name, w in centring.items()}
        values = {
            name: v[0, 0] for name, v in self._collect(vector[None], self.events, none)[0].items()
        }
        named = dict(self._flat.named(jnp.asarray(vector[0])))
        for name, w in centring.items():
            variability = self.model.spec.parameters[name].variability
            if variability is None or variability.distribution == "normal":
                continue
            eta = values[f"eta_{name}"]
            location = np.log(values[name]) - np.asarray(self.events.log_scale[name])[:, 0] - eta
            prior = variability.sd
            omega = prior.value if isinstance(prior, Fixed) else values[f"omega_{name}"]
            named[f"x_{name}"] = w * location + eta * omega ** (w - 1.0)
        return np.asarray(self._flat.flat(named), dtype=float)[None]

    def _warm(self, state: State) -> State:
        count = WARMUP[state.stage - 1]
        chains, trace = self._run(state, count)
        tuning = retuned(state.tuning, trace.acceptance, self._target)
        arrow = state.arrow
        if state.stage > 1:
            draws = np.moveaxis(trace.vector, 0, 1).reshape(1, -1, trace.vector.shape[-1])
            arrow = arrow_from_draws(draws, self._flat.population, self._flat.individual)
        rng = np.random.default_rng([self.settings.seed, 1, state.stage])
        chains = revived(rng, chains, trace)
        return state._replace(stage=state.stage + 1, chains=chains, arrow=arrow, tuning=tuning)

    def _sample(self, state: State) -> State:
        count = min(CHUNK, self.settings.draws - state.drawn)
        chains, trace = self._run(state, count)
        if trace.diverging.any() and state.shortened < MOST_SHORTENED:
            return self._shortened(state, chains)
        new = {
            "diverging": trace.diverging,
            "energy": trace.energy,
            "lp": trace.log_density,
            "acceptance": trace.acceptance,
            "steps": np.full(trace.energy.shape, int(state.tuning.leaps)),
            "step_size": np.full(trace.energy.shape, float(state.tuning.step_size[0])),
        }
        stats = {
            name: np.concatenate([state.stats[name], np.moveaxis(rows, 0, -1)[0]], axis=1)
            for name, rows in new.items()
        }
        vectors = np.moveaxis(trace.vector[:, 0], 0, 1)
        draws, log_likelihood = self._collect(vectors, self.events, state.centring)
        if state.drawn:
            draws = {
                name: np.concatenate([state.draws[name], new], axis=1)
                for name, new in draws.items()
            }
        state = state._replace(
            stage=state.stage + 1,
            chains=chains,
            draws=draws,
            log_likelihood=np.concatenate([state.log_likelihood, log_likelihood], axis=1),
            stats=stats,
        )
        if not self._is_due(state):
            return state
        failed = self._failed(state)
        spent = state.drawn >= self.settings.draws
        return state._replace(finished=int(spent or not failed), failed=failed)

    def _shortened(self, state: State, chains: Chains) -> State:
        """Begin the draws anew with smaller steps: a divergence is a step that was too long."""
        step_size = SHORTER * state.tuning.step_size
        leaps = int(np.ceil(QUARTER_TURN / step_size[0]))
        return State(
            state.stage + 1,
            chains,
            state.centring,
            state.arrow,
            Tuning(step_size, min(leaps, MOST_LEAPS)),
            *self._nothing,
            state.shortened + 1,
            state.dropped + state.drawn + CHUNK,
            0,
            "",
        )

    @property
    def _nothing(self) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
        none = (self._count, 0)
        stats = {name: np.zeros(none, kind) for name, kind in _STATS.items()}
        return {}, np.zeros((*none, int(self.events.observed.sum()))), stats

    def _is_due(self, state: State) -> bool:
        drawn = state.drawn
        later = drawn > CHECKED_AFTER[-1] and drawn % 200 == 0
        return drawn in CHECKED_AFTER or later or drawn >= self.settings.draws

    def _failed(self, state: State) -> str:
        """The checks of the gate that fail, in words."""
        posterior = self.posterior(state)
        ignore = constants(self.model, self.events.subjects)
        # The few population quantities are the last to pass: they are looked at first
        few = {name: posterior.draws[name] for name in self.model.population_names}
        for draws in (few, posterior.draws):
            checks = gate(posterior, diagnostics(draws), self.settings.ess, ignore)
            if not all(check.passed for check in checks):
                break
        return "; ".join(
            f"{check.name} {check.value:.4g} at {check.worst} (must be {check.threshold})"
            for check in checks
            if not check.passed
        )

    def _run(self, state: State, count: int) -> tuple[Chains, Trace]:
        """`count` transitions of all chains, the chains shared among the cores."""
        rng = np.random.default_rng([self.settings.seed, 2, state.stage])
        stretch = np.ones(CHUNK)
        stretch[:count] = rng.uniform(0.75, 1.25, count)
        key = jax.random.fold_in(jax.random.key(self.settings.seed), state.stage)
        arguments = (
            state.arrow, state.tuning.step_size, state.tuning.leaps, stretch, count
        )  # fmt: skip
        return self._spread(state.chains, key, state.centring, *arguments)

    def _gradients(
        self, points: np.ndarray, centring: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log densities and gradients at any number of points: a transition of no length."""
        flat, n = self._flat, self.events.subjects
        p, k, count = flat.population, flat.individual, points.shape[1]
        arrow = Arrow(np.eye(p)[None], np.zeros((1, n, k, p)), np.zeros((1, n, k, k)))
        densities, gradients = [], []
        for first in range(0, count, self._count):
            block = points[:, first : first + self._count]
            short = self._count - block.shape[1]
            block = np.concatenate([block, np.repeat(block[:, :1], short, axis=1)], axis=1)
            chains = Chains(block, np.full(block.shape[:2], -np.inf), np.zeros(block.shape))
            here, _ = self._spread(
                chains, jax.random.key(0), centring, arrow, np.zeros(1), 1, np.zeros(CHUNK), 1
            )
            densities.append(here.log_density)
            gradients.append(here.gradient)
        return (
            np.concatenate(densities, axis=1)[:, :count],
            np.concatenate(gradients, axis=1)[:, :count],
        )

    def _spread(
        self, chains: Chains, key: jax.Array, centring: dict[str, np.ndarray], *tuning: Any
    ) -> tuple[Chains, Trace]:
        """Run the program on equal shares of the chains, one thread each."""
        arrow, step_size, leaps, stretch, count = tuning
        dtype = jnp.zeros(0).dtype

        def real(tree: Any) -> Any:
            return jax.tree.map(lambda a: jnp.asarray(a, dtype), tree)

        shared = (
            self._events,
            {name: real(w)[None] for name, w in centring.items()},
            real(arrow),
            real(step_size),
            jnp.asarray(leaps, jnp.int32),
            real(stretch),
            jnp.asarray(count, jnp.int32),
        )
        shares = [
            (
                real(jax.tree.map(lambda a, i=i: np.split(a, self._groups, axis=1)[i], chains)),
                jax.random.fold_in(key, i)[None],
                *shared,
            )
            for i in range(self._groups)
        ]
        run = self._compiled(shares[0])
        results = side_by_side(lambda share: run(*share), shares)
        ends, traces = zip(*results, strict=True)
        whole = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *ends)
        trace = jax.tree.map(lambda *parts: np.concatenate(parts, axis=2)[:count], *traces)
        return whole, trace

    def _compiled(self, share: Any) -> Program:
        """The program, compiled once and before the threads start."""
        if not self._programs:
            run = jax.jit(program(self._flat, CHUNK))
            self._programs.append(run.lower(*share).compile())
        return self._programs[0]

    @cached_property
    def _collect(self) -> Collect:
        return collector(self.model, self._flat)

    @cached_property
    def _programs(self) -> list[Any]:
        return []

    @cached_property
    def _events(self) -> Events:
        dtype = jnp.zeros(0).dtype
        return jax.tree.map(
            lambda a: jnp.asarray(a, bool if a.dtype == bool else dtype)[None], self.events
        )

    @cached_property
    def _flat(self) -> FlatDensity:
        none = {name: np.zeros(self.events.subjects) for name in self._varied}
        return flatten(self.model, self.events, none)

    @property
    def _varied(self) -> tuple[str, ...]:
        spec = self.model.spec
        return tuple(n for n, p in spec.parameters.items() if p.variability is not None)

    @property
    def _count(self) -> int:
        count = self.settings.chains or 32
        return count + -count % self._groups

    @property
    def _groups(self) -> int:
        return 1 if jax.default_backend() != "cpu" else min(2, cores())

    @property
    def _target(self) -> float:
        return self.settings.target_accept or 0.8


_STATS: dict[str, type] = {
    "diverging": bool,
    "energy": float,
    "lp": float,
    "acceptance": float,
    "steps": int,
    "step_size": float,
}
