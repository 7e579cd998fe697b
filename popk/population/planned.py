"""Many subjects on one schedule of doses: laid out once, whatever their number.

`arrange` lays out each subject's own history. Subjects of a simulation are dosed at the same times,
only by other amounts; then one layout serves all, and rates are linear in what each is given. A
model's `predict` works on one subject of it as on one subject of any data.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from popk.data.dataset import Dataset
from popk.data.regimens import Schedule
from popk.pk.dosing import SAME_TIME, Doses, NumericArray, Steps, history
from popk.population.events import (
    Events,
    covariate_arrays,
    require_covariates,
    unit_factors,
    varies,
)
from popk.spec.model import ModelSpec

ROOM, DOSE_ROOM = 64, 8
"""Numbers of steps, times and doses are rounded up to multiples of these (see `rounded`)."""


class Layout(NamedTuple):
    """The steps that all subjects share, in the model's time.

    Attributes
    ----------
    duration
        [step] since the step before.
    running
        [step, dose] 1 where an infusion runs over the time that leads to the step.
    arriving
        [step, dose] 1 where a bolus comes in at the step.
    knot
        [column] the covariate record that holds at each step and over the time that leads to it;
        one column where nothing changes.
    output
        [time] the step of each time that was asked for, after all that happens then.
    """

    duration: Float[np.ndarray, " step"]
    running: Float[np.ndarray, "step dose"]
    arriving: Float[np.ndarray, "step dose"]
    knot: Int[np.ndarray, " column"]
    output: Int[np.ndarray, " time"]


class Given(NamedTuple):
    """What each subject of a cohort is given and is, in the model's units; axis `subject` first.

    Attributes
    ----------
    size
        [subject, dose] rates of infusions, amounts of boluses.
    log_scale, terms
        Name to [subject, knot], as in `Events`.
    """

    size: Float[NumericArray, "subject dose"]
    log_scale: dict[str, Float[NumericArray, "subject knot"]]
    terms: dict[str, Float[NumericArray, "subject knot"]]


def planned(
    spec: ModelSpec, cohort: Dataset, schedule: Schedule, times: Float[np.ndarray, " time"]
) -> Layout:
    """Lay out a schedule.

    Parameters
    ----------
    spec, cohort
        The model, and subjects whose covariate records are at the same times for all.
    schedule
        In the cohort's units; its sizes are not used.
    times
        When predictions are wanted, in the cohort's unit, rising.

    Raises
    ------
    popk.PopkError
        If the cohort lacks a covariate, or a unit does not convert.
    """
    require_covariates(spec, cohort)
    factors = unit_factors(spec, cohort)
    varying = varies(spec, cohort)
    knots = np.asarray(cohort.time[0], float)
    doses = len(schedule.start)
    clock = np.concatenate([knots, schedule.start, np.asarray(times, float)])
    # At one time: covariates, then doses, then predictions
    kind = np.repeat([0, 1, 2], [len(knots), doses, len(times)])
    order = np.lexsort((kind, clock))
    place = np.argsort(order)
    infused = np.concatenate([np.zeros(len(knots)), schedule.duration, np.zeros(len(times))])
    is_dose = kind[order] == 1
    run = infused[order] * factors.time
    own = history(
        Doses(
            time=clock[order] * factors.time,
            evid=np.where(is_dose, 1, 2),
            # At a rate of one the amount is the duration; of a bolus any
            amount=np.where(is_dose, np.where(run > 0, run, 1.0), 0.0),
            rate=np.where(is_dose & (run > 0), 1.0, 0.0),
            ss=np.zeros(len(order), int),
            addl=np.zeros(len(order), int),
            interval=np.zeros(len(order)),
        ),
        split_records=varying and cohort.interpolation == "locf",
    )
    duration = own.steps.duration
    ends = clock[order][0] * factors.time + np.cumsum(duration)
    begin, length = schedule.start * factors.time, schedule.duration * factors.time
    slack = SAME_TIME * np.maximum(1.0, np.abs(ends))[:, None]
    running = (begin <= (ends - duration)[:, None] + slack) & (
        ends[:, None] <= begin + length + slack
    )
    arriving = np.zeros((len(ends), doses))
    at_record = np.flatnonzero(own.is_record)
    boluses = np.flatnonzero(schedule.duration == 0)
    arriving[at_record[place[len(knots) + boluses]], boluses] = 1.0
    knot = _knots(knots, clock[order], cohort.interpolation)[own.record] if varying else np.zeros(1)
    return Layout(
        duration,
        (running & (duration > 0)[:, None] & (schedule.duration > 0)).astype(float),
        arriving,
        knot.astype(int),
        at_record[place[len(knots) + doses :]],
    )


def rounded(layout: Layout) -> Layout:
    """The same with room for more steps, doses and times, so that programs serve several layouts.

    Further steps last no time, further doses are none, further times are the last one again.
    """
    steps, doses = layout.running.shape
    more_steps, more_doses = -steps % ROOM, -doses % DOSE_ROOM
    room = [(0, more_steps), (0, more_doses)]
    changes = len(layout.knot) > 1
    return Layout(
        np.pad(layout.duration, (0, more_steps)),
        np.pad(layout.running, room),
        np.pad(layout.arriving, room),
        np.pad(layout.knot, (0, more_steps if changes else 0), mode="edge"),
        np.pad(layout.output, (0, -len(layout.output) % ROOM), mode="edge"),
    )


def _knots(
    knots: Float[np.ndarray, " knot"], clock: Float[np.ndarray, " record"], interpolation: str
) -> Int[np.ndarray, " record"]:
    """The covariate record that holds at each record: the next or the last one."""
    slack = SAME_TIME * np.maximum(1.0, np.abs(clock))
    if interpolation == "nocb":
        return np.minimum(np.searchsorted(knots, clock - slack), len(knots) - 1)
    return np.maximum(np.searchsorted(knots, clock + slack, side="right") - 1, 0)


def given(spec: ModelSpec, cohort: Dataset, schedule: Schedule) -> Given:
    """Sizes of doses and what the model uses of the covariates, in the model's units.

    Raises
    ------
    popk.PopkError
        Where a relation cannot use a covariate's value.
    """
    factors = unit_factors(spec, cohort)
    varying = varies(spec, cohort)
    infusion = schedule.duration > 0
    factor = np.where(infusion, factors.amount / factors.time, factors.amount)
    log_scale, terms = covariate_arrays(
        spec, cohort, lambda values: values if varying else values[:, :1]
    )
    return Given(schedule.size * factor, log_scale, terms)


def events_of(
    layout: Layout,
    size: Float[Array, " dose"],
    log_scale: dict[str, Float[Array, " knot"]],
    terms: dict[str, Float[Array, " knot"]],
) -> Events:
    """One subject's events, nothing observed: to be mapped over the subjects of `Given`."""
    count = len(layout.duration)

    def columns(values: Float[Array, " knot"]) -> Float[Array, "1 column"]:
        # A scale that the model's parameter does not have has one column at all times
        return (values if values.shape[0] == 1 else values[layout.knot])[None]

    one = jnp.ones((1, count), size.dtype)
    nothing = jnp.zeros((1, count), bool)
    rate = jnp.asarray(layout.running, size.dtype) @ size
    bolus = jnp.asarray(layout.arriving, size.dtype) @ size
    return Events(
        steps=Steps(
            duration=jnp.asarray(layout.duration, size.dtype)[None],
            rate=rate[None],
            keep=one,
            bolus=bolus[None],
            steady_rate=None,
            steady_bolus=None,
            steady_pulse=None,
            steady_pulse_duration=None,
            steady_interval=None,
        ),
        log_scale={name: columns(values) for name, values in log_scale.items()},
        terms={name: columns(values) for name, values in terms.items()},
        observed=nothing,
        dv=one,
        censored=nothing,
        lower=-jnp.inf * one,
        upper=jnp.inf * one,
    )
