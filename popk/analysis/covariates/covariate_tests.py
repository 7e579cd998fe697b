"""Tests of covariate effects: what the data can and cannot tell, in several independent ways."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from popk.analysis.covariates.bayes_factor import BayesFactor, savage_dickey
from popk.analysis.covariates.candidates import require_testable, with_effects, without_effects
from popk.analysis.covariates.classical import correlated, two_groups, warning
from popk.analysis.covariates.effects import contrast, ratio_draws, rule, summarised, terms
from popk.analysis.covariates.likelihood_ratio import (
    Test,
    likelihood_of,
    likelihood_ratio,
    maximised,
)
from popk.analysis.predictive import Predictive, difference, over_observations, over_subjects
from popk.analysis.summary import individual_draws, parameters
from popk.population.model import Model
from popk.spec.fit import NO_EFFECT
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.model import ModelSpec
from popk.spec.relations import Below, Category, CovariateEffect
from popk.study.fit import Fit
from popk.study.fit import fit as run_fit
from popk.study.maximum import MaximumFit

Told = Callable[[str], None]
"""Called with what is being computed."""


@dataclass(frozen=True, eq=False)
class CovariateTests:
    """Tests of candidate effects, one by one and all together.

    Attributes
    ----------
    table
        One candidate a row; see `covariate_tests`.
    joint
        The same ratios from the model with all candidates.
    joint_test
        Likelihood-ratio test of all candidates together; None where there is only one.
    curves
        Candidate to a table of the prior's SD and BF01.
    specs
        The models that were fitted: "without", one for each candidate, "all".
    fits
        Their posteriors.
    rule
        How the verdict is found, in words.
    no_effect
        Ratios that are taken for no effect.
    notes
        What to mind.
    synthetic
        True where the data are simulated.
    """

    table: pd.DataFrame
    joint: pd.DataFrame
    joint_test: Test | None
    curves: Mapping[str, pd.DataFrame]
    specs: Mapping[str, ModelSpec]
    fits: Mapping[str, Fit]
    rule: str
    no_effect: tuple[float, float]
    notes: tuple[str, ...]
    synthetic: bool


def covariate_tests(
    fit: Fit,
    candidates: Sequence[CovariateEffect] | None = None,
    *,
    no_effect: tuple[float, float] = NO_EFFECT,
    settings: SamplerSpec | None = None,
    refit: bool = True,
    watch: Told | None = None,
) -> CovariateTests:
    """Test candidate effects on a fit's model and data.

    Parameters
    ----------
    fit
        A posterior; what is tested is the model with and without each candidate.
    candidates
        By default the covariate effects that the model has.
    no_effect
        Ratios that are taken for no effect.
    settings
        Of the samplers; those of the fit's seed by default.
    refit
        Whether subjects whose Pareto k is too large are left out by another fit.
    watch
        Called with what is being computed.

    Returns
    -------
    CovariateTests
        ``table`` has for each candidate: ``contrast`` between which covariate values; ``ratio`` of
        the parameter (posterior median), ``q2_5``, ``q5``, ``q95``, ``q97_5``; ``direction``
        (probability of the likelier side of 1) and ``inside`` (of the range of no effect);
        ``verdict``; ``BF01``, ``BF01_error``; ``loo``, ``loo_error``, ``loo_unreliable`` and
        ``loso``, ``loso_error``, ``loso_refitted`` (difference of expected log predictive
        density with less without the effect, over observations and over subjects, its standard
        error, units with a Pareto k above 0.7, and subjects left out by another fit); ``dOFV``,
        ``df``, ``p`` of the likelihood-ratio test (FOCEI; Laplace for Student-t variability);
        ``classical`` (which test on individual estimates), ``classical_p``, ``classical_value``,
        ``classical_q2_5``, ``classical_q97_5`` (Hodges-Lehmann ratio, or Spearman's rho).

    Raises
    ------
    popk.PopkError
        If a candidate cannot be tested in these data.
    """
    tell = watch or (lambda _: None)
    model, data = fit.model, fit.data
    own = tuple(model.spec.covariates if candidates is None else candidates)
    require_testable(model, data, own)
    settings = settings or SamplerSpec(seed=fit.provenance.seed)
    base = without_effects(model.spec, own)
    single = {e.name: with_effects(base, [e], f"{base.name}, with {e.name}") for e in own}
    specs = {"without": base, **single}
    if len(own) > 1:
        specs["all"] = with_effects(base, own, f"{base.name}, with all")
    fits: dict[str, Fit] = {}
    for name, spec in specs.items():
        tell(f"posterior: {spec.name}")
        same = _content(spec) == _content(model.spec)
        fits[name] = fit if same else _posterior(fit, spec, settings)
    likelihood = likelihood_of(model.spec)
    without: MaximumFit | None = None
    likelihoods: dict[str, MaximumFit] = {}
    for name, spec in specs.items():
        tell(f"likelihood: {spec.name}")
        likelihoods[name] = maximised(spec, data, likelihood, without)
        without = likelihoods["without"]
    tested = {
        name: likelihood_ratio(found.estimate, likelihoods["without"].estimate)
        for name, found in likelihoods.items()
    }
    predicted = {name: _predicted(fits[name], refit, tell) for name in ("without", *single)}
    rows, curves = {}, {}
    for effect in own:
        tell(f"tests: {effect.name}")
        factor = savage_dickey(fits[effect.name], effect)
        rows[effect.name] = {
            **_ratio(fits[effect.name], effect, no_effect),
            **_evidence(factor),
            **_compared(predicted[effect.name], predicted["without"]),
            **_likelihood_ratio(tested[effect.name]),
            **_classical(fits["without"], effect),
        }
        if factor is not None and factor.scales.size:
            curves[effect.name] = pd.DataFrame({"prior_sd": factor.scales, "BF01": factor.curve})
    whole = fits.get("all", fits[next(iter(single))])
    joint = {effect.name: _ratio(whole, effect, no_effect) for effect in own}
    return CovariateTests(
        _table(rows),
        _table(joint),
        tested.get("all"),
        curves,
        specs,
        fits,
        rule(no_effect),
        no_effect,
        tuple(_notes(fits, likelihoods, predicted)),
        fit.synthetic,
    )


def _posterior(fit: Fit, spec: ModelSpec, settings: SamplerSpec) -> Fit:
    return run_fit(
        Model(spec), fit.data, settings,
        dose=fit.dose, synthetic=fit.synthetic, name=spec.name,
    )  # fmt: skip


def _predicted(fit: Fit, refit: bool, tell: Told) -> tuple[Predictive, Predictive]:
    tell(f"predictions: {fit.model.spec.name}")
    return over_observations(fit), over_subjects(fit, refit=refit, watch=tell)


def _content(spec: ModelSpec) -> dict[str, Any]:
    """What a model is, without what it is called."""
    covariates = sorted(spec.covariates, key=lambda effect: effect.name)
    names = {"name", "description", "based_on", "covariates"}
    return {**spec.model_dump(exclude=names), "covariates": covariates}


def _ratio(
    fit: Fit, effect: CovariateEffect, no_effect: tuple[float, float]
) -> dict[str, float | str]:
    between = contrast(effect, fit.data)
    draws = {**fit.model.fixed(), **fit.samples.draws}
    found = summarised(ratio_draws(effect, between, draws), no_effect)
    return {
        "parameter": effect.parameter,
        "contrast": between.label,
        "ratio": found.median,
        **{key: getattr(found, key) for key in ("q2_5", "q5", "q95", "q97_5")},
        "direction": found.direction,
        "inside": found.inside,
        "verdict": found.verdict,
    }


def _evidence(factor: BayesFactor | None) -> dict[str, float | str]:
    if factor is None:
        return {"BF01": math.nan, "BF01_error": math.nan, "evidence": ""}
    return {"BF01": factor.against, "BF01_error": factor.error, "evidence": factor.words}


def _compared(
    with_effect: tuple[Predictive, Predictive], without: tuple[Predictive, Predictive]
) -> dict[str, float]:
    loo, loso = (difference(a, b) for a, b in zip(with_effect, without, strict=True))
    refitted = np.union1d(with_effect[1].refitted, without[1].refitted)
    return {
        "loo": loo.difference,
        "loo_error": loo.error,
        "loo_unreliable": max(with_effect[0].unreliable, without[0].unreliable),
        "loso": loso.difference,
        "loso_error": loso.error,
        "loso_refitted": len(refitted),
    }


def _likelihood_ratio(test: Test) -> dict[str, float]:
    return {"dOFV": test.change, "df": test.df, "p": test.p}


def _classical(without: Fit, effect: CovariateEffect) -> dict[str, float | str]:
    """On the posterior medians of the model without the effect: it must not help itself."""
    quantities, _ = individual_draws(without)
    scaled = f"{effect.parameter}_scaled"
    name = scaled if scaled in quantities else effect.parameter
    values = np.median(quantities[name], axis=(0, 1))
    if isinstance(effect, Below | Category):
        found = two_groups(values, terms(effect, without.data))
        return {
            "classical": "Wilcoxon-Mann-Whitney, Hodges-Lehmann ratio",
            "classical_p": found.p,
            "classical_value": found.ratio,
            "classical_q2_5": found.q2_5,
            "classical_q97_5": found.q97_5,
        }
    rank = correlated(values, without.data.covariates[effect.covariate][:, 0])
    return {
        "classical": "Spearman's rho",
        "classical_p": rank.p,
        "classical_value": rank.rho,
        "classical_q2_5": math.nan,
        "classical_q97_5": math.nan,
    }


def _notes(
    fits: Mapping[str, Fit],
    likelihoods: Mapping[str, MaximumFit],
    predicted: Mapping[str, tuple[Predictive, Predictive]],
) -> list[str]:
    notes = []
    for name, fit in fits.items():
        if not fit.converged:
            notes.append(f"NOT CONVERGED: the posterior of the model {name!r}; do not use its row")
    for name, own in likelihoods.items():
        if not own.estimate.highest:
            notes.append(
                f"NOT ENDED: the search for the maximum of the likelihood of the model {name!r}: "
                "no p of the likelihood-ratio test"
            )
    shrinkage: dict[str, float] = parameters(fits["without"])["shrinkage"].to_dict()
    for omega, value in shrinkage.items():
        told = warning(value)
        if told:
            notes.append(f"{omega}: {told}")
    if any(own[0].unreliable for own in predicted.values()):
        notes.append(
            "leave-one-observation-out: where Pareto k is above 0.7 its figures are not relied on; "
            "leave-one-subject-out is"
        )
    return notes


def _table(rows: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame.from_dict({k: dict(v) for k, v in rows.items()}, orient="index")
    table.index.name = "candidate"
    return table
