"""Is a posterior what it says? Many simulated trials of a design, each fitted, its truth known.

Where every trial has its own draw of the priors, the rank of a true value among the posterior
draws is uniform and a 90 % interval covers in 90 % of the trials, if simulation, likelihood and
sampler agree (simulation-based calibration, Talts et al., arXiv 1804.06788). Whether ranks are
uniform is judged by the largest deviation of their ECDF, with the simultaneous band of Säilynoja,
Bürkner and Vehtari, Stat Comput 2022;32:32.

Where all trials have the same chosen population values, bias, RMSE and coverage at that point are
found. A Bayesian interval covers as often as it says on average over its prior; at one point an
informative prior makes it cover more often or less.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from popk.analysis.calibration.recovery import described, individuals, overall, quantities_of, rates
from popk.analysis.calibration.uniform import GRID, band, deviation, ecdf, p_of, ranks
from popk.analysis.verdict import FAILED, LOOK, P_THRESHOLD, PASSED, Outcome, Verdict, by_p, holm
from popk.data.dataset import Dataset
from popk.inference.batch import Batch
from popk.inference.trials import Trials
from popk.population.condensed import condense
from popk.population.events import arrange
from popk.population.model import Model
from popk.population.parameters import distribution, median
from popk.population.simulated import Simulated, simulate
from popk.spec.fit import Dose
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.priors import Prior
from popk.spec.problem import PopkError, Problem

LEAST_REPLICATES = 10
MOST_MISSED = 0.02
"""Share of trials without a converged posterior above which a calibration fails: about as wide as
the band of a thousand replicates is at its ends (at 5 %)."""
SBC = "Talts et al., arXiv 1804.06788; Säilynoja et al., Stat Comput 2022;32:32"

Told = Callable[[int, int, float], None]
"""Called with how many replicates of how many are done, and the seconds that are left."""


class Part(NamedTuple):
    """What is kept of the trials of a wave, in their order.

    Attributes
    ----------
    ranks
        [trial, name] of the true values among 399 draws, 0 to 399 (see `uniform`).
    population
        [trial, name, 4] posterior mean, and 5, 50 and 95 % quantile.
    individual
        [trial, parameter, subject, 4] the same.
    rhat, ess
        [trial] the worst of all quantities.
    draws
        [trial] how many there are.
    passed
        [trial] whether the convergence gate holds.
    method, why
        By what each trial was fitted in the end, and what failed before (see `Trials`).
    """

    ranks: Int[np.ndarray, "trial name"]
    population: Float[np.ndarray, "trial name 4"]
    individual: Float[np.ndarray, "trial parameter subject 4"]
    rhat: Float[np.ndarray, " trial"]
    ess: Float[np.ndarray, " trial"]
    draws: Int[np.ndarray, " trial"]
    passed: Bool[np.ndarray, " trial"]
    method: tuple[str, ...]
    why: tuple[str, ...]


Keep = Callable[[Mapping[int, Part]], None]
"""Called after each wave with all that are done, by number."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What became of the trials.

    Attributes
    ----------
    model
        The model's name.
    replicates
        Number of trials.
    truth
        The population values of all trials; None where each has its own from the priors.
    below
        Lower limit of the assay, in the model's concentration unit, if any.
    ranks
        One trial a row: of each population parameter the true value's rank, 0 to 399, among 399
        draws.
    curves
        Index: a probability z. ``band``: half-width of the simultaneous 95 % band; and for each
        parameter the ECDF of its ranks less z.
    bound
        The deviation that uniform ranks of one parameter exceed once in twenty times.
    parameters
        One population parameter a row: ``truth`` (mean over trials); ``bias``, ``rmse`` of the
        posterior median, with their Monte Carlo errors ``bias_error``, ``rmse_error``, and in
        percent of the truth ``bias_percent``, ``rmse_percent`` (NaN where it may be negative);
        ``coverage`` of the 90 % interval, ``coverage_error``, ``coverage_p``; and from the priors
        ``deviation`` of the ECDF in its SDs, ``p`` of that, exact, and ``p_holm``.
    individuals
        The same for each individual quantity and subject: index ``quantity``, ``ID``. Css is
        rate/CL, so its coverage is CL's.
    overall
        By quantity, over all subjects: ``coverage`` and its error, trials being independent and
        the subjects of a trial not; ``p``.
    trials
        One trial a row: ``passed`` (its gate), ``method``, ``draws``, ``rhat``, ``ess``, ``why``.
    units
        Of the individual quantities.
    css
        What rate Css refers to; empty without it.
    seconds
        Of fitting, those of earlier, interrupted runs not counted.
    """

    model: str
    replicates: int
    truth: Mapping[str, float] | None
    below: float | None
    ranks: pd.DataFrame
    curves: pd.DataFrame
    bound: float
    parameters: pd.DataFrame
    individuals: pd.DataFrame
    overall: pd.DataFrame
    trials: pd.DataFrame
    units: Mapping[str, str]
    css: str
    seconds: float

    @property
    def missed(self) -> int:
        """Trials without a converged posterior; they are counted in every table."""
        return int(np.sum(~self.trials["passed"].to_numpy(bool)))


def calibrate(
    key: jax.Array,
    model: Model,
    data: Dataset,
    replicates: int,
    *,
    settings: SamplerSpec | None = None,
    truth: Mapping[str, float] | None = None,
    below: float | None = None,
    dose: Dose | None = None,
    done: Mapping[int, Part] | None = None,
    keep: Keep | None = None,
    watch: Told | None = None,
) -> Calibration:
    """Simulate trials on the data's design, fit each, and compare with what is true.

    Parameters
    ----------
    key
        Random key of the simulation.
    model, data
        The model, and the design: doses, sampling times and covariates. Concentrations of the
        data are not used.
    replicates
        Trials.
    settings
        Of the batch sampler; by default float32 and at most 2,000 draws of each chain.
    truth
        Population values of all trials; those not named have their prior's median. None: every
        trial has its own draw of the priors. A correlation is always drawn from its prior.
    below
        Lower limit of the assay in the model's concentration unit: lower values are censored.
    dose
        The nominal dose that Css refers to; by default each subject's own infusion rate.
    done, keep
        Waves of an earlier call with the same arguments, and what is told of every further one:
        a caller that stores them can go on after an interrupt, with the same result.
    watch
        Called as replicates are finished.

    Raises
    ------
    popk.PopkError
        If there are too few replicates, `truth` names what the model does not estimate or a value
        that its prior excludes, or the design lacks a covariate or cannot be condensed.

    Notes
    -----
    No trial is left out or drawn again for what its data or its posterior look like: either would
    bend the ranks of all.
    """
    settings = settings or SamplerSpec(precision="float32", draws=2000)
    given = None if truth is None else _complete(model, truth)
    if replicates < LEAST_REPLICATES:
        raise _problem(
            model, "replicates", f"{replicates} replicates", f"{LEAST_REPLICATES} or more",
            "a thousand tell small errors from chance",
        )  # fmt: skip
    with jax.enable_x64(True):
        design, _ = condense(arrange(model.spec, data)[0])
        simulated = simulate(key, model, design, replicates, given=given, below=below)
    begun = time.perf_counter()
    with jax.enable_x64(settings.precision == "float64"):
        batch = Batch(model, simulated.events, settings)
        parts = _parts(batch, simulated, dict(done or {}), keep, watch)
    whole = _joined([parts[i] for i in sorted(parts)])
    seconds = time.perf_counter() - begun
    names, parameters = batch.names, batch.parameters
    true = np.stack([simulated.truth[name] for name in names], axis=1)
    uniform = truth is None
    population = described(true, whole.population, [_sign(model, name) for name in names])
    table = pd.DataFrame(population, index=pd.Index(names, name="parameter"))
    if uniform:
        table["deviation"] = [deviation(own) for own in whole.ranks.T]
        table["p"] = [p_of(value, replicates) for value in table["deviation"]]
        table["p_holm"] = holm(table["p"].to_numpy())
    own_true = np.stack([simulated.truth[name] for name in parameters], axis=1)
    rate, css = rates(model, data, dose)
    quantities = quantities_of(model, parameters, own_true, whole.individual, rate)
    rows = pd.DataFrame({"trial": np.arange(replicates)}).set_index("trial")
    return Calibration(
        model.spec.name,
        replicates,
        given,
        below,
        pd.DataFrame(whole.ranks, columns=list(names), index=rows.index),
        _curves(names, whole.ranks) if uniform else pd.DataFrame(),
        band(replicates),
        table,
        individuals(data.ids, quantities),
        overall(quantities),
        rows.assign(
            passed=whole.passed,
            method=list(whole.method),
            draws=whole.draws,
            rhat=whole.rhat,
            ess=whole.ess,
            why=list(whole.why),
        ),
        {name: own.unit for name, own in quantities.items()},
        css if "Css" in quantities else "",
        seconds,
    )


def assay_limit(model: Model, data: Dataset) -> float | None:
    """The lower limit at which the data's own rows are censored, in the model's unit.

    The most frequent one, where there are several; None where no row is below a limit.
    """
    events, _ = arrange(model.spec, data)
    below = np.asarray(events.censored) & (np.asarray(events.lower) <= 0)
    limits, counts = np.unique(np.asarray(events.upper)[below], return_counts=True)
    return float(limits[np.argmax(counts)]) if len(limits) else None


def verdicts_of(found: Calibration) -> list[Verdict]:
    """What a calibration says of simulation, likelihood and sampler together.

    Each verdict takes all parameters together: a sound program fails one once in a thousand runs.
    With chosen population values intervals need not cover as often as they say, so coverage never
    fails there.
    """
    return [
        *([_of_ranks(found)] if found.truth is None else []),
        *_of_coverage(found),
        _gate(found),
    ]


def _of_ranks(found: Calibration) -> Verdict:
    table = found.parameters
    corrected = table["p_holm"].to_numpy(float)
    worst = int(np.argmin(corrected))
    p, value = float(corrected[worst]), float(table["deviation"].to_numpy()[worst])
    meaning = (
        f"largest deviation {value:.2f} SD, of {table.index[worst]}: p {p:.2g} after "
        f"Holm's correction for {len(table)} parameters"
    )
    if by_p(p) != PASSED:
        meaning += "; simulation, likelihood and sampler do not agree, or too few trials converged"
    return Verdict("ranks", by_p(p), p, P_THRESHOLD, meaning, "ranks", SBC)


def _of_coverage(found: Calibration) -> list[Verdict]:
    own = found.individuals
    apart = [name for name in found.units if name != "Css"]  # Css covers as CL
    rows = own[own.index.get_level_values("quantity").isin(apart)]
    whole = found.overall.loc[apart, "p"].to_numpy(float)
    families = {
        "coverage, population": (found.parameters, np.zeros(0)),
        "coverage, individuals": (rows, whole),
    }
    verdicts = []
    for check, (table, further) in families.items():
        if not len(table):
            continue
        coverage = table["coverage"].to_numpy(float)
        p = float(holm(np.r_[table["coverage_p"].to_numpy(float), further]).min())
        outcome: Outcome = by_p(p)
        meaning = (
            f"90 % intervals cover in {100 * coverage.min():.1f} to {100 * coverage.max():.1f} % "
            f"of the trials, {100 * coverage.mean():.1f} % on average"
        )
        if found.truth is not None:
            outcome = LOOK if outcome == FAILED else outcome
            meaning += "; at chosen population values they need not cover in 90 %"
        source = "exact binomial test, Holm's correction; SBC: Talts et al., arXiv 1804.06788"
        verdicts.append(Verdict(check, outcome, p, P_THRESHOLD, meaning, "coverage", source))
    return verdicts


def _gate(found: Calibration) -> Verdict:
    share = found.missed / found.replicates
    again = sum(method != "ensemble" for method in found.trials["method"])
    return Verdict(
        "convergence gate",
        PASSED if not share else LOOK if share <= MOST_MISSED else FAILED,
        share,
        f"0; failed above {MOST_MISSED:g}",
        f"{found.missed} of {found.replicates} trials did not converge ({again} were fitted again "
        "by another sampler); they are counted in every table",
        "trials",
        "Vehtari et al., Bayesian Analysis 2021;16:667-718",
    )


def _complete(model: Model, truth: Mapping[str, float]) -> dict[str, float]:
    """All population values: those not chosen have their prior's median."""
    priors = model.population_priors()
    wrong = []
    for name, value in truth.items():
        if name not in model.population_names:
            wrong.append(
                _problem(
                    model, name, f"a chosen value for {name!r}",
                    f"one of {', '.join(model.population_names)}",
                    "correct the name; a value that the model file fixes is changed there",
                )
            )  # fmt: skip
        elif not math.isfinite(value) or not _allowed(priors[name], value):
            wrong.append(
                _problem(
                    model, name, f"{name} = {value:g}", "a value that its prior allows",
                    "choose another, or another prior in the model file",
                )
            )  # fmt: skip
    if wrong:
        raise PopkError(*(problem for error in wrong for problem in error.problems))
    return {name: float(truth.get(name, median(priors[name]))) for name in model.population_names}


