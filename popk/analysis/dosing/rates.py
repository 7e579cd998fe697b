"""Infusion rates of one patient: the present one, and the one for a target. For research.

At steady state Css = rate/CL, in every draw of CL.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from popk.data.dataset import Dataset
from popk.data.dose_covariates import covariate_at
from popk.data.dose_records import units_of
from popk.data.grid import SAME_TIME
from popk.spec.patient import PatientSpec, regimen_of
from popk.spec.steps import Infusion, Pause, as_bands, dose_in
from popk.spec.units import split_quantity


class Rate(NamedTuple):
    """An infusion rate, as it is prescribed and as the pump runs.

    Attributes
    ----------
    value, unit
        For instance 15.0 and "ug/m^2/day".
    absolute, absolute_unit
        The same for this patient, for instance 0.22 and "ug/h".
    """

    value: float
    unit: str
    absolute: float
    absolute_unit: str

    def __str__(self) -> str:
        return f"{self.value:.4g} {self.unit}"

    def at(self, absolute: float) -> "Rate":
        """Another rate of the same patient."""
        return self._replace(value=self.value * absolute / self.absolute, absolute=absolute)


class Best(NamedTuple):
    """The rate that makes a window of Css most probable, and how probable that is."""

    rate: float
    probability: float


def present_rate(patient: PatientSpec, data: Dataset) -> Rate | None:
    """The rate that runs at a patient's last sample, or the first one where there is none.

    Where nothing runs then, the last rate before. At the end of an infusion it still runs, at its
    start not yet.

    Parameters
    ----------
    patient, data
        What was written, and its `popk.data.patient.patient_data`.

    Returns
    -------
    Rate or None
        In the unit of its dose; None without infusions.
    """
    steps = [step for step in regimen_of(patient).steps if not isinstance(step, Pause)]
    dosed = data.evid[0] == 1
    start, rate = data.time[0, dosed], data.rate[0, dosed]
    infusions = [i for i, step in enumerate(steps) if isinstance(step, Infusion)]
    if not infusions:
        return None
    last = data.time[data.observed].max(initial=-np.inf)
    begun = [i for i in infusions if start[i] < last - SAME_TIME * max(1.0, abs(last))]
    own = begun[-1] if begun else infusions[0]
    step, (time, amount) = steps[own], units_of(data)
    assert isinstance(step, Infusion)
    dose = _dose_of(step, data)
    number, per = dose_in(dose, amount, time)
    written, unit = split_quantity(dose)
    size = 1.0 if per is None else float(covariate_at(data, per, 0.0)[0])
    # By the rate that is given: a cap may be below the dose
    given = float(rate[own])
    return Rate(given / (number * size) * written, unit, given, f"{amount}/{time}")


def _dose_of(step: Infusion, data: Dataset) -> str:
    """The dose as it is written, of several bands the patient's own."""
    *limited, others = as_bands(step.dose)
    for band in limited:
        assert band.limit is not None
        covariate, limit = band.limit
        if covariate_at(data, covariate, 0.0)[0] < limit:
            return band.dose
    return others.dose


def best_rate(per_rate: Float[np.ndarray, " draw"], low: float, high: float) -> Best:
    """The rate for which most draws of Css lie between two values.

    Exact for the draws given: on the log scale a rate moves a window of fixed width over them, and
    only where the window begins at a draw can it hold more than before. Of the rates that hold
    equally many draws, the middle one of those nearest to the draws' median.

    Parameters
    ----------
    per_rate
        Css at a rate of one; positive.
    low, high
        The window, ``0 < low < high``.
    """
    if not 0.0 < low < high:
        raise ValueError(f"a window from {low} to {high}; expected 0 < low < high")
    ordered = np.sort(np.log(per_rate))
    width = np.log(high / low)
    first = np.arange(ordered.size)
    # Strictly inside: beginning just below its first draw, the window ends just below this
    behind = np.searchsorted(ordered, ordered + width, side="left")
    held = behind - first
    best = np.flatnonzero(held == held.max())
    # The window may begin anywhere between these and hold the same draws
    edge = 0.5 * (ordered[best] + ordered[behind[best] - 1] - width)
    nearest = np.argmin(np.abs(edge + 0.5 * width - np.median(ordered)))
    return Best(float(low * np.exp(-edge[nearest])), float(held.max() / ordered.size))


def probability(css: Float[np.ndarray, " draw"], low: float, high: float) -> float:
    """Share of the draws that lie inside a window."""
    return float(np.mean((css > low) & (css < high)))
