"""Population Fisher information of a design, from a first-order expansion of the model.

Around etas of zero a subject's observations are normal with mean f and covariance
V = G Omega G' + Sigma, where G is the slope of f by the etas. The information on parameters a and b
is then f_a' V^-1 f_b + tr(V^-1 V_a V^-1 V_b) / 2, with subscripts for slopes by parameters (Mentré,
Mallet, Baccar, Biometrika 1997;84:429-42; Retout, Mentré, Bruno, Stat Med 2002;21:2623-39).

Log-normal errors are expanded on the log scale, where a steady state is linear in the etas and
nothing is left out; the others on that of the concentrations.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.special import ndtr

from popk.inference.programs import kept
from popk.pk.one_compartment import NO_DRUG
from popk.population.events import Events
from popk.population.model import Model, Values
from popk.population.parameters import median
from popk.population.subjects import varied
from popk.spec.problem import PopkError, Problem
from popk.spec.residual import ERRORS

SPREAD = ("omega_", "sigma", "correlation_")
"""How the names of variances begin: what is not a fixed effect."""
CERTAIN = 1e-6
"""Probability below which a case is left out."""
SINGULAR = 1e-10
"""Eigenvalue of the information, scaled to a diagonal of one, below which a direction is open."""


class Rows(NamedTuple):
    """Samples of each subject: their steps in `Events`, and which of them are there."""

    step: Int[np.ndarray, "subject row"]
    used: Bool[np.ndarray, "subject row"]


class Moments(NamedTuple):
    """Mean and covariance of each subject's samples, and their slopes by the parameters.

    Attributes
    ----------
    log_concentration
        [subject, row] of the typical subject.
    sensitivity
        [subject, row, parameter] slope of the mean.
    covariance
        [subject, row, row], on the scale on which residuals are normal.
    slopes
        [subject, parameter, row, row] of the covariance.
    share
        [subject, row] probability that the sample can be measured; 0 where it is not there.
    fixed
        [parameter] True for typical values and covariate effects.
    """

    log_concentration: Float[np.ndarray, "subject row"]
    sensitivity: Float[np.ndarray, "subject row parameter"]
    covariance: Float[np.ndarray, "subject row row"]
    slopes: Float[np.ndarray, "subject parameter row row"]
    share: Float[np.ndarray, "subject row"]
    fixed: Bool[np.ndarray, " parameter"]


def estimated(model: Model) -> tuple[str, ...]:
    """Names of the parameters that designs inform: all but the degrees of freedom of Student-t's.

    To first order the latter cannot be told from their omegas; they count as known.
    """
    names = (n for n in model.population_names if not n.startswith("df_"))
    return (*names, *model.correlation_names)


def population(model: Model, values: Mapping[str, float] | None) -> dict[str, float]:
    """Values of all population parameters: those given, else the medians of the priors.

    Raises
    ------
    popk.PopkError
        If `values` names what the model does not estimate, or a value is not possible.
    """
    priors = model.population_priors()
    centre = {name: median(priors[name]) for name in model.population_names}
    centre |= dict.fromkeys(model.correlation_names, 0.0)
    given = {name: float(value) for name, value in (values or {}).items()}
    problems = [
        Problem(
            file=model.spec.name,
            key=name,
            found=f"a given value for {name!r}",
            expected=f"one of {', '.join(centre)}",
            cure="correct the name; a value that the model file fixes is changed there",
        )
        for name in given
        if name not in centre
    ]
    problems += [
        Problem(
            file=model.spec.name,
            key=name,
            found=f"{name} = {value:g}",
            expected="a finite value above 0, as typical values and SDs have",
            cure="correct the value; a parameter that does not vary is fixed in the model file",
        )
        for name, value in (centre | given).items()
        if name.startswith(("TV", "omega_", "sigma", "df_")) and not 0.0 < value < np.inf
    ]
    if problems:
        raise PopkError(*problems)
    return centre | given


def moments(
    model: Model,
    values: Mapping[str, float],
    events: Events,
    rows: Rows,
    *,
    below: float | None = None,
) -> Moments:
    """Expand a model around the typical subjects of a design.

    Parameters
    ----------
    model, values
        The model, and values of all its population parameters (see `population`).
    events, rows
        From `popk.population.events.arrange`, and the steps at which samples are taken.
    below
        Lower limit of the assay, in the model's concentration unit. Lower values are lost.

    Returns
    -------
    Moments
        Parameters in the order of `estimated`. Rows without drug are not there where the
        residual error leaves nothing to measure.
    """
    names = estimated(model)
    with jax.enable_x64(True):
        theta = jnp.array([values[name] for name in names], float)
        rest = {n: jnp.asarray(values[n]) for n in model.population_names if n not in names}
        run = kept((model.spec.model_dump_json(), "moments"), lambda: jax.jit(_expanded(model)))
        arrays = jax.tree.map(jnp.asarray, (events, rows.step))
        found = _Expansion(*(np.asarray(a) for a in run(theta, rest, *arrays)))
    used = rows.used
    if ERRORS[model.spec.residual.error].vanishes:
        used = used & (found.log_c > NO_DRUG / 2)
    share = _measurable(model, found, below) * used
    diagonal = np.eye(share.shape[1])
    covariance = found.between + diagonal * found.within[:, None]
    slopes = found.d_between + diagonal[:, :, None] * found.d_within[:, None]
    fixed = np.array([not name.startswith(SPREAD) for name in names])
    slopes = np.moveaxis(slopes, 3, 1)
    return Moments(found.log_c, found.d_mean, covariance, slopes, share, fixed)


def information(
    found: Moments, rows: Int[np.ndarray, " chosen"] | None = None, *, full: bool = False
) -> Float[np.ndarray, "subject parameter parameter"]:
    """Each subject's expected information on the parameters.

    Where samples may lie below the assay's limit it is the mean over what a subject keeps, with
    the likeliest samples kept longest: at a level u between 0 and 1 those whose probability to be
    measured is above u. That a lost sample says something too is left out.

    Parameters
    ----------
    found
        From `moments`.
    rows
        The samples that are taken, by their places; all if None.
    full
        Also count what the covariance says of typical values and covariate effects. Without it
        the information falls into two blocks, as in PFIM; with first-order moments that agrees
        better with simulation (Nyberg et al., Br J Clin Pharmacol 2015;79:6-17).
    """
    mean, covariance, slopes, share = (
        found.sensitivity, found.covariance, found.slopes, found.share
    )  # fmt: skip
    if rows is not None:
        mean, share, covariance = mean[:, rows], share[:, rows], covariance[:, rows][:, :, rows]
        slopes = slopes[:, :, rows][..., rows]
    if not full:
        slopes = np.where(found.fixed[:, None, None], 0.0, slopes)
    order = np.argsort(-share, axis=1, kind="stable")
    place = np.argsort(order, axis=1, kind="stable")
    falling = np.take_along_axis(share, order, axis=1)
    # The k likeliest samples are what is left with the probability that lies between two shares
    weights = falling - np.concatenate([falling[:, 1:], np.zeros_like(falling[:, :1])], axis=1)
    total = np.zeros((*mean.shape[::2], mean.shape[2]))
    for k in np.flatnonzero((weights > CERTAIN).any(axis=0)):
        own = _of_present(mean, covariance, slopes, place <= k)
        total += weights[:, k, None, None] * own
    return total


def _of_present(
    mean: Float[np.ndarray, "subject row parameter"],
    covariance: Float[np.ndarray, "subject row row"],
    slopes: Float[np.ndarray, "subject parameter row row"],
    present: Bool[np.ndarray, "subject row"],
) -> Float[np.ndarray, "subject parameter parameter"]:
    """The information of those samples that are there."""
    both = present[:, :, None] & present[:, None, :]
    # A sample that is not there has a variance, and nothing depends on it
    alone = np.eye(present.shape[1]) * ~present[:, None]
    inverse = np.linalg.inv(np.where(both, covariance, alone))
    mean = np.where(present[..., None], mean, 0.0)
    turned = inverse[:, None] @ np.where(both[:, None], slopes, 0.0)
    flat = (*turned.shape[:2], -1)
    squares = turned.reshape(flat) @ np.swapaxes(turned, 2, 3).reshape(flat).swapaxes(1, 2)
    return np.swapaxes(mean, 1, 2) @ inverse @ mean + 0.5 * squares


def variance(
    matrix: Float[np.ndarray, "parameter parameter"],
    direction: Float[np.ndarray, "*quantity parameter"],
) -> Float[np.ndarray, "*quantity"]:
    """Expected variance of linear combinations of the parameters: c' I^-1 c.

    inf for what the information leaves open.
    """
    scale = np.sqrt(np.diag(matrix))
    blind = ~(scale > 0)
    scale = np.where(blind, 1.0, scale)
    eigenvalues, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    along = ((direction / scale) @ vectors) ** 2
    open_ = eigenvalues < SINGULAR
    size = ((direction / scale) ** 2).sum(axis=-1, keepdims=True)
    lost = ((along > 1e-8 * size) & open_).any(axis=-1)
    found = (along / np.where(open_, np.inf, eigenvalues)).sum(axis=-1)
    return np.where(lost, np.inf, found)


class _Expansion(NamedTuple):
    """What the compiled program returns: slopes by the parameters come last."""

    log_c: Float[np.ndarray, "subject row"]
    mean: Float[np.ndarray, "subject row"]
    between: Float[np.ndarray, "subject row row"]
    within: Float[np.ndarray, "subject row"]
    d_mean: Float[np.ndarray, "subject row parameter"]
    d_between: Float[np.ndarray, "subject row row parameter"]
    d_within: Float[np.ndarray, "subject row parameter"]


def _expanded(model: Model) -> Callable[..., tuple[Array, ...]]:
    names, etas = estimated(model), varied(model)

    def all_of(
        theta: Array, rest: Values, events: Events, step: Int[Array, "subject row"]
    ) -> tuple[Array, ...]:
        none = jnp.zeros(len(etas))

        def mean(theta: Array, shift: Array) -> tuple[Array, tuple[Array, ...]]:
            values = {**rest, **dict(zip(names, theta, strict=True))}
            moved = zip(etas, shift, strict=True)
            eta = {f"eta_{name}": jnp.full(events.subjects, own) for name, own in moved}
            log_c = model.predict({**values, **eta}, events).log_concentration
            scale = model.observation(log_c, values, events).scale
            f, log_c, sd = (
                jnp.take_along_axis(a, step, axis=1) for a in (scale.mean, log_c, scale.sd)
            )
            return f, (f, log_c, sd**2)

        def parts(theta: Array) -> tuple[Any, Any]:
            values = {**rest, **dict(zip(names, theta, strict=True))}
            slope, (f, log_c, within) = jax.jacfwd(mean, argnums=1, has_aux=True)(theta, none)
            between = slope @ _omega(model, values) @ jnp.swapaxes(slope, 1, 2)
            moments = f, between, within
            return moments, (log_c, *moments)

        slopes, found = jax.jacfwd(parts, has_aux=True)(theta)
        return *found, *slopes

    return all_of


def _omega(model: Model, values: Values) -> Float[Array, "eta eta"]:
    """Covariance of the etas; a Student-t's where it has one, else its scale's square."""
    known = {**model.fixed(), **values}
    etas = varied(model)
    sd = []
    for name in etas:
        variability = model.spec.parameters[name].variability
        assert variability is not None
        own = known[f"omega_{name}"]
        if variability.df is not None:
            df = known[f"df_{name}" if f"df_{name}" in known else f"df_{_first(model)}"]
            wide = jnp.where(df > 2.0, df, 4.0)
            own = own * jnp.where(df > 2.0, jnp.sqrt(wide / (wide - 2.0)), 1.0)
        sd.append(own)
    if not etas:
        return jnp.zeros((0, 0))
    spread = jnp.stack(sd)
    return jnp.outer(spread, spread) * correlations(model, values)


def correlations(model: Model, values: Values) -> Float[Array, "eta eta"]:
    """The correlation matrix of the etas, in the order of the parameters."""
    etas = varied(model)
    matrix = jnp.eye(len(etas))
    for i, a in enumerate(etas):
        for j in range(i + 1, len(etas)):
            name = f"correlation_{a}_{etas[j]}"
            if name in values:
                matrix = matrix.at[i, j].set(values[name]).at[j, i].set(values[name])
    return matrix


def _first(model: Model) -> str:
    """The first of the correlated parameters, under whose name they have their df."""
    correlation = model.spec.correlation
    named = () if correlation is None else correlation.parameters
    return next((name for name in varied(model) if name in named), "")


def _measurable(
    model: Model, found: _Expansion, below: float | None
) -> Float[np.ndarray, "subject row"]:
    """Probability that each sample lies above the assay's limit."""
    if below is None:
        return np.ones_like(found.mean)
    limit = np.log(below) if ERRORS[model.spec.residual.error].logarithmic else below
    spread = np.sqrt(np.diagonal(found.between, axis1=1, axis2=2) + found.within)
    return ndtr((found.mean - limit) / spread)
