"""A wave of trials on its way through mode search, warm-up and sampling, to each one's gate."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from popk.inference.adaptation import shortened
from popk.inference.convergence import BFMI, RHAT, bfmi
from popk.inference.effective import effective
from popk.inference.lockstep import Trace
from popk.inference.machine import CHUNK, WARMUP, Machine, Tuned, trial_seeds
from popk.inference.threads import real_type
from popk.population.events import Events
from popk.population.parameters import Known
from popk.spec.fit import Sampler as Settings

CHECKED_AFTER = (100, 125, 150, 175, 200, 225, 250, 300, 350, 400, 500, 600, 800)
"""Draws of each chain after which a trial's gate is tried; then every 200."""
HOPE = 0.7
"""A gate is not tried before so much of the draws that its last look says are needed."""
HOPELESS, HOPELESS_AFTER = 2.0, 200
"""A trial that by a look after so many draws of each chain would need this many times the most
draws is given up: those beside it need not wait for it, and it is fitted again by itself."""
FEW = 2
"""Blocks that the trials which go on fill, from which on smaller blocks are used."""
MOST_SHORTENED = 3
"""After divergences a trial's steps are shortened at most so often."""


class Plan(NamedTuple):
    """What all waves of a batch have in common.

    Attributes
    ----------
    machine
        Its program, for as many trials as a wave has.
    events_of
        From the numbers of trials to their events.
    settings
        Seed, target ESS, most draws.
    table, named
        Compiled: (vectors [trial, n, d], leaves, centring) to [trial, n, quantity], and
        (vectors [trial, d], leaves, centring) to named values.
    labels
        Names of the quantities; the first `population` are population parameters.
    pilot
        Where the mode searches begin.
    last
        The same with smaller blocks, for the few trials that are slow to converge: in the last
        block of the other most places would be computed for nothing. None where it would not pay
        to compile it.
    """

    machine: Machine
    events_of: Callable[[Int[np.ndarray, " trial"]], Events]
    settings: Settings
    table: Callable[..., jax.Array]
    named: Callable[..., Mapping[str, jax.Array]]
    labels: tuple[str, ...]
    population: int
    pilot: Float[np.ndarray, " d"]
    last: Machine | None = None


class Found(NamedTuple):
    """[trial, quantity] diagnostics."""

    rhat: np.ndarray
    bulk: np.ndarray
    tail: np.ndarray


class Outcome(NamedTuple):
    """Of each trial its draws [chain, draw, quantity], diagnostics, and what fails in words."""

    columns: list[Float[np.ndarray, "_ _ quantity"]]
    found: Found
    wrong: list[str]


