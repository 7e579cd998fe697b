"""The design of a planned trial: virtual infants, their doses, and when blood is drawn."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from popk.analysis.covariates.effects import terms
from popk.data.cohort import cohort
from popk.data.dataset import Dataset
from popk.data.grid import at_times
from popk.data.regimens import scheduled, units_of, with_doses
from popk.data.virtual import virtual_infants
from popk.population.model import Model
from popk.spec.plan import Plan
from popk.spec.problem import PopkError, Problem
from popk.spec.relations import Below, Category, CovariateEffect
from popk.spec.units import UnitError, conversion_factor, quantity

AGE = "AGE"


def design(
    model: Model,
    plan: Plan,
    infants: int,
    seed: int,
    *,
    effect: CovariateEffect | None = None,
    like: Dataset | None = None,
) -> Dataset:
    """Virtual infants with doses and records of observations, as a data set.

    Parameters
    ----------
    model
        What the trial is to be fitted with; its first covariate effect divides the infants.
    plan
        Regimen, times of blood samples, which infants.
    infants
        How many.
    seed
        Of the infants; another number of infants is another draw.
    effect
        One of the model's, where its first is not meant.
    like
        A data set whose units and levels of covariates are taken over.

    Returns
    -------
    Dataset
        Every infant's records at the same times. DV is 1 where blood is drawn: a place for what
        is to be simulated. ``condense(arrange(model.spec, data)[0])`` is ready for that.

    Raises
    ------
    popk.PopkError
        If one of the two groups of the effect has no infant, `plan.young` is given for an effect
        that has no cut in age, or the regimen needs a covariate that virtual infants lack.
    """
    effect = effect or next(iter(model.spec.covariates), None)
    people = _recruited(plan, infants, seed, effect, like)
    if effect is not None:
        _require_both_groups(effect, plan, people)
    dosed = with_doses(people, scheduled(plan.given(), people))
    time, _ = units_of(people)
    times = np.array(plan.hours()) * conversion_factor("h", time)
    data, records = at_times(dosed, np.broadcast_to(times, (infants, times.size)))
    drawn = np.zeros(data.mask.shape, dtype=bool)
    np.put_along_axis(drawn, records, True, axis=1)
    return replace(
        data,
        evid=np.where(drawn, 0, data.evid),
        observed=drawn,
        dv=np.where(drawn, 1.0, np.nan),
        source=f"planned trial of {infants} infants",
    )


def groups(effect: CovariateEffect, data: Dataset) -> tuple[int, int] | None:
    """How many infants are in the group of an indicator and outside of it; None without one."""
    if not isinstance(effect, Below | Category):
        return None
    inside = int((terms(effect, data) == 1.0).sum())
    return inside, data.subjects - inside


def _recruited(
    plan: Plan, infants: int, seed: int, effect: CovariateEffect | None, like: Dataset | None
) -> Dataset:
    rng = np.random.default_rng([seed % (1 << 63), infants])
    if plan.young is None:
        return virtual_infants(rng, infants, plan.virtual, like=like)
    young = round(plan.young * infants)
    if not 0 < young < infants:
        where = f"below the cut with young = {plan.young:g}"
        raise _empty_group(young, infants, where, "plan more infants, or a share nearer to 0.5")
    youngest, oldest = plan.virtual.age_range("day")
    cut = _cut_in_days(plan, effect, like)
    strata = []
    for count, ages in ((young, (youngest, cut)), (infants - young, (cut, oldest))):
        age = (f"{ages[0]!r} day", f"{ages[1]!r} day")
        own = plan.virtual.model_copy(update={"age": age})
        strata.append(virtual_infants(rng, count, own, like=like))
    return _together(strata)


def _cut_in_days(plan: Plan, effect: CovariateEffect | None, like: Dataset | None) -> float:
    """The age that divides the groups (day), for a stratified recruitment."""
    if not (isinstance(effect, Below) and effect.covariate == AGE):
        raise PopkError(
            Problem(
                key="young",
                found=f"a share of young infants, for {effect.name if effect else 'no effect'}",
                expected=f"an effect below a cut in {AGE}, which says who is young",
                cure="leave young out, or choose an effect with relation = 'below' of AGE",
            )
        )
    unit = like.covariate_units.get(AGE) if like is not None else None
    try:
        unit = unit or "month"
        cut = quantity(effect.cut, unit) * conversion_factor(unit, "day")
    except UnitError as error:
        raise PopkError(
            Problem(
                key=effect.name,
                found=f"the cut {effect.cut!r} ({error})",
                expected="an age",
                cure="write the cut with a unit of time, e.g. '6 month'",
            )
        ) from None
    youngest, oldest = plan.virtual.age_range("day")
    if not youngest < cut < oldest:
        raise PopkError(
            Problem(
                key="virtual.age",
                found=f"infants of {plan.virtual.age[0]} to {plan.virtual.age[1]}, all on one side "
                f"of {effect.cut}",
                expected="ages on both sides of the effect's cut",
                cure="widen the range of ages, or move the cut in the model file",
            )
        )
    return cut


def _together(parts: Sequence[Dataset]) -> Dataset:
    """Cohorts of the same kind as one, numbered anew."""
    first = parts[0]
    return cohort(
        {name: np.concatenate([p.covariates[name] for p in parts]) for name in first.covariates},
        first.covariate_units,
        units=first.units,
        levels=first.levels,
        derived=first.derived,
        interpolation=first.interpolation,
        source=first.source,
    )


def _require_both_groups(effect: CovariateEffect, plan: Plan, people: Dataset) -> None:
    if effect.covariate not in people.covariates:
        return  # refused with the other faults of the data, where they are arranged
    try:
        found = groups(effect, people)
    except ValueError:
        return
    if found is not None and 0 in found:
        where = f"with {effect.covariate} {_group(effect)}"
        ages = f"infants of {plan.virtual.age[0]} to {plan.virtual.age[1]}"
        cure = "plan more infants, or draw others with another seed"
        if isinstance(effect, Below) and effect.covariate == AGE:
            cure = "plan ages on both sides of the cut and recruit by them (young = 0.5), or more "
            cure += "infants"
        raise _empty_group(found[0], people.subjects, f"{where} ({ages})", cure)


def _group(effect: CovariateEffect) -> str:
    """The group of an indicator in words."""
    match effect:
        case Below():
            return f"below {effect.cut}"
        case Category():
            return f"= {effect.level}"
        case _:
            raise ValueError(f"{effect.name} has no groups")


def _empty_group(inside: int, infants: int, where: str, cure: str) -> PopkError:
    zero = "in the group" if inside == 0 else "outside of it"
    return PopkError(
        Problem(
            key="infants",
            found=f"{inside} of {infants} infants {where}: zero infants {zero}",
            expected="at least one infant in either group, or there is nothing to compare",
            cure=cure,
        )
    )
