"""When to sample: what one further sample tells of CL and of V, and the best set of times."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.power.candidates import at_candidates, dosing
from popk.analysis.power.fisher import estimated, information, population, variance
from popk.analysis.power.information import Expected, averaged, described, log_volume
from popk.data.dataset import Dataset
from popk.population.events import arrange
from popk.population.model import Model
from popk.spec.problem import PopkError, Problem
from popk.spec.units import conversion_factor

Criterion = Literal["determinant", "log_ratio"]
STARTS = 3
"""Searches that begin at random times, beside the one that begins with the best single ones."""
HALF_LIVES, POINTS_PER_HALF_LIFE, PLATEAU_POINTS = 5, 4, 5
"""Of the times at which a further sample is looked at."""
GAIN = 1e-9
"""Rise of the criterion below which an exchange is not worth making."""


class Optimal(NamedTuple):
    """The best sampling times among candidates.

    Attributes
    ----------
    times
        [n] in the design's unit of time, since the first dose, rising.
    expected
        What samples at these times, and those that the design had, are expected to tell.
    exchanges
        How many were made in all searches.
    """

    times: Float[np.ndarray, " n"]
    expected: Expected
    exchanges: int


def optimal_times(
    model: Model,
    design: Dataset,
    candidates: Float[np.ndarray, " time"],
    n: int,
    values: Mapping[str, float] | None = None,
    *,
    criterion: Criterion = "determinant",
    effect: str | None = None,
    full: bool = False,
    prior: bool = False,
    below: float | None = None,
    seed: int = 1,
) -> Optimal:
    """The times at which samples of every infant tell most, chosen among candidates.

    By exchange (Fedorov, Theory of Optimal Experiments, 1972; for populations Retout et al.,
    Stat Med 2002;21:2623-39): the best exchange of one chosen time against one of the others is
    made as long as it improves the criterion, from several starts.

    Parameters
    ----------
    model, design, values, effect, full, below
        As of `popk.analysis.power.information.expected`. Samples that the design has stay.
    candidates
        Times since the first dose, in the design's unit; each is taken once at most.
    n
        How many are chosen.
    criterion
        "determinant" of the information on all parameters (D-optimal), or the variance of the
        effect's "log_ratio".
    prior
        Whether what the priors know is added to the information.
    seed
        Of the random starts.

    Raises
    ------
    popk.PopkError
        As `expected`; if there are fewer candidates than times, or no choice of so many times
        lets all parameters be estimated.
    """
    clock = np.unique(np.asarray(candidates, float))
    _refuse(n, clock)
    known = population(model, values)
    found, taken = at_candidates(model, design, clock, known, below)
    old = np.arange(found.share.shape[1] - len(taken))
    everything = information(found, np.append(old, taken), full=full)
    whole = described(model, design, known, everything, effect=effect)
    measure = CRITERIA[criterion]
    if criterion == "log_ratio" and not whole.effect:
        raise PopkError(_no_effect(model))

    def score(chosen: list[int]) -> tuple[float, float]:
        """The criterion, and where it is infinite how near the choice is to being one."""
        each = information(found, np.append(old, taken[chosen]), full=full)
        own, sure = each.sum(axis=0), each.sum(axis=0) + whole.prior
        near = measure(sure, whole)
        return (near if prior else measure(own, whole)), near

    rng = np.random.default_rng(seed)
    starts = [_greedy(score, len(clock), n)]
    starts += [rng.choice(len(clock), n, replace=False).tolist() for _ in range(STARTS)]
    searches = [_exchanged(score, len(clock), start) for start in starts]
    best = max(searches, key=lambda search: search.score)
    if not np.isfinite(best.score[0]):
        raise PopkError(_left_open(n))
    chosen = sorted(best.chosen)
    each = information(found, np.append(old, taken[chosen]), full=full)
    told = replace(whole, each=averaged(whole.members, each))
    return Optimal(clock[chosen], told, sum(search.exchanges for search in searches))


def per_time(
    model: Model,
    design: Dataset,
    times: Float[np.ndarray, " time"] | None = None,
    values: Mapping[str, float] | None = None,
    *,
    effect: str | None = None,
    full: bool = False,
    below: float | None = None,
) -> pd.DataFrame:
    """What one further sample of each infant would tell, by the time at which it is taken.

    Which sample pins CL and which V is seen from ``information_CL`` and ``information_V``: what
    the sample adds to the expected information on the log of the typical value, all else known.

    Parameters
    ----------
    model, design, values, effect, full, below
        As of `expected`; the design need not have samples yet.
    times
        Since the first dose, in the design's unit of time; by default from the start and from the
        end of dosing, over five typical half-lives each, and at steady state.

    Returns
    -------
    DataFrame
        One time a row. ``reference`` ("start" of dosing, or its "end") and ``time`` since then;
        ``concentration``, the median of the subjects' typical ones; ``measurable``, the mean
        probability of a number from the assay; for each structural parameter P that is estimated
        ``information_P`` and ``sd_P``, the expected posterior SD of log TVP; ``sd_log_ratio``, the
        posterior SD of the effect's log ratio, if any. ``attrs``: ``sd`` (by parameter, and
        "log_ratio", without the sample), ``unit`` (of time), ``concentration_unit``,
        ``infusion`` (whether dosing ends with one).
        `popk.analysis.priors.information.best_times` puts such a table into words.

    Raises
    ------
    popk.PopkError
        As `expected`; if there are no doses, or a time is not finite or before the first dose.
    """
    known = population(model, values)
    start, end = dosing(design)
    lasts = float(np.median(end - start))
    clock = _grid(model, design, known, lasts) if times is None else np.asarray(times, float)
    found, taken = at_candidates(model, design, clock, known, below)
    old = np.arange(found.share.shape[1] - len(taken))
    of = {name: position for position, name in enumerate(estimated(model))}
    wanted = [name for name in model.spec.parameters if f"TV{name}" in of]
    now = described(model, design, known, information(found, old, full=full), effect=effect)

    def sds(own: Expected) -> dict[str, float]:
        sd = {f"sd_{n}": own.se(f"TV{n}", prior=True) / known[f"TV{n}"] for n in wanted}
        return sd | ({"sd_log_ratio": own.log_ratio_sd(prior=True)} if own.effect else {})

    def row(place: int) -> dict[str, float]:
        each = information(found, np.append(old, place), full=full)
        after = replace(now, each=averaged(now.members, each))
        gain = np.diag(after.information() - now.information())
        more = {f"information_{n}": gain[of[f"TV{n}"]] * known[f"TV{n}"] ** 2 for n in wanted}
        return more | sds(after)

    late = (clock >= lasts) & (lasts > 0)
    table = pd.DataFrame(
        {
            "reference": np.where(late, "end", "start"),
            "time": np.where(late, clock - lasts, clock),
            "concentration": np.exp(np.median(found.log_concentration[:, taken], axis=0)),
            "measurable": found.share[:, taken].mean(axis=0),
        }
    )
    table = table.join(pd.DataFrame([row(place) for place in taken.tolist()]))
    today = {name.removeprefix("sd_"): sd for name, sd in sds(now).items()}
    table.attrs = {
        "sd": today,
        "unit": design.units.time or model.spec.units.time,
        "concentration_unit": model.spec.units.concentration,
        "infusion": bool(((design.rate > 0) & design.mask).any()),
    }
    return table


def _grid(
    model: Model, design: Dataset, values: Mapping[str, float], lasts: float
) -> Float[np.ndarray, " time"]:
    """Times after the first dose, in the design's unit, by which half-lives are resolved."""
    units, parameters = model.spec.units, model.spec.parameters
    typical = {n: float(v) for n, v in model.fixed().items()} | dict(values)
    events, _ = arrange(model.spec, design)
    log_v, log_cl = (
        np.log(typical[f"TV{name}"]) + np.median(events.log_scale[name]) for name in ("V", "CL")
    )
    unit = f"({parameters['V'].unit})/({parameters['CL'].unit})"
    turnover = conversion_factor(unit, design.units.time or units.time)
    step = np.log(2.0) * np.exp(log_v - log_cl) * turnover / POINTS_PER_HALF_LIFE
    # To two digits: for people to read
    step = float(f"{step:.1e}")
    after = step * np.arange(HALF_LIVES * POINTS_PER_HALF_LIFE + 1)
    steady = np.linspace(after[-1], lasts, PLATEAU_POINTS + 2)[1:-1] if lasts > after[-1] else []
    return np.concatenate([after[after < lasts], steady, lasts + after])


