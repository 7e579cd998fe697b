"""Dose records of one subject as a sequence of steps with a constant infusion rate between them.

A step ends where something happens: a record of the file, the end of an infusion, an additional
dose. NONMEM's rules decide the order: records in file order; an additional dose (ADDL) at the
time of a record comes before it; SS=1 and resets cancel what is running and pending.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, no_type_check

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    NumericArray = Any
else:  # until a compiled function takes them, the arrays are NumPy's
    NumericArray = Array | np.ndarray

# Times are sums of decimal fractions (TIME + n * II): equal to this relative tolerance is equal.
SAME_TIME = 1e-9


@no_type_check  # JAX rebuilds a pytree around scalars and placeholders
@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Steps:
    """One subject's history; axis `step`. Amounts and times are in the data set's units.

    Attributes
    ----------
    duration
        Time since the previous step; 0 for the first and for padding.
    rate
        Infusion rate over that time, all running infusions together.
    keep
        0 where the step empties the compartment first (reset, SS=1), else 1.
    bolus
        Amount added at the step.
    steady_rate
        Rate of a constant infusion whose steady state is added at the step. This and the four
        below are None where no dose of any subject is at steady state.
    steady_bolus, steady_pulse, steady_pulse_duration, steady_interval
        Regular doses since for ever, whose amount just before the step is added: boluses of
        this amount, or infusions of this rate and duration (shorter than the interval), every
        `steady_interval` (1 where there are none).
    """

    duration: Float[NumericArray, "*subject step"]
    rate: Float[NumericArray, "*subject step"]
    keep: Float[NumericArray, "*subject step"]
    bolus: Float[NumericArray, "*subject step"]
    steady_rate: Float[NumericArray, "*subject step"] | None
    steady_bolus: Float[NumericArray, "*subject step"] | None
    steady_pulse: Float[NumericArray, "*subject step"] | None
    steady_pulse_duration: Float[NumericArray, "*subject step"] | None
    steady_interval: Float[NumericArray, "*subject step"] | None


def without_steady_state(steps: Steps) -> Steps:
    """The same steps, with None for the steady-state items where no dose has any."""
    items = {f.name: getattr(steps, f.name) for f in fields(Steps) if "steady" in f.name}
    if any(np.any(items[name] != 0) for name in items if name != "steady_interval"):
        return steps
    return replace(steps, **dict.fromkeys(items))


class History(NamedTuple):
    """`Steps`, and for each step the record it belongs to and whether it is that record."""

    steps: Steps
    record: Int[np.ndarray, " step"]
    is_record: Bool[np.ndarray, " step"]


class Doses(NamedTuple):
    """Dose items of one subject's records, as in `popk.data.dataset.Dataset`."""

    time: Float[np.ndarray, " record"]
    evid: Int[np.ndarray, " record"]
    amount: Float[np.ndarray, " record"]
    rate: Float[np.ndarray, " record"]
    ss: Int[np.ndarray, " record"]
    addl: Int[np.ndarray, " record"]
    interval: Float[np.ndarray, " record"]


def history(doses: Doses, *, split_records: bool = False) -> History:
    """Lay out the steps of one subject.

    Parameters
    ----------
    doses
        The subject's records in file order.
    split_records
        True where covariates change within the subject and are carried forward ("locf"): each
        record then has a step that brings the time forward under the covariates of the record
        before it, and one of no duration under its own. False for "nocb" and for covariates
        that do not change.

    Returns
    -------
    History
        A step's parameters are those of `record[step]`, over the time that leads to it and at
        it. `is_record` has exactly one True for each record, in file order.
    """
    rows: list[_Step] = []
    clock = _Clock(float(doses.time[0]))
    for index, (time, evid) in enumerate(zip(doses.time, doses.evid, strict=True)):
        if evid in (3, 4):
            clock = _Clock(float(time))
        before = max(index - 1, 0) if split_records else index
        rows += clock.advance(float(time), before)
        if split_records:
            rows.append(clock.step(float(time), before))
        if evid in (1, 4):
            rows.append(clock.dose(doses, index))
        else:
            keep = 0.0 if evid == 3 else 1.0
            rows.append(clock.step(float(time), index)._replace(keep=keep, is_record=True))
    rows = _merged(rows)
    items = {
        field.name: np.array([getattr(row, field.name) for row in rows], dtype=float)
        for field in fields(Steps)
    }
    return History(
        Steps(**items),
        np.array([row.record for row in rows]),
        np.array([row.is_record for row in rows]),
    )


