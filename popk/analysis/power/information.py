"""What a design is expected to tell: standard errors and widths before any trial is simulated.

From the population Fisher information (see `popk.analysis.power.fisher`), with the priors' own
precision added where posterior SDs are asked for. A cross-check of, and a quick way before, power
by full refits: errors are asymptotic, and those of few subjects come out a little too small.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import ndtri

from popk.analysis.covariates.effects import Contrast, contrast, terms
from popk.analysis.power.candidates import at_samples
from popk.analysis.power.fisher import estimated, information, population, variance
from popk.analysis.power.prior_precision import prior_precision
from popk.data.dataset import Dataset
from popk.population.covariates import log_factor
from popk.population.model import Model
from popk.spec.problem import PopkError, Problem
from popk.spec.relations import Below, Category, CovariateEffect

Z90 = float(ndtri(0.95))
"""Half width of a 90 % interval in SDs."""


@dataclass(frozen=True, eq=False)
class Expected:
    """The expected information of a design.

    Attributes
    ----------
    names, values
        [parameter] population parameters as tables show them (omegas and sigmas are SDs).
    each
        [group, parameter, parameter] information of one infant of each group, on average. The
        groups are those of the effect: in which it acts, and all others; else there is one.
    counts
        [group] number of infants; of a design that is thought larger or smaller it need not be
        whole.
    prior
        [parameter, parameter] precision of the priors at these values.
    effect, label
        Name of the covariate effect, and between what its ratio is taken; empty without one.
    log_ratio, slope
        Log of the ratio, and its [parameter] slopes.
    members
        [group, subject] in which group each subject of the design is.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, " parameter"]
    each: Float[np.ndarray, "group parameter parameter"]
    counts: Float[np.ndarray, " group"]
    prior: Float[np.ndarray, "parameter parameter"]
    effect: str
    label: str
    log_ratio: float
    slope: Float[np.ndarray, " parameter"]
    members: Bool[np.ndarray, "group subject"]

    def information(self, *, prior: bool = False) -> Float[np.ndarray, "parameter parameter"]:
        """Of the whole design; with the priors' own."""
        own = np.einsum("g,gij->ij", self.counts, self.each)
        return own + self.prior if prior else own

    def se(self, name: str, *, prior: bool = False) -> float:
        """Expected standard error of a parameter, or its posterior SD; inf if it is left open."""
        direction = np.array([own == name for own in self.names], float)
        if not direction.any():
            raise ValueError(f"unknown parameter {name!r}; write one of {', '.join(self.names)}")
        return float(np.sqrt(variance(self.information(prior=prior), direction)))

    def log_ratio_sd(self, *, prior: bool = False) -> float:
        """Expected standard error of the log of the effect's ratio, or its posterior SD."""
        if not self.effect:
            raise ValueError("the model has no covariate effect")
        return float(np.sqrt(variance(self.information(prior=prior), self.slope)))

    def resized(self, infants: float, share: float | None = None) -> "Expected":
        """The same design with another number of infants, who are alike on average.

        Parameters
        ----------
        infants
            How many in all.
        share
            Which part of them is in the group in which the effect acts; as it is if None.

        Raises
        ------
        popk.PopkError
            If a group would be empty, or the model has no effect of two groups.
        """
        if share is None:
            return replace(self, counts=self.counts * (infants / self.counts.sum()))
        if len(self.counts) < 2:
            raise PopkError(
                Problem(
                    key="share",
                    found=f"a share of {share:g}, and no effect with two groups",
                    expected="a covariate effect by a cut or a category",
                    cure="leave the share out, or name such an effect",
                )
            )
        counts = infants * np.array([share, 1.0 - share])
        if not (counts > 0).all():
            raise _empty_group(self.label, counts)
        return replace(self, counts=counts)


def expected(
    model: Model,
    design: Dataset,
    values: Mapping[str, float] | None = None,
    *,
    effect: str | None = None,
    full: bool = False,
    below: float | None = None,
) -> Expected:
    """The expected information of a design.

    Parameters
    ----------
    model
        What the trial will be fitted with.
    design
        Subjects with covariates, doses and the records at which they are sampled; what was
        measured plays no part.
    values
        True population values by name; the medians of the priors for those that are not given.
    effect
        Name of the covariate effect whose ratio is wanted; the model's first by default.
    full
        See `popk.analysis.power.fisher.information`.
    below
        Lower limit of the assay, in the model's concentration unit.

    Raises
    ------
    popk.PopkError
        If the design lacks what the model needs, has no samples, or has nobody in one of the
        effect's groups; if a value is impossible or its name unknown.
    """
    known = population(model, values)
    found = at_samples(model, design, known, below)
    return described(model, design, known, information(found, full=full), effect=effect)


def described(
    model: Model,
    design: Dataset,
    values: Mapping[str, float],
    each: Float[np.ndarray, "subject parameter parameter"],
    *,
    effect: str | None = None,
) -> Expected:
    """The subjects' information, averaged by the groups of a covariate effect."""
    names = estimated(model)
    own = _effect(model, effect)
    members = _groups(own, design)
    between = None if own is None else contrast(own, design)
    counts = members.sum(axis=1).astype(float)
    if not (counts > 0).all():
        raise _empty_group("" if between is None else between.label, counts)
    slope, log_ratio = np.zeros(len(names)), 0.0
    if own is not None and between is not None:
        log_ratio, slope = _log_ratio(model, own, between, names, values)
    return Expected(
        names=names,
        values=np.array([values[name] for name in names]),
        each=averaged(members, each),
        counts=counts,
        prior=prior_precision(model, values),
        effect="" if own is None else own.name,
        label="" if between is None else between.label,
        log_ratio=log_ratio,
        slope=slope,
        members=members,
    )


