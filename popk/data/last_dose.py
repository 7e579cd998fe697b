"""Time after dose: what field plots put residuals against."""

import numpy as np

from popk.data.dataset import Array, Dataset


def time_after_dose(data: Dataset) -> Array:
    """[subject, record] time since the last dose began, in `data.units.time`; NaN before any.

    Additional doses (ADDL every II) count, doses before a reset do not. A record at the time of a
    dose is after it if it stands below it in the file. After a constant infusion at steady state,
    which ends at its record, the time since that end.
    """
    after = np.full(data.time.shape, np.nan)
    for subject in range(data.subjects):
        begun: list[tuple[float, float, int]] = []  # first time, interval, further doses
        for record in np.flatnonzero(data.mask[subject]):
            time = data.time[subject, record]
            evid = data.evid[subject, record]
            if evid >= 3:
                begun = []
            if evid in (1, 4):
                interval, addl = data.interval[subject, record], data.addl[subject, record]
                begun.append((time, interval, int(addl)))
            if begun:
                after[subject, record] = time - max(_last(*dose, time) for dose in begun)
    return after


def _last(first: float, interval: float, addl: int, time: float) -> float:
    """When the last of a dose and its additional doses was given, at this time."""
    if addl == 0 or interval <= 0:
        return first
    return first + interval * min(addl, int((time - first) / interval))
