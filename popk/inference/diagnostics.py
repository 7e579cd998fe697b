"""R-hat and effective sample sizes of all draws by name."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from popk.inference.effective import effective

AT_ONCE = 2000
"""Quantities diagnosed at once, for bounded memory."""
SUPERCHAINS = 8
"""Groups of chains with one starting point each."""


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """R-hat and effective sample sizes by name and element, e.g. ``CL[3]`` for the third subject.

    Attributes
    ----------
    names
        One for each scalar quantity.
    rhat, ess_bulk, ess_tail
        [quantity] rank-normalised split R-hat, bulk ESS, and tail ESS (the smaller of the 5 %
        and 95 % quantiles').
    nested
        [quantity] nested R-hat; None where chains are too few for superchains.
    """

    names: tuple[str, ...]
    rhat: Float[np.ndarray, " quantity"]
    ess_bulk: Float[np.ndarray, " quantity"]
    ess_tail: Float[np.ndarray, " quantity"]
    nested: Float[np.ndarray, " quantity"] | None = None

    def of(self, name: str) -> tuple[float, float, float]:
        """R-hat, bulk ESS and tail ESS of one quantity."""
        i = self.names.index(name)
        return float(self.rhat[i]), float(self.ess_bulk[i]), float(self.ess_tail[i])

    def by_draws(
        self, draws: Mapping[str, Float[np.ndarray, "chain draw *shape"]]
    ) -> dict[str, "Diagnostics"]:
        """Those of each array of draws, in whose order the names are."""
        out, first = {}, 0
        for name, values in draws.items():
            own = slice(first, first := first + math.prod(values.shape[2:]))
            nested = None if self.nested is None else self.nested[own]
            out[name] = Diagnostics(
                self.names[own], self.rhat[own], self.ess_bulk[own], self.ess_tail[own], nested
            )
        return out


def joined(parts: Sequence[Diagnostics]) -> Diagnostics:
    """Diagnostics of all parts, one after the other."""
    nested = [part.nested for part in parts if part.nested is not None]
    return Diagnostics(
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.rhat for part in parts]),
        np.concatenate([part.ess_bulk for part in parts]),
        np.concatenate([part.ess_tail for part in parts]),
        np.concatenate(nested) if nested else None,
    )


def diagnostics(draws: Mapping[str, Float[np.ndarray, "chain draw *shape"]]) -> Diagnostics:
    """R-hat and ESS of every scalar quantity among the draws."""
    names: list[str] = []
    columns = []
    for name, values in draws.items():
        flat = values.reshape(*values.shape[:2], -1)
        columns.append(flat)
        names += [name] if values.ndim == 2 else [f"{name}[{i + 1}]" for i in range(flat.shape[2])]
    whole = np.concatenate(columns, axis=2)
    parts = []
    for first in range(0, len(names), AT_ONCE):
        table = whole[..., first : first + AT_ONCE].astype(float)
        # Ranks would take an infinite draw for a large one
        table[np.isinf(table)] = np.nan
        parts.append(effective(table, superchains_of(table.shape[0])))
    rhat, bulk, tail, nested = zip(*parts, strict=True)
    return Diagnostics(
        tuple(names),
        np.concatenate(rhat),
        np.concatenate(bulk),
        np.concatenate(tail),
        None if nested[0] is None else np.concatenate(nested),
    )


def superchains_of(chains: int) -> int:
    """Superchains of so many chains: 8, where each can have two chains or more; else none."""
    return SUPERCHAINS if chains >= 2 * SUPERCHAINS and chains % SUPERCHAINS == 0 else 0
