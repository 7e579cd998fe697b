"""Many data sets of one design, fitted at once: trials times chains in one program.

Trials go in waves, each in a thread: mode search, warm-up, and draws until a trial's convergence
gate holds; then it leaves, and the others go on without it. A trial that fails is fitted again by
NUTS, and its row says so. Nothing of a trial depends on those that it is fitted with.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from popk.inference.adaptation import shortened
from popk.inference.convergence import BFMI, RHAT, bfmi
from popk.inference.effective import ess_tail, rhat_and_ess_bulk
from popk.inference.lockstep import Trace
from popk.inference.machine import CHUNK, Machine, Tuned, trial_seeds
from popk.inference.nuts import Nuts
from popk.inference.threads import as_finished
from popk.population.condensed import trial_axes
from popk.population.events import Events
from popk.population.model import Model
from popk.population.parameters import Known
from popk.spec.fit import Sampler as Settings

CHAINS = 8
"""Chains of each trial: the fewer, the fewer draws go into the warm-up."""
STAGES = 3
"""Stages of warm-up: the metric of the mode is near enough for short fits."""
CHECKED_AFTER = (100, 125, 150, 175, 200, 225, 250, 300, 350, 400, 500, 600, 800)
"""Draws of each chain after which a trial's gate is tried; then every 200."""
WAVE, SIDE_BY_SIDE = 64, 4000
"""Most trials of a wave, and numbers (chains times dimension) that a block of trials holds."""
MOST_SHORTENED = 3


