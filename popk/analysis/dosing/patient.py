"""One infant's dose: from its first samples to CL, Css, and the rate for a target. For research.

What the infant's samples say is joined with what a fit knows of others (`popk.analysis.dosing.
posterior`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.dosing.course import course
from popk.analysis.dosing.posterior import OnePosterior, one_posterior
from popk.analysis.dosing.rates import Rate, best_rate, present_rate, probability
from popk.data.dataset import Dataset
from popk.data.grid import SAME_TIME
from popk.data.patient import patient_data
from popk.population.events import arrange
from popk.spec.model import ModelSpec
from popk.spec.patient import PatientSpec, Target
from popk.spec.problem import PopkError, Problem
from popk.spec.residual import ERRORS
from popk.spec.units import conversion_factor, quantity
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit


class Goal(NamedTuple):
    """Where Css is wanted, in the model's unit: one concentration, or a window."""

    css: float | None
    window: tuple[float, float] | None

    @property
    def middle(self) -> float:
        """The concentration; of a window its geometric middle."""
        if self.css is not None:
            return self.css
        assert self.window is not None
        return math.sqrt(self.window[0] * self.window[1])


@dataclass(frozen=True, eq=False)
class PatientDose:
    """What is known of one patient, and which rate reaches its target.

    Attributes
    ----------
    id, data
        The patient, and its covariates, doses and samples as a data set of one subject.
    posterior
        Draws of the patient's etas and of the population, how they were found
        (``posterior.method``, ``posterior.why``) and how far they can be relied on
        (``posterior.k``, ``posterior.ess``).
    draws, units
        Equally likely draws of ``CL``, ``V``, ``half_life`` and, with an infusion, ``Css`` at the
        present rate; where a parameter has a scale (BSA) also ``CL_scaled``, ``V_scaled``, per
        unit of it. The units by name.
    present
        The rate that runs at the last sample, else the first one; None without infusions.
    goal
        The target; None without one.
    recommended
        The rate for the target: for one concentration that at which it is the median of Css, for
        a window the one with the highest probability of a Css inside. None without a target.
    summary
        One quantity a row: ``unit``, ``median``, ``q5``, ``q95`` (90 % interval), ``probability``
        (that Css lies inside the window; else NaN). Rows: those of `draws`, Css being called
        ``Css_present``; ``rate_for_target``, of the rates that bring each draw to the target (of
        a window to its geometric middle), and ``rate_recommended``, each also as the pump runs
        (``..._absolute``); ``Css_recommended``.
    course
        See `popk.analysis.dosing.course.course`.
    samples
        One sample a row: ``TIME`` (data's unit), ``DV`` (model's unit; where ``censored`` the
        limit).
    synthetic, name
        Of the fit.
    """

    id: str
    data: Dataset
    posterior: OnePosterior
    draws: Mapping[str, Float[np.ndarray, " draw"]]
    units: Mapping[str, str]
    present: Rate | None
    goal: Goal | None
    recommended: Rate | None
    summary: pd.DataFrame
    course: pd.DataFrame
    samples: pd.DataFrame
    synthetic: bool
    name: str


def patient_dose(
    fit: Fit | MaximumFit,
    patient: PatientSpec,
    *,
    seed: int | None = None,
    watch: Callable[[str], None] | None = None,
) -> PatientDose:
    """What a fit and a new infant's samples say of it.

    Parameters
    ----------
    fit
        A posterior of others.
    patient
        From `popk.spec.patient.read_patient`. Without samples it is predicted from the fit alone.
    seed
        The fit's by default.
    watch
        Called with a line of text where the model has to be fitted again, which takes longer.

    Returns
    -------
    PatientDose
        ``summary`` holds CL, V, half-life, Css and the rate for the target, with 90 % intervals.

    Raises
    ------
    popk.PopkError
        With the file and the key: a sample before the first dose where that has no likelihood, a
        covariate that is missing or in a wrong unit, no infusion where a rate is asked for; or
        where the fit has no posterior.
    """
    if isinstance(fit, MaximumFit):
        raise _without_posterior(fit)
    model = fit.model
    seed = fit.provenance.seed if seed is None else seed
    data = patient_data(patient, fit.data, model.spec)
    _refuse_before_dose(patient, data, model.spec)
    present = present_rate(patient, data)
    goal = _goal(patient, data, model.spec)
    if goal is not None and present is None:
        raise _without_infusion(patient)
    posterior = one_posterior(fit, data, seed=seed, watch=watch)
    draws, units = _quantities(model.spec, data, posterior, present)
    half_life = float(np.median(draws["half_life"]))
    recommended = None
    if goal is not None and present is not None:
        recommended = present.at(_rate_for(goal, draws["Css"] / present.absolute))
    return PatientDose(
        patient.id,
        data,
        posterior,
        draws,
        units,
        present,
        goal,
        recommended,
        _summary(draws, units, present, goal, recommended),
        course(model, data, posterior, half_life, seed),
        _samples(data, model.spec),
        fit.synthetic,
        fit.name,
    )


def _samples(data: Dataset, spec: ModelSpec) -> pd.DataFrame:
    own = data.observed[0]
    lower, upper = data.lower[0, own], data.upper[0, own]
    censored = data.censoring[0, own] == 1
    limit = np.where(np.isfinite(upper), upper, lower)
    unit = data.units.concentration or spec.units.concentration
    reported = np.where(censored, limit, data.dv[0, own])
    return pd.DataFrame(
        {
            "TIME": data.time[0, own],
            "DV": reported * conversion_factor(unit, spec.units.concentration),
            "censored": censored,
        }
    )


