"""Steady-state concentrations of each subject, from its clearance."""

import numpy as np
from jaxtyping import Float

from popk.data.dataset import Dataset
from popk.spec.units import conversion_factor
from popk.study.fit import Fit, dosed_size
from popk.study.maximum import MaximumFit

Draws = Float[np.ndarray, "chain draw subject"]


def css_actual(fit: Fit | MaximumFit) -> Draws | None:
    """Css = rate/CL at each subject's own infusion rate, the one given for the longest time.

    Returns
    -------
    Array
        In the model's concentration unit; NaN for a subject without an infusion, None where
        nobody has one.
    """
    spec, units = fit.model.spec, fit.data.units
    amount, time = units.amount or spec.units.amount, units.time or spec.units.time
    rate = main_rate(fit.data)
    if np.isnan(rate).all():
        return None
    return _css(fit, rate, f"({amount})/({time})")


def css_nominal(fit: Fit | MaximumFit) -> Draws | None:
    """Css = rate/CL at the nominal dose; None where there is no infusion or no nominal dose.

    Raises
    ------
    popk.PopkError
        If the dose is per m² or per kg and the data have no such covariate.
    """
    if fit.dose is None or np.isnan(main_rate(fit.data)).all():
        return None
    amount, time = fit.model.spec.units.amount, fit.model.spec.units.time
    rate = fit.dose.rate(amount, time) * dosed_size(fit.dose, fit.data)
    return _css(fit, rate, f"({amount})/({time})")


def main_rate(data: Dataset) -> Float[np.ndarray, " subject"]:
    """Each subject's infusion rate that was given for the longest time; NaN without infusions.

    In `data.units.amount` per `data.units.time`. Additional doses count; a constant infusion at
    steady state counts only where nothing else was infused.
    """
    rates = np.full(data.subjects, np.nan)
    for subject in range(data.subjects):
        rate = data.rate[subject]
        infused = data.mask[subject] & (rate > 0)
        if not infused.any():
            continue
        given, addl = data.amount[subject, infused], data.addl[subject, infused]
        duration = given / rate[infused] * (1 + addl)
        levels, place = np.unique(rate[infused], return_inverse=True)
        rates[subject] = levels[np.argmax(np.bincount(place, weights=duration))]
    return rates


def current_rate(data: Dataset) -> Float[np.ndarray, "subject record"]:
    """Infusion rate at each record, all infusions together; 0 where none runs.

    In `data.units.amount` per `data.units.time`. At the record of a constant infusion at steady
    state, and at records of the same time after it, its rate. An infusion that ends at a record
    still counts there, one that starts there does not.
    """
    rates = np.zeros(data.time.shape)
    for subject in range(data.subjects):
        running: list[tuple[float, float, float]] = []  # rate, begin, end
        for record in np.flatnonzero(data.mask[subject]):
            time, rate = data.time[subject, record], data.rate[subject, record]
            if data.evid[subject, record] >= 3:
                running = []
            if rate > 0:
                length = data.amount[subject, record] / rate
                if length == 0:
                    running.append((rate, -np.inf, time))
                for k in range(int(data.addl[subject, record]) + 1) if length > 0 else ():
                    begun = time + k * data.interval[subject, record]
                    running.append((rate, begun, begun + length))
            slack = 1e-9 * max(1.0, abs(time))
            rates[subject, record] = sum(
                r for r, begun, end in running if begun < time - slack and time <= end + slack
            )
    return rates


def _css(fit: Fit | MaximumFit, rate: Float[np.ndarray, " subject"], unit: str) -> Draws:
    spec = fit.model.spec
    factor = conversion_factor(f"({unit})/({spec.parameters['CL'].unit})", spec.units.concentration)
    return factor * rate / fit.samples.draws["CL"]
