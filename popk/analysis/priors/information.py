"""What one further sample of each subject would teach, by the time at which it is taken.

First-order expected information (Mentré, Mallet, Baccar, Biometrika 1997;84:429-42): around the
typical subject the log concentration is linear in the log parameters, so that the new sample and
those that the subject has are jointly normal. What the new one adds is what they do not foretell:
another sample of a steady state says little of CL, whose value in this subject is known by then.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import ndtr

from popk.analysis.observations import population_values
from popk.analysis.summary import PRIOR_DRIVEN
from popk.analysis.verdict import LOOK, PASSED, Verdict
from popk.data.dataset import Dataset
from popk.data.grid import at_times
from popk.pk.one_compartment import NO_DRUG
from popk.population.events import Events, Layout, arrange
from popk.population.model import Model, Values
from popk.population.parameters import distribution
from popk.spec.model import Variability
from popk.spec.priors import Fixed, LogNormal
from popk.spec.units import conversion_factor
from popk.study.fit import Fit

HALF_LIVES = 5.0
"""How far the grid reaches after the start of dosing, and after its end."""
POINTS_PER_HALF_LIFE = 8
PLATEAU_POINTS = 6
GOOD = 0.8
"""Share of the best gain that makes a time a good one."""
LEAST_GAIN = 0.05
"""Relative fall of an SD below which no time is worth naming."""
UNINFORMED = 0.1
"""Contraction below which the data are said to know nothing of a parameter."""
SILENT = 0.05
"""Sensitivity to the likelihood below which it hardly counts (Kallioinen et al., Stat Comput
2024;34:57)."""


def information(fit: Fit) -> pd.DataFrame:
    """Expected posterior SDs after one further sample of each subject, by sampling time.

    Every subject keeps its doses, samples and covariates, and is sampled once more at the same
    time after the start of its dosing or after the end of it. Population values are at their
    posterior medians; the posterior covariance of the typical values and the covariate effects
    comes from the draws, and the further sample's information is added to its inverse:
    h h'/v with h what the subject's samples do not foretell of the slopes of log C, and v of its
    variance, summed over subjects.

    Returns
    -------
    DataFrame
        One time a row. ``reference`` ("start" of dosing, or its "end"); ``time`` since then;
        ``concentration``, the median of the subjects' typical ones; ``measurable``, the
        probability that the assay, whose limits are those of the censored samples, gives a number;
        for each structural parameter P that is estimated ``sensitivity_P``, d log C/d log TVP,
        median over subjects; ``sd_P``, the expected posterior SD of log TVP; ``contraction_P``
        = 1 - its square over the prior variance. ``attrs``: ``sd`` (by parameter, today's SD),
        ``unit`` (of time), ``concentration_unit``, ``infusion`` (whether dosing ends with one).

    Notes
    -----
    The slopes are those at etas of zero, and what a sample says of omega and sigma is left out
    (as is their uncertainty): an approximation that is good while between-subject variability is
    moderate. Censored samples count as if they were not there.
    """
    model, data = fit.model, fit.data
    start, end = _dosing(data)
    time_factor = _time_factor(model, data)
    names = tuple(p for p in model.spec.parameters if f"TV{p}" in model.population_names)
    with jax.enable_x64(True):
        values = population_values(fit)
        grid = _grid(fit, start, end, time_factor)
        reference = np.where(grid["reference"] == "start", 0, 1)
        times = np.stack([start, end], axis=1)[:, reference] + grid["time"].to_numpy() / time_factor
        extended, record = at_times(data, times)
        events, layout = arrange(model.spec, extended)
        linear = _linearised(model, values, events)
    own = _at_records(linear, layout, record)
    increments, measurable = _increments(model, values, linear, own, events, _limits(events))
    location = _location_names(model)
    today = _covariance(fit, location)
    after = np.array([_updated(today, increment) for increment in increments])
    table = grid.assign(
        concentration=np.exp(np.median(own.log_c, axis=0)),
        measurable=measurable,
    )
    for name in names:
        i = location.index(f"TV{name}")
        table[f"sensitivity_{name}"] = np.median(own.slopes[:, :, i], axis=0)
        table[f"sd_{name}"] = np.sqrt(after[:, i, i])
        table[f"contraction_{name}"] = 1.0 - after[:, i, i] / _prior_variance(fit, f"TV{name}")
    table.attrs = {
        "sd": {n: float(np.sqrt(today[i, i])) for n in names for i in [location.index(f"TV{n}")]},
        "unit": model.spec.units.time,
        "concentration_unit": model.spec.units.concentration,
        "infusion": bool(((data.rate > 0) & data.mask).any()),
    }
    return table


def best_times(table: pd.DataFrame, parameter: str) -> str:
    """When a further sample of each subject brings most for a typical value, in words.

    Parameters
    ----------
    table
        From `information`.
    parameter
        "V", "CL".

    Returns
    -------
    str
        The times at which the SD of log TVP falls by at least 80 % of what it falls by at the best
        time, such as "1 to 4 h after the start of dosing, or within 5 h after the end of the
        infusion"; empty where it falls nowhere by 5 %.
    """
    today, unit = table.attrs["sd"][parameter], table.attrs["unit"]
    gain = today - table[f"sd_{parameter}"]
    if not gain.max() >= LEAST_GAIN * today:
        return ""
    good = gain >= GOOD * gain.max()
    windows = []
    last = "the end of the infusion" if table.attrs["infusion"] else "the last dose"
    for reference, words in (("start", "the start of dosing"), ("end", last)):
        rows = table["reference"] == reference
        times, inside = table.loc[rows, "time"].to_numpy(), good[rows].to_numpy()
        windows += [_window(times, run, unit, words) for run in _runs(inside)]
    return ", or ".join(windows)


def identifiability(table: pd.DataFrame, times: pd.DataFrame | None = None) -> Verdict:
    """Whether the data inform each structural parameter, and if not, when to sample.

    Parameters
    ----------
    table
        From `popk.analysis.priors.sensitivity.sensitivity`: ``contraction`` and ``likelihood``.
    times
        From `information`.
    """
    structural = table.loc[[n for n in table.index if str(n).startswith("TV")]]
    sentences = []
    for typical, row in structural.to_dict("index").items():
        name = str(typical).removeprefix("TV")
        # A tight prior may leave nothing to contract although the data know the parameter
        if row["contraction"] < UNINFORMED and row["likelihood"] < SILENT:
            sentence = f"{name} cannot be estimated from these samples"
        elif row["contraction"] < PRIOR_DRIVEN:
            sentence = f"{name} is driven by its prior"
        else:
            continue
        when = "" if times is None else best_times(times, name)
        sentences.append(f"{sentence}; sample {when}." if when else f"{sentence}.")
    return Verdict(
        check="identifiability",
        outcome=LOOK if sentences else PASSED,
        value=min(structural["contraction"].tolist(), default=math.nan),
        threshold=f"contraction of each typical value ≥ {PRIOR_DRIVEN:g}; below {UNINFORMED:g} "
        "nothing is known",
        meaning=" ".join(sentences) or "The data inform every structural parameter.",
        figure="sampling_times",
        source="contraction 1 - posterior/prior variance: Betancourt, arXiv:1803.08393",
    )


def _window(
    times: Float[np.ndarray, " time"], run: tuple[int, int], unit: str, reference: str
) -> str:
    first, final = run
    low, high = f"{times[first]:.3g}", f"{times[final]:.3g}"
    if first == final:
        return f"right at {reference}" if first == 0 else f"about {high} {unit} after {reference}"
    span = f"within {high}" if first == 0 else f"{low} to {high}"
    return f"{span} {unit} after {reference}"


def _runs(inside: Bool[np.ndarray, " time"]) -> list[tuple[int, int]]:
    """First and last place of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _dosing(data: Dataset) -> tuple[Float[np.ndarray, " subject"], Float[np.ndarray, " subject"]]:
    """When each subject's dosing starts and ends, in the data's time.

    Where time runs back to zero after a reset, of the last stretch; the last dose's infusion and
    additional doses count.
    """
    start, end = np.zeros(data.subjects), np.zeros(data.subjects)
    for i in range(data.subjects):
        rows = np.flatnonzero(data.mask[i])
        back = np.flatnonzero(np.diff(data.time[i, rows]) < 0)
        rows = rows[back[-1] + 1 :] if back.size else rows
        doses = rows[np.isin(data.evid[i, rows], (1, 4))]
        if not doses.size:
            start[i] = end[i] = data.time[i, rows[0]]
            continue
        rate, amount = data.rate[i, doses], data.amount[i, doses]
        lasts = np.where(rate > 0, amount / np.where(rate > 0, rate, 1.0), 0.0)
        finished = data.time[i, doses] + data.addl[i, doses] * data.interval[i, doses] + lasts
        start[i], end[i] = data.time[i, doses[0]], finished.max()
    return start, end


def _time_factor(model: Model, data: Dataset) -> float:
    """From the data's time to the model's."""
    unit = data.units.time
    return 1.0 if unit is None else conversion_factor(unit, model.spec.units.time)


def _grid(
    fit: Fit,
    start: Float[np.ndarray, " subject"],
    end: Float[np.ndarray, " subject"],
    time_factor: float,
) -> pd.DataFrame:
    """Times after the start of dosing, as far as half of the subjects are dosed, and after it."""
    draws, spec = fit.samples.draws, fit.model.spec
    turnover = conversion_factor(
        f"({spec.parameters['V'].unit})/({spec.parameters['CL'].unit})", spec.units.time
    )
    half_life = float(np.log(2.0) * np.median(draws["V"] / draws["CL"]) * turnover)
    step = _round(half_life / POINTS_PER_HALF_LIFE)
    after = step * np.arange(round(HALF_LIVES * half_life / step) + 1)
    lasts = float(np.median(end - start)) * time_factor
    during = after[after <= lasts * (1.0 + 1e-9)]
    if lasts > after[-1]:
        later = np.linspace(after[-1], lasts, PLATEAU_POINTS + 1)[1:]
        during = np.concatenate([during, later])
    return pd.DataFrame(
        {
            "reference": ["start"] * during.size + ["end"] * after.size,
            "time": np.concatenate([during, after]),
        }
    )


def _round(step: float) -> float:
    """The nearest of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(step))
    steps = np.array([1.0, 2.0, 2.5, 5.0, 10.0]) * power
    return float(steps[np.argmin(np.abs(np.log(steps / step)))])


class _Linear(NamedTuple):
    """Log concentration around the typical subject, [subject, step or time].

    slopes
        [..., location parameter] by log TV and by covariate effects.
    etas
        [..., eta] by the individual deviations.
    noise
        The residual SD on the log scale.
    """

    log_c: Float[np.ndarray, "subject row"]
    slopes: Float[np.ndarray, "subject row location"]
    etas: Float[np.ndarray, "subject row eta"]
    noise: Float[np.ndarray, "subject row"]


def _location_names(model: Model) -> tuple[str, ...]:
    """Typical values and covariate effects that are estimated."""
    spread = ("omega_", "sigma", "df_")
    return tuple(n for n in model.population_names if not n.startswith(spread))


def _varied(model: Model) -> dict[str, Variability]:
    parameters = model.spec.parameters.items()
    return {n: p.variability for n, p in parameters if p.variability is not None}


def _linearised(model: Model, values: Values, events: Events) -> _Linear:
    location, etas = _location_names(model), tuple(_varied(model))

    known = {name: jnp.asarray(value) for name, value in values.items()}

    def log_c(vector: jax.Array, events: Events) -> jax.Array:
        moved = dict(zip(location, vector[: len(location)], strict=True))
        own = {k: jnp.exp(v) if k.startswith("TV") else v for k, v in moved.items()}
        shifts = zip(etas, vector[len(location) :], strict=True)
        eta = {f"eta_{name}": jnp.full(events.subjects, shift) for name, shift in shifts}
        return model.predict({**known, **own, **eta}, events).log_concentration

    centre = [np.log(values[n]) if n.startswith("TV") else values[n] for n in location]
    at = jnp.array([*centre, *np.zeros(len(etas))])
    both = jax.jit(
        lambda vector, events: (log_c(vector, events), jax.jacfwd(log_c)(vector, events))
    )
    arrays = jax.tree.map(jnp.asarray, events)
    predicted, slopes = both(at, arrays)
    scale = model.observation(predicted, known, arrays).scale
    slopes = np.asarray(slopes)
    given = np.asarray(predicted) > NO_DRUG / 2
    sd = np.asarray(scale.sd if scale.logarithmic else scale.sd / jnp.exp(predicted))
    return _Linear(
        np.asarray(predicted),
        slopes[..., : len(location)],
        slopes[..., len(location) :],
        # Without drug there is nothing to learn
        np.where(given & np.isfinite(sd), sd, np.inf),
    )


def _at_records(linear: _Linear, layout: Layout, record: np.ndarray) -> _Linear:
    step = np.take_along_axis(layout.step, record, axis=1)
    return _Linear(*(a[np.arange(len(step))[:, None], step] for a in linear))


def _limits(events: Events) -> tuple[float, float]:
    """Logs of the assay's limits, as far as censored samples show them."""
    censored = np.asarray(events.censored)
    lower, upper = np.asarray(events.lower)[censored], np.asarray(events.upper)[censored]
    below, above = upper[np.isfinite(upper)], lower[np.isfinite(lower) & (lower > 0)]
    low = float(np.log(below.max())) if below.size and below.max() > 0 else -np.inf
    high = float(np.log(above.min())) if above.size else np.inf
    return (low, high) if low < high else (-np.inf, np.inf)


def _increments(
    model: Model,
    values: Mapping[str, np.ndarray],
    linear: _Linear,
    new: _Linear,
    events: Events,
    limits: tuple[float, float],
) -> tuple[Float[np.ndarray, "time location location"], Float[np.ndarray, " time"]]:
    """Information of the further samples, and how probable it is that they can be measured."""
    omega = _omega(model, values)
    measured = np.asarray(events.observed) & ~np.asarray(events.censored)
    count, size = new.log_c.shape[1], new.slopes.shape[2]
    total, measurable = np.zeros((count, size, size)), np.zeros(count)
    for i, rows in enumerate(measured):
        # The subject's samples: their covariance, and what they foretell of the new one
        rows = rows & np.isfinite(linear.noise[i])
        etas, slopes = linear.etas[i, rows], linear.slopes[i, rows]
        covariance = etas @ omega @ etas.T + np.diag(linear.noise[i, rows] ** 2)
        shared = etas @ omega @ new.etas[i].T
        weights = np.linalg.solve(covariance, shared)
        own = np.einsum("tk,kl,tl->t", new.etas[i], omega, new.etas[i])
        sampled = new.noise[i] ** 2
        variance = own + sampled - np.einsum("rt,rt->t", shared, weights)
        unforeseen = new.slopes[i] - weights.T @ slopes
        spread = np.sqrt(np.where(np.isfinite(sampled), own + sampled, 1.0))
        low, high = ((limit - new.log_c[i]) / spread for limit in limits)
        share = np.where(np.isfinite(sampled), ndtr(high) - ndtr(low), 0.0)
        measurable += share / len(measured)
        # np.inf for the variance where there is no drug leaves no information
        total += (share / variance)[:, None, None] * np.einsum("ti,tj->tij", unforeseen, unforeseen)
    return total, measurable


def _omega(model: Model, values: Mapping[str, np.ndarray]) -> Float[np.ndarray, "eta eta"]:
    """Covariance of the etas; a Student-t's where it has one, else its scale's square."""
    known = {**{k: np.asarray(v) for k, v in model.fixed().items()}, **values}
    varied = _varied(model)
    sd = []
    for name, variability in varied.items():
        scale, df = float(known[f"omega_{name}"]), variability.df
        shape = float(df) if isinstance(df, int | float) else float(known.get(f"df_{name}", 0.0))
        sd.append(scale * np.sqrt(shape / (shape - 2.0)) if shape > 2.0 else scale)
    correlation = np.eye(len(varied))
    for i, a in enumerate(varied):
        for j, b in enumerate(varied):
            if i < j and f"correlation_{a}_{b}" in values:
                correlation[i, j] = correlation[j, i] = values[f"correlation_{a}_{b}"]
    return np.outer(sd, sd) * correlation


def _covariance(fit: Fit, names: tuple[str, ...]) -> Float[np.ndarray, "location location"]:
    """Posterior covariance of the log typical values and the effects."""
    flat = [fit.samples.draws[name].reshape(-1) for name in names]
    own = [np.log(v) if n.startswith("TV") else v for n, v in zip(names, flat, strict=True)]
    return np.atleast_2d(np.cov(np.stack(own)))


def _updated(today: np.ndarray, increment: np.ndarray) -> Float[np.ndarray, "location location"]:
    """(today⁻¹ + increment)⁻¹, without the inverse of today."""
    return np.linalg.solve(np.eye(len(today)) + today @ increment, today)


def _prior_variance(fit: Fit, name: str) -> float:
    """Of log TV; of a prior that is not log-normal to first order."""
    prior = fit.model.population_priors()[name]
    assert not isinstance(prior, Fixed)
    if isinstance(prior, LogNormal):
        return prior.sigma**2
    centre = float(np.median(fit.samples.draws[name]))
    return float(np.asarray(distribution(prior).variance)) / centre**2
