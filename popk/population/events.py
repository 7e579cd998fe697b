"""A `Dataset` as the arrays that a model computes with: [subject, step], in the model's units."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, no_type_check

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from popk.data.dataset import Dataset
from popk.pk.dosing import Doses, History, NumericArray, Steps, history, without_steady_state
from popk.population.censoring import Slots
from popk.spec.model import ModelSpec, Scale
from popk.spec.priors import Fixed
from popk.spec.problem import PopkError, Problem
from popk.spec.relations import CovariateEffect, Linear
from popk.spec.residual import ERRORS
from popk.spec.units import UnitError, conversion_factor, quantity


@no_type_check  # JAX rebuilds a pytree around scalars and placeholders
@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Events:
    """All subjects' histories, covariates and observations; padding is masked.

    Rows are the steps of the histories, [subject, step]; in condensed events one list of all
    observed rows, [row].
    Arrays of covariates have one column where nothing changes within any subject, else one for
    each step.

    Attributes
    ----------
    steps
        `Steps` of each subject, or condensed `Rows`, in the model's time and amount.
    log_scale
        Parameter to [subject, column] log of its scale, e.g. log(BSA / 1 m²).
    terms
        Covariate effect to [subject, column] the number its relation uses.
    observed
        [...] True where the row enters the likelihood.
    dv
        [...] observed concentration; 1 where there is none.
    censored, lower, upper
        [...] True where only the bounds are known, and the bounds.
    slots
        Bounds of the rows that may be censored, the last ones (see `condensed`); None to compute
        an interval at every row.
    """

    steps: Any
    log_scale: dict[str, Float[NumericArray, "*trial subject column"]]
    terms: dict[str, Float[NumericArray, "*trial subject column"]]
    observed: Bool[NumericArray, "*row"]
    dv: Float[NumericArray, "*row"]
    censored: Bool[NumericArray, "*row"]
    lower: Float[NumericArray, "*row"]
    upper: Float[NumericArray, "*row"]
    slots: Slots | None = None

    @property
    def subjects(self) -> int:
        """Number of subjects."""
        return next(iter(self.log_scale.values())).shape[-2]


class Layout(NamedTuple):
    """Where each record of the file stands among the steps: to bring predictions back to rows."""

    step: Int[np.ndarray, "subject record"]
    mask: Bool[np.ndarray, "subject record"]


def arrange(spec: ModelSpec, dataset: Dataset) -> tuple[Events, Layout]:
    """Bring a data set into a model's units and lay out its steps.

    Raises
    ------
    popk.PopkError
        Naming each covariate that the data lack, each unit that does not convert, and each
        measured row for which the model leaves no probability.
    """
    factors = unit_factors(spec, dataset)
    require_covariates(spec, dataset)
    varying = varies(spec, dataset)
    split = varying and dataset.interpolation == "locf"
    histories = [
        history(_doses(dataset, subject, factors), split_records=split)
        for subject in range(dataset.subjects)
    ]
    count = max(len(h.record) for h in histories)
    steps = without_steady_state(
        Steps(
            **{
                f.name: _padded([getattr(h.steps, f.name) for h in histories], count, f.name)
                for f in fields(Steps)
            }
        )
    )
    layout = _layout(dataset, histories)
    records = np.zeros((dataset.subjects, count), dtype=int)
    is_record = np.zeros((dataset.subjects, count), dtype=bool)
    for subject, h in enumerate(histories):
        records[subject, : len(h.record)] = h.record
        records[subject, len(h.record) :] = h.record[-1]
        is_record[subject, : len(h.record)] = h.is_record

    def at_steps(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, records, axis=1)

    def columns(values: np.ndarray) -> np.ndarray:
        return at_steps(values) if varying else values[:, :1]

    observed = at_steps(dataset.observed) & is_record
    censored = at_steps(dataset.censoring == 1) & observed
    measured = observed & ~censored
    concentration = factors.concentration
    log_scale, terms = covariate_arrays(spec, dataset, columns)
    events = Events(
        steps=steps,
        log_scale=log_scale,
        terms=terms,
        observed=observed,
        dv=np.where(measured, at_steps(dataset.dv) * concentration, 1.0),
        censored=censored,
        lower=np.where(censored, at_steps(dataset.lower) * concentration, -np.inf),
        upper=np.where(censored, at_steps(dataset.upper) * concentration, np.inf),
    )
    _refuse_impossible(spec, dataset, histories)
    return events, layout


Columns = Callable[[np.ndarray], np.ndarray]
"""From a covariate's [subject, record] values to those of the columns of `Events`."""


