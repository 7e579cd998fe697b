"""Candidate effects of covariates: what can be tested in these data, and what cannot."""

from collections.abc import Sequence

import numpy as np

from popk.analysis.covariates.effects import terms
from popk.data.dataset import Dataset
from popk.population.model import Model
from popk.spec.model import ModelSpec
from popk.spec.priors import Fixed
from popk.spec.problem import PopkError, Problem
from popk.spec.relations import Below, Category, CovariateEffect, Maturation

_SUITS = (
    "correct it: its cut, reference or center in the covariate's unit, its level as in the data"
)
COLLINEAR = 0.99
"""Correlation of two candidates' terms from which they cannot be told apart."""


def without_effects(spec: ModelSpec, candidates: Sequence[CovariateEffect]) -> ModelSpec:
    """The model without any of the candidates."""
    names = {effect.name for effect in candidates}
    rest = tuple(effect for effect in spec.covariates if effect.name not in names)
    return _based_on(spec, f"{spec.name}, without {', '.join(sorted(names))}", rest)


def with_effects(base: ModelSpec, effects: Sequence[CovariateEffect], name: str) -> ModelSpec:
    """The model with further effects."""
    return _based_on(base, name, (*base.covariates, *effects))


def _based_on(spec: ModelSpec, name: str, covariates: tuple[CovariateEffect, ...]) -> ModelSpec:
    changed = spec.model_dump() | {
        "name": name,
        "based_on": spec.name,
        "covariates": [effect.model_dump() for effect in covariates],
    }
    return ModelSpec.model_validate(changed)


def require_testable(model: Model, data: Dataset, candidates: Sequence[CovariateEffect]) -> None:
    """Refuse candidates that no data like these can say anything of.

    Raises
    ------
    popk.PopkError
        With every fault: a covariate that is not in the data, one that is the same in all
        subjects, a group without subjects, two candidates that cannot be told apart.
    """
    problems = [p for effect in candidates for p in _faults(model, data, effect)]
    if not candidates:
        problems.append(
            Problem(
                file=data.source,
                key="candidates",
                found="no candidate effect, neither in fit.toml nor in the model",
                expected="one or more",
                cure='add to fit.toml: [[candidates]] parameter = "CL", covariate = ..., '
                "relation = ..., effect = {...}",
            )
        )
    if not problems:
        problems = _collinear(model, data, candidates)
    if problems:
        raise PopkError(*problems)


def _faults(model: Model, data: Dataset, effect: CovariateEffect) -> list[Problem]:
    def problem(found: str, expected: str, cure: str) -> Problem:
        return Problem(
            file=data.source, key=f"candidates.{effect.name}",
            found=found, expected=expected, cure=cure,
        )  # fmt: skip

    if effect.parameter not in model.spec.parameters:
        known = ", ".join(model.spec.parameters)
        return [
            problem(f"parameter {effect.parameter!r}", f"one of {known}", "correct the parameter")
        ]
    if effect.covariate not in data.covariates:
        known = ", ".join(data.covariates) or "none"
        return [
            problem(
                f"covariate {effect.covariate!r}",
                f"a covariate of the data ({known})",
                "declare its column in [columns] of fit.toml, or drop the candidate",
            )
        ]
    if isinstance(effect, Maturation):
        return [
            problem(
                "a maturation relation",
                "a relation with a value that means no effect",
                "compare fits with and without it, or test age by power or linear",
            )
        ]
    if isinstance(effect.effect, Fixed):
        return [
            problem(
                f"an effect fixed at {effect.effect.value:g}",
                "an effect that the data can say something of",
                'give it a prior, e.g. effect = {prior = "normal", loc = 0.0, scale = 0.5}',
            )
        ]
    try:
        term = terms(effect, data)
    except ValueError as error:
        return [problem(str(error), "a relation that suits the covariate", _SUITS)]
    if isinstance(effect, Below | Category):
        inside, outside = int((term == 1).sum()), int((term != 1).sum())
        if not inside or not outside:
            return [
                problem(
                    f"{inside} subjects in the group and {outside} outside of it",
                    "at least one on either side",
                    "choose another cut or level, or drop the candidate",
                )
            ]
    elif np.ptp(term) == 0:
        return [
            problem(
                f"{effect.covariate} is the same in all {data.subjects} subjects",
                "a covariate that differs between subjects",
                "drop the candidate: these data cannot tell",
            )
        ]
    return []


def _collinear(model: Model, data: Dataset, candidates: Sequence[CovariateEffect]) -> list[Problem]:
    names = {effect.name for effect in candidates}
    others = [e for e in model.spec.covariates if e.name not in names]
    effects = [e for e in (*others, *candidates) if not isinstance(e, Maturation)]
    columns = [terms(effect, data) for effect in effects]
    problems = []
    for j, second in enumerate(effects):
        for i, first in enumerate(effects[:j]):
            same = first.parameter == second.parameter and second.name in names
            constant = np.ptp(columns[i]) == 0 or np.ptp(columns[j]) == 0
            if not same or constant:
                continue
            r = float(np.corrcoef(columns[i], columns[j])[0, 1])
            if abs(r) > COLLINEAR:
                problems.append(
                    Problem(
                        file=data.source,
                        key=f"candidates.{second.name}",
                        found=f"the same subjects as {first.name} (correlation {r:.3f})",
                        expected="candidates for one parameter that can be told apart",
                        cure=f"drop {first.name} or {second.name}",
                    )
                )
    return problems