def _minus_log_variance(matrix: np.ndarray, of: Expected) -> float:
    return -float(np.log(variance(matrix, of.slope)))


CRITERIA: Mapping[str, Callable[[np.ndarray, Expected], float]] = {
    "determinant": lambda matrix, _: log_volume(matrix),
    "log_ratio": _minus_log_variance,
}
"""What is made large, of the information and the effect."""

_Score = Callable[[list[int]], tuple[float, float]]


class _Search(NamedTuple):
    score: tuple[float, float]
    chosen: list[int]
    exchanges: int


def _greedy(score: _Score, count: int, n: int) -> list[int]:
    """One time after the other, each the best beside those before it, with the priors' help."""
    chosen: list[int] = []
    for _ in range(n):
        left = [i for i in range(count) if i not in chosen]
        chosen.append(max(left, key=lambda i: score([*chosen, i])[1]))
    return chosen


def _exchanged(score: _Score, count: int, start: list[int]) -> _Search:
    """Exchange times as long as that helps."""
    chosen, best, exchanges = list(start), score(start), 0
    while True:
        others = [i for i in range(count) if i not in chosen]
        options = [
            [*chosen[:place], other, *chosen[place + 1 :]]
            for place in range(len(chosen))
            for other in others
        ]
        scored = [(score(option), option) for option in options]
        if not scored:
            return _Search(best, chosen, exchanges)
        found, option = max(scored)
        if not _better(found, best):
            return _Search(best, chosen, exchanges)
        chosen, best, exchanges = option, found, exchanges + 1


def _better(found: tuple[float, float], best: tuple[float, float]) -> bool:
    if np.isfinite(found[0]) or np.isfinite(best[0]):
        return found[0] > best[0] + GAIN
    return found[1] > best[1] + GAIN


def _refuse(n: int, candidates: Float[np.ndarray, " time"]) -> None:
    if not 1 <= n <= len(candidates):
        raise PopkError(
            Problem(
                key="n",
                found=f"{n} sampling times to be chosen among {len(candidates)} candidates",
                expected="at least 1, and no more than there are different candidates",
                cure="write fewer times, or more candidates",
            )
        )


def _no_effect(model: Model) -> Problem:
    return Problem(
        file=model.spec.name,
        key="criterion",
        found="the criterion log_ratio, and no covariate effect",
        expected="a model with a covariate effect",
        cure='use criterion="determinant", or another model',
    )


def _left_open(n: int) -> Problem:
    return Problem(
        key="n",
        found=f"{n} sampling times, too few to estimate all parameters",
        expected="a plan whose information has a determinant above 0",
        cure="choose more times, add what the priors know (prior=True), or fix a parameter in the "
        "model file",
    )
