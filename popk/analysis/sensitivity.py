"""How far a posterior rests on its priors, and whether prior and data contradict each other.

Two measures that do not share their weaknesses:

- Power-scaling (Kallioinen, Paananen, Bürkner, Vehtari, Stat Comput 2024;34:57): how fast the
  posterior moves when the prior, or the likelihood, is raised to a power near 1. It needs no
  further fit and no normality, but says nothing of how improbable the disagreement is.
- The tail probability of what the data say without the prior (Box, J R Stat Soc A 1980;143:383-430;
  Evans, Moshonov, Bayesian Anal 2006;1:893-914): an estimate (see `data_alone`) is compared with
  what the prior predicts of it, error included. It is quiet where the data know nothing.

The prior that is scaled is that of the population parameters, never the distribution of the etas,
which belongs to the likelihood: the likelihood is that of the data given the population, etas
integrated out. That given the etas, whose power-scaling also stands in the table, does not serve:
it can only sharpen each subject's own parameters, so that in a rich data set, in which TVCL is as
uncertain as the subjects differ, it finds the likelihood of TVCL weak, whatever the prior. In the
first case of this package (26 infants) it is 0.03 both with weakly informative priors and with a
prior on TVCL at 2.5 times the data's, and no conflict would ever show. Nor is power-scaling alone
specific enough: a half-normal prior of an omega about which the data know a little is felt beside
the likelihood, and contradicts nothing. A conflict is what both measures see.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]
from jaxtyping import Float, Int
from numpyro.distributions import LKJCholesky
from scipy.optimize import minimize
from scipy.special import betaincinv, ndtr

from popk.analysis.information import UNINFORMED, identifiability
from popk.analysis.observations import population_values
from popk.analysis.predictive import DRAWS, NODES, cholesky_factors, in_draws
from popk.analysis.summary import Z90, parameters
from popk.analysis.verdict import FAILED, LOOK, P_THRESHOLD, PASSED, REFUTED, SUSPECT, Verdict
from popk.inference.maximum import Likelihood
from popk.population.model import Model
from popk.population.parameters import distribution
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.priors import LogNormal, Prior, is_positive
from popk.study.fit import Fit
from popk.study.maximum import prepare_likelihood

SENSITIVE = 0.05
"""Sensitivity from which a component moves the posterior (Kallioinen et al. 2024, sec. 3.2)."""
ALPHAS = (0.99, 1.01)
"""Powers between which the sensitivity is a difference quotient (the default of psense)."""
PLACES = np.linspace(-7.5, 7.5, 1501)
"""Standard normal quantiles at whose probabilities those of a prior stand for it."""
FAINT = 0.01
"""Power of the priors in `data_alone`."""
OPEN = 3.0
"""Standard errors above this many SDs of the prior: the data leave the parameter open."""
STEP = 1e-3
"""Of the differences that make a slope, in unconstrained coordinates; ten times of a curvature."""
SLOPE = 3e-3
"""Of the log likelihood by each coordinate, below which the search for its maximum ends."""
NOWHERE = 1e10
"""Stands for -log of a likelihood that cannot be computed."""
CORRELATION = "correlation"

CONFLICT = "prior-data conflict"
POSSIBLE = "prior and data pull apart"
STRONG = "strong prior or weak likelihood"
MOVED = "moved by the prior of"
UNKNOWN = "hardly informed by the data"

Draws = Float[np.ndarray, "chain draw"]


def sensitivity(fit: Fit) -> pd.DataFrame:
    """Sensitivity of each population parameter to priors and likelihood, and prior-data conflict.

    Takes some seconds for the marginal likelihood in `popk.analysis.predictive.DRAWS` draws and
    for its maximum.

    Returns
    -------
    DataFrame
        Index: parameter; correlations too. ``prior``: sensitivity to all population priors
        together; ``likelihood``: to the likelihood, etas integrated out; ``conditional``: to that
        given the etas; ``own_prior``: to its own prior alone (a correlation's is the LKJ prior
        of its block); ``most``: the parameter whose prior, scaled alone, moves it most. Each is
        the rate of the cumulative Jensen-Shannon distance by log2 of the power, 0 where nothing
        moves; NaN where the draws do not vary. ``conflict_p``: two-sided probability, under the
        prior, of an estimate as far out as that of the data alone; NaN where they leave it
        open. ``prior_median``, ``prior_q5``,
        ``prior_q95``, ``median``, ``q5``, ``q95``: 90 % intervals. ``data``, ``data_q5``,
        ``data_q95``: the data's estimate (see `data_alone`) and its 90 % confidence interval.
        ``contraction``: see `popk.parameters`. ``diagnosis``: "" (nothing to say);
        "prior-data conflict" (both sensitivities from 0.05 on and conflict_p below 0.05, or the
        prior's from 0.05 on and conflict_p below 0.001); "prior and data pull apart" (conflict_p
        below 0.05 over the number of parameters, but the posterior does not feel it); "strong
        prior or weak likelihood" (prior sensitivity from 0.05 on, no conflict), or "moved by the
        prior of ..." where that is another's; "hardly informed by the data" (contraction below
        0.1).

    Notes
    -----
    A log-normal prior is raised to a power as a density of the logarithm, so that its median
    stays where it is. A truncation (linear effects) is left as it is; its constant cancels.
    """
    model, draws = fit.model, fit.samples.draws
    names = (*model.population_names, *model.correlation_names)
    values = {name: np.asarray(draws[name], dtype=float) for name in names}
    own = log_priors(model, values)
    everything = sum(own.values(), np.zeros(values[names[0]].shape))
    conditional = np.asarray(fit.samples.log_likelihood, dtype=float).sum(axis=-1)
    marginal = _marginal(fit)
    alone = data_alone(marginal.likelihood, population_values(fit))
    summary = parameters(fit)
    rows = {}
    for name in names:
        prior = _component(model, name)
        each = {component: power_scaling(values[name], lp) for component, lp in own.items()}
        low, middle, high = _prior_quantiles(model, name, np.array([0.05, 0.5, 0.95]))
        at, error, back = alone[name]
        rows[name] = {
            "prior": power_scaling(values[name], everything),
            "likelihood": power_scaling(
                values[name].reshape(1, -1)[:, marginal.chosen], marginal.total[None]
            ),
            "conditional": power_scaling(values[name], conditional),
            "own_prior": each[prior],
            "most": max(each, key=lambda n: -1.0 if math.isnan(each[n]) else each[n]),
            "conflict_p": conflict_p(at, error, _on_scale(model, name, ndtr(PLACES))),
            "prior_median": float(middle),
            "prior_q5": float(low),
            "prior_q95": float(high),
            **{column: float(summary.loc[name, column]) for column in ("median", "q5", "q95")},
            "data": back(at),
            "data_q5": back(at - Z90 * error),
            "data_q95": back(at + Z90 * error),
            "contraction": float(summary.loc[name, "contraction"]),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    silent = (table["contraction"] < UNINFORMED) & (table["likelihood"] < SENSITIVE)
    # Of a likelihood that is all but flat the curvature at one point is no interval
    silent &= ~(table["conflict_p"] < SUSPECT)
    table.loc[silent, ["conflict_p", "data", "data_q5", "data_q95"]] = math.nan
    table["diagnosis"] = [
        _diagnosis({**row, "own": _component(model, name)}, len(table))
        for name, row in zip(names, table.to_dict("records"), strict=True)
    ]
    table.index.name = "parameter"
    return table


def power_scaling(draws: Draws, log_component: Draws) -> float:
    """Sensitivity of a quantity to a component of the posterior (Kallioinen et al. 2024, eq. 9).

    Parameters
    ----------
    draws
        [chain, draw] of the quantity.
    log_component
        [chain, draw] log density of the prior or of the likelihood in the same draws.

    Returns
    -------
    float
        How fast the cumulative Jensen-Shannon distance from the posterior grows by log2 of the
        power of the component; 0 where the component is constant, NaN where the draws are or
        where anything is not finite.
    """
    if not (np.isfinite(draws).all() and np.isfinite(log_component).all()) or np.ptp(draws) == 0:
        return math.nan
    if np.ptp(log_component) == 0:
        return 0.0
    stats: Any = array_stats  # its annotations are narrower than its documentation
    weights = [
        np.exp(stats.power_scale_lw(log_component, alpha=alpha, axis=(0, 1))) for alpha in ALPHAS
    ]
    return float(stats.power_scale_sense(draws, *weights, *ALPHAS))


def log_priors(model: Model, draws: Mapping[str, Draws]) -> dict[str, Draws]:
    """[chain, draw] log density of the prior of each population parameter, up to a constant.

    Of log-normal ones with respect to the logarithm; of correlations together, as "correlation".
    """
    priors, found = model.population_priors(), {}
    with jax.enable_x64(True):
        for name in model.population_names:
            density = np.asarray(distribution(priors[name]).log_prob(jnp.asarray(draws[name])))
            logarithmic = isinstance(priors[name], LogNormal)
            found[name] = density + np.log(draws[name]) if logarithmic else density
    correlation = model.spec.correlation
    if model.correlation_names and correlation is not None:
        block = [n for n in model.spec.parameters if n in correlation.parameters]
        matrix = np.tile(np.eye(len(block)), (*draws[model.correlation_names[0]].shape, 1, 1))
        for i, a in enumerate(block):
            for j in range(i + 1, len(block)):
                own = draws[f"correlation_{a}_{block[j]}"]
                matrix[..., i, j] = matrix[..., j, i] = own
        # LKJ(c): density det(R)^(c - 1) (Lewandowski et al., J Multivar Anal 2009;100:1989-2001)
        _, log_determinant = np.linalg.slogdet(matrix)
        found[CORRELATION] = (correlation.concentration - 1.0) * log_determinant
    return found


def conflict_p(estimate: float, error: float, prior: Float[np.ndarray, " place"]) -> float:
    """Tail probability of an estimate under what the prior predicts of it.

    Parameters
    ----------
    estimate, error
        An estimate that owes nothing to the prior and its standard error, on a scale on which it
        is near to normal.
    prior
        The prior's quantiles on the same scale at the probabilities ``ndtr(PLACES)``.

    Returns
    -------
    float
        2 min(P, 1 - P) with P = P(T <= estimate), T = theta + error * normal, theta from the
        prior (Evans & Moshonov 2006, sec. 2). With a normal prior it is that of
        z = (prior mean - estimate)/sqrt(prior variance + error²). NaN without a finite error.
    """
    if not (math.isfinite(estimate) and math.isfinite(error) and error > 0):
        return math.nan
    z = (estimate - prior) / error
    weights = np.exp(-0.5 * PLACES**2)
    # Either tail by itself: 1 - P would lose a small one
    tails = (float(ndtr(side) @ weights / weights.sum()) for side in (z, -z))
    return min(1.0, 2.0 * min(tails))


def verdicts_of(table: pd.DataFrame, times: pd.DataFrame | None = None) -> list[Verdict]:
    """What the table says: prior-data conflict, prior sensitivity, and identifiability.

    Parameters
    ----------
    table
        From `sensitivity`.
    times
        From `popk.analysis.information.information`, to name sampling times that would help.
    """
    return [_conflict(table), _strength(table), identifiability(table, times)]


def _conflict(table: pd.DataFrame) -> Verdict:
    named = _with(table, CONFLICT)
    possible = _with(table, POSSIBLE)
    found = {name: p for name, p in zip(table.index, table["conflict_p"], strict=True) if p == p}
    p = min((found[name] for name in named or found), default=math.nan)
    # The least of several by chance: Bonferroni's inequality
    p = p if named else min(1.0, p * len(found))
    outcome = LOOK if named or possible else PASSED
    if named:
        outcome = FAILED if p < REFUTED else LOOK
        meaning = f"Prior and data contradict each other on {_listed(table, named)}: the posterior "
        meaning += "lies between them and describes neither. Correct the prior, or find out why "
        meaning += "these subjects differ from those behind it."
    elif possible:
        meaning = f"Prior and data pull apart on {_listed(table, possible)}: see that the prior "
        meaning += "is meant."
    else:
        meaning = "The data lie where the priors expect them."
    return Verdict(
        check="prior-data conflict",
        outcome=outcome,
        value=p,
        threshold=f"{P_THRESHOLD}; only where both sensitivities are ≥ {SENSITIVE:g}",
        meaning=meaning,
        figure="prior_sensitivity",
        source="Kallioinen et al., Stat Comput 2024;34:57; Evans & Moshonov, Bayesian Anal "
        "2006;1:893-914",
    )


def _strength(table: pd.DataFrame) -> Verdict:
    # What moves because of a conflict elsewhere is that conflict's matter
    moved = [f"{MOVED} {n}" for n in table["most"].unique() if n not in _with(table, CONFLICT)]
    strong = [name for said in (STRONG, *moved) for name in _with(table, said)]
    highest = max(table["prior"].tolist())
    meaning = (
        f"Strong prior or weak likelihood for {', '.join(strong)}: report the prior with the "
        "result, and fit once with a wider one."
        if strong
        else "No result would change with slightly wider or narrower priors."
        if highest < SENSITIVE
        else "Where a prior counts it contradicts the data: see prior-data conflict."
    )
    return Verdict(
        check="prior sensitivity",
        outcome=LOOK if strong else PASSED,
        value=highest,
        threshold=f"prior sensitivity < {SENSITIVE:g}",
        meaning=meaning,
        figure="prior_sensitivity",
        source="Kallioinen et al., Stat Comput 2024;34:57",
    )


def _with(table: pd.DataFrame, diagnosis: str) -> list[str]:
    said = zip(table.index, table["diagnosis"], strict=True)
    return [name for name, words in said if words == diagnosis]


def _listed(table: pd.DataFrame, names: list[str]) -> str:
    def one(name: str) -> str:
        row = table.loc[name]
        said = f"prior {row['prior_median']:.3g}, data {row['data']:.3g}"
        return f"{name} ({said}, p = {row['conflict_p']:.2g})"

    return ", ".join(one(name) for name in names)


def _diagnosis(row: Mapping[Any, Any], tests: int) -> str:
    sensitive, informed = row["prior"] >= SENSITIVE, row["likelihood"] >= SENSITIVE
    p = row["conflict_p"]  # comparisons with NaN are False
    # A prior so narrow that the likelihood no longer moves anything is not acquitted by that
    if sensitive and ((informed and p < SUSPECT) or p < REFUTED):
        return CONFLICT
    if p < SUSPECT / tests:
        return POSSIBLE
    if sensitive:
        other = row["most"] != row["own"]
        return f"{MOVED} {row['most']}" if other else STRONG
    return UNKNOWN if row["contraction"] < UNINFORMED else ""


def _component(model: Model, name: str) -> str:
    return CORRELATION if name in model.correlation_names else name


class _Marginal(NamedTuple):
    """The likelihood with etas integrated out, and its logarithm in some of the draws.

    chosen
        Which draws, chains one after the other.
    """

    likelihood: Likelihood
    total: Float[np.ndarray, " draw"]
    chosen: Int[np.ndarray, " draw"]


def _marginal(fit: Fit) -> _Marginal:
    settings = SamplerSpec(method="agq", nodes=NODES)
    with jax.enable_x64(True):
        own = prepare_likelihood(fit.model, fit.data, settings).likelihood
    total = in_draws(own, fit.samples.draws).sum(axis=1)
    count = fit.samples.log_likelihood[..., 0].size
    return _Marginal(own, total, np.linspace(0, count - 1, min(DRAWS, count)).astype(int))


class DataAlone(NamedTuple):
    """What the data say of a parameter nearly without its prior.

    value, error
        Estimate and standard error on the scale on which it is near to normal; NaN where the
        data say nothing.
    back
        From that scale to the parameter's own.
    """

    value: float
    error: float
    back: Callable[[float], float]


def data_alone(
    own: Likelihood, start: Mapping[str, np.ndarray], power: float = FAINT
) -> dict[str, DataAlone]:
    """Maximum of the likelihood times all population priors to the power of `power`.

    A faint prior hardly moves what the data determine, and gives what they leave open a finite
    error, so that one parameter about which nothing is known does not spoil the others (maximum
    likelihood alone would have no curvature there).

    Parameters
    ----------
    own
        The marginal likelihood.
    start
        Population values and correlations from which the search starts.
    """
    model, of = own.model, own.coordinates
    names = (*model.population_names, *model.correlation_names)
    with jax.enable_x64(True):
        prior = jax.jit(lambda vector: _log_prior(model, of.values(vector)))
    modes: list[np.ndarray | None] = [None]

    def misfit(vector: np.ndarray) -> float:
        found = own(vector, modes[0], scores=False)
        if not np.isfinite(found.log_likelihood).all():
            # The modes of the point before may lie too far away
            found = own(vector, scores=False)
        modes[0] = found.x if np.isfinite(found.x).all() else None
        with jax.enable_x64(True):
            density = float(prior(jnp.asarray(vector)))
        value = found.log_likelihood.sum() + power * density
        return -float(value) if np.isfinite(value) else NOWHERE

    # Differences: the program for exact slopes takes longer to compile than all this to run
    def slope(vector: np.ndarray, step: float = STEP) -> np.ndarray:
        steps = step * np.eye(vector.size)
        return np.array([misfit(vector + h) - misfit(vector - h) for h in steps]) / (2.0 * step)

    centre = {name: start[name] for name in model.population_names}
    if model.correlation_names:
        one = {name: np.asarray(value)[None] for name, value in start.items()}
        centre["correlation_cholesky"] = cholesky_factors(model, one)[0]
    top = minimize(misfit, own.vector(centre), jac=slope, method="BFGS", options={"gtol": SLOPE}).x
    steps = 10.0 * STEP * np.eye(top.size)
    curvature = np.array([slope(top + h) - slope(top - h) for h in steps]) / (20.0 * STEP)
    values, slopes = own.natural(top)
    try:
        covariance = slopes @ np.linalg.inv((curvature + curvature.T) / 2.0) @ slopes.T
    except np.linalg.LinAlgError:
        covariance = np.full((len(names), len(names)), np.nan)
    variance = np.diag(covariance)
    errors = np.sqrt(np.where(variance > 0, variance, np.nan))
    return {
        name: _on_normal_scale(model, name, float(value), float(error))
        for name, value, error in zip(names, values, errors, strict=True)
    }


def _log_prior(model: Model, values: Mapping[str, jax.Array]) -> jax.Array:
    """Log density of the population priors, of positive parameters by their logarithm."""
    priors, total = model.population_priors(), jnp.zeros(())
    for name in model.population_names:
        prior, value = priors[name], values[name]
        total = total + distribution(prior).log_prob(value)
        total = total + (jnp.log(value) if is_positive(prior) else 0.0)
    if model.correlation_names and model.spec.correlation is not None:
        factor = values["correlation_cholesky"]
        site = LKJCholesky(factor.shape[-1], model.spec.correlation.concentration)
        total = total + site.log_prob(factor)
    return total


def _on_normal_scale(model: Model, name: str, value: float, error: float) -> DataAlone:
    match _scale(model, name):
        case "log":
            found = DataAlone(math.log(value), error / value, math.exp)
        case "atanh":
            found = DataAlone(math.atanh(value), error / (1.0 - value**2), math.tanh)
        case _:
            found = DataAlone(value, error, float)
    # The faint prior's own width is what is left where the data say nothing
    low, high = _on_scale(model, name, ndtr(np.array([-1.0, 1.0])))
    wide = found.error > OPEN * (high - low) / 2.0
    return found._replace(value=math.nan, error=math.nan) if wide else found


def _scale(model: Model, name: str) -> str:
    if name in model.correlation_names:
        return "atanh"
    return "log" if is_positive(model.population_priors()[name]) else "natural"


def _on_scale(
    model: Model, name: str, p: Float[np.ndarray, " place"]
) -> Float[np.ndarray, " place"]:
    """Quantiles of the prior on the scale on which the estimate is near to normal."""
    to = {"log": np.log, "atanh": np.arctanh, "natural": np.asarray}[_scale(model, name)]
    return to(_prior_quantiles(model, name, p))


def _prior_quantiles(
    model: Model, name: str, p: Float[np.ndarray, " place"]
) -> Float[np.ndarray, " place"]:
    """Quantiles of a prior on its own scale."""
    if name in model.correlation_names:
        correlation = model.spec.correlation
        assert correlation is not None
        # A correlation under LKJ(c) among k etas is 2 Beta(a, a) - 1 with a = c + k/2 - 1
        a = correlation.concentration + len(correlation.parameters) / 2 - 1.0
        return 2.0 * betaincinv(a, a, p) - 1.0
    prior: Prior = model.population_priors()[name]
    with jax.enable_x64(True):
        return np.asarray(distribution(prior).icdf(jnp.asarray(p)))
