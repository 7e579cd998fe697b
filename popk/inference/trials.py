"""`Trials`: what fitting many data sets gives, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float


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
        Of each trial "ensemble"; where that failed "alone" (an ensemble for this trial only), and
        where that failed too "nuts".
    why
        What failed, of each of these that was tried.
    """

    names: tuple[str, ...]
    draws: tuple[Float[np.ndarray, "_ _ name"], ...]
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

        def whole(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in parts])

        return Trials(
            first.names,
            tuple(d for part in parts for d in part.draws),
            first.parameters,
            whole("individual"),
            whole("rhat"),
            whole("ess_bulk"),
            whole("ess_tail"),
            whole("passed"),
            tuple(m for part in parts for m in part.method),
            tuple(w for part in parts for w in part.why),
        )


def replaced(trials: Trials, place: int, one: Trials) -> Trials:
    """The same with the results of a fit of one trial in place of its own."""

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