def covariate_arrays(
    spec: ModelSpec, dataset: Dataset, columns: Columns
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """`Events.log_scale` and `Events.terms` of a data set.

    Raises
    ------
    popk.PopkError
        Where a unit does not convert, or a relation cannot use a value.
    """
    log_scale = {
        name: sum(
            (_log_scale(scale, dataset, columns) for scale in parameter.scales),
            np.zeros((dataset.subjects, 1)),
        )
        for name, parameter in spec.parameters.items()
    }
    return log_scale, {e.name: _term(e, dataset, columns) for e in spec.covariates}


class UnitFactors(NamedTuple):
    """Factors from the units of a data set to those of a model."""

    time: float
    amount: float
    concentration: float


def unit_factors(spec: ModelSpec, dataset: Dataset) -> UnitFactors:
    """Factors from the data's units to the model's; an undeclared unit is the model's.

    Raises
    ------
    popk.PopkError
        Naming each unit that does not convert.
    """
    factors, problems = {}, []
    for item in UnitFactors._fields:
        source, target = getattr(dataset.units, item), getattr(spec.units, item)
        try:
            factors[item] = 1.0 if source is None else conversion_factor(source, target)
        except UnitError as error:
            problems.append(
                Problem(
                    file=dataset.source,
                    key=item,
                    found=f"unit {source}",
                    expected=f"a unit of {item} that converts to the model's {target} ({error})",
                    cure="correct the column's unit in fit.toml or [units] in the model file",
                )
            )
    if problems:
        raise PopkError(*problems)
    return UnitFactors(**factors)


def require_covariates(spec: ModelSpec, dataset: Dataset) -> None:
    """Refuse data without a covariate that the model uses."""
    known = ", ".join(dataset.covariates) or "none"
    problems = [
        Problem(
            file=dataset.source,
            key=name,
            found=f"no covariate {name}; the data have: {known}",
            expected=f"{name}, which the model {spec.name!r} uses",
            cure=f"declare it in fit.toml, [columns] {name} = {{covariate = true}} "
            f"(or [derived] {name} = ...), or choose a model without it",
        )
        for name in spec.covariate_names
        if name not in dataset.covariates
    ]
    if problems:
        raise PopkError(*problems)


def varies(spec: ModelSpec, dataset: Dataset) -> bool:
    """Whether a covariate that the model uses changes within any subject."""
    return any(
        bool((np.abs(values - values[:, :1])[dataset.mask] > 0).any())
        for name, values in dataset.covariates.items()
        if name in spec.covariate_names
    )


def _doses(dataset: Dataset, subject: int, factors: UnitFactors) -> Doses:
    row = dataset.mask[subject]
    return Doses(
        time=dataset.time[subject, row] * factors.time,
        evid=dataset.evid[subject, row],
        amount=dataset.amount[subject, row] * factors.amount,
        rate=dataset.rate[subject, row] * (factors.amount / factors.time),
        ss=dataset.ss[subject, row],
        addl=dataset.addl[subject, row],
        interval=dataset.interval[subject, row] * factors.time,
    )


def _padded(rows: list[np.ndarray], count: int, name: str) -> np.ndarray:
    """Rows of unequal length as one array; padding steps do nothing."""
    fill = 1.0 if name in ("keep", "steady_interval") else 0.0
    out = np.full((len(rows), count), fill)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def _layout(dataset: Dataset, histories: list[History]) -> Layout:
    step = np.zeros(dataset.mask.shape, dtype=int)
    for subject, h in enumerate(histories):
        places = np.flatnonzero(h.is_record)
        step[subject, : len(places)] = places
    return Layout(step, dataset.mask)


def _log_scale(scale: Scale, dataset: Dataset, columns: Columns) -> np.ndarray:
    unit = dataset.covariate_units.get(scale.covariate)
    values = columns(dataset.covariates[scale.covariate])
    _positive(values, scale.covariate, dataset)
    reference = _in_unit(scale.reference, unit, scale.covariate, dataset)
    return scale.exponent * (np.log(values) - np.log(reference))


def _positive(values: np.ndarray, name: str, dataset: Dataset) -> None:
    bad = np.flatnonzero((values <= 0).any(axis=1))
    if bad.size:
        raise PopkError(
            Problem(
                file=dataset.source,
                subject=dataset.ids[bad[0]],
                key=name,
                found=f"{name} = {values[bad[0]].min():g}",
                expected="a value above 0, because a parameter is scaled by it",
                cure="correct the value in the data",
            )
        )


def _in_unit(text: str | float, unit: str | None, name: str, dataset: Dataset) -> float:
    try:
        return quantity(text, unit)
    except UnitError as error:
        raise PopkError(_unit_problem(name, unit, str(error), dataset)) from None


def _term(effect: CovariateEffect, dataset: Dataset, columns: Columns) -> np.ndarray:
    name = effect.covariate
    unit = dataset.covariate_units.get(name)
    try:
        term = effect.term(
            columns(dataset.covariates[name]), unit, tuple(dataset.levels.get(name, ()))
        )
    except UnitError as error:
        raise PopkError(_unit_problem(name, unit, str(error), dataset)) from None
    except ValueError as error:
        raise PopkError(
            Problem(
                file=dataset.source,
                key=name,
                found=str(error),
                expected=f"values that the relation {effect.relation!r} can use",
                cure="correct the data, or the relation in the model file",
            )
        ) from None
    _keeps_positive(effect, term, dataset)
    return term


def _keeps_positive(effect: CovariateEffect, term: np.ndarray, dataset: Dataset) -> None:
    """A linear effect that is known cannot be cut to what the data allow."""
    if not (isinstance(effect, Linear) and isinstance(effect.effect, Fixed)):
        return
    factor = 1.0 + effect.effect.value * term
    bad = np.flatnonzero((factor <= 0).any(axis=1))
    if bad.size:
        raise PopkError(
            Problem(
                file=dataset.source,
                subject=dataset.ids[bad[0]],
                key=effect.covariate,
                found=f"a factor of {factor[bad[0]].min():g} on {effect.parameter}",
                expected=f"a factor above 0 from the fixed linear effect {effect.effect.value:g}",
                cure="use the exponential relation, or another fixed effect, in the model file",
            )
        )


def _unit_problem(name: str, unit: str | None, error: str, dataset: Dataset) -> Problem:
    return Problem(
        file=dataset.source,
        key=name,
        found=f"{name} in {unit or 'no declared unit'}",
        expected=f"a unit that the model file's value converts to ({error})",
        cure=f'declare it in fit.toml: [columns] {name} = {{covariate = true, unit = "..."}}',
    )


def _refuse_impossible(spec: ModelSpec, dataset: Dataset, histories: list[History]) -> None:
    """A measured concentration where the model's prediction is zero has no likelihood."""
    if not ERRORS[spec.residual.error].vanishes:
        return
    problems = []
    for subject, h in enumerate(histories):
        given = _drug_given(h)[h.is_record]
        rows = np.flatnonzero(
            dataset.observed[subject, : len(given)]
            & (dataset.censoring[subject, : len(given)] == 0)
            & ~given
        )
        problems += [
            Problem(
                file=dataset.source,
                line=int(dataset.line[subject, row]),
                subject=dataset.ids[subject],
                key="DV",
                found=f"DV = {dataset.dv[subject, row]:g} measured before any dose",
                expected="no measured value where the prediction is zero: with "
                f"{spec.residual.error} error it has no likelihood",
                cure="set MDV to 1 on this row, or CENS to 1 if it is below the assay limit, "
                "or use additive or combined error",
            )
            for row in rows
        ]
    nonpositive = (
        dataset.observed & (dataset.censoring == 0) & (dataset.dv <= 0)
        if ERRORS[spec.residual.error].logarithmic
        else np.zeros_like(dataset.observed)
    )
    problems += [
        Problem(
            file=dataset.source,
            line=int(dataset.line[subject, row]),
            subject=dataset.ids[subject],
            key="DV",
            found=f"DV = {dataset.dv[subject, row]:g}",
            expected=f"a value above 0: {spec.residual.error} error takes its logarithm",
            cure="set CENS to 1 with DV the assay limit, or use another residual error",
        )
        for subject, row in np.argwhere(nonpositive)
    ]
    if problems:
        raise PopkError(*problems)


def _drug_given(h: History) -> np.ndarray:
    """[step] whether any drug is in the compartment since the beginning or the last reset."""
    steps = h.steps
    assert steps.steady_rate is not None
    assert steps.steady_bolus is not None
    assert steps.steady_pulse is not None
    came = (
        ((steps.rate > 0) & (steps.duration > 0))
        | (steps.bolus > 0)
        | (steps.steady_rate > 0)
        | (steps.steady_bolus > 0)
        | (steps.steady_pulse * steps.steady_pulse_duration > 0)
    )
    given, out = False, []
    for keep, new in zip(steps.keep, came, strict=True):
        given = (given and keep > 0) or bool(new)
        out.append(given)
    return np.array(out)