class Wave:
    """The trials of a wave on their way: which are active, what they have drawn."""

    def __init__(self, plan: Plan, own: Int[np.ndarray, " trial"]) -> None:
        self.plan, self.own = plan, own
        size = plan.machine.trials
        numbers = np.resize(own, size)
        self.machine = plan.machine.of(plan.events_of(numbers))
        self.seeds = trial_seeds(plan.settings.seed, numbers.tolist())
        self.places = np.arange(size)  # whose trial stands at each place of the machine
        self.active = len(own)
        self.tuned: Tuned | None = None
        self.stage = 0
        self.drawn = np.zeros(size, dtype=int)
        self.next_look = np.zeros(size, dtype=int)
        self.hopeless = np.zeros(size, dtype=bool)
        self.shortened = np.zeros(size, dtype=int)
        self.columns: list[list[np.ndarray]] = [[] for _ in range(size)]
        self.energies: list[list[np.ndarray]] = [[] for _ in range(size)]
        self.diverged = np.zeros(size, dtype=int)
        self.found: dict[int, tuple[np.ndarray, ...]] = {}
        self.wrong: dict[int, str] = {}

    def advance(self) -> None:
        """The mode search, a stage of warm-up, or draws and the gates that are due."""
        target = self.plan.settings.target_accept or 0.8
        if self.tuned is None:
            self.tuned = self.machine.begin(self.seeds, self._named, self.plan.pilot)
        elif self.stage <= len(WARMUP):
            self.tuned = self.machine.warm(self.tuned, self.stage, self.seeds, target)
        else:
            self._sample(self.tuned)
        self.stage += 1

    def outcome(self) -> Outcome:
        """The results, in the order of the trials."""
        count = range(len(self.own))
        return Outcome(
            [np.concatenate(self.columns[i], axis=1) for i in count],
            Found(*(np.stack([self.found[i][j] for i in count]) for j in range(3))),
            [self.wrong[i] for i in count],
        )

    def _sample(self, tuned: Tuned) -> None:
        # First shorter steps for the trial alone: a second try holds up those beside it too
        again = self.shortened[self.places] > 0
        chains, trace = self.machine.run(
            tuned, self.seeds, self.stage, CHUNK, self.active, retries=again
        )
        self.tuned = tuned._replace(chains=chains)
        self._keep(trace)
        due = [place for place in range(self.active) if self._is_due(int(self.places[place]))]
        finished = self._finished([int(self.places[place]) for place in due])
        if finished:
            self._reorder(
                np.isin(self.places, finished) & (np.arange(len(self.places)) < self.active)
            )

    def _keep(self, trace: Trace) -> None:
        """Store the draws; after divergences a trial begins them anew with shorter steps."""
        assert self.tuned is not None
        vectors = np.moveaxis(trace.vector, 0, 2)
        shape = vectors.shape
        table = self.plan.table
        rows = np.asarray(
            table(vectors.reshape(shape[0], -1, shape[-1]), self.machine.leaves, self._centring())
        ).reshape(*shape[:3], -1)
        short = np.zeros(len(self.places), dtype=bool)
        for place in range(self.active):
            trial = self.places[place]
            diverging = int(trace.diverging[:, place].sum())
            if diverging and self.shortened[trial] < MOST_SHORTENED:
                self.shortened[trial] += 1
                short[place] = True
                self.columns[trial], self.energies[trial] = [], []
                self.drawn[trial] = 0
                continue
            self.diverged[trial] += diverging
            self.columns[trial].append(rows[place])
            self.energies[trial].append(trace.energy[:, place].T)
            self.drawn[trial] += rows.shape[2]
        if short.any():
            self.tuned = self.tuned._replace(tuning=shortened(self.tuned.tuning, short))
            self._reorder(np.zeros(len(self.places), dtype=bool))

    def _centring(self) -> Known:
        assert self.tuned is not None
        dtype = real_type()
        return jax.tree.map(lambda a: np.asarray(a, dtype), self.tuned.centring)

    def _is_due(self, trial: int) -> bool:
        drawn, most = self.drawn[trial], self.plan.settings.draws
        later = drawn > CHECKED_AFTER[-1] and drawn % 200 == 0
        hopeful = drawn >= self.next_look[trial]
        return bool((hopeful and (drawn in CHECKED_AFTER or later)) or drawn >= most)

    def _finished(self, trials: list[int]) -> list[int]:
        """Those of the trials whose gate holds, or whose draws are spent."""
        finished = []
        by_length: dict[int, list[int]] = {}
        for trial in trials:
            by_length.setdefault(int(self.drawn[trial]), []).append(trial)
        for drawn, group in by_length.items():
            columns = np.stack([np.concatenate(self.columns[t], axis=1) for t in group])
            p = self.plan.population
            # The few population quantities are the last to pass: they are looked at first
            few = diagnosed(columns[..., :p])
            self._hope(group, drawn, few)
            wrong = wrong_in(few, self.plan.settings.ess)
            spent = self.hopeless[group] | (drawn >= self.plan.settings.draws)
            look = [i for i, text in enumerate(wrong) if spent[i] or not text]
            if not look:
                continue
            found = Found(*(a[look] for a in few))
            if p < columns.shape[-1]:
                rest = diagnosed(columns[look, :, :, p:])
                both = zip(found, rest, strict=True)
                found = Found(*(np.concatenate(parts, axis=1) for parts in both))
            self._hope([group[i] for i in look], drawn, found)
            energies = np.stack([np.concatenate(self.energies[group[i]], axis=1) for i in look])
            wrong = wrong_in(found, self.plan.settings.ess, energies, self.plan.labels)
            for j, i in enumerate(look):
                trial, text = group[i], wrong[j]
                if self.diverged[trial]:
                    text += f"{'; ' if text else ''}{self.diverged[trial]} divergences"
                if spent[i] or not text:
                    self.found[trial] = tuple(part[j] for part in found)
                    self.wrong[trial] = text
                    finished.append(trial)
        return finished

    def _hope(self, trials: list[int], drawn: int, found: Found) -> None:
        """When to look again: ESS grows with the draws, R-hat falls towards 1 with them."""
        least = np.fmin(found.bulk, found.tail).min(axis=1)
        by_size = self.plan.settings.ess / np.maximum(np.nan_to_num(least), 1.0)
        by_rhat = (np.nan_to_num(found.rhat, nan=2.0).max(axis=1) - 1.0) / (RHAT - 1.0)
        needed, most = drawn * np.maximum(by_size, by_rhat), self.plan.settings.draws
        furthest = most if drawn >= HOPELESS_AFTER else HOPELESS_AFTER
        self.next_look[trials] = np.minimum(HOPE * needed, min(most, furthest)).astype(int)
        self.hopeless[trials] = (needed > HOPELESS * most) & (drawn >= HOPELESS_AFTER)

    def _reorder(self, done: Bool[np.ndarray, " place"]) -> None:
        """Bring the trials that go on to the front, those with few steps first."""
        assert self.tuned is not None
        idle = np.arange(len(self.places)) >= self.active
        order = np.lexsort((self.tuned.tuning.steps, done, idle))
        self.active -= int(done.sum())
        self.places, self.seeds = self.places[order], self.seeds[order]
        self.tuned = jax.tree.map(lambda a: a[order], self.tuned)
        numbers = np.resize(self.own, len(order))[self.places]
        few = self.active <= FEW * self.plan.machine.block
        machine = self.plan.last if few and self.plan.last is not None else self.plan.machine
        self.machine = machine.of(self.plan.events_of(numbers))

    def _named(self, vectors: np.ndarray, centring: Known) -> Mapping[str, np.ndarray]:
        dtype = real_type()
        centring = jax.tree.map(lambda a: np.asarray(a, dtype), centring)
        values = self.plan.named(np.asarray(vectors, dtype), self.machine.leaves, centring)
        return {name: np.asarray(value) for name, value in values.items()}


