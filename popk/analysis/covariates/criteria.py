"""What each test of a covariate effect says of simulated trials, trial by trial.

Every trial is fitted with and without the effect, by the batch sampler and by maximum likelihood,
so that error rates and power are those of the tests that `popk covariates` makes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.covariates.bayes_factor import kernel
from popk.analysis.covariates.candidates import require_testable, without_effects
from popk.analysis.covariates.classical import two_groups
from popk.analysis.covariates.effects import (
    NOT_RELEVANT,
    RELEVANT,
    UNKNOWN,
    Contrast,
    contrast,
    ratio_draws,
    summarised,
    terms,
)
from popk.analysis.covariates.likelihood_ratio import likelihood_of, likelihood_ratio
from popk.analysis.predictive import difference, in_draws, smoothed
from popk.data.dataset import Dataset
from popk.inference.batch import Batch
from popk.inference.laplace import Method
from popk.inference.maximum import Likelihood, Settings, at, maximise
from popk.inference.threads import as_finished
from popk.inference.trials import Trials
from popk.population.condensed import condense
from popk.population.events import Events, arrange
from popk.population.model import Model
from popk.population.simulated import simulate
from popk.spec.fit import NO_EFFECT
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.relations import Below, Category, CovariateEffect

DRAWS = 200
"""Posterior draws of a trial in which the likelihood of its subjects is computed."""
NODES = 3
VERDICTS = (RELEVANT, NOT_RELEVANT, UNKNOWN)

Told = Callable[[str, int, int], None]
"""Called with what is being computed, and how many trials of how many are done."""


class Judged(NamedTuple):
    """Simulated trials and what is said of them.

    Attributes
    ----------
    table
        One trial a row: ``ratio``, ``q2_5``, ``q5``, ``q95``, ``q97_5``, ``direction``,
        ``inside``, ``verdict`` (see `effects`); ``BF01``; ``dOFV``, ``p`` of the
        likelihood-ratio test; ``classical_p`` (Wilcoxon-Mann-Whitney on individual estimates of
        the model without the effect; NaN for an effect without two groups); ``loso``,
        ``loso_error`` (leave-one-subject-out, for the first trials only); ``passed`` (both
        posteriors went through the convergence gate) and ``why`` (what failed).
    truth
        The ratio that the trials were simulated with.
    """

    table: pd.DataFrame
    truth: float


class _Pair(NamedTuple):
    """A trial's two models: events, and draws of the population."""

    events: Events
    draws: Mapping[str, np.ndarray]
    events_without: Events
    draws_without: Mapping[str, np.ndarray]


def judge(
    key: jax.Array,
    model: Model,
    data: Dataset,
    effect: CovariateEffect,
    truth: Mapping[str, float],
    trials: int,
    *,
    settings: SamplerSpec | None = None,
    below: float | None = None,
    no_effect: tuple[float, float] = NO_EFFECT,
    predicted: int = 0,
    watch: Told | None = None,
) -> Judged:
    """Simulate trials, and put every test of an effect to each of them.

    Parameters
    ----------
    key
        Random key of the simulation.
    model, data
        The model, which has the effect, and the design.
    effect
        One of the model's.
    truth
        Population values of the simulated trials, the effect's among them.
    trials
        How many.
    settings
        Of the batch sampler.
    below
        Lower limit of the assay in the model's concentration unit.
    no_effect
        Ratios that are taken for no effect.
    predicted
        For how many trials leave-one-subject-out is computed.
    watch
        Called as trials are finished.

    Raises
    ------
    popk.PopkError
        If the effect cannot be tested on this design, or it cannot be condensed.
    """
    require_testable(model, data, [effect])
    tell = watch or (lambda *_: None)
    settings = settings or SamplerSpec()
    bare = Model(without_effects(model.spec, [effect]))
    with jax.enable_x64(True):
        design, _ = condense(arrange(model.spec, data)[0])
        simulated = simulate(key, model, design, trials, given=truth, below=below).events
    rest = {k: v for k, v in simulated.terms.items() if k != effect.name}
    simulated_without = replace(simulated, terms=rest)
    with jax.enable_x64(settings.precision == "float64"):
        whole = Batch(model, simulated, settings)
        reduced = Batch(bare, simulated_without, settings)
        fitted = _fitted(whole, "with the effect", tell)
        fitted_without = _fitted(reduced, "without the effect", tell)
    method: Any = likelihood_of(model.spec).method

    def pair(trial: int) -> _Pair:
        return _Pair(
            _double(whole.events_of_one(trial)),
            _named(fitted, trial),
            _double(reduced.events_of_one(trial)),
            _named(fitted_without, trial),
        )

    def likelihoods(trial: int) -> dict[str, float]:
        with jax.enable_x64(True):
            own = pair(trial)
            found = _likelihood_ratio(model, bare, own, method)
            return found | (_predicted(model, bare, own) if trial < predicted else {})

    rows = _posterior_rows(fitted, model, effect, contrast(effect, data), no_effect)
    classical = _classical(fitted_without, simulated, effect, data)
    # NumPyro's handlers are not for several threads: the first trial traces all there is to trace
    done = {0: likelihoods(0)}
    for place, found in as_finished(likelihoods, range(1, trials)):
        done[place + 1] = found
        tell("likelihood", len(done), trials)
    both = [
        {**row, **done[i], "classical_p": classical[i]} | _gates(fitted, fitted_without, i)
        for i, row in enumerate(rows)
    ]
    value = {effect.name: np.asarray(truth[effect.name])}
    ratio = float(ratio_draws(effect, contrast(effect, data), value))
    return Judged(pd.DataFrame(both).rename_axis("trial"), ratio)


