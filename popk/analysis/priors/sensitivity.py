"""How far a posterior rests on its priors, and whether prior and data contradict each other.

Two measures that do not share their weaknesses:

- Power-scaling (Kallioinen, Paananen, Bürkner, Vehtari, Stat Comput 2024;34:57): how fast the
  posterior moves when the prior, or the likelihood, is raised to a power near 1. It needs no
  further fit and no normality, but says nothing of how improbable the disagreement is.
- The tail probability of what the data say without the prior (Box, J R Stat Soc A 1980;143:383-430;
  Evans, Moshonov, Bayesian Anal 2006;1:893-914): an estimate that owes the prior next to nothing
  (`popk.analysis.priors.conflict`) is compared with what the prior predicts of it, error included.
  It is quiet where the data know nothing.

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
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]
from jaxtyping import Float, Int
from scipy.special import ndtr

from popk.analysis.observations import population_values
from popk.analysis.predictive import DRAWS, NODES, in_draws
from popk.analysis.priors.conflict import PLACES, conflict_p, data_alone, on_scale, prior_quantiles
from popk.analysis.priors.information import UNINFORMED, identifiability
from popk.analysis.summary import Z90, parameters
from popk.analysis.verdict import FAILED, LOOK, P_THRESHOLD, PASSED, REFUTED, SUSPECT, Verdict
from popk.inference.maximum import Likelihood
from popk.population.model import Model
from popk.population.parameters import distribution
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.priors import LogNormal
from popk.study.fit import Fit
from popk.study.maximum import prepare_likelihood

SENSITIVE = 0.05
"""Sensitivity from which a component moves the posterior (Kallioinen et al. 2024, sec. 3.2)."""
ALPHAS = (0.99, 1.01)
"""Powers between which the sensitivity is a difference quotient (the default of psense)."""
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
        ``data_q95``: the data's estimate (see `conflict`) and its 90 % confidence
        interval. ``contraction``: see `popk.parameters`. ``diagnosis``: "" (nothing to say);
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
        low, middle, high = prior_quantiles(model, name, np.array([0.05, 0.5, 0.95]))
        at, error, back = alone[name]
        rows[name] = {
            "prior": power_scaling(values[name], everything),
            "likelihood": power_scaling(
                values[name].reshape(1, -1)[:, marginal.chosen], marginal.total[None]
            ),
            "conditional": power_scaling(values[name], conditional),
            "own_prior": each[prior],
            "most": max(each, key=lambda n: -1.0 if math.isnan(each[n]) else each[n]),
            "conflict_p": conflict_p(at, error, on_scale(model, name, ndtr(PLACES))),
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


def verdicts_of(table: pd.DataFrame, times: pd.DataFrame | None = None) -> list[Verdict]:
    """What the table says: prior-data conflict, prior sensitivity, and identifiability.

    Parameters
    ----------
    table
        From `sensitivity`.
    times
        From `popk.analysis.priors.information.information`, to name sampling times that would help.
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
    chosen = np.linspace(0, count - 1, min(DRAWS, count)).astype(int)
    known = np.isfinite(total)
    return _Marginal(own, total[known], chosen[known])
