"""What hangs on a single subject: the model fitted again without each.

By how many of its SDs each population parameter moves (case deletion; Cook, Technometrics
1977;19:15-8, in the form of NONMEM's users, PsN's cdd), for posteriors and for maximum likelihood.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.covariates.effects import contrast, ratio_draws, summarised
from popk.analysis.predictive import smoothed, subject_likelihood
from popk.analysis.resampling.own import Own, own_of
from popk.analysis.resampling.pieces import (
    METHODS,
    STATISTICS,
    WORDS,
    Piece,
    Result,
    done,
    drawn,
    fingerprint,
    pieces_of,
)
from popk.analysis.resampling.refits import refit_settings, refuse_too_big
from popk.spec.fit import NO_EFFECT
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.problem import PopkError, Problem
from popk.study import work
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

LEAST_SUBJECTS = 3
ESS = 1000.0
"""Effective sample size of each refit: a mean is then known to about 0.03 SD."""

Run = Callable[..., Sequence[Result]]
Watch = Callable[[int, int, float], None]


@dataclass(frozen=True, eq=False)
class Planned:
    """Refits that are to be made; see `popk.analysis.resampling.bootstrap.Planned`."""

    pieces: tuple[Piece, ...]
    key: str
    own: Own
    about: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Influence:
    """What becomes of a fit without each of its subjects.

    Attributes
    ----------
    subjects
        One subject left out a row, index ID: ``observations`` it has; by population parameter
        ``shift_NAME``, the change of the posterior mean (or estimate) in the fit's own SDs, and
        ``error_NAME``, its Monte Carlo standard error; ``cook`` = shift' inverse(covariance) shift
        / p, with ``cook_error``, what Monte Carlo error alone would make of it;
        ``covariance_ratio``, the square root of the ratio of the covariances' determinants
        (above 1: without the subject less is known); ``pareto_k`` of leaving it out by
        importance sampling (NaN for maximum likelihood); ``passed``, ``method``, ``rhat``.
    verdicts
        Index ID; for each covariate effect the verdict without the subject. Empty for maximum
        likelihood.
    whole
        Effect to the verdict of the whole fit.
    names
        The population parameters.
    means
        Index ID: each parameter's posterior mean (or estimate) without the subject.
    own
        The fit itself: ``unit``, ``mean``, ``sd`` by parameter.
    model, name, method
        Names of model and fit, and the fit's method.
    seed, key
        The same key means the same results.
    synthetic
        True where the data are simulated.
    seconds
        That it took; those of results kept from earlier are not counted.
    """

    subjects: pd.DataFrame
    verdicts: pd.DataFrame
    whole: Mapping[str, str]
    names: tuple[str, ...]
    means: pd.DataFrame
    own: pd.DataFrame
    model: str
    name: str
    method: str
    seed: int
    key: str
    synthetic: bool
    seconds: float

    @property
    def missed(self) -> int:
        """Refits that did not converge."""
        return int(np.sum(~self.subjects["passed"].to_numpy(bool)))

    @property
    def maximum(self) -> bool:
        """Whether the fits are of maximum likelihood."""
        return all(method == "maximum" for method in self.subjects["method"])

    @property
    def shifts(self) -> pd.DataFrame:
        """ID by parameter: the shifts, in SDs."""
        return _columns(self.subjects, "shift", self.names)

    @property
    def errors(self) -> pd.DataFrame:
        """Their Monte Carlo standard errors."""
        return _columns(self.subjects, "error", self.names)


def influence(
    fit: Fit | MaximumFit,
    *,
    seed: int = 1,
    settings: SamplerSpec | None = None,
    no_effect: tuple[float, float] = NO_EFFECT,
    run: Run = work.run,
    watch: Watch | None = None,
) -> Influence:
    """Fit the model again without each subject.

    Parameters
    ----------
    fit
        A finished fit.
    seed
        Of the samplers: the same seed gives the same results, however they are computed.
    settings
        Of the batch sampler; by default float32 and an effective sample size of 1,000. A
        maximum-likelihood fit is fitted again by its own method.
    no_effect
        Ratios that are taken for no effect, for the verdicts on covariate effects.
    run
        How pieces are computed: by default as many at once as there are cores, in this process.
    watch
        Told as pieces are finished.

    Returns
    -------
    Influence
        ``subjects`` holds what changes without each of them.

    Raises
    ------
    popk.PopkError
        If there are too few subjects, or the fit is too big.
    """
    plan = planned(fit, seed=seed, settings=settings, no_effect=no_effect)
    begun = time.perf_counter()
    results = run(done, plan.pieces, key=plan.key, watch=watch)
    return gathered(plan, results, time.perf_counter() - begun)


def planned(
    fit: Fit | MaximumFit,
    *,
    seed: int = 1,
    settings: SamplerSpec | None = None,
    no_effect: tuple[float, float] = NO_EFFECT,
) -> Planned:
    """The work of `influence`, whose arguments these are; no refit is made yet."""
    model, data = fit.model, fit.data
    if data.subjects < LEAST_SUBJECTS:
        raise PopkError(
            Problem(
                file=data.source,
                key="ID",
                found=f"{data.subjects} subjects",
                expected=f"{LEAST_SUBJECTS} or more: without one there must be others",
                cure="judge such a fit by its individual plots: popk diagnose",
            )
        )
    chosen = refit_settings(fit, settings, ESS)
    refuse_too_big(fit, chosen)
    everyone = np.arange(data.subjects)
    sets = drawn(model, data, np.stack([np.delete(everyone, i) for i in everyone]))
    piece = Piece(
        model=model.spec.model_dump_json(),
        data=data,
        sets=sets,
        pilot=sets._replace(subjects=sets.subjects[:1]),
        first=0,
        wave=0,
        seed=seed,
        settings=chosen,
        start=fit.estimate.vector if isinstance(fit, MaximumFit) else None,
        no_effect=no_effect,
    )
    pieces = pieces_of(piece)
    about = {
        "model": model.spec.name, "name": fit.name, "seed": seed, "synthetic": fit.synthetic,
        "method": str(fit.provenance.method.get("name", chosen.method)),
        "ids": data.ids, "observations": data.observed.sum(axis=1),
        "pareto_k": _pareto_k(fit), "effects": [e.name for e in model.spec.covariates],
        "whole": _verdicts(fit, no_effect),
    }  # fmt: skip
    return Planned(pieces, fingerprint(pieces), own_of(fit), about)


def gathered(plan: Planned, results: Sequence[Result], seconds: float) -> Influence:
    """The results of the pieces, in their order, as tables."""
    whole = {name: np.concatenate([part[name] for part in results]) for name in results[0]}
    own, about = plan.own, dict(plan.about)
    names, index = own.names, pd.Index(about.pop("ids"), name="ID")
    sd = np.sqrt(np.diag(own.covariance))
    means = whole["values"][..., STATISTICS.index("mean")]
    moved = means - own.mean
    # The Monte Carlo errors of the refit and of the fit itself
    errors = np.sqrt(whole["error"] ** 2 + own.error**2)
    table: dict[str, Any] = {"observations": about.pop("observations")}
    for j, name in enumerate(names):
        table[f"shift_{name}"], table[f"error_{name}"] = moved[:, j] / sd[j], errors[:, j] / sd[j]
    table["cook"] = cook(moved, own.covariance)
    table["cook_error"] = np.mean((errors / sd) ** 2, axis=1)
    table["covariance_ratio"] = covariance_ratio(whole["covariance"], own.covariance)
    table["pareto_k"] = about.pop("pareto_k")
    table["passed"] = whole["passed"].astype(bool)
    table["method"] = [METHODS[int(i)] for i in whole["method"]]
    table["rhat"] = whole["rhat"]
    effects, places = about.pop("effects"), whole["verdict"]
    words = {
        effect: [WORDS[int(i)] for i in places[:, j]]
        for j, effect in enumerate(effects)
        if (places[:, j] >= 0).all()
    }
    fit = pd.DataFrame(
        {"unit": own.table.loc[list(names), "unit"], "mean": own.mean, "sd": sd},
        index=pd.Index(names, name="parameter"),
    )
    return Influence(
        subjects=pd.DataFrame(table, index=index),
        verdicts=pd.DataFrame(words, index=index),
        names=names,
        means=pd.DataFrame(means, index=index, columns=list(names)),
        own=fit,
        key=plan.key,
        seconds=seconds,
        **about,
    )


def cook(
    moved: Float[np.ndarray, "subject name"], covariance: Float[np.ndarray, "name name"]
) -> Float[np.ndarray, " subject"]:
    """Cook's distance: squared length of the shift, in the fit's own covariance, by parameter."""
    if not np.isfinite(covariance).all():
        return np.full(len(moved), np.nan)
    solved = np.linalg.solve(covariance, moved.T).T
    return np.sum(moved * solved, axis=1) / moved.shape[1]


def covariance_ratio(
    without: Float[np.ndarray, "subject name name"], whole: Float[np.ndarray, "name name"]
) -> Float[np.ndarray, " subject"]:
    """Square root of the ratio of determinants; NaN where a covariance is not known."""
    known = np.isfinite(without).all(axis=(1, 2)) & np.isfinite(whole).all()
    ratio = np.full(len(without), np.nan)
    if known.any():
        # By correlations of one scale: the determinants themselves may underflow
        sd = np.sqrt(np.diag(whole))
        scaled = without[known] / np.outer(sd, sd)
        log_without = np.linalg.slogdet(scaled).logabsdet
        log_whole = np.linalg.slogdet(whole / np.outer(sd, sd)).logabsdet
        ratio[known] = np.exp(0.5 * (log_without - log_whole))
    return ratio


def _pareto_k(fit: Fit | MaximumFit) -> Float[np.ndarray, " subject"]:
    if not isinstance(fit, Fit):
        return np.full(fit.data.subjects, np.nan)
    return smoothed(subject_likelihood(fit, fit.data)).k


def _verdicts(fit: Fit | MaximumFit, no_effect: tuple[float, float]) -> dict[str, str]:
    """What the whole fit says of each covariate effect."""
    if not isinstance(fit, Fit):
        return {}
    draws = fit.samples.draws
    values = {name: draws[name] for name in fit.model.population_names} | {
        name: np.asarray(value) for name, value in fit.model.fixed().items()
    }
    return {
        e.name: summarised(ratio_draws(e, contrast(e, fit.data), values), no_effect).verdict
        for e in fit.model.spec.covariates
    }


def _columns(table: pd.DataFrame, what: str, names: tuple[str, ...]) -> pd.DataFrame:
    own = {name: table[f"{what}_{name}"].to_numpy(float) for name in names}
    return pd.DataFrame(own, index=table.index)