def diagnosed(columns: Float[np.ndarray, "trial chain draw quantity"]) -> Found:
    """Of each trial by itself: one trial's draws fit the processor's cache."""
    rhat, bulk, tail, _ = zip(*(effective(own) for own in columns), strict=True)
    return Found(np.stack(rhat), np.stack(bulk), np.stack(tail))


def wrong_in(
    found: Found,
    ess: float,
    energies: Float[np.ndarray, "trial chain draw"] | None = None,
    labels: Sequence[str] = (),
) -> list[str]:
    """For each trial what fails, in words; empty where the gate holds."""
    texts = []
    for i in range(len(found.rhat)):
        wrong = []
        for name, values, bad in (
            ("R-hat", found.rhat[i], ~(found.rhat[i] < RHAT)),
            ("ESS bulk", found.bulk[i], ~(found.bulk[i] >= ess)),
            ("ESS tail", found.tail[i], ~(found.tail[i] >= ess)),
        ):
            if bad.any():
                worst = int(np.nanargmax(values) if name == "R-hat" else np.nanargmin(values))
                where = f" at {labels[worst]}" if labels else ""
                wrong.append(f"{name} {values[worst]:.4g}{where}")
        if energies is not None:
            weakest = float(np.min(bfmi(energies[i])))
            if not weakest >= BFMI:
                wrong.append(f"E-BFMI {weakest:.2g}")
        texts.append("; ".join(wrong))
    return texts
