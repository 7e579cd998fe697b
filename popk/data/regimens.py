"""Regimens in numbers: what each subject of a cohort is given and when, as NONMEM records."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from popk.data.dataset import Array, Bools, Dataset, Ints
from popk.data.dose_covariates import covariate_at, one_row, require_covariates, up
from popk.data.dose_records import mass_units, record_table, regimens_of, units_of
from popk.data.grid import NUMBERS
from popk.spec.regimen import Bolus, Infusion, Pause, Regimen
from popk.spec.steps import as_bands, dose_in, duration_in

__all__ = ["Schedule", "record_table", "regimens_of", "scheduled", "units_of", "with_doses"]


class Schedule(NamedTuple):
    """A regimen's doses in numbers; its pauses leave no step.

    Attributes
    ----------
    start, duration
        [step] in the cohort's unit of time; the duration of a bolus is 0.
    size
        [subject, step] rate of an infusion (amount per time), amount of a bolus, in the cohort's
        units. Read-only and of no memory where all subjects are given the same.
    """

    start: Float[np.ndarray, " step"]
    duration: Float[np.ndarray, " step"]
    size: Float[np.ndarray, "subject step"]


def scheduled(regimen: Regimen, cohort: Dataset, *, start: float = 0.0) -> Schedule:
    """Compute each subject's doses from body size.

    Body size is the covariate's value at the last record at or before the start of the step (of
    the regimen, if it is not `recalculated`); before the first record that of the first.

    Parameters
    ----------
    regimen
        Its doses may be per m² (covariate BSA), per kg (WT) or in bands of WT, BSA or AGE.
    cohort
        Subjects with covariates in declared units.
    start
        When the regimen begins, in the cohort's unit of time.

    Returns
    -------
    Schedule
        In ``cohort.units``, "h" and "ug" where none are declared.

    Raises
    ------
    PopkError
        If a covariate that a dose needs is not there, has no such unit, or is not above 0; if
        the cohort's amount is no mass.
    """
    time, _ = mass_units(cohort)
    require_covariates(cohort, _needed(regimen))
    durations = np.array([duration_in(step, time) for step in regimen.steps])
    starts = start + np.concatenate([[0.0], np.cumsum(durations)[:-1]])
    sizes, given = [], []
    for i, step in enumerate(regimen.steps):
        if not isinstance(step, Pause):
            given.append(i)
            sizes.append(_size(step, cohort, starts[i] if regimen.recalculated else start))
    shape = (cohort.subjects, len(given))
    return Schedule(starts[given], durations[given], _in_columns(sizes, shape))


def _in_columns(sizes: list[Array], shape: tuple[int, int]) -> Float[np.ndarray, "subject step"]:
    """[subject, step]; a view of one row where no size differs between subjects."""
    if all(size.ndim == 0 for size in sizes):
        return np.broadcast_to(np.array(sizes, dtype=float), shape)
    columns = np.empty(shape)
    for step, size in enumerate(sizes):
        columns[:, step] = size
    return columns


def _size(step: Infusion | Bolus, cohort: Dataset, start: float) -> Array:
    """[] or [subject] rate or amount of a step for the body size at this time."""
    time, amount = mass_units(cohort)
    over = time if isinstance(step, Infusion) else None

    def of(dose: str) -> Array:
        number, per = dose_in(dose, amount, over)
        return np.asarray(number if per is None else number * covariate_at(cohort, per, start))

    *limited, others = as_bands(step.dose)
    size = of(others.dose)
    for band in reversed(limited):  # the lowest limit has the last word
        assert band.limit is not None
        covariate, limit = band.limit
        size = np.where(covariate_at(cohort, covariate, start) < limit, of(band.dose), size)
    return size if step.cap is None else np.minimum(size, dose_in(step.cap, amount, over)[0])


def _needed(regimen: Regimen) -> dict[str, str]:
    """Each covariate that a dose needs, with the first that asks for it."""
    asked: dict[str, str] = {}
    for step in (step for step in regimen.steps if not isinstance(step, Pause)):
        over = "h" if isinstance(step, Infusion) else None
        for band in as_bands(step.dose):
            per = dose_in(band.dose, "ug", over)[1]
            if per is not None:
                asked.setdefault(per, f"a dose of {band.dose}")
            if band.limit is not None:
                asked.setdefault(band.limit[0], f"a dose for those below {band.below}")
    return asked


def with_doses(cohort: Dataset, schedule: Schedule) -> Dataset:
    """Write a schedule's doses between the records of a cohort.

    A dose is a record with EVID 1 after the records of the same time. Its covariates are those of
    a record at the same time, else, as `cohort.interpolation` says, those of the next ("nocb") or
    of the earlier record ("locf"); beyond the last record its own.

    Parameters
    ----------
    cohort
        Subjects that all have records at the same times.
    schedule
        From `scheduled` for this cohort.

    Returns
    -------
    Dataset
        In time order, all subjects at the same times. What is the same for all subjects is a
        read-only view of one row.

    Raises
    ------
    ValueError
        If the records are not at the same times for all subjects.
    """
    knots = cohort.time[0]
    if not (one_row(cohort.mask).all() and (one_row(cohort.time) == knots).all()):
        raise ValueError("records at different times; expected a cohort with the same for all")
    before = np.searchsorted(knots, up(schedule.start), side="right")
    # a dose comes behind `before` records, doses of one time in the order of their steps
    places = np.concatenate([np.arange(knots.size), before - 0.5])
    order = np.argsort(places, kind="stable")
    own = np.concatenate([np.arange(knots.size), _covariate_records(cohort, schedule, before)])
    merge = _Merge(
        shape=(cohort.subjects, order.size),
        is_dose=order >= knots.size,
        record=own[order],
        step=np.maximum(order - knots.size, 0),
    )
    # no dose may lie a rounding error before the record at whose time it is given
    reached = np.where(before > 0, knots[np.maximum(before - 1, 0)], -np.inf)
    times = np.concatenate([knots, np.maximum(schedule.start, reached)])[order]
    infused = schedule.duration > 0.0
    size = one_row(schedule.size)
    arrays = {name: merge.rows(getattr(cohort, name), DOSE.get(name, 0)) for name in NUMBERS}
    arrays |= {
        "amount": merge.doses(cohort.amount, np.where(infused, size * schedule.duration, size)),
        "rate": merge.doses(cohort.rate, np.where(infused, size, 0.0)),
        "time": np.broadcast_to(times, merge.shape),
    }
    covariates = {name: merge.covariate(values) for name, values in cohort.covariates.items()}
    return replace(cohort, covariates=covariates, **arrays)


DOSE = {"mask": True, "evid": 1, "dv": np.nan, "lower": np.nan, "upper": np.nan}
"""What a new dose record says; what is not named here is zero or False."""


class _Merge(NamedTuple):
    """Where each record of the result comes from.

    Attributes
    ----------
    shape
        [subject, record] of the result.
    is_dose, record, step
        [record] whether it is a new dose, the cohort's record that it is or whose covariates it
        has, and its step of the schedule.
    """

    shape: tuple[int, int]
    is_dose: Bools
    record: Ints
    step: Ints

    def rows(self, values: np.ndarray, new: float) -> np.ndarray:
        """The cohort's values, and `new` on doses."""
        laid_out = np.where(self.is_dose, new, one_row(values)[:, self.record])
        return np.broadcast_to(laid_out.astype(values.dtype), self.shape)

    def doses(self, values: Array, given: Array) -> Array:
        """The cohort's values, and what is `given`, [subject or 1, step], on doses."""
        if not given.shape[1]:
            return self.rows(values, 0.0)
        laid_out = np.where(self.is_dose, given[:, self.step], one_row(values)[:, self.record])
        return np.broadcast_to(laid_out, self.shape)

    def covariate(self, values: Array) -> Array:
        """A covariate on all records; of no memory where it does not change in time."""
        if values.shape[1] == 1 or values.strides[1] == 0:
            return np.broadcast_to(values[:, :1], self.shape)
        return np.broadcast_to(one_row(values)[:, self.record], self.shape)


def _covariate_records(cohort: Dataset, schedule: Schedule, before: Ints) -> Ints:
    """[step] the record whose covariates a dose has."""
    knots = cohort.time[0]
    earlier = np.maximum(before - 1, 0)
    at_once = (before > 0) & (up(knots[earlier]) >= schedule.start)
    if cohort.interpolation == "locf":
        return earlier
    return np.where(at_once | (before == knots.size), earlier, before)
