"""One new patient as a data set of one subject, in the units of a fit's data."""

import hashlib
from dataclasses import replace

import numpy as np

from popk.data.cohort import cohort
from popk.data.dataset import PER_RECORD, Dataset, ItemUnits
from popk.data.grid import EMPTY, SAME_TIME
from popk.data.patient_covariates import patient_covariates, units_for
from popk.data.regimens import scheduled, with_doses
from popk.spec.model import ModelSpec
from popk.spec.patient import PatientSpec, Sample, regimen_of
from popk.spec.problem import PopkError, Problem
from popk.spec.steps import COVARIATE_UNITS
from popk.spec.units import quantity


def patient_data(patient: PatientSpec, like: Dataset, model: ModelSpec) -> Dataset:
    """A patient's covariates, doses and samples.

    Parameters
    ----------
    patient
        What was written of it.
    like
        The fit's data: units, coding and formulas of covariates are theirs.
    model
        What it is for: its covariates are needed, and an item without a unit is in its units.

    Returns
    -------
    Dataset
        One subject. A sample's `line` is its number in the patient file; a sample stands before
        a dose that begins at the same time.

    Raises
    ------
    PopkError
        With the file and the key: an ID of the fit's data, a covariate that is missing, unknown or
        in a wrong unit, and what is wrong with the regimen.
    """
    if patient.id in like.ids:
        raise PopkError(
            Problem(
                file=patient.file,
                key="id",
                found=f"{patient.id!r}, which is a subject of the fit's data ({like.source})",
                expected="a patient that the fit does not know: its samples would count twice",
                cure="write another id, or leave this subject out of the fit",
            )
        )
    body = _body(patient, like, model)
    try:
        schedule = scheduled(regimen_of(patient), body)
    except PopkError as error:
        raise PopkError(*(_of_patient(problem, like) for problem in error.problems)) from None
    if not schedule.start.size:
        raise PopkError(
            Problem(
                file=patient.file,
                key="given",
                found="pauses, and nothing that is given",
                expected="an infusion or a bolus",
                cure='add [[given]] with infusion = "15 ug/m^2/day" and duration = "28 day"',
            )
        )
    return _with_samples(with_doses(body, schedule), patient)


def beside(data: Dataset, subject: Dataset) -> Dataset:
    """The subjects of a data set, and after them that of another; covariates that both have."""
    width = max(data.mask.shape[1], subject.mask.shape[1])

    def stacked(name: str) -> np.ndarray:
        edge = name == "time"
        return _stacked(getattr(data, name), getattr(subject, name), width, EMPTY.get(name), edge)

    covariates = {
        name: _stacked(values, subject.covariates[name], width, None, True)
        for name, values in data.covariates.items()
        if name in subject.covariates
    }
    return replace(
        data,
        source=f"{data.source} and {subject.source}",
        sha256=hashlib.sha256(f"{data.sha256} {subject.sha256}".encode()).hexdigest(),
        ids=(*data.ids, *subject.ids),
        covariates=covariates,
        covariate_units={name: data.covariate_units[name] for name in covariates},
        **{name: stacked(name) for name in PER_RECORD},
    )


def _stacked(
    first: np.ndarray, second: np.ndarray, width: int, fill: float | None, edge: bool
) -> np.ndarray:
    """Both, padded to this width: with the last value where `edge`, else with `fill` or zeros."""

    def wide(values: np.ndarray) -> np.ndarray:
        pad = ((0, 0), (0, width - values.shape[1]))
        if edge:
            return np.pad(values, pad, mode="edge")
        return np.pad(values, pad, constant_values=0 if fill is None else fill)

    return np.concatenate([wide(first), wide(second)]).astype(first.dtype)


def _body(patient: PatientSpec, like: Dataset, model: ModelSpec) -> Dataset:
    """The patient as a cohort of one, without doses."""
    values, units = patient_covariates(patient, like, model), units_for(like)
    # A cohort has a covariate, a model may have none
    columns = {name: np.array([[value]]) for name, value in (values or {"": 0.0}).items()}
    items = ("time", "amount", "concentration")
    own = cohort(
        columns,
        {name: units.get(name) for name in columns},
        units=ItemUnits(*(getattr(like.units, i) or getattr(model.units, i) for i in items)),
        ids=(patient.id,),
        levels={name: words for name, words in like.levels.items() if name in values},
        derived={name: text for name, text in like.derived.items() if name in values},
        interpolation=like.interpolation,
        source=patient.file,
    )
    sha256 = hashlib.sha256(patient.model_dump_json().encode()).hexdigest()
    own = replace(own, sha256=sha256)
    return own if values else replace(own, covariates={}, covariate_units={})


def _of_patient(problem: Problem, like: Dataset) -> Problem:
    """What is wrong with a dose that depends on body size, told of the patient's file."""
    name = problem.key or ""
    unit = COVARIATE_UNITS.get(name)
    if unit is None:
        return problem
    undeclared = name in like.covariates and like.covariate_units.get(name) is None
    return replace(
        problem,
        key=f"covariates.{name}",
        subject=None,
        expected=f"a {name} above 0, in a unit that can be converted to {unit}",
        cure=f'declare the unit in fit.toml, [columns] {name} = {{covariate = true, unit = "{unit}"'
        "}, or write doses that do not depend on it"
        if undeclared
        else f'write {name} = "... {unit}" under [covariates], or doses that do not depend on it',
    )


def _with_samples(dosed: Dataset, patient: PatientSpec) -> Dataset:
    """The doses and the samples in order of time; at one time samples come first."""
    if not patient.samples:
        return dosed
    count = len(patient.samples)
    time = np.array([quantity(s.time, dosed.units.time) for s in patient.samples])
    nearest_dose = np.abs(dosed.time[0] - time[:, None]).argmin(axis=1)
    same = np.abs(dosed.time[0, nearest_dose] - time) <= SAME_TIME * np.maximum(1.0, np.abs(time))
    time = np.where(same, dosed.time[0, nearest_dose], time)
    dv, lower, upper = np.array(
        [_bounds(sample, dosed.units.concentration) for sample in patient.samples]
    ).T
    censored = np.isnan(lower) == 0
    new = {
        "line": np.arange(1, count + 1), "mask": np.ones(count), "time": time, "observed":
        np.ones(count), "dv": dv, "censoring": censored, "lower": lower, "upper": upper,
    }  # fmt: skip
    width = dosed.time.shape[1]
    order = np.lexsort((np.repeat([1, 0], [width, count]), np.concatenate([dosed.time[0], time])))

    def merged(values: np.ndarray, added: np.ndarray) -> np.ndarray:
        return np.concatenate([values[0], added.astype(values.dtype)])[order][None]

    arrays = {
        name: merged(getattr(dosed, name), np.asarray(new.get(name, np.zeros(count))))
        for name in PER_RECORD
    }
    covariates = {
        name: np.repeat(values[:, :1], width + count, axis=1)
        for name, values in dosed.covariates.items()
    }
    return replace(dosed, covariates=covariates, **arrays)


def _bounds(sample: Sample, unit: str | None) -> tuple[float, float, float]:
    """DV (of a censored sample its limit), lower and upper bound (NaN where it was measured)."""
    if sample.DV is not None:
        return quantity(sample.DV, unit), np.nan, np.nan
    lower = -np.inf if sample.above is None else quantity(sample.above, unit)
    upper = np.inf if sample.below is None else quantity(sample.below, unit)
    return (upper if np.isfinite(upper) else lower), lower, upper
