"""The task of benchmarks.simulation for its peers: two regimens written out, times, subjects.

Written by hand and not read from popk's files, so that the peers also check what popk makes of
these. Concentrations are in pg/mL, time is in h, CL in L/h, V in L, BSA in m².
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

TIMES = np.arange(0.0, 29 * 24 + 1.0, 4.0)
"""Every 4 h over 28 days and the day after."""
REGIMENS = {
    "standard": ((0.0, 672.0, 15.0),),
    "interruption": ((0.0, 240.0, 15.0), (288.0, 336.0, 5.0), (336.0, 672.0, 15.0)),
}
"""Infusions: start and end (h), ug/m²/day."""


class Infants(NamedTuple):
    """The same for all competitors, [subject]."""

    CL: np.ndarray
    V: np.ndarray
    BSA: np.ndarray


def infants(file: Path, count: int | None = None) -> Infants:
    """The first infants of those that popk made."""
    with np.load(file) as arrays:
        return Infants(*(arrays[name][:count].astype(np.float64) for name in Infants._fields))


def scaled(dose: float, bsa: np.ndarray | float) -> np.ndarray | float:
    """Rate of an infusion, so that rate/CL is in pg/mL: 1000 ug/L to pg/mL."""
    return 1000.0 * dose / 24.0 * bsa


def stretches(regimen: str) -> list[tuple[float, float, float]]:
    """Times of constant rate, one after the other: start, end, ug/m²/day."""
    found, reached = [], 0.0
    for start, end, dose in REGIMENS[regimen]:
        if start > reached:
            found.append((reached, start, 0.0))
        found.append((start, end, dose))
        reached = end
    return [*found, (reached, float(TIMES[-1]), 0.0)]