def averaged(
    members: Bool[np.ndarray, "group subject"],
    each: Float[np.ndarray, "subject parameter parameter"],
) -> Float[np.ndarray, "group parameter parameter"]:
    """The subjects' information, averaged within each group."""
    return np.einsum("gs,sij->gij", members / members.sum(axis=1, keepdims=True), each)


def expected_errors(found: Expected) -> pd.DataFrame:
    """Expected errors, one parameter a row.

    Returns
    -------
    DataFrame
        ``value``; ``se`` (maximum likelihood, asymptotic) and ``rse_percent``; ``posterior_sd``
        with the prior's precision added; the last row, "log ratio", is the effect's, if any.
        inf where the design leaves a parameter open.
    """
    rows = [(name, value, found.se(name), found.se(name, prior=True))
            for name, value in zip(found.names, found.values.tolist(), strict=True)]  # fmt: skip
    if found.effect:
        both = (found.log_ratio_sd(), found.log_ratio_sd(prior=True))
        rows.append(("log ratio", found.log_ratio, *both))
    table = pd.DataFrame(rows, columns=["name", "value", "se", "posterior_sd"]).set_index("name")
    size = table["value"].abs().to_numpy()
    percent = 100.0 * table["se"].to_numpy() / np.where(size > 0, size, np.nan)
    table.insert(2, "rse_percent", percent)
    return table


def compare(
    model: Model,
    designs: Mapping[str, Dataset],
    values: Mapping[str, float] | None = None,
    *,
    effect: str | None = None,
    full: bool = False,
    below: float | None = None,
) -> pd.DataFrame:
    """Expected errors of several sampling plans side by side.

    Returns
    -------
    DataFrame
        One plan a row: ``infants``, ``samples`` (in all), ``se_NAME`` of each parameter,
        ``se_log_ratio`` and ``sd_log_ratio`` (posterior) of the effect, if any, and
        ``fold_width``, upper over lower bound of its expected 90 % posterior interval;
        ``efficiency`` by the determinant of the information on all parameters: 1 for the best
        plan, 0.5 for one that needs twice its infants to be as good, 0 for one that leaves a
        parameter open.

    Raises
    ------
    popk.PopkError
        As `expected`; if there is no plan.
    """
    if not designs:
        raise PopkError(
            Problem(
                key="plans",
                found="no sampling plan",
                expected="one or more, by name",
                cure="give at least one design",
            )
        )
    rows, volume = {}, []
    for name, design in designs.items():
        found = expected(model, design, values, effect=effect, full=full, below=below)
        volume.append(log_volume(found.information()))
        row = {"infants": design.subjects, "samples": design.observations}
        rows[name] = row | {f"se_{own}": found.se(own) for own in found.names}
        if found.effect:
            sd = found.log_ratio_sd(prior=True)
            rows[name] |= {
                "se_log_ratio": found.log_ratio_sd(),
                "sd_log_ratio": sd,
                "fold_width": float(np.exp(2.0 * Z90 * sd)),
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    best = max(volume)
    table["efficiency"] = np.exp(np.array(volume) - best) if np.isfinite(best) else 0.0
    return table


def log_volume(matrix: Float[np.ndarray, "parameter parameter"]) -> float:
    """The logarithm of det(I)^(1/p), by log 2 more with twice the infants; -inf if singular."""
    sign, value = np.linalg.slogdet(matrix)
    whole = sign > 0 and np.isfinite(variance(matrix, np.eye(len(matrix)))).all()
    return float(value) / len(matrix) if whole else -np.inf


def _effect(model: Model, name: str | None) -> CovariateEffect | None:
    effects = {effect.name: effect for effect in model.spec.covariates}
    if name is None:
        return next(iter(effects.values()), None)
    if name not in effects:
        raise PopkError(
            Problem(
                file=model.spec.name,
                key="effect",
                found=f"the covariate effect {name!r}",
                expected=f"one of the model's: {', '.join(effects) or 'it has none'}",
                cure="correct the name, or choose a model with this effect",
            )
        )
    return effects[name]


def _groups(effect: CovariateEffect | None, design: Dataset) -> Bool[np.ndarray, "group subject"]:
    """In which group each subject is: one group for all where the effect makes none."""
    if not isinstance(effect, Below | Category):
        return np.ones((1, design.subjects), bool)
    acts = terms(effect, design) > 0
    return np.stack([acts, ~acts])


def _log_ratio(
    model: Model,
    effect: CovariateEffect,
    between: Contrast,
    names: tuple[str, ...],
    values: Mapping[str, float],
) -> tuple[float, Float[np.ndarray, " parameter"]]:
    def of(theta: jax.Array) -> jax.Array:
        known = {**model.fixed(), **dict(zip(names, theta, strict=True))}
        high, low = (
            log_factor(effect, jnp.asarray(term), known) for term in (between.high, between.low)
        )
        return high - low

    with jax.enable_x64(True):
        at = jnp.array([values[name] for name in names], float)
        value, slope = jax.value_and_grad(of)(at)
    return float(value), np.asarray(slope)


def _empty_group(label: str, counts: np.ndarray) -> PopkError:
    number = ", ".join(f"{count:g}" for count in counts)
    return PopkError(
        Problem(
            key="infants",
            found=f"zero infants in a group ({label}: {number})",
            expected="at least one infant in either group of the effect",
            cure="take infants of a wider range of ages, or another share of the groups",
        )
    )
