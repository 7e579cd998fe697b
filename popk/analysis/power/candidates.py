"""The samples of a design, and further times at which one could be taken."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from popk.analysis.power.fisher import Moments, Rows, moments
from popk.data.dataset import Dataset
from popk.data.grid import at_times
from popk.population.events import arrange
from popk.population.model import Model
from popk.spec.problem import PopkError, Problem


def at_samples(
    model: Model, design: Dataset, values: Mapping[str, float], below: float | None = None
) -> Moments:
    """Moments at the design's own samples.

    Raises
    ------
    popk.PopkError
        If it has none, or lacks what the model needs.
    """
    if not design.observed.any():
        raise PopkError(
            Problem(
                file=design.source,
                key="design",
                found="no samples",
                expected="observation records (EVID 0) at the times of the sampling plan",
                cure="give the design sampling times",
            )
        )
    events, layout = arrange(model.spec, design)
    return moments(model, values, events, samples(design, layout.step), below=below)


def at_candidates(
    model: Model,
    design: Dataset,
    times: Float[np.ndarray, " time"],
    values: Mapping[str, float],
    below: float | None = None,
) -> tuple[Moments, Int[np.ndarray, " time"]]:
    """Moments at the design's samples and at further times, and the places of the latter.

    Parameters
    ----------
    model, design, values, below
        As of `at_samples`; the design need not have samples.
    times
        Since each subject's first dose, in the design's unit of time.

    Raises
    ------
    popk.PopkError
        If a subject has no dose, or a time is not finite or before the first dose.
    """
    clock = np.asarray(times, float)
    if clock.ndim != 1 or not clock.size or not (np.isfinite(clock) & (clock >= 0)).all():
        raise PopkError(
            Problem(
                key="times",
                found=f"sampling times {clock.tolist()}",
                expected="one or more finite times since the first dose, 0 or later",
                cure="correct the times",
            )
        )
    start, _ = dosing(design)
    extended, record = at_times(design, start[:, None] + clock)
    events, layout = arrange(model.spec, extended)
    old = samples(extended, layout.step)
    new = np.take_along_axis(layout.step, record, axis=1)
    rows = Rows(
        np.concatenate([old.step, new], axis=1),
        np.concatenate([old.used, np.ones_like(new, bool)], axis=1),
    )
    found = moments(model, values, events, rows, below=below)
    return found, old.step.shape[1] + np.arange(clock.size)


def samples(data: Dataset, step: Int[np.ndarray, "subject record"]) -> Rows:
    """The observed records of each subject, those of few samples filled up."""
    most = int(data.observed.sum(axis=1).max(initial=0))
    order = np.argsort(~data.observed, axis=1, kind="stable")[:, :most]
    return Rows(
        np.take_along_axis(step, order, axis=1), np.take_along_axis(data.observed, order, axis=1)
    )


def dosing(design: Dataset) -> tuple[Float[np.ndarray, " subject"], Float[np.ndarray, " subject"]]:
    """When each subject's dosing starts and ends, in the design's time.

    Raises
    ------
    popk.PopkError
        If a subject has no dose.
    """
    dose = design.mask & np.isin(design.evid, (1, 4))
    without = np.flatnonzero(~dose.any(axis=1))
    if without.size:
        raise PopkError(
            Problem(
                file=design.source,
                subject=design.ids[without[0]],
                key="EVID",
                found=f"no dose (in {without.size} of {design.subjects} subjects)",
                expected="doses: sampling times count from the first one",
                cure="give the design a regimen",
            )
        )
    runs = np.where(design.rate > 0, design.amount / np.where(design.rate > 0, design.rate, 1), 0.0)
    end = design.time + design.addl * design.interval + runs
    return np.where(dose, design.time, np.inf).min(axis=1), np.where(dose, end, -np.inf).max(axis=1)