@dataclass(frozen=True, eq=False)
class Trials:
    """Results of fitted trials; axis `trial`.

    Attributes
    ----------
    names
        Population parameters, correlations included.
    draws
        Of each trial [chain, draw, name].
    parameters
        Individual parameters, in the model's order.
    individual
        [trial, parameter, subject, 4] mean, and 5, 50 and 95 % quantile, in the parameter's unit.
    rhat, ess_bulk, ess_tail
        [trial, quantity] for `names` and then every individual parameter.
    passed
        [trial] whether the gate holds.
    method
        Of each trial "ensemble", or "nuts" where the ensemble failed.
    why
        What failed, of the ensemble where NUTS took over, and of NUTS where that failed too.
    """

    names: tuple[str, ...]
    draws: tuple[Float[np.ndarray, "chain draw name"], ...]
    parameters: tuple[str, ...]
    individual: Float[np.ndarray, "trial parameter subject 4"]
    rhat: Float[np.ndarray, "trial quantity"]
    ess_bulk: Float[np.ndarray, "trial quantity"]
    ess_tail: Float[np.ndarray, "trial quantity"]
    passed: Bool[np.ndarray, " trial"]
    method: tuple[str, ...]
    why: tuple[str, ...]

    @staticmethod
    def joined(parts: "Sequence[Trials]") -> "Trials":
        """Trials one after the other."""
        first = parts[0]
        return Trials(
            first.names,
            tuple(d for part in parts for d in part.draws),
            first.parameters,
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("individual", "rhat", "ess_bulk", "ess_tail", "passed")
            ),
            tuple(m for part in parts for m in part.method),
            tuple(w for part in parts for w in part.why),
        )


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is: trials finished, those refitted by NUTS, those that failed, and all."""

    done: int
    refitted: int
    failed: int
    total: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Many data sets of one design, prepared for fitting.

    Attributes
    ----------
    model
        The model.
    events
        Condensed events; observations and slots have a leading axis of trials (see
        `popk.population.simulated`).
    settings
        Seed, target ESS, most draws, chains (8 by default), precision.
    """

    model: Model
    events: Events
    settings: Settings = field(default_factory=Settings)

    @property
    def trials(self) -> int:
        """Number of trials."""
        return self.events.dv.shape[0]

    def run(self) -> Trials:
        """Fit all trials."""
        parts = dict(self.waves())
        return Trials.joined([parts[i] for i in range(len(parts))])

    def waves(self, skip: Sequence[int] = ()) -> Iterator[tuple[int, Trials]]:
        """Fit wave by wave; yields each wave's number and trials as they finish.

        `skip` are the numbers of waves that are done already: a caller that keeps what it was
        given can go on later, with the same result.
        """
        starts = [n for n in range(len(self.starts)) if n not in set(skip)]
        # NumPyro's handlers are not for several threads: everything is traced before these start
        self._machine.compile()
        assert self._columns
        assert self._pilot.size
        for place, trials in as_finished(self._wave, starts):
            yield starts[place], self._repaired(trials, self._own_trials(starts[place]))

    @cached_property
    def starts(self) -> range:
        """The first trial of each wave."""
        return range(0, self.trials, self._size)

    def _wave(self, number: int) -> Trials:
        wave = _Wave(self, self._own_trials(number))
        while wave.active:
            wave.advance()
        return wave.trials()

    def _own_trials(self, number: int) -> Int[np.ndarray, " trial"]:
        first = self.starts[number]
        return np.arange(first, min(first + self._size, self.trials))

    def _repaired(self, trials: Trials, own: Int[np.ndarray, " trial"]) -> Trials:
        """Failed trials fitted again by NUTS."""
        for place in np.flatnonzero(~trials.passed):
            refit = self._by_nuts(int(own[place]), trials.why[place])
            trials = _replaced(trials, int(place), refit)
        return trials

    def _by_nuts(self, trial: int, why: str) -> Trials:
        events = self.events_of([trial])
        leaves, tree = jax.tree.flatten(events)
        one = jax.tree.unflatten(
            tree, [a[0] if has else a for a, has in zip(leaves, self._own, strict=True)]
        )
        settings = self.settings.model_copy(
            update={"chains": 4, "warmup": 1000, "draws": 1000, "target_accept": 0.95}
        )
        nuts = Nuts(self.model, one, settings)
        state = nuts.start()
        while nuts.progress(state).done < nuts.progress(state).total:
            state = nuts.advance(state)
        posterior = nuts.posterior(state)
        columns = np.concatenate(
            [
                np.asarray(posterior.draws[name]).reshape(*state.vectors.shape[:2], -1)
                for name in (*self.names, *self.parameters)
            ],
            axis=2,
        )
        found = _diagnosed(columns[None])
        wrong = _wrong(found, self.settings.ess, posterior.stats["energy"][None], self._labels)[0]
        diverging = int(np.sum(posterior.stats["diverging"]))
        wrong += f"; {diverging} divergences" if diverging else ""
        return self._results([columns], *found, [wrong], "nuts", [f"{why}; NUTS: {wrong or 'ok'}"])

    def events_of(self, trials: Sequence[int]) -> Events:
        """The events of some trials."""
        leaves, tree = jax.tree.flatten(self.events)
        return jax.tree.unflatten(
            tree, [a[list(trials)] if has else a for a, has in zip(leaves, self._own, strict=True)]
        )

    def _results(
        self,
        columns: Sequence[Float[np.ndarray, "chain draw quantity"]],
        rhat: np.ndarray,
        bulk: np.ndarray,
        tail: np.ndarray,
        wrong: Sequence[str],
        method: str,
        why: Sequence[str],
    ) -> Trials:
        p, n = len(self.names), self.events.subjects
        individual = []
        for one in columns:
            own = one[..., p:].reshape(-1, len(self.parameters), n)
            quantiles = np.quantile(own, [0.05, 0.5, 0.95], axis=0)
            individual.append(np.stack([own.mean(axis=0), *quantiles], axis=-1))
        return Trials(
            self.names,
            tuple(one[..., :p] for one in columns),
            self.parameters,
            np.stack(individual),
            rhat,
            bulk,
            tail,
            np.array([not text for text in wrong]),
            (method,) * len(columns),
            tuple(why),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Population parameters, correlations included."""
        return (*self.model.population_names, *self.model.correlation_names)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Individual parameters that differ between subjects or draws."""
        spec = self.model.spec.parameters
        return tuple(n for n, p in spec.items() if p.variability is not None)

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        n = self.events.subjects
        own = [f"{name}[{i + 1}]" for name in self.parameters for i in range(n)]
        return (*self.names, *own)

    @cached_property
    def _own(self) -> tuple[bool, ...]:
        return trial_axes(self.events)

    @cached_property
    def _machine(self) -> Machine:
        """The machine of a wave."""
        first = self.events_of(np.arange(self._size) % self.trials)
        return Machine(
            self.model, first, self._own, self._size, self._chains, self._block, groups=1
        )

    @property
    def _chains(self) -> int:
        return self.settings.chains or CHAINS

    @property
    def _size(self) -> int:
        """Trials of a wave: a multiple of the block."""
        blocks = max(1, min(WAVE, self.trials) // self._block)
        return blocks * self._block

    @property
    def _block(self) -> int:
        d = 10 + len(self.parameters) * self.events.subjects
        return int(np.clip(SIDE_BY_SIDE // (d * self._chains), 1, min(WAVE, self.trials)))

    @cached_property
    def _pilot(self) -> Float[np.ndarray, " d"]:
        """The first trial's mode: all searches begin there."""
        one = replace(self._machine, events=self.events_of([0]), trials=1, block=1)
        return one.mode().vector[0]

    @cached_property
    def _columns(self) -> Any:
        """Compiled: vectors [trial, n, d] to [trial, n, quantity], and named values for one."""
        flat, events, own = self._machine.flat, self.events, self._own
        tree = jax.tree.structure(events)

        def one(vector: Array, leaves: Sequence[Array], centring: Known) -> Mapping[str, Array]:
            return flat.constrain(vector, jax.tree.unflatten(tree, leaves), centring)

        def table(vector: Array, leaves: Sequence[Array], centring: Known) -> Array:
            values = one(vector, leaves, centring)
            parts = [jnp.ravel(values[n]) for n in (*self.names, *self.parameters)]
            return jnp.concatenate(parts)

        axes = tuple(0 if has else None for has in own)
        rows = jax.vmap(jax.vmap(table, (0, None, None)), (0, axes, 0))
        machine = self._machine
        dtype = jnp.zeros(0).dtype
        shape = (self._size, self._chains * CHUNK, flat.start.size)
        centring = jax.tree.map(lambda a: jnp.asarray(a, dtype), machine.uncentred)
        many, single = jnp.zeros(shape, dtype), jnp.zeros((shape[0], shape[2]), dtype)
        return (
            jax.jit(rows).lower(many, machine.leaves, centring).compile(),
            jax.jit(jax.vmap(one, (0, axes, 0))).lower(single, machine.leaves, centring).compile(),
        )


class _Wave:
    """The trials of a wave on their way: which are active, what they have drawn."""

    def __init__(self, batch: Batch, own: Int[np.ndarray, " trial"]) -> None:
        self.batch, self.own = batch, own
        size = batch._size
        numbers = np.resize(own, size)
        self.machine = batch._machine.of(batch.events_of(numbers))
        self.seeds = trial_seeds(batch.settings.seed, numbers.tolist())
        self.places = np.arange(size)  # whose trial stands at each place of the machine
        self.active = len(own)
        self.tuned: Tuned | None = None
        self.stage = 0
        self.drawn = np.zeros(size, dtype=int)
        self.shortened = np.zeros(size, dtype=int)
        self.columns: list[list[np.ndarray]] = [[] for _ in range(size)]
        self.energies: list[list[np.ndarray]] = [[] for _ in range(size)]
        self.diverged = np.zeros(size, dtype=int)
        self.found: dict[int, tuple[np.ndarray, ...]] = {}
        self.wrong: dict[int, str] = {}

    def advance(self) -> None:
        """The mode search, a stage of warm-up, or draws and the gates that are due."""
        target = self.batch.settings.target_accept or 0.8
        if self.tuned is None:
            self.tuned = self.machine.begin(self.seeds, self._named, self.batch._pilot)
        elif self.stage <= STAGES:
            self.tuned = self.machine.warm(self.tuned, self.stage, self.seeds, target)
        else:
            self._sample(self.tuned)
        self.stage += 1

    def trials(self) -> Trials:
        """The results, in the order of the trials."""
        count = len(self.own)
        columns = [np.concatenate(self.columns[i], axis=1) for i in range(count)]
        found = [np.stack([self.found[i][j] for i in range(count)]) for j in range(3)]
        wrong = [self.wrong[i] for i in range(count)]
        return self.batch._results(columns, *found, wrong, "ensemble", wrong)

    def _sample(self, tuned: Tuned) -> None:
        chains, trace = self.machine.run(tuned, self.seeds, self.stage, CHUNK, self.active)
        self.tuned = tuned._replace(chains=chains)
        self._keep(trace)
        due = [place for place in range(self.active) if self._is_due(self.places[place])]
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
        table, _ = self.batch._columns
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
        dtype = jnp.zeros(0).dtype
        return jax.tree.map(lambda a: np.asarray(a, dtype), self.tuned.centring)

    def _is_due(self, trial: int) -> bool:
        drawn, most = self.drawn[trial], self.batch.settings.draws
        later = drawn > CHECKED_AFTER[-1] and drawn % 200 == 0
        return bool(drawn in CHECKED_AFTER or later or drawn >= most)

    def _finished(self, trials: list[int]) -> list[int]:
        """Those of the trials whose gate holds, or whose draws are spent."""
        finished = []
        by_length: dict[int, list[int]] = {}
        for trial in trials:
            by_length.setdefault(int(self.drawn[trial]), []).append(trial)
        for drawn, group in by_length.items():
            spent = drawn >= self.batch.settings.draws
            columns = np.stack([np.concatenate(self.columns[t], axis=1) for t in group])
            p = len(self.batch.names)
            # The few population quantities are the last to pass: they are looked at first
            few = _wrong(_diagnosed(columns[..., :p]), self.batch.settings.ess)
            look = [i for i, text in enumerate(few) if spent or not text]
            if not look:
                continue
            found = _diagnosed(columns[look])
            energies = np.stack([np.concatenate(self.energies[group[i]], axis=1) for i in look])
            wrong = _wrong(found, self.batch.settings.ess, energies, self.batch._labels)
            for j, i in enumerate(look):
                trial, text = group[i], wrong[j]
                if self.diverged[trial]:
                    text += f"{'; ' if text else ''}{self.diverged[trial]} divergences"
                if spent or not text:
                    self.found[trial] = tuple(part[j] for part in found)
                    self.wrong[trial] = text
                    finished.append(trial)
        return finished

    def _reorder(self, done: Bool[np.ndarray, " place"]) -> None:
        """Bring the trials that go on to the front, those with few steps first."""
        assert self.tuned is not None
        idle = np.arange(len(self.places)) >= self.active
        order = np.lexsort((self.tuned.tuning.steps, done, idle))
        self.active -= int(done.sum())
        self.places, self.seeds = self.places[order], self.seeds[order]
        self.tuned = jax.tree.map(lambda a: a[order], self.tuned)
        numbers = np.resize(self.own, len(order))[self.places]
        self.machine = self.batch._machine.of(self.batch.events_of(numbers))

    def _named(self, vectors: np.ndarray, centring: Known) -> Mapping[str, np.ndarray]:
        dtype = jnp.zeros(0).dtype
        _, named = self.batch._columns
        centring = jax.tree.map(lambda a: np.asarray(a, dtype), centring)
        values = named(np.asarray(vectors, dtype), self.machine.leaves, centring)
        return {name: np.asarray(value) for name, value in values.items()}


class _Found(NamedTuple):
    """[trial, quantity] diagnostics."""

    rhat: np.ndarray
    bulk: np.ndarray
    tail: np.ndarray


def _diagnosed(columns: Float[np.ndarray, "trial chain draw quantity"]) -> _Found:
    trials, chains, draws, quantities = columns.shape
    table = np.moveaxis(columns, 0, 2).reshape(chains, draws, -1)
    parts = *rhat_and_ess_bulk(table), ess_tail(table)
    return _Found(*(part.reshape(trials, quantities) for part in parts))


def _wrong(
    found: _Found,
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
                worst = np.nanargmax(values) if name == "R-hat" else np.nanargmin(values)
                where = f" at {labels[worst]}" if labels else ""
                wrong.append(f"{name} {values[worst]:.4g}{where}")
        if energies is not None:
            weakest = float(np.min(bfmi(energies[i])))
            if not weakest >= BFMI:
                wrong.append(f"E-BFMI {weakest:.2g}")
        texts.append("; ".join(wrong))
    return texts


def _replaced(trials: Trials, place: int, one: Trials) -> Trials:
    """The same with one trial's results in place of its own."""

    def put(whole: np.ndarray, part: np.ndarray) -> np.ndarray:
        out = whole.copy()
        out[place] = part[0]
        return out

    return replace(
        trials,
        draws=(*trials.draws[:place], one.draws[0], *trials.draws[place + 1 :]),
        method=(*trials.method[:place], one.method[0], *trials.method[place + 1 :]),
        why=(*trials.why[:place], one.why[0], *trials.why[place + 1 :]),
        **{
            name: put(getattr(trials, name), getattr(one, name))
            for name in ("individual", "rhat", "ess_bulk", "ess_tail", "passed")
        },
    )
