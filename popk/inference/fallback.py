"""A sampler that hands over to another where its own gate fails, and says so."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from popk.inference.ensemble import Ensemble
from popk.inference.nuts import Nuts
from popk.inference.posterior import Posterior, Progress


class State(NamedTuple):
    """The ensemble's state, and NUTS's from the moment that it took over."""

    ensemble: Any
    nuts: Any


@dataclass(frozen=True, eq=False)
class EnsembleOrNuts:
    """The ensemble; NUTS where the ensemble diverges, sticks, or does not agree with itself."""

    ensemble: Ensemble
    nuts: Nuts

    def start(self) -> State:
        """The ensemble's start."""
        return State(self.ensemble.start(), None)

    def advance(self, state: State) -> State:
        """Go on with whichever is at work; change over where the ensemble has failed."""
        if state.nuts is not None:
            return state._replace(nuts=self.nuts.advance(state.nuts))
        ahead = self.ensemble.advance(state.ensemble)
        failed = ahead.finished and ahead.failed
        return State(ahead, self.nuts.start() if failed else None)

    def progress(self, state: State) -> Progress:
        """How far the sampler at work is."""
        if state.nuts is None:
            return self.ensemble.progress(state.ensemble)
        reached = self.nuts.progress(state.nuts)
        return Progress(
            f"NUTS {reached.phase}",
            reached.done,
            reached.total,
            reached.chains,
            reached.divergences,
        )

    def posterior(self, state: State) -> Posterior:
        """The posterior of whichever finished; the record says why it was NUTS."""
        if state.nuts is None:
            return self.ensemble.posterior(state.ensemble)
        posterior = self.nuts.posterior(state.nuts)
        method = {**posterior.method, "instead of ensemble because": state.ensemble.failed}
        return Posterior(posterior.draws, posterior.stats, posterior.log_likelihood, method)