def _allowed(prior: Prior, value: float) -> bool:
    support: Any = distribution(prior).support
    return bool(support(value))


def _problem(model: Model, key: str, found: str, expected: str, cure: str) -> PopkError:
    problem = Problem(file=model.spec.name, key=key, found=found, expected=expected, cure=cure)
    return PopkError(problem)


def _parts(
    batch: Batch,
    simulated: Simulated,
    parts: dict[int, Part],
    keep: Keep | None,
    watch: Told | None,
) -> dict[int, Part]:
    """Every wave of the batch, of which some may be done."""
    tell, begun = watch or (lambda *_: None), time.perf_counter()
    before = sum(len(part.passed) for part in parts.values())
    if len(parts) == len(batch.starts):
        return parts
    for wave, trials in batch.waves(skip=sorted(parts)):
        first = batch.starts[wave]
        own = slice(first, first + len(trials.draws))
        truth = {name: simulated.truth[name][own] for name in batch.names}
        parts[wave] = _reduced(trials, truth)
        if keep is not None:
            keep(parts)
        done = sum(len(part.passed) for part in parts.values())
        pace = (time.perf_counter() - begun) / (done - before)
        tell(done, batch.trials, pace * (batch.trials - done))
    return parts


def _reduced(trials: Trials, truth: Mapping[str, np.ndarray]) -> Part:
    population = []
    for draws in trials.draws:
        flat = np.asarray(draws, float).reshape(-1, draws.shape[2])
        quantiles = np.quantile(flat, [0.05, 0.5, 0.95], axis=0)
        population.append(np.stack([flat.mean(axis=0), *quantiles], axis=-1))
    return Part(
        ranks(trials, truth),
        np.stack(population),
        trials.individual,
        trials.rhat.max(axis=1, initial=0.0),
        np.minimum(trials.ess_bulk, trials.ess_tail).min(axis=1),
        np.array([draws.shape[0] * draws.shape[1] for draws in trials.draws]),
        trials.passed,
        trials.method,
        trials.why,
    )


def _joined(parts: list[Part]) -> Part:
    def whole(name: str) -> Any:
        own = [getattr(part, name) for part in parts]
        if name in ("method", "why"):
            return tuple(word for words in own for word in words)
        return np.concatenate(own)

    return Part(**{name: whole(name) for name in Part._fields})


def _curves(names: tuple[str, ...], all_ranks: Int[np.ndarray, "trial name"]) -> pd.DataFrame:
    n = len(all_ranks)
    columns = {"band": band(n) * np.sqrt(GRID * (1 - GRID) / n)}
    columns |= {name: ecdf(all_ranks[:, j]) - GRID for j, name in enumerate(names)}
    return pd.DataFrame(columns, index=pd.Index(GRID, name="z"))


def _sign(model: Model, name: str) -> bool:
    """Whether a parameter is positive by its kind: then errors in percent mean something."""
    return name.startswith(("TV", "omega_", "sigma")) and name in model.population_names
