"""Many data sets of one shape, fitted at once: trials times chains in one program.

Trials go in waves, each in a thread: mode search, warm-up, and draws until a trial's convergence
gate holds; then it leaves, and the others go on without it. A trial that fails is fitted again by
an ensemble of its own, then by NUTS, and its row says so. Nothing of a trial depends on those that
it is fitted with.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from popk.inference.ensemble import Ensemble
from popk.inference.machine import CHUNK, Machine
from popk.inference.nuts import Nuts
from popk.inference.posterior import Posterior, run_through
from popk.inference.programs import compiled, kept, one_at_a_time
from popk.inference.threads import as_finished, on_gpu, real_type, unshared
from popk.inference.trials import Trials, replaced
from popk.inference.wave import Found, Plan, Wave, diagnosed, wrong_in
from popk.population.condensed import of_one_trial, of_trials, subjects_differ, trial_axes
from popk.population.events import Events
from popk.population.model import Model
from popk.population.parameters import Known
from popk.spec.fit import Sampler as Settings

CHAINS = 8
"""Chains of each trial: the fewer, the fewer draws go into the warm-up."""
WAVE, SIDE_BY_SIDE = 64, 4000
"""Most trials of a wave, and numbers (chains times dimension) that a block of trials holds: what
it works on fits the processor's cache."""
SMALL = 4
"""By how much blocks are smaller for the last trials of a wave."""
MOST_ALONE = 2000
"""Draws of each chain, at most, of a trial that is fitted again on its own."""
WAVE_ON_GPU, ON_GPU = 4096, 4_000_000
"""The same on a GPU, which is fast where very many numbers are computed side by side."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Many data sets of one design, prepared for fitting.

    Attributes
    ----------
    model
        The model.
    events
        Events whose observations have a leading axis of trials (see `popk.population.simulated`
        and `observed`), or all that depends on subjects, where trials differ in these (see
        `popk.population.resampled`).
    settings
        Seed, target ESS, most draws, chains (8 by default), precision.
    wave
        Trials of a wave, where batches of different length are to share one program; by default
        as suits the processor and the number of trials.
    pilot
        Events of one trial, of the same shape, from whose mode all searches begin; by default
        the first trial's. Batches that have it in common give each trial the same result.
    """

    model: Model
    events: Events
    settings: Settings = field(default_factory=Settings)
    wave: int | None = None
    pilot: Events | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", unshared(self.events))
        object.__setattr__(self, "pilot", unshared(self.pilot))

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
        assert self._plan
        for place, trials in as_finished(self._wave, starts):
            yield starts[place], self._repaired(trials, self._own_trials(starts[place]))

    @cached_property
    def starts(self) -> range:
        """The first trial of each wave."""
        return range(0, self.trials, self._size)

    def _wave(self, number: int) -> Trials:
        wave = Wave(self._plan, self._own_trials(number))
        while wave.active:
            wave.advance()
        columns, found, wrong = wave.outcome()
        return self._results(columns, found, wrong, "ensemble", wrong)

    def _own_trials(self, number: int) -> Int[np.ndarray, " trial"]:
        first = self.starts[number]
        return np.arange(first, min(first + self._size, self.trials))

    def _repaired(self, trials: Trials, own: Int[np.ndarray, " trial"]) -> Trials:
        """Failed trials fitted again: by an ensemble of their own, then by NUTS."""
        for place in np.flatnonzero(~trials.passed):
            for refitted in (self._alone, self._by_nuts):
                if not trials.passed[place]:
                    with one_at_a_time():
                        refit = refitted(int(own[place]), trials.why[place])
                    trials = replaced(trials, int(place), refit)
        return trials

    def _alone(self, trial: int, why: str) -> Trials:
        """By more chains, whose warm-up no other trial shares."""
        settings = self.settings.model_copy(
            update={"chains": None, "draws": min(self.settings.draws, MOST_ALONE)}
        )
        ensemble = Ensemble(self.model, self.events_of_one(trial), settings)
        return self._judged(run_through(ensemble), "alone", f"{why}; alone")

    def _by_nuts(self, trial: int, why: str) -> Trials:
        settings = self.settings.model_copy(
            update={"chains": 4, "warmup": 1000, "draws": 1000, "target_accept": 0.95}
        )
        nuts = Nuts(self.model, self.events_of_one(trial), settings)
        return self._judged(run_through(nuts), "nuts", f"{why}; NUTS")

    def _judged(self, posterior: Posterior, method: str, why: str) -> Trials:
        """One trial's posterior through the gate of all."""
        energy = posterior.stats["energy"]
        columns = np.concatenate(
            [
                np.asarray(posterior.draws[name]).reshape(*energy.shape, -1)
                for name in (*self.names, *self.parameters)
            ],
            axis=2,
        )
        found = diagnosed(columns[None])
        wrong = wrong_in(found, self.settings.ess, energy[None], self._labels)[0]
        diverging = int(np.sum(posterior.stats["diverging"]))
        if diverging:
            wrong = "; ".join(part for part in (wrong, f"{diverging} divergences") if part)
        return self._results([columns], found, [wrong], method, [f"{why}: {wrong or 'ok'}"])

    def events_of(self, trials: Sequence[int] | Int[np.ndarray, " trial"]) -> Events:
        """The events of some trials."""
        return of_trials(self.events, trials)

    def events_of_one(self, trial: int) -> Events:
        """The events of one trial, without an axis of trials."""
        return of_one_trial(self.events, trial)

    def _results(
        self,
        columns: Sequence[Float[np.ndarray, "_ _ quantity"]],
        found: Found,
        wrong: Sequence[str],
        method: str,
        why: Sequence[str],
    ) -> Trials:
        p, n = len(self.names), self.events.subjects
        individual = []
        for one in columns:
            own = one[..., p:].reshape(math.prod(one.shape[:2]), len(self.parameters), n)
            quantiles = np.quantile(own, [0.05, 0.5, 0.95], axis=0)
            individual.append(np.stack([own.mean(axis=0), *quantiles], axis=-1))
        return Trials(
            self.names,
            tuple(one[..., :p] for one in columns),
            self.parameters,
            np.stack(individual),
            *found,
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
        if self.wave is not None:
            return self.wave
        blocks = max(1, min(self._most, self.trials) // self._block)
        return blocks * self._block

    @property
    def _block(self) -> int:
        d = 10 + len(self.parameters) * self.events.subjects
        room = ON_GPU if on_gpu() else SIDE_BY_SIDE
        most = max(1, room // (d * self._chains))
        if self.wave is not None:
            return max(n for n in range(1, self.wave + 1) if self.wave % n == 0 and n <= most)
        return min(most, self._most, self.trials)

    @property
    def _most(self) -> int:
        return WAVE_ON_GPU if on_gpu() else WAVE

    @cached_property
    def _plan(self) -> Plan:
        # The pilot's mode: all searches begin there
        first = self.events_of([0]) if self.pilot is None else self.pilot
        one = replace(self._machine, events=first, trials=1, block=1)
        pilot = one.mode().vector[0]
        if subjects_differ(self.events):
            pilot[one.flat.population :] = 0.0  # other trials' places hold other subjects
        table, named = self._columns
        return Plan(
            self._machine,
            self.events_of,
            self.settings,
            table,
            named,
            self._labels,
            len(self.names),
            pilot,
            self._last,
        )

    @property
    def _last(self) -> Machine | None:
        """With a quarter of the block, where many batches share the program."""
        if self.wave is None or self._block < SMALL:
            return None
        return replace(self._machine, block=self._block // SMALL)

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
        dtype = real_type()
        shape = (self._size, self._chains * CHUNK, flat.start.size)
        centring = jax.tree.map(lambda a: jnp.asarray(a, dtype), machine.uncentred)
        many, single = jnp.zeros(shape, dtype), jnp.zeros((shape[0], shape[2]), dtype)
        key = (*machine.shape, own, shape, np.dtype(dtype).str)

        def program(name: str, function: Any, vectors: Array) -> Any:
            # Another batch of the same model and shapes, a cell of a grid, compiles nothing
            arguments = (vectors, machine.leaves, centring)
            named = (*key, name)
            return kept(named, lambda: compiled(named, function, arguments))

        return (
            program("table", rows, many),
            program("values", jax.vmap(one, (0, axes, 0)), single),
        )
