"""Sampling plans side by side: what each is expected to tell, and which times would be best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from popk.analysis.power.design import design
from popk.analysis.power.information import compare, expected, expected_errors
from popk.analysis.power.ratios import truth_of
from popk.analysis.power.sampling_times import optimal_times, per_time
from popk.analysis.priors.information import best_times
from popk.data.dataset import Dataset
from popk.population.model import Model
from popk.spec.plan import WASHOUT, Plan
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
    """

    model: str
    compared: pd.DataFrame
    errors: pd.DataFrame
    times: pd.DataFrame
    best: tuple[float, ...]
    words: dict[str, str]


def plans(
    source: Fit | MaximumFit | Model,
    asked: Sequence[Plan],
    infants: int,
    *,
    choose: int | None = None,
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
    values
        Population values by name, instead of the source's.
    effect
        The effect whose ratio is wanted; the model's first by default.
    seed
        Of the infants.

    Raises
    ------
    popk.PopkError
        As `popk.analysis.power.information.expected`.
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
    )


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
