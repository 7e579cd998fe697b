"""Sampling plans side by side: what each is expected to tell, and which times would be best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from popk.analysis.covariates.effects import contrast
from popk.analysis.power.design import design
from popk.analysis.power.expected_power import infants_for_power, infants_for_width
from popk.analysis.power.information import compare, expected, expected_errors
from popk.analysis.power.ratios import coefficient, truth_of
from popk.analysis.power.sampling_times import optimal_times, per_time
from popk.analysis.priors.information import best_times
from popk.data.dataset import Dataset
from popk.population.model import Model
from popk.spec.plan import WASHOUT, Plan
from popk.spec.problem import PopkError, Problem
from popk.spec.relations import CovariateEffect
from popk.spec.units import conversion_factor, quantity
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

CANDIDATES = 60
"""Times among which the best are chosen, beside those soon after a change of rate."""
AFTER_CHANGES = (1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 24.0)
"""Hours after each change of rate at which a candidate lies."""


@dataclass(frozen=True, eq=False)
class Plans:
    """What sampling plans are expected to tell.

    Attributes
    ----------
    model
        Its name.
    compared
        One plan a row, see `popk.analysis.power.information.compare`; with ``best`` times where
        they were asked for.
    errors
        Of the first plan: see `popk.analysis.power.information.expected_errors`.
    times
        What one further sample would tell: see `popk.analysis.power.sampling_times.per_time`.
    best
        The best times, in hours from the first dose; empty where none were asked for.
    words
        When a further sample tells most of each parameter, in words.
    needed
        One plan a row: ``width_infants``, ``power_infants``: the smallest numbers of infants of
        whom an interval so narrow, or so much power, is expected; empty where neither is asked for.
    goals
        What is asked for, in words, by these columns.
    """

    model: str
    compared: pd.DataFrame
    errors: pd.DataFrame
    times: pd.DataFrame
    best: tuple[float, ...]
    words: dict[str, str]
    needed: pd.DataFrame = field(default_factory=pd.DataFrame)
    goals: Mapping[str, str] = field(default_factory=dict)


class Goal(NamedTuple):
    """What a number of infants is searched for.

    Attributes
    ----------
    width
        Upper over lower bound of the effect's 90 % posterior interval.
    power
        Probability that this interval excludes 1.
    ratio
        The true ratio at which it does.
    """

    width: float | None = None
    power: float | None = None
    ratio: float | None = None


NO_GOAL = Goal()


def plans(
    source: Fit | MaximumFit | Model,
    asked: Sequence[Plan],
    infants: int,
    *,
    choose: int | None = None,
    goal: Goal = NO_GOAL,
    values: Mapping[str, float] | None = None,
    effect: str | None = None,
    seed: int = 1,
) -> Plans:
    """Compare sampling plans by the population Fisher information.

    Parameters
    ----------
    source
        A fit, or a model: population values are its medians or those of the priors.
    asked
        One plan or several, of one regimen and one kind of infants.
    infants
        How many.
    choose
        How many times are to be found that tell most; None for none.
    goal
        For what the smallest number of infants is searched, if for anything; the groups of the
        effect stay as large a part of them.
    values
        Population values by name, instead of the source's.
    effect
        The effect whose ratio is wanted; the model's first by default.
    seed
        Of the infants.

    Returns
    -------
    Plans
        ``compared`` holds the expected precision of each plan, ``words`` when a further sample
        tells most of each parameter.

    Raises
    ------
    popk.PopkError
        As `popk.analysis.power.information.expected`; if no number of infants reaches the goal.
    """
    model = source if isinstance(source, Model) else source.model
    like = None if isinstance(source, Model) else source.data
    known = [own for own in model.spec.covariates if effect is None or own.name == effect]
    chosen = known[0] if known else None
    truth = truth_of(source, values, chosen) if chosen is not None else dict(values or {})
    first = asked[0]
    limit = None
    if first.below is not None:
        limit = quantity(first.below, model.spec.units.concentration)
    designs = {
        ", ".join(plan.times): design(model, plan, infants, seed, effect=chosen, like=like)
        for plan in asked
    }
    name = None if chosen is None else chosen.name
    best: tuple[float, ...] = ()
    one = next(iter(designs.values()))
    if choose is not None:
        candidates = _candidates(first, one)
        found = optimal_times(
            model, _unsampled(one), candidates, choose, truth, effect=name, below=limit
        )
        best = tuple(found.times.tolist())
        own = first.model_copy(update={"times": tuple(f"{t:g} h" for t in best)})
        designs["best: " + ", ".join(own.times)] = design(
            model, own, infants, seed, effect=chosen, like=like
        )
    times = per_time(model, one, None, truth, effect=name, below=limit)
    parameters = [n for n in model.spec.parameters if f"sd_{n}" in times]
    return Plans(
        model.spec.name,
        compare(model, designs, truth, effect=name, below=limit).rename_axis("plan"),
        expected_errors(expected(model, one, truth, effect=name, below=limit)),
        times,
        best,
        {n: best_times(times, n) for n in parameters},
        _needed(model, designs, truth, chosen, limit, goal),
        _words_of(goal),
    )


def _needed(
    model: Model,
    designs: Mapping[str, Dataset],
    truth: Mapping[str, float],
    effect: CovariateEffect | None,
    limit: float | None,
    goal: Goal,
) -> pd.DataFrame:
    if goal.power is not None and goal.ratio is None:
        raise PopkError(
            Problem(
                key="power",
                found=f"a power of {goal.power:g} without a true ratio",
                expected="the ratio at which it is wanted",
                cure="write e.g. --power 0.8 --ratio 0.7",
            )
        )
    name = None if effect is None else effect.name
    rows: dict[str, dict[str, int]] = {}
    for plan, data in designs.items():
        row = rows.setdefault(plan, {})
        if goal.width is not None:
            found = expected(model, data, truth, effect=name, below=limit)
            row["width_infants"] = infants_for_width(found, goal.width)
        if goal.power is not None and goal.ratio is not None:
            own = dict(truth)
            if effect is not None and 0.0 < goal.ratio < np.inf:
                own[effect.name] = coefficient(effect, contrast(effect, data), goal.ratio)
            found = expected(model, data, own, effect=name, below=limit)
            row["power_infants"] = infants_for_power(found, goal.ratio, goal.power)
    if goal.width is None and goal.power is None:
        return pd.DataFrame()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("plan")


def _words_of(goal: Goal) -> dict[str, str]:
    words = {}
    if goal.width is not None:
        words["width_infants"] = f"90 % interval, upper over lower bound {goal.width:g} or less"
    if goal.power is not None:
        words["power_infants"] = (
            f"90 % interval excludes 1 in {100 * goal.power:g} % of trials at a true ratio of "
            f"{goal.ratio:g}"
        )
    return words


def _candidates(plan: Plan, data: Dataset) -> np.ndarray:
    """Times from the first dose on, in the design's unit: even ones, and after changes of rate."""
    regimen = plan.given()
    end = regimen.length("h")
    dosed = data.evid[0] == 1
    start = data.time[0, dosed]
    rate = data.rate[0, dosed]
    stop = start + data.amount[0, dosed] / np.where(rate > 0, rate, np.inf)
    hours = conversion_factor("h", data.units.time or "h")
    near = (np.concatenate([start, stop])[:, None] + hours * np.array(AFTER_CHANGES)).ravel()
    even = np.linspace(0.0, end + WASHOUT, CANDIDATES + 1)[1:] * hours
    times = np.unique(np.concatenate([near, even]).round(6)) - start[0]
    return times[(times > 0) & (times <= (end + WASHOUT) * hours - start[0])]


def _unsampled(data: Dataset) -> Dataset:
    """The same infants and doses, without samples."""
    return replace(data, observed=np.zeros_like(data.observed))
