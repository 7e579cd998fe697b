"""Many chains in lockstep: the default sampler.

Starting points, metric and centring come from the posterior mode and its curvature; a short
warm-up pools all chains; then everything is frozen and what follows is plain Hamiltonian Monte
Carlo (Neal 2011) with trajectories of a quarter turn of the whitened posterior, jittered. It
stops when the convergence gate holds, checked on a fixed schedule.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np

from popk.inference.adaptation import Tuning, shortened
from popk.inference.arrow import Arrow
from popk.inference.convergence import constants, diagnostics, gate
from popk.inference.draws import Collect, collector
from popk.inference.lockstep import Chains
from popk.inference.machine import CHUNK, WARMUP, Machine, Tuned, kept, trial_seeds
from popk.inference.posterior import Posterior, Progress
from popk.inference.threads import cores, on_gpu
from popk.population.events import Events
from popk.population.model import Model
from popk.population.parameters import Known
from popk.spec.fit import Sampler as Settings

CHECKED_AFTER = (100, 150, 200, 300, 400, 600, 800)
"""Draws of each chain after which the gate is tried; then every 200."""


MOST_SHORTENED = 3
"""After divergences steps are shortened at most so often."""


class State(NamedTuple):
    """Where all chains are, how they are tuned, and what they have drawn.

    Attributes
    ----------
    stage
        0 before the mode search, then the stages of warm-up, then sampling.
    tuned
        Chains, and how they are tuned, of the one trial.
    draws, log_likelihood, stats
        What was drawn since, as in `Posterior`.
    shortened, dropped
        How often the step size was cut because of divergences, and the draws of each chain that
        were dropped then.
    finished, failed
        Whether the gate holds or the draws are spent, and which checks failed then.
    """

    stage: int
    tuned: Tuned
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
        flat, n = self._machine.flat, self.events.subjects
        p, k = flat.population, flat.individual
        points = np.tile(np.asarray(flat.start), (1, self._count, 1))
        chains = Chains(points, np.full((1, self._count), -np.inf), np.zeros(points.shape))
        arrow = Arrow(np.eye(p)[None], np.zeros((1, n, k, p)), np.tile(np.eye(k), (1, n, 1, 1)))
        tuning = Tuning.first(flat.start.size)
        tuned = Tuned(chains, self._machine.uncentred, arrow, tuning)
        return State(0, tuned, *self._nothing, 0, 0, 0, "")

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
            "integrator_steps": int(state.tuned.tuning.steps[0]),
            "step_size": float(state.tuned.tuning.step_size[0]),
            "seed": self.settings.seed,
        }
        return Posterior(state.draws, state.stats, state.log_likelihood, method)

    def _begin(self, state: State) -> State:
        """Mode, centring, metric and dispersed starting points."""

        def named(vectors: np.ndarray, centring: Known) -> dict[str, np.ndarray]:
            one = jax.tree.map(lambda a: a[0], centring)
            values = self._collect(vectors[None], self.events, one)[0]
            return {name: v[0] for name, v in values.items()}

        return state._replace(stage=1, tuned=self._machine.begin(self._seeds, named))

    def _warm(self, state: State) -> State:
        tuned = self._machine.warm(state.tuned, state.stage, self._seeds, self._target)
        return state._replace(stage=state.stage + 1, tuned=tuned)

    def _sample(self, state: State) -> State:
        count = min(CHUNK, self.settings.draws - state.drawn)
        chains, trace = self._machine.run(state.tuned, self._seeds, state.stage, count)
        tuning = state.tuned.tuning
        if trace.diverging.any() and state.shortened < MOST_SHORTENED:
            return self._shortened(state, chains)
        new = {
            "diverging": trace.diverging,
            "energy": trace.energy,
            "lp": trace.log_density,
            "acceptance": trace.acceptance,
            "steps": np.full(trace.energy.shape, 2 * int(tuning.steps[0])),
            "step_size": np.full(trace.energy.shape, float(tuning.step_size[0])),
        }
        stats = {
            name: np.concatenate([state.stats[name], np.moveaxis(rows, 0, -1)[0]], axis=1)
            for name, rows in new.items()
        }
        vectors = np.moveaxis(trace.vector[:, 0], 0, 1)
        draws, log_likelihood = self._collect(vectors, self.events, self._centring(state))
        if state.drawn:
            draws = {
                name: np.concatenate([state.draws[name], new], axis=1)
                for name, new in draws.items()
            }
        state = state._replace(
            stage=state.stage + 1,
            tuned=state.tuned._replace(chains=chains),
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
        return State(
            state.stage + 1,
            state.tuned._replace(
                chains=chains, tuning=shortened(state.tuned.tuning, np.ones(1, dtype=bool))
            ),
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

    def _centring(self, state: State) -> Known:
        return jax.tree.map(lambda a: a[0], state.tuned.centring)

    @cached_property
    def _collect(self) -> Collect:
        machine = self._machine
        return kept((*machine.shape, "collect"), lambda: collector(self.model, machine.flat))

    @cached_property
    def _machine(self) -> Machine:
        leaves = len(jax.tree.leaves(self.events))
        return Machine(self.model, self.events, (False,) * leaves, 1, self._count, 1, self._groups)

    @property
    def _seeds(self) -> np.ndarray:
        return trial_seeds(self.settings.seed, [0])

    @property
    def _count(self) -> int:
        count = self.settings.chains or 32
        return count + -count % self._groups

    @property
    def _groups(self) -> int:
        return 1 if on_gpu() else min(2, cores())

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
