"""Fits side by side: parameters, predictive accuracy, objective functions, models, VPCs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from popk.analysis import model_changes
from popk.analysis.checking.replicates import replicates
from popk.analysis.checking.vpc import Vpc, time_bins, vpc
from popk.analysis.predictive import Predictive, difference, over_observations, over_subjects
from popk.analysis.summary import objective, parameters
from popk.data.dataset import Dataset
from popk.spec.problem import PopkError, Problem
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

AnyFit = Fit | MaximumFit


@dataclass(frozen=True, eq=False)
class Comparison:
    """What several fits have in common and what not. The first is what others are compared with.

    Attributes
    ----------
    names
        Of the fits.
    fits
        Index: name. ``kind`` ("posterior" or "maximum likelihood"), ``method``, ``converged``,
        ``failed`` (checks, in words), ``model`` and ``data`` (SHA-256), ``subjects``,
        ``observations``, ``same_data`` (as the first has).
    parameters
        Index: parameter. ``unit``, and for each fit ``NAME`` (posterior median or estimate),
        ``NAME_q5``, ``NAME_q95`` (90 % interval), ``NAME_sd`` (posterior SD or standard error);
        for all but the first ``NAME_sds``, the difference to the first in SDs, of which it is the
        root mean square of both fits'; NaN where one has no such parameter or another unit.
    prediction
        Index: name, of posteriors with the first one's data. ``loso`` (expected log predictive
        density of subjects left out one by one, etas integrated out), ``loso_difference`` to the
        first posterior and its standard error ``loso_error``, ``loso_unreliable`` (subjects with a
        Pareto k above 0.7), ``loso_refitted``; the same of observations as ``loo...``. Empty with
        less than two.
    objective
        Index: name, of maximum-likelihood fits. ``method``, ``parameters``, ``OFV``, ``-2 log L``,
        ``AIC``, ``BIC``, ``condition number``; ``dOFV`` and ``dAIC`` to the first of them, NaN
        where data or method are not the same.
    changes
        Name to what its model has that the first one's has not, line by line.
    diffs
        Name to a unified diff of both models as TOML.
    vpcs
        Name to a visual predictive check in the bins of the first; those with the same data.
    notes
        What cannot be compared, and what to mind.
    synthetic
        Whether any of the data are simulated.
    time_unit, concentration_unit
        Of the VPCs.
    """

    names: tuple[str, ...]
    fits: pd.DataFrame
    parameters: pd.DataFrame
    prediction: pd.DataFrame
    objective: pd.DataFrame
    changes: dict[str, tuple[str, ...]]
    diffs: dict[str, str]
    vpcs: dict[str, Vpc]
    notes: tuple[str, ...]
    synthetic: bool
    time_unit: str
    concentration_unit: str


def compare(
    first: AnyFit,
    *others: AnyFit,
    names: Sequence[str] | None = None,
    refit: bool = False,
    checks: bool = True,
    watch: Callable[[str], None] | None = None,
) -> Comparison:
    """Put fits side by side.

    Parameters
    ----------
    first, others
        Posteriors or maximum-likelihood estimates, also mixed. Of different data, parameters are
        compared and nothing else.
    names
        How they are called; by default as the fits are, numbered where that is not enough.
    refit
        Whether a subject whose Pareto k is above 0.7 is left out by another fit (takes longer).
    checks
        Whether to make visual predictive checks.
    watch
        Told what is being computed.

    Returns
    -------
    Comparison
        ``parameters`` holds the fits side by side.

    Raises
    ------
    popk.PopkError
        If there is nothing to compare with, or names are not as many as fits, or not unique.
    """
    all_fits = (first, *others)
    called = _names(all_fits, names)
    tell = watch or (lambda _: None)
    pairs = dict(zip(called, all_fits, strict=True))
    same = {name: same_observations(first, own) for name, own in pairs.items()}
    notes = [
        f"{name}: other data than {called[0]}: LOO and OFV cannot be compared, parameters can"
        for name, alike in same.items()
        if not alike
    ]
    comparable = {name: own for name, own in pairs.items() if same[name]}
    prediction = _prediction(comparable, refit, tell)
    if len(prediction) and prediction["loso_unreliable"].to_numpy(float).max() > 0:
        notes.append("Pareto k above 0.7 for some subjects: their share of LOO is not reliable; "
                     "compare again with refit")  # fmt: skip
    objectives, minded = _objective(pairs)
    kinds = {_kind(own) for own in all_fits}
    if len(kinds) > 1:
        notes.append("posteriors and estimates: intervals are credible ones of the first, "
                     "confidence intervals of the second kind")  # fmt: skip
    unconverged = [name for name, own in pairs.items() if not own.converged]
    if unconverged:
        notes.append(f"not converged: {', '.join(unconverged)}: do not rely on these numbers")
    spec = first.model.spec
    return Comparison(
        called,
        _fits(pairs, same),
        _parameters(pairs),
        prediction,
        objectives,
        {
            name: model_changes.changes(spec, own.model.spec)
            for name, own in list(pairs.items())[1:]
        },
        {
            name: model_changes.difference(spec, own.model.spec, (called[0], name))
            for name, own in list(pairs.items())[1:]
        },
        _checks(comparable, tell) if checks else {},
        tuple(notes + minded),
        any(own.synthetic for own in all_fits),
        first.data.units.time or spec.units.time,
        spec.units.concentration.replace("ug", "µg"),
    )


def same_observations(a: AnyFit, b: AnyFit) -> bool:
    """Whether likelihoods of both are of the same observations, in the same unit.

    Covariates and doses may be read in other ways: they belong to the model.
    """
    if a.model.spec.units.concentration != b.model.spec.units.concentration:
        return False
    one, two = a.data, b.data
    if one.ids != two.ids or one.units.concentration != two.units.concentration:
        return False
    rows = [_rows(data) for data in (one, two)]
    return all(
        x.shape == y.shape and np.array_equal(x, y, equal_nan=True)
        for x, y in zip(*rows, strict=True)
    )


def _rows(data: Dataset) -> list[np.ndarray]:
    seen = data.observed
    columns = (data.time, data.dv, data.censoring, data.lower, data.upper)
    return [np.nonzero(seen)[0], *(column[seen] for column in columns)]


def _names(fits: Sequence[AnyFit], names: Sequence[str] | None) -> tuple[str, ...]:
    if len(fits) < 2:
        raise _problem("one fit", "two fits or more", "name another one to compare with")
    if names is None:
        names = [own.name or own.model.spec.name for own in fits]
        if len(set(names)) < len(names):
            names = [f"{name} ({i})" for i, name in enumerate(names, start=1)]
    if len(names) != len(fits) or len(set(names)) < len(names):
        raise _problem(
            f"{len(names)} names for {len(fits)} fits: {', '.join(names)}",
            "one name for each fit, each its own",
            "give as many different names",
        )
    return tuple(names)


def _problem(found: str, expected: str, cure: str) -> PopkError:
    return PopkError(Problem(file="compare", found=found, expected=expected, cure=cure))


def _kind(own: AnyFit) -> str:
    return "posterior" if isinstance(own, Fit) else "maximum likelihood"


def _method(own: AnyFit) -> str:
    return str(own.provenance.method.get("name", ""))


def _fits(pairs: dict[str, AnyFit], same: dict[str, bool]) -> pd.DataFrame:
    rows = {
        name: {
            "kind": _kind(own),
            "method": _method(own),
            "converged": own.converged,
            "failed": "; ".join(check.name for check in own.checks if not check.passed),
            "model": own.provenance.hashes.get("model", ""),
            "data": own.provenance.hashes.get("data", ""),
            "subjects": own.data.subjects,
            "observations": own.data.observations,
            "same_data": same[name],
        }
        for name, own in pairs.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fit")


def _parameters(pairs: dict[str, AnyFit]) -> pd.DataFrame:
    tables: dict[str, Any] = {name: parameters(own) for name, own in pairs.items()}
    first = next(iter(tables))
    every = dict.fromkeys(p for table in tables.values() for p in table.index)
    rows: dict[str, dict[str, Any]] = {}
    for parameter in every:
        units = dict.fromkeys(
            str(table.loc[parameter, "unit"])
            for table in tables.values()
            if parameter in table.index
        )
        row: dict[str, Any] = {"unit": " or ".join(units)}
        for name, table in tables.items():
            own = _value(table, parameter)
            row |= {f"{name}{end}": v for end, v in zip(("", "_q5", "_q95", "_sd"), own[:4],
                                                        strict=True)}  # fmt: skip
            if name != first:
                row[f"{name}_sds"] = _in_sds(_value(tables[first], parameter), own)
        rows[str(parameter)] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("parameter")


class _Value(NamedTuple):
    """A parameter of one fit; NaN where it has none."""

    middle: float
    low: float
    high: float
    sd: float
    unit: str


def _value(table: Any, parameter: str) -> _Value:
    if parameter not in table.index:
        return _Value(math.nan, math.nan, math.nan, math.nan, "")
    row = table.loc[parameter]
    middle, spread = ("median", "sd") if "median" in table else ("estimate", "se")
    numbers = (float(row[c]) for c in (middle, "q5", "q95", spread))
    return _Value(*numbers, unit=str(row["unit"]))


def _in_sds(first: _Value, own: _Value) -> float:
    """The difference in SDs; without a unit in common there is none."""
    spread = math.sqrt((first.sd**2 + own.sd**2) / 2.0)
    if first.unit != own.unit or not spread > 0:
        return math.nan
    return (own.middle - first.middle) / spread


def _prediction(fits: dict[str, AnyFit], refit: bool, tell: Callable[[str], None]) -> pd.DataFrame:
    posteriors = {name: own for name, own in fits.items() if isinstance(own, Fit)}
    if len(posteriors) < 2 or min(own.data.subjects for own in posteriors.values()) < 2:
        return pd.DataFrame()
    rows: dict[str, dict[str, Any]] = {}
    subjects: list[Predictive] = []
    observations: list[Predictive] = []
    for name, own in posteriors.items():
        tell(f"subjects left out: {name}")
        subjects.append(over_subjects(own, refit=refit, watch=tell))
        observations.append(over_observations(own))
        rows[name] = {
            **_left_out("loso", subjects[-1], subjects[0]),
            "loso_refitted": len(subjects[-1].refitted),
            **_left_out("loo", observations[-1], observations[0]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fit")


def _left_out(key: str, own: Predictive, first: Predictive) -> dict[str, float]:
    between = difference(own, first)
    return {
        key: own.total,
        f"{key}_difference": between.difference,
        f"{key}_error": between.error,
        f"{key}_unreliable": own.unreliable,
    }


def _objective(pairs: dict[str, AnyFit]) -> tuple[pd.DataFrame, list[str]]:
    estimates = {name: own for name, own in pairs.items() if isinstance(own, MaximumFit)}
    if not estimates:
        return pd.DataFrame(), []
    reference = next(iter(estimates))
    rows, notes = {}, []
    first: dict[str, float] = objective(estimates[reference])
    for name, own in estimates.items():
        found = objective(own)
        alike = same_observations(estimates[reference], own)
        method = _method(own) == _method(estimates[reference])
        if alike and not method:
            notes.append(f"{name}: {_method(own)}, {reference}: {_method(estimates[reference])}: "
                         "OFV by different approximations are not compared")  # fmt: skip
        known = alike and method
        rows[name] = {
            "method": _method(own),
            **{k: found[k] for k in ("parameters", "OFV", "-2 log L", "AIC", "BIC",
                                     "condition number")},
            "dOFV": found["OFV"] - first["OFV"] if known else math.nan,
            "dAIC": found["AIC"] - first["AIC"] if known else math.nan,
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fit"), notes


def _checks(fits: dict[str, AnyFit], tell: Callable[[str], None]) -> dict[str, Vpc]:
    found, places = {}, None
    for name, own in fits.items():
        tell(f"VPC: {name}")
        reps = replicates(own)
        places = time_bins(reps) if places is None else places
        found[name] = vpc(reps, places=places)
    return found