def _quantities(
    spec: ModelSpec, data: Dataset, posterior: OnePosterior, present: Rate | None
) -> tuple[dict[str, Float[np.ndarray, " draw"]], dict[str, str]]:
    """Draws of everything about the patient, and the units."""
    events, _ = arrange(spec, data)
    draws: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    for name, parameter in spec.parameters.items():
        draws[name], units[name] = posterior.parameters[name], parameter.unit
        if parameter.scales:
            scale = math.exp(float(np.asarray(events.log_scale[name])[0, 0]))
            draws[f"{name}_scaled"] = draws[name] / scale
            units[f"{name}_scaled"] = spec.typical_unit(name)
    time = data.units.time or spec.units.time
    turnover = conversion_factor(f"({units['V']})/({units['CL']})", time)
    draws["half_life"] = math.log(2.0) * turnover * draws["V"] / draws["CL"]
    units["half_life"] = time
    if present is not None:
        unit = f"({present.absolute_unit})/({units['CL']})"
        factor = conversion_factor(unit, spec.units.concentration)
        draws["Css"] = factor * present.absolute / draws["CL"]
        units["Css"] = spec.units.concentration
    return draws, units


def _rate_for(goal: Goal, per_rate: Float[np.ndarray, " draw"]) -> float:
    """The rate that is recommended, from Css at a rate of one."""
    if goal.window is not None:
        return best_rate(per_rate, *goal.window).rate
    return goal.middle / float(np.median(per_rate))


def _summary(
    draws: Mapping[str, Float[np.ndarray, " draw"]],
    units: Mapping[str, str],
    present: Rate | None,
    goal: Goal | None,
    recommended: Rate | None,
) -> pd.DataFrame:
    rows = {name: _row(values, units[name]) for name, values in draws.items() if name != "Css"}
    if present is not None:
        css, unit = draws["Css"], units["Css"]
        rows["Css_present"] = _row(css, unit, goal)
        if goal is not None and recommended is not None:
            exact = present.absolute * goal.middle / css
            per_absolute = present.value / present.absolute
            rows["rate_for_target"] = _row(exact * per_absolute, present.unit)
            rows["rate_for_target_absolute"] = _row(exact, present.absolute_unit)
            rows["rate_recommended"] = _value(recommended.value, recommended.unit)
            rows["rate_recommended_absolute"] = _value(
                recommended.absolute, recommended.absolute_unit
            )
            rows["Css_recommended"] = _row(
                css * recommended.absolute / present.absolute, unit, goal
            )
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "quantity"
    return table


def _row(
    values: Float[np.ndarray, " draw"], unit: str, goal: Goal | None = None
) -> dict[str, str | float]:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    inside = math.nan if goal is None or goal.window is None else probability(values, *goal.window)
    return {
        "unit": unit,
        "median": float(middle),
        "q5": float(low),
        "q95": float(high),
        "probability": inside,
    }


def _value(value: float, unit: str) -> dict[str, str | float]:
    return {"unit": unit, "median": value, "q5": value, "q95": value, "probability": math.nan}


def _goal(patient: PatientSpec, data: Dataset, spec: ModelSpec) -> Goal | None:
    """The target in the model's unit; a number without a unit is in the data's."""
    unit = data.units.concentration or spec.units.concentration
    factor = conversion_factor(unit, spec.units.concentration)
    match patient.target:
        case None:
            return None
        case Target(css=None, window=(low, high)):
            return Goal(None, (factor * quantity(low, unit), factor * quantity(high, unit)))
        case Target(css=css):
            assert css is not None
            return Goal(factor * quantity(css, unit), None)


def _refuse_before_dose(patient: PatientSpec, data: Dataset, spec: ModelSpec) -> None:
    """A measured value where the prediction is zero has no likelihood with some errors."""
    if not ERRORS[spec.residual.error].vanishes:
        return
    first = float(data.time[0, data.evid[0] == 1].min())
    measured = data.observed[0] & (data.censoring[0] == 0)
    early = measured & (data.time[0] <= first + SAME_TIME * max(1.0, abs(first)))
    problems = [
        Problem(
            file=patient.file,
            key=f"samples.{number}.time",
            found=f"a measured value at {patient.samples[number - 1].time}, before anything was "
            "given",
            expected=f"a time after {first:g} {data.units.time}, when the first dose begins: with "
            f"{spec.residual.error} error no value has a likelihood before",
            cure="correct the time (0 is the start of what is given), leave the sample out, or "
            "write below = the assay's limit instead of DV",
        )
        for number in sorted(data.line[0, early].tolist())
    ]
    if problems:
        raise PopkError(*problems)


def _without_infusion(patient: PatientSpec) -> PopkError:
    return PopkError(
        Problem(
            file=patient.file,
            key="target",
            found="a target of Css, and a regimen without an infusion",
            expected="an infusion, whose rate is to be chosen",
            cure='give one: [[given]] infusion = "15 ug/m^2/day", duration = "28 day"; or leave '
            "[target] out",
        )
    )


def _without_posterior(fit: MaximumFit) -> PopkError:
    return PopkError(
        Problem(
            file=fit.name or fit.model.spec.name,
            key="sampler.method",
            found=f'method "{fit.provenance.method.get("name", "maximum likelihood")}", which has '
            "no posterior",
            expected="draws of the population, with which a patient's samples are weighed",
            cure='fit with method = "ensemble" in fit.toml (popk fit)',
        )
    )
