"""`Posterior`: what a sampler returns; and the protocol that every sampler follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Shaped

from popk.inference.diagnostics import Diagnostics, diagnostics


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

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """R-hat and effective sample sizes of all draws."""
        return diagnostics(self.draws)


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
