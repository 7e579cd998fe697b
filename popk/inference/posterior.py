"""`Posterior`: what a sampler returns; and the protocol that every sampler follows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Shaped

from popk.inference.diagnostics import Diagnostics, diagnostics, joined


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of every named value of a model.

    Attributes
    ----------
    draws
        Name to [chain, draw, ...]; population values, etas, individual parameters.
    stats
        Name to [chain, draw]: ``diverging``, ``energy``, ``lp`` (log density), ``acceptance``,
        ``steps`` (gradients of the draw), ``step_size``.
    log_likelihood
        [chain, draw, observation] of each observation, in the file's order of rows.
    method
        The sampler's name and its settings, for the record.
    """

    draws: Mapping[str, Float[np.ndarray, "chain draw *shape"]]
    stats: Mapping[str, Shaped[np.ndarray, "chain draw"]]
    log_likelihood: Float[np.ndarray, "chain draw observation"]
    method: Mapping[str, Any]

    @property
    def diagnostics(self) -> Diagnostics:
        """R-hat and effective sample sizes of all draws."""
        return self.diagnosed(self.draws)

    def diagnosed(self, names: Iterable[str]) -> Diagnostics:
        """R-hat and effective sample sizes of some of the draws; each is computed once."""
        names = tuple(names)
        new = {name: self.draws[name] for name in names if name not in self._diagnosed}
        if new:
            self._diagnosed.update(diagnostics(new).by_draws(new))
        return joined([self._diagnosed[name] for name in names])

    @cached_property
    def _diagnosed(self) -> dict[str, Diagnostics]:
        return {}


@dataclass(frozen=True)
class Progress:
    """How far a sampler is.

    Attributes
    ----------
    phase
        "warm-up" or "sampling".
    done, total
        Iterations of each chain, warm-up included.
    chains, divergences
        Their number so far.
    """

    phase: str
    done: int
    total: int
    chains: int
    divergences: int


@runtime_checkable
class Sampler(Protocol):
    """A sampler prepared for one model and one data set. Its state is a value (a pytree).

    Running `advance` until `progress(state).done == total` gives the same draws whether or not
    the state was saved and loaded on the way.
    """

    def start(self) -> Any:
        """The state before the first iteration."""
        ...

    def advance(self, state: Any) -> Any:
        """The state after some more iterations (a second or so of work)."""
        ...

    def progress(self, state: Any) -> Progress:
        """How far the state is."""
        ...

    def posterior(self, state: Any) -> Posterior:
        """The posterior of a finished state."""
        ...


def run_through(sampler: Sampler) -> Posterior:
    """A sampler's posterior, without looking at its progress."""
    state = sampler.start()
    while sampler.progress(state).done < sampler.progress(state).total:
        state = sampler.advance(state)
    return sampler.posterior(state)