def rates(judged: Judged) -> pd.DataFrame:
    """How often each criterion speaks for an effect.

    Returns
    -------
    DataFrame
        One criterion a row: ``rate``, ``error`` (its Monte Carlo standard error), ``trials``
        (for which it was computed). Trials that missed the gate, and likelihoods whose search has
        not ended (they reject nothing), are among them and have rows of their own.
    """
    table = judged.table
    p = table["p"]
    said = {
        "90 % interval excludes 1": (table["q5"] > 1.0) | (table["q95"] < 1.0),
        "95 % interval excludes 1": (table["q2_5"] > 1.0) | (table["q97_5"] < 1.0),
        **{f"verdict: {word}": table["verdict"] == word for word in VERDICTS},
        "BF01 < 1/3": table["BF01"] < 1.0 / 3.0,
        "BF01 > 3": table["BF01"] > 3.0,
        "likelihood ratio, p < 0.05": p < 0.05,
        "Wilcoxon-Mann-Whitney on individual estimates, p < 0.05": table["classical_p"] < 0.05,
    }
    if "loso" in table:
        own = table[table["loso"].notna()]
        said["leave-one-subject-out better with the effect"] = own["loso"] > 0.0
        said["the same by more than two standard errors"] = own["loso"] > 2.0 * own["loso_error"]
    said["missed the convergence gate"] = ~table["passed"]
    said["likelihood: search not ended"] = p.isna()
    rows = {}
    for name, each in said.items():
        rate = np.asarray(each, float).mean()
        error = math.sqrt(rate * (1.0 - rate) / each.size)
        rows[name] = {"rate": float(rate), "error": error, "trials": each.size}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("criterion")


def _fitted(batch: Batch, what: str, tell: Told) -> Trials:
    parts: dict[int, Trials] = {}
    for wave, trials in batch.waves():
        parts[wave] = trials
        tell(what, sum(len(part.draws) for part in parts.values()), batch.trials)
    return Trials.joined([parts[i] for i in range(len(parts))])


def _double(events: Events) -> Events:
    """In float64: likelihoods are maximised there."""
    return jax.tree.map(
        lambda a: np.array(a, np.float64) if np.asarray(a).dtype.kind == "f" else np.array(a),
        events,
    )


def _named(trials: Trials, trial: int) -> dict[str, Float[np.ndarray, "chain draw"]]:
    draws = np.asarray(trials.draws[trial], np.float64)
    return {name: draws[..., j] for j, name in enumerate(trials.names)}


def _posterior_rows(
    fitted: Trials,
    model: Model,
    effect: CovariateEffect,
    between: Contrast,
    no_effect: tuple[float, float],
) -> list[dict[str, Any]]:
    rows = []
    for trial in range(len(fitted.draws)):
        draws = {**model.fixed(), **_named(fitted, trial)}
        found = summarised(ratio_draws(effect, between, draws), no_effect)
        row = found._asdict()
        row["ratio"] = row.pop("median")
        rows.append(row | {"BF01": kernel(draws[effect.name], effect)})
    return rows


def _classical(
    fitted: Trials, events: Events, effect: CovariateEffect, data: Dataset
) -> Float[np.ndarray, " trial"]:
    """Of the test on posterior medians of the scaled parameter."""
    if not isinstance(effect, Below | Category):
        return np.full(len(fitted.draws), np.nan)
    scale = np.exp(np.asarray(events.log_scale[effect.parameter])[:, 0])
    medians = fitted.individual[:, fitted.parameters.index(effect.parameter), :, 2] / scale
    group = terms(effect, data)
    return np.array([two_groups(values, group).p for values in medians])


def _likelihood_ratio(model: Model, bare: Model, own: _Pair, method: Method) -> dict[str, float]:
    without = Likelihood(bare, own.events_without, Settings(method))
    reduced = maximise(without)
    with_effect = Likelihood(model, own.events, Settings(method))
    values = jax.tree.map(np.asarray, without.coordinates.values(jax.numpy.asarray(reduced.vector)))
    test = likelihood_ratio(maximise(with_effect, at(with_effect.vector(values))), reduced)
    return {"dOFV": test.change, "p": test.p}


def _predicted(model: Model, bare: Model, own: _Pair) -> dict[str, float]:
    """Leave one subject out, by importance sampling."""
    settings = Settings("agq", nodes=NODES)
    with_effect, without = (
        smoothed(in_draws(Likelihood(m, events, settings), draws, DRAWS))
        for m, events, draws in (
            (model, own.events, own.draws),
            (bare, own.events_without, own.draws_without),
        )
    )
    found = difference(with_effect, without)
    return {"loso": found.difference, "loso_error": found.error}


def _gates(fitted: Trials, without: Trials, trial: int) -> dict[str, Any]:
    whys = (fitted.why[trial], without.why[trial])
    passed = bool(fitted.passed[trial] and without.passed[trial])
    return {"passed": passed, "why": "; ".join(why for why in whys if why)}
