"""NumPyro's No-U-Turn sampler: the reference. One thread a chain, all chains side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import hmc
from numpyro.infer.util import potential_energy

from popk.inference.centring import centring_weights
from popk.inference.draws import collector
from popk.inference.posterior import Posterior, Progress
from popk.inference.threads import side_by_side, unshared
from popk.population.events import Events
from popk.population.flat import FlatDensity, flatten
from popk.population.model import Model
from popk.spec.fit import Sampler as Settings

CHUNK = 50
"""Iterations between two looks at the clock."""
CAUTION = 0.4
"""Centring is that of an omega this many times the prior's centre: a chain that is centred too far
cannot reach the small omegas that few subjects leave open."""
JITTER = 0.1
"""SD of the starting points around the centre of the priors, on the unconstrained scale."""


class State(NamedTuple):
    """Where all chains are and what they have drawn.

    Attributes
    ----------
    kernels
        NumPyro's state of each chain.
    done
        Iterations so far, warm-up included.
    vectors
        [chain, draw, d] unconstrained draws kept so far.
    stats
        Name to [chain, draw].
    """

    kernels: tuple[Any, ...]
    done: int
    vectors: np.ndarray
    stats: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Nuts:
    """A NUTS prepared for one model and data set; see `popk.inference.posterior.Sampler`.

    Parameters
    ----------
    model, events
        What is sampled.
    settings
        Draws and warm-up per chain, chains, seed, target acceptance.
    """

    model: Model
    events: Events
    settings: Settings

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", unshared(self.events))

    def start(self) -> State:
        """Initial states: the centre of the priors, jittered."""
        flat = self._flat
        centre = flat.start
        key_jitter, key_chains = jax.random.split(jax.random.key(self.settings.seed))
        jitter = jax.random.normal(key_jitter, (self._chains, centre.size), centre.dtype)
        initialise = jax.jit(self._kernel[0])
        chains = jax.random.split(key_chains, self._chains)
        kernels = tuple(
            initialise(flat.named(centre + JITTER * j), k)
            for j, k in zip(jitter, chains, strict=True)
        )
        none = (self._chains, 0)
        stats = {name: np.zeros(none, kind) for name, kind in _STATS.items()}
        return State(kernels, 0, np.zeros((*none, centre.size)), stats)

    def advance(self, state: State) -> State:
        """`CHUNK` more iterations of every chain, in as many threads as there are cores."""
        boundary = self._warmup if state.done < self._warmup else self._total
        count = min(CHUNK, boundary - state.done)
        run = self._chunk(count, state.kernels[0])
        results = side_by_side(lambda kernel: run(kernel, self.events), state.kernels)
        kernels = tuple(kernel for kernel, _ in results)
        done = state.done + count
        if done <= self._warmup:
            return state._replace(kernels=kernels, done=done)
        new = jax.tree.map(lambda *chains: np.stack(chains), *[out for _, out in results])
        vectors, stats = new
        return State(
            kernels,
            done,
            np.concatenate([state.vectors, vectors], axis=1),
            {k: np.concatenate([state.stats[k], stats[k]], axis=1) for k in stats},
        )

    def progress(self, state: State) -> Progress:
        """How far the chains are."""
        warm = state.done < self._warmup
        return Progress(
            "warm-up" if warm else "sampling",
            state.done,
            self._total,
            self._chains,
            int(np.sum(state.stats["diverging"])),
        )

    def posterior(self, state: State) -> Posterior:
        """Constrained draws of a finished state."""
        collect = collector(self.model, self._flat)
        draws, log_likelihood = collect(state.vectors, self.events, self._centring)
        method = {
            "name": "nuts",
            "implementation": "numpyro",
            "chains": self._chains,
            "draws": self.settings.draws,
            "warmup": self._warmup,
            "target_accept": self._target,
            "seed": self.settings.seed,
        }
        return Posterior(draws, state.stats, log_likelihood, method)

    @property
    def _chains(self) -> int:
        return self.settings.chains or 4

    @property
    def _warmup(self) -> int:
        return self.settings.warmup or 1000

    @property
    def _target(self) -> float:
        return self.settings.target_accept or 0.9

    @property
    def _total(self) -> int:
        return self._warmup + self.settings.draws

    @cached_property
    def _flat(self) -> FlatDensity:
        return flatten(self.model, self.events, self._centring)

    @cached_property
    def _centring(self) -> dict[str, jax.Array]:
        """Weights at the centre of the priors."""

        @jax.jit
        def weights(events: Events) -> dict[str, jax.Array]:
            flat = flatten(self.model, events)
            values = flat.constrain(flat.start, events)
            small = {k: CAUTION * v for k, v in values.items() if k.startswith("omega_")}
            return centring_weights(self.model, events, {**values, **small})

        return weights(self.events)

    @cached_property
    def _kernel(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """NumPyro's initialiser and transition, with a dense metric for the population block."""
        centring = self._centring

        def potential(events: Events) -> Callable[[dict[str, jax.Array]], jax.Array]:
            def energy(point: dict[str, jax.Array]) -> jax.Array:
                return jnp.asarray(potential_energy(self.model, (events, centring), {}, point))

            return energy

        initialise, sample = hmc(potential_fn_gen=potential, algo="NUTS")
        population = (*self.model.population_names, *self._correlation_sites)

        def start(point: dict[str, jax.Array], key: jax.Array) -> Any:
            options: dict[str, Any] = {"dense_mass": [population]}
            return initialise(
                point,
                self._warmup,
                target_accept_prob=self._target,
                model_args=(self.events,),
                rng_key=key,
                **options,
            )

        return start, sample

    @property
    def _correlation_sites(self) -> tuple[str, ...]:
        return ("correlation_cholesky",) if self.model.correlation_names else ()

    @cached_property
    def _compiled(self) -> dict[int, Callable[[Any, Events], Any]]:
        return {}

    def _chunk(self, count: int, kernel: Any) -> Callable[[Any, Events], Any]:
        """`count` transitions of one chain, compiled once and before the threads start."""
        _, sample = self._kernel
        if count not in self._compiled:
            flat = self._flat
            # NumPyro's transition is ready only after its initialiser was called, at least traced:
            # a sampler that goes on from a saved state has not called it
            jax.eval_shape(self._kernel[0], kernel.z, kernel.rng_key)

            def run(kernel: Any, events: Events) -> Any:
                def one(kernel: Any, _: None) -> Any:
                    kernel = sample(kernel, model_args=(events,))
                    return kernel, (flat.flat(kernel.z), _stats(kernel))

                return jax.lax.scan(one, kernel, None, length=count)

            self._compiled[count] = jax.jit(run).lower(kernel, self.events).compile()
        return self._compiled[count]


def _stats(kernel: Any) -> dict[str, jax.Array]:
    return {
        "diverging": kernel.diverging,
        "energy": kernel.energy,
        "lp": -kernel.potential_energy,
        "acceptance": kernel.accept_prob,
        "steps": kernel.num_steps,
        "step_size": kernel.adapt_state.step_size,
    }


_STATS = {
    "diverging": bool,
    "energy": float,
    "lp": float,
    "acceptance": float,
    "steps": int,
    "step_size": float,
}
