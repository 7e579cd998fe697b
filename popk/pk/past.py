"""Rows of many subjects, each with the doses behind it.

While clearance and volume stay the same within a subject, what is left of each dose does not
depend on the others: a row's amount is a sum over the doses before it (superposition). That needs
no loop over time, only what `Past` holds: how long each ran, and how long ago it ended.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple, no_type_check

import jax
import numpy as np
from jaxtyping import Float, Int

from popk.pk.dosing import SAME_TIME, NumericArray, Steps


@no_type_check  # JAX rebuilds a pytree around scalars and placeholders
@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Past:
    """What rows still have of all that was given; unused places are zero.

    Attributes
    ----------
    since
        [row] time since drug last came in, 0 while an infusion runs.
    rate, ran, ended
        [infusion, row] rate, for how long it ran until the row, and how much longer ago than
        `since` it ended.
    bolus, bolus_ended
        [bolus, row] amount, and how much longer ago than `since` it was given.
    steady_rate, steady_bolus, steady_pulse, steady_pulse_duration, steady_interval
        [steady, row] as in `Steps`: regular doses for ever until a step.
    steady_ended
        [steady, row] how much longer ago than `since` that step was.
    """

    since: Float[NumericArray, " row"]
    rate: Float[NumericArray, "infusion row"]
    ran: Float[NumericArray, "infusion row"]
    ended: Float[NumericArray, "infusion row"]
    bolus: Float[NumericArray, "bolus row"]
    bolus_ended: Float[NumericArray, "bolus row"]
    steady_rate: Float[NumericArray, "steady row"]
    steady_bolus: Float[NumericArray, "steady row"]
    steady_pulse: Float[NumericArray, "steady row"]
    steady_pulse_duration: Float[NumericArray, "steady row"]
    steady_interval: Float[NumericArray, "steady row"]
    steady_ended: Float[NumericArray, "steady row"]


class Behind(NamedTuple):
    """What is still there at one row: since when, and of which doses.

    Attributes
    ----------
    now
        Time of the row.
    infusions
        Start, end and rate of each.
    boluses
        Time and amount of each.
    steady
        Time, and the steady-state items of `Steps` in their order.
    """

    now: float
    infusions: list[tuple[float, float, float]]
    boluses: list[tuple[float, float]]
    steady: list[tuple[float, tuple[float, ...]]]

    @property
    def widths(self) -> tuple[int, int, int]:
        """Numbers of infusions, boluses and steady states."""
        return len(self.infusions), len(self.boluses), len(self.steady)


STEADY = (
    "steady_rate",
    "steady_bolus",
    "steady_pulse",
    "steady_pulse_duration",
    "steady_interval",
)


def look_back(steps: Steps, rows: Int[np.ndarray, " row"]) -> list[Behind]:
    """What the given rows (indices of steps, ascending) of one subject have behind them."""
    wanted, found = set(rows.tolist()), []
    here = Behind(0.0, [], [], [])
    now = 0.0
    steady = [values for name in STEADY if (values := getattr(steps, name)) is not None]
    for i, (duration, rate) in enumerate(
        zip(steps.duration.tolist(), steps.rate.tolist(), strict=True)
    ):
        if rate > 0 and duration > 0:
            _run(here.infusions, now, now + duration, rate)
        now += duration
        if steps.keep[i] == 0:
            here = Behind(now, [], [], [])
        if steps.bolus[i] > 0:
            here.boluses.append((now, float(steps.bolus[i])))
        items = tuple(float(values[i]) for values in steady)
        if any(items[:-1]):
            here.steady.append((now, items))
        if i in wanted:
            found.append(Behind(now, list(here.infusions), list(here.boluses), list(here.steady)))
    return found


def _run(
    infusions: list[tuple[float, float, float]], start: float, end: float, rate: float
) -> None:
    """Add a stretch at a constant rate; one that goes on at the same rate is the same infusion."""
    if infusions:
        before, until, same = infusions[-1]
        if until == start and abs(rate - same) <= SAME_TIME * same:
            infusions[-1] = (before, end, same)
            return
    infusions.append((start, end, rate))


def tabulate(rows: list[Behind], widths: tuple[int, int, int]) -> Past:
    """The rows as arrays with room for so many infusions, boluses and steady states."""
    infusion, bolus, steady = widths
    count = len(rows)
    shapes = {
        f.name: (count,)
        if f.name == "since"
        else (steady, count)
        if f.name.startswith("steady")
        else (bolus, count)
        if f.name.startswith("bolus")
        else (infusion, count)
        for f in fields(Past)
    }
    past = Past(
        **{n: np.ones(s) if n == "steady_interval" else np.zeros(s) for n, s in shapes.items()}
    )
    for row, behind in enumerate(rows):
        ends = [end for _, end, _ in behind.infusions]
        ends += [time for time, _ in (*behind.boluses, *behind.steady)]
        last = max(ends, default=behind.now)
        past.since[row] = behind.now - last
        for i, (start, end, rate) in enumerate(behind.infusions):
            past.rate[i, row], past.ran[i, row] = rate, end - start
            past.ended[i, row] = last - end
        for i, (time, amount) in enumerate(behind.boluses):
            past.bolus[i, row], past.bolus_ended[i, row] = amount, last - time
        for i, (time, items) in enumerate(behind.steady):
            past.steady_ended[i, row] = last - time
            for name, value in zip(STEADY, items, strict=True):
                getattr(past, name)[i, row] = value
    return past