class _Step(NamedTuple):
    duration: float
    rate: float
    record: int
    is_record: bool = False
    keep: float = 1.0
    bolus: float = 0.0
    steady_rate: float = 0.0
    steady_bolus: float = 0.0
    steady_pulse: float = 0.0
    steady_pulse_duration: float = 0.0
    steady_interval: float = 1.0


class _Clock:
    """The time reached, the infusions that run (end, rate) and the doses to come."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.running: list[tuple[float, float]] = []
        self.pending: list[tuple[float, float, float]] = []

    def step(self, time: float, record: int) -> _Step:
        """Let time pass to `time` at the present rate."""
        step = _Step(max(time - self.now, 0.0), sum(rate for _, rate in self.running), record)
        self.now = max(time, self.now)
        return step

    def advance(self, until: float, record: int) -> list[_Step]:
        """Steps for all that ends or starts by itself up to `until`, that time included."""
        steps = []
        while (due := min((t for t, *_ in self.running + self.pending), default=math.inf)) <= _up(
            until
        ):
            step = self.step(min(due, until), record)
            arriving = [dose for dose in self.pending if dose[0] <= _up(due)]
            self.running = [infusion for infusion in self.running if infusion[0] > _up(due)]
            self.pending = [dose for dose in self.pending if dose[0] > _up(due)]
            bolus = sum(amount for _, amount, rate in arriving if rate == 0)
            self.running += [(t + amount / rate, rate) for t, amount, rate in arriving if rate > 0]
            steps.append(step._replace(bolus=bolus))
        return steps

    def dose(self, doses: Doses, index: int) -> _Step:
        """Give the dose of a record, with the steady state and the additional doses it asks for."""
        time, amount, rate = (float(a[index]) for a in (doses.time, doses.amount, doses.rate))
        interval = float(doses.interval[index])
        step = self.step(time, index)._replace(is_record=True)
        duration = amount / rate if rate > 0 else 0.0
        if doses.evid[index] == 4:
            step = step._replace(keep=0.0)
        if doses.ss[index] == 1:
            step = step._replace(keep=0.0)
            self.running, self.pending = [], []
        if doses.ss[index] in (1, 2):
            step = self._steady(step, amount, rate, duration, interval)
        if rate > 0 and amount > 0:
            self.running.append((time + duration, rate))
        elif amount > 0:
            step = step._replace(bolus=amount)
        self.pending += [
            (time + n * interval, amount, rate) for n in range(1, int(doses.addl[index]) + 1)
        ]
        return step

    def _steady(
        self, step: _Step, amount: float, rate: float, duration: float, interval: float
    ) -> _Step:
        if amount == 0:
            return step._replace(steady_rate=rate)
        if rate == 0:
            return step._replace(steady_bolus=amount, steady_interval=interval)
        # An infusion longer than the interval: `whole` of them always run, and one of the
        # remaining duration every interval; those that run at the step go on after it.
        whole = math.floor(duration / interval + SAME_TIME)
        rest = max(duration - whole * interval, 0.0)
        ends = [self.now + duration - n * interval for n in range(1, whole + 1)]
        self.running += [(end, rate) for end in ends if end > _up(self.now)]
        return step._replace(
            steady_rate=whole * rate,
            steady_pulse=rate,
            steady_pulse_duration=rest,
            steady_interval=interval,
        )


def _up(time: float) -> float:
    return time + SAME_TIME * max(1.0, abs(time))


def _merged(rows: list[_Step]) -> list[_Step]:
    """Drop steps at which only the rate changes where the next step is at the same time."""
    kept: list[_Step] = []
    for row in rows:
        last = kept[-1] if kept else None
        if (
            last is not None
            and not last.is_record
            and last.bolus == 0
            and row.duration == 0
            and row.record == last.record
        ):
            kept[-1] = row._replace(duration=last.duration, rate=last.rate)
        else:
            kept.append(row)
    return kept
