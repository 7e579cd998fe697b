"""How estimates vary from study to study: subjects drawn again, or data sets simulated anew.

The case bootstrap draws subjects with replacement (Efron & Tibshirani, An Introduction to the
Bootstrap, 1993); the parametric one simulates data sets from the fit's own estimates. Every data
set is fitted as the data were. The spread of a posterior median over them is its standard error in
the sense of repeated sampling, to be held against the posterior's own SD.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from popk.analysis.covariates.effects import terms
from popk.analysis.resampling.distribution import distribution
from popk.analysis.resampling.own import CSS, Own, own_of
from popk.analysis.resampling.parametric import Limits, limits_of, simulated
from popk.analysis.resampling.pieces import (
    METHODS,
    STATISTICS,
    Piece,
    Result,
    done,
    drawn,
    fingerprint,
    pieces_of,
)
from popk.analysis.resampling.refits import refit_settings, refuse_too_big
from popk.analysis.resampling.strata import Strata, strata
from popk.analysis.resampling.strata import drawn as drawn_from
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.problem import PopkError, Problem
from popk.study import work
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

LEAST_REPLICATES = 20
FEW = 200
"""Replicates below which the ends of a 95 % interval have five or fewer beyond them."""

Kind = Literal["case", "parametric"]
KINDS: tuple[Kind, ...] = ("case", "parametric")
Run = Callable[..., Sequence[Result]]
"""Called as ``run(done, pieces, key=..., watch=...)``: the results in the order of the pieces."""
Watch = Callable[[int, int, float], None]


@dataclass(frozen=True, eq=False)
class Planned:
    """Refits that are to be made.

    Attributes
    ----------
    pieces
        The work.
    key
        A hash of all that the results depend on.
    own
        The fit itself.
    about
        What the result says of itself, by the names of its attributes.
    """

    pieces: tuple[Piece, ...]
    key: str
    own: Own
    about: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """What the refits of a bootstrap say.

    Attributes
    ----------
    parameters
        One population parameter a row, and Css at the nominal dose with the typical clearance
        where that is one number: ``unit``, ``estimate``, ``fit_sd``, ``fit_q5``, ``fit_q95`` of the
        fit itself (posterior median, SD and 90 % interval, or estimate, standard error and
        confidence interval); over replicates ``mean``, ``bias``, ``se``, ``q2_5``, ``q5``, ``q95``,
        ``q97_5`` with Monte Carlo errors in ``..._error``; ``ratio`` = se / fit_sd and its error.
    draws
        By parameter, what the fit itself says, to be drawn: see `popk.analysis.resampling.own.Own`.
    replicates
        One data set a row: estimates (posterior medians) by parameter, each with ``NAME_sd``;
        ``passed``, ``method``, ``rhat``, ``draws``.
    kind
        "case" or "parametric".
    model, name
        Names of model and fit.
    method
        That of the fit, e.g. "ensemble" or "focei".
    strata
        Stratum to its number of subjects; of one stratum only, empty.
    stratified_by
        What divides them.
    limits
        Of the simulated assay, in the model's concentration unit.
    seed, key
        The same key means the same results.
    synthetic
        True where the data themselves are simulated.
    seconds
        That it took; those of results kept from earlier are not counted.
    notes
        What a reader has to know, in sentences.
    """

    parameters: pd.DataFrame
    draws: pd.DataFrame
    replicates: pd.DataFrame
    kind: Kind
    model: str
    name: str
    method: str
    strata: Mapping[str, int]
    stratified_by: str
    limits: Limits
    seed: int
    key: str
    synthetic: bool
    seconds: float
    notes: tuple[str, ...]

    @property
    def missed(self) -> int:
        """Replicates that did not converge; they are counted in every table."""
        return int(np.sum(~self.replicates["passed"].to_numpy(bool)))

    @property
    def refitted(self) -> int:
        """Replicates that needed a fit of their own, by other samplers."""
        return sum(method in ("alone", "nuts") for method in self.replicates["method"])

    @property
    def maximum(self) -> bool:
        """Whether the fits are of maximum likelihood."""
        return all(method == "maximum" for method in self.replicates["method"])


def bootstrap(
    fit: Fit | MaximumFit,
    replicates: int = 500,
    *,
    kind: Kind = "case",
    stratify: str | None = None,
    cut: str | None = None,
    limits: tuple[float | None, float | None] | None = None,
    seed: int = 1,
    settings: SamplerSpec | None = None,
    run: Run = work.run,
    watch: Watch | None = None,
) -> Bootstrap:
    """Fit the model to many data sets like that of the fit.

    Parameters
    ----------
    fit
        A finished fit; its posterior medians or estimates are the truth of simulated data sets.
    replicates
        How many data sets.
    kind
        "case": subjects drawn with replacement; a subject that comes twice is two. "parametric":
        simulated on the data's doses, sampling times and covariates.
    stratify, cut
        Draw within strata of a covariate, whose sizes are kept; a continuous one is cut at
        values with units, e.g. ``"6 month"``.
    limits
        Lower and upper limit of the simulated assay in the model's concentration unit; by default
        those at which the data are censored.
    seed
        The same seed gives the same results, however they are computed.
    settings
        Of the batch sampler; by default float32 and at most 2,000 draws of each chain. A
        maximum-likelihood fit is fitted again by its own method.
    run
        How pieces are computed: by default as many at once as there are cores, in this process.
    watch
        Told as pieces are finished.

    Returns
    -------
    Bootstrap
        Its ``parameters`` hold bias, standard error and intervals of each parameter.

    Raises
    ------
    popk.PopkError
        If there are too few replicates, a stratum has one subject, the covariate is missing, or
        the fit is too big.
    """
    plan = planned(
        fit, replicates, kind=kind, stratify=stratify, cut=cut, limits=limits, seed=seed,
        settings=settings,
    )  # fmt: skip
    begun = time.perf_counter()
    results = run(done, plan.pieces, key=plan.key, watch=watch)
    return gathered(plan, results, time.perf_counter() - begun)


def planned(
    fit: Fit | MaximumFit,
    replicates: int = 500,
    *,
    kind: Kind = "case",
    stratify: str | None = None,
    cut: str | None = None,
    limits: tuple[float | None, float | None] | None = None,
    seed: int = 1,
    settings: SamplerSpec | None = None,
) -> Planned:
    """The work of `bootstrap`, whose arguments these are; nothing is fitted yet."""
    _refuse(fit, replicates, kind, stratify or cut)
    model, data = fit.model, fit.data
    chosen = refit_settings(fit, settings)
    refuse_too_big(fit, chosen)
    notes: list[str] = []
    division, assay = Strata("", ("all",), np.zeros(data.subjects, dtype=int)), Limits()
    if kind == "case":
        division = strata(data, stratify, cut)
        subjects = drawn_from(division, replicates, seed)
        # The data as they are: all searches begin at their mode
        whole = np.concatenate([np.arange(data.subjects)[None], subjects])
        both = drawn(model, data, whole)
        pilot, sets = both._replace(subjects=whole[:1]), both._replace(subjects=subjects)
        notes += _without_contrast(fit, subjects)
    else:
        assay = limits_of(model, data) if limits is None else Limits(*limits)
        sets = simulated(fit, replicates, seed, assay)
        pilot = sets._replace(values=sets.values[:1])
    if replicates < FEW:
        notes.append(
            f"{replicates} replicates: the ends of 95 % intervals hang on a few of them; take "
            f"{FEW} or more."
        )
    piece = Piece(
        model=model.spec.model_dump_json(),
        data=data,
        sets=sets,
        pilot=pilot,
        first=0,
        wave=0,
        seed=seed,
        settings=chosen,
        start=fit.estimate.vector if isinstance(fit, MaximumFit) else None,
    )
    pieces = pieces_of(piece)
    about = {
        "kind": kind, "model": model.spec.name, "name": fit.name,
        "method": str(fit.provenance.method.get("name", chosen.method)),
        "strata": division.sizes if division.label else {}, "stratified_by": division.label,
        "limits": assay, "seed": seed, "synthetic": fit.synthetic, "notes": tuple(notes),
    }  # fmt: skip
    return Planned(pieces, fingerprint(pieces), own_of(fit), about)


def gathered(plan: Planned, results: Sequence[Result], seconds: float) -> Bootstrap:
    """The results of the pieces, in their order, as tables."""
    whole = {name: np.concatenate([part[name] for part in results]) for name in results[0]}
    own, names = plan.own, plan.own.names
    estimates = whole["values"][..., STATISTICS.index("median")]
    columns = dict(zip(names, estimates.T, strict=True))
    shown = names
    if own.css is not None:
        columns[CSS] = own.css / columns["TVCL"]
        shown = (*names, CSS)
    stacked = np.stack([columns[name] for name in shown], axis=1)
    table = own.table.loc[list(shown)]
    found = distribution(stacked, table["estimate"].to_numpy(float), shown)
    spread = table["fit_sd"].to_numpy(float)
    found["ratio"] = found["se"] / spread
    found["ratio_error"] = found["se_error"] / spread
    sds = whole["values"][..., STATISTICS.index("sd")]
    rows = pd.DataFrame(columns).rename_axis("replicate")
    rows = rows.assign(**{f"{name}_sd": sds[:, j] for j, name in enumerate(names)})
    rows = rows.assign(
        passed=whole["passed"].astype(bool),
        method=[METHODS[int(i)] for i in whole["method"]],
        rhat=whole["rhat"],
        draws=whole["draws"],
    )
    return Bootstrap(
        parameters=table.join(found),
        draws=own.draws,
        replicates=rows,
        key=plan.key,
        seconds=seconds,
        **plan.about,
    )


def _without_contrast(fit: Fit | MaximumFit, subjects: np.ndarray) -> list[str]:
    """Say where replicates cannot know of an effect, because all their subjects are alike."""
    notes = []
    for effect in fit.model.spec.covariates:
        values = terms(effect, fit.data)[subjects]
        alike = int(np.sum(np.ptp(values, axis=1) == 0))
        if alike:
            notes.append(
                f"In {alike} of {len(subjects)} replicates all subjects are alike in "
                f"{effect.covariate}, so they know nothing of {effect.name}: stratify by it."
            )
    return notes


def _refuse(fit: Fit | MaximumFit, replicates: int, kind: str, strata: str | None) -> None:
    problems = []
    if kind not in KINDS:
        problems.append(
            ("kind", repr(kind), " or ".join(KINDS), "case draws subjects, parametric simulates")
        )
    if replicates < LEAST_REPLICATES:
        problems.append(
            ("replicates", f"{replicates} replicates", f"{LEAST_REPLICATES} or more",
             "500 are usual; 1,000 for the ends of 95 % intervals")
        )  # fmt: skip
    if kind == "parametric" and strata is not None:
        problems.append(
            ("stratify", "strata of a parametric bootstrap", "none: every subject is kept",
             "leave --stratify and --cut out, or choose --kind case")
        )  # fmt: skip
    if problems:
        raise PopkError(
            *(
                Problem(file=fit.name, key=key, found=found, expected=expected, cure=cure)
                for key, found, expected, cure in problems
            )
        )
