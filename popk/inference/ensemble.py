"""Many chains in lockstep: the default sampler.

Starting points, metric and centring come from the posterior mode and its curvature; a short
warm-up pools all chains; then everything is frozen and what follows is plain Hamiltonian Monte
Carlo (Neal 2011) with trajectories of a quarter turn of the whitened posterior, jittered. It
stops when the convergence gate holds, checked on a fixed schedule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np

from popk.inference.adaptation import Tuning, shortened
from popk.inference.arrow import Arrow
from popk.inference.convergence import Check, constants, gate
from popk.inference.draws import Collect, collector
from popk.inference.lockstep import Chains
from popk.inference.machine import CHUNK, WARMUP, Machine, Tuned, trial_seeds
from popk.inference.posterior import Posterior, Progress
from popk.inference.programs import kept
from popk.inference.threads import on_gpu, unshared
from popk.population.events import Events
from popk.population.model import Model
from popk.population.parameters import Known
from popk.spec.fit import Sampler as Settings

CHECKED_AFTER = (100, 150, 200, 300, 400, 600, 800)
"""Draws of each chain after which the gate is tried; then every 200."""


HOPE = 0.7
"""The gate is not tried before so much of the draws that the last look says the ESS needs."""
LOOKED_AT = 1000
"""Individual quantities that are looked at together."""
MOST_SHORTENED = 3
"""After divergences steps are shortened at most so often."""


class Piece(NamedTuple):
    """A stretch of draws, as in `Posterior`."""

    draws: dict[str, np.ndarray]
    log_likelihood: np.ndarray
    stats: dict[str, np.ndarray]


class State(NamedTuple):
    """Where all chains are, how they are tuned, and what they have drawn.

    Attributes
    ----------
    stage
        0 before the mode search, then the stages of warm-up, then sampling.
    tuned
        Chains, and how they are tuned, of the one trial.
    pieces
        What was drawn since, piece by piece; one piece after each look at the gate.
    shortened, dropped
        How often the step size was cut because of divergences, and the draws of each chain that
        were dropped then.
    next_look
        Draws of each chain before which the gate is not tried again.
    finished, failed
        Whether the gate holds or the draws are spent, and which checks failed then.
    """

    stage: int
    tuned: Tuned
    pieces: tuple[Piece, ...]
    shortened: int
    dropped: int
    next_look: int
    finished: int
    failed: str

    @property
    def drawn(self) -> int:
        """Draws of each chain so far."""
        return sum(piece.log_likelihood.shape[1] for piece in self.pieces)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A lockstep ensemble for one model and data set; see `popk.inference.posterior.Sampler`."""

    model: Model
    events: Events
    settings: Settings

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", unshared(self.events))

    def start(self) -> State:
        """The state before the mode search."""
        flat, n = self._machine.flat, self.events.subjects
        p, k = flat.population, flat.individual
        points = np.tile(np.asarray(flat.start), (1, self._count, 1))
        chains = Chains(points, np.full((1, self._count), -np.inf), np.zeros(points.shape))
        arrow = Arrow(np.eye(p)[None], np.zeros((1, n, k, p)), np.tile(np.eye(k), (1, n, 1, 1)))
        tuning = Tuning.first(flat.start.size)
        tuned = Tuned(chains, self._machine.uncentred, arrow, tuning)
        return State(0, tuned, (), 0, 0, 0, 0, "")

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
            sum(int(piece.stats["diverging"].sum()) for piece in state.pieces),
        )

    def posterior(self, state: State) -> Posterior:
        """Constrained draws of a finished state."""
        whole = _joined(state.pieces)
        judged = self._judged.get("last")
        if judged is not None and judged.draws is whole.draws:
            return judged
        method = {
            "name": "ensemble",
            "chains": self._count,
            "draws": state.drawn,
            "warmup": sum(WARMUP),
            "integrator_steps": int(state.tuned.tuning.steps[0]),
            "step_size": float(state.tuned.tuning.step_size[0]),
            "seed": self.settings.seed,
        }
        return Posterior(whole.draws, whole.stats, whole.log_likelihood, method)

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
            "steps": trace.gradients,
            "step_size": np.full(trace.energy.shape, float(tuning.step_size[0])),
        }
        stats = {
            name: np.moveaxis(rows, 0, -1)[0].astype(_STATS[name]) for name, rows in new.items()
        }
        vectors = np.moveaxis(trace.vector[:, 0], 0, 1)
        piece = Piece(*self._collect(vectors, self.events, self._centring(state)), stats)
        state = state._replace(
            stage=state.stage + 1,
            tuned=state.tuned._replace(chains=chains),
            pieces=(*state.pieces, piece),
        )
        if not self._is_due(state):
            return state
        return self._looked_at(state._replace(pieces=(_joined(state.pieces),)))

    def _looked_at(self, state: State) -> State:
        """Whether the gate holds; if not, it need not be tried before the ESS can be there."""
        failed, reached = self._failed(state)
        spent = state.drawn >= self.settings.draws
        hopeful = HOPE * state.drawn * self.settings.ess / max(reached, 1.0)
        return state._replace(
            next_look=int(min(hopeful, 1e9)), finished=int(spent or not failed), failed=failed
        )

    def _shortened(self, state: State, chains: Chains) -> State:
        """Begin the draws anew with smaller steps: a divergence is a step that was too long."""
        return State(
            state.stage + 1,
            state.tuned._replace(
                chains=chains, tuning=shortened(state.tuned.tuning, np.ones(1, dtype=bool))
            ),
            (),
            state.shortened + 1,
            state.dropped + state.drawn + CHUNK,
            0,
            0,
            "",
        )

    def _is_due(self, state: State) -> bool:
        drawn = state.drawn
        if drawn >= self.settings.draws:
            return True
        later = drawn > CHECKED_AFTER[-1] and drawn % 200 == 0
        return (drawn in CHECKED_AFTER or later) and drawn >= state.next_look

    def _failed(self, state: State) -> tuple[str, float]:
        """The checks of the gate that fail, in words, and the least ESS."""
        posterior = self._judged["last"] = self.posterior(state)
        ignore = constants(self.model, self.events.subjects)
        checks: tuple[Check, ...] = ()
        for names in self._looks(posterior):
            found = posterior.diagnosed(names)
            if set(found.names) <= set(ignore):
                continue
            checks = gate(posterior, found, self.settings.ess, ignore)
            if not all(check.passed for check in checks):
                break
        wrong = [check for check in checks if not check.passed]
        texts = [f"{c.name} {c.value:.4g} at {c.worst} (must be {c.threshold})" for c in wrong]
        sizes = [check.value for check in checks if check.name.startswith("ESS")]
        return "; ".join(texts), float(np.nan_to_num(min(sizes)))

    def _looks(self, posterior: Posterior) -> Iterator[Sequence[str]]:
        """Names that are looked at one after the other: one that fails spares those behind it."""
        population = [name for name in self.model.population_names if name in posterior.draws]
        yield population
        individual = [name for name in posterior.draws if name not in population]
        at_once = max(1, LOOKED_AT // max(self.events.subjects, 1))
        for first in range(0, len(individual), at_once):
            yield individual[first : first + at_once]
        yield tuple(posterior.draws)

    @cached_property
    def _judged(self) -> dict[str, Posterior]:
        """The posterior that the gate looked at last, with its diagnostics."""
        return {}

    def _centring(self, state: State) -> Known:
        return jax.tree.map(lambda a: a[0], state.tuned.centring)

    @cached_property
    def _collect(self) -> Collect:
        machine = self._machine
        key = (*machine.shape, "collect")
        return kept(key, lambda: collector(self.model, machine.flat, key))

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
        # Also where there is one core: groups have keys of their own, and a seed is to give the
        # same draws there
        return 1 if on_gpu() else 2

    @property
    def _target(self) -> float:
        return self.settings.target_accept or 0.8


def _joined(pieces: Sequence[Piece]) -> Piece:
    """All pieces as one."""
    if len(pieces) == 1:
        return pieces[0]

    def whole(several: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {name: np.concatenate([one[name] for one in several], axis=1) for name in several[0]}

    return Piece(
        whole([piece.draws for piece in pieces]),
        np.concatenate([piece.log_likelihood for piece in pieces], axis=1),
        whole([piece.stats for piece in pieces]),
    )


_STATS: dict[str, type] = {
    "diverging": bool,
    "energy": float,
    "lp": float,
    "acceptance": float,
    "steps": int,
    "step_size": float,
}
