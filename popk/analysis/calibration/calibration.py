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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Int

from popk.analysis.calibration.recovery import described, individuals, overall, quantities_of, rates
from popk.analysis.calibration.trials import Part, Piece, done, fingerprint, joined, pieces_of
from popk.analysis.calibration.uniform import GRID, band, deviation, ecdf, p_of
from popk.analysis.verdict import holm
from popk.data.dataset import Dataset
from popk.population.events import arrange
from popk.population.model import Model
from popk.population.parameters import distribution, median
from popk.population.subjects import varied
from popk.spec.fit import Dose
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.priors import Prior
from popk.spec.problem import PopkError, Problem
from popk.study.work import Watch, run

if TYPE_CHECKING:
    from distributed import Client

LEAST_REPLICATES = 10


@dataclass(frozen=True, eq=False)
class Planned:
    """A calibration that is to be computed.

    Attributes
    ----------
    pieces
        The work.
    key
        A hash of all that the results depend on.
    model, data
        The model, and the design.
    replicates
        Number of trials.
    truth
        The population values of all trials; None where each has its own from the priors.
    below
        Lower limit of the assay, if any.
    dose
        What Css refers to.
    """

    pieces: tuple[Piece, ...]
    key: str
    model: Model
    data: Dataset
    replicates: int
    truth: Mapping[str, float] | None
    below: float | None
    dose: Dose | None


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
    client: "Client | None" = None,
    watch: Watch | None = None,
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
    client
        Whose workers fit the trials, from `popk.study.cluster.connected`; None: in this process,
        as many pieces at once as there are cores. It makes no difference to the result.
    watch
        Told as pieces of up to 64 trials are finished.

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
    work = planned(
        key, model, data, replicates, settings=settings, truth=truth, below=below, dose=dose
    )
    begun = time.perf_counter()
    parts = run(done, work.pieces, key=work.key, client=client, watch=watch)
    return gathered(work, parts, time.perf_counter() - begun)


def planned(
    key: jax.Array,
    model: Model,
    data: Dataset,
    replicates: int,
    *,
    settings: SamplerSpec | None = None,
    truth: Mapping[str, float] | None = None,
    below: float | None = None,
    dose: Dose | None = None,
) -> Planned:
    """The work of `calibrate`, whose arguments these are; nothing is fitted yet."""
    settings = settings or SamplerSpec(precision="float32", draws=2000)
    given = None if truth is None else _complete(model, truth)
    if replicates < LEAST_REPLICATES:
        raise _problem(
            model, "replicates", f"{replicates} replicates", f"{LEAST_REPLICATES} or more",
            "a thousand tell small errors from chance",
        )  # fmt: skip
    pieces = pieces_of(key, model, data, replicates, settings, given, below)
    return Planned(pieces, fingerprint(pieces), model, data, replicates, given, below, dose)


def gathered(work: Planned, parts: Sequence[Part], seconds: float) -> Calibration:
    """The results of the pieces, in their order, as tables."""
    model, whole = work.model, joined(parts)
    names = (*model.population_names, *model.correlation_names)
    uniform = work.truth is None
    population = described(whole.truth, whole.population, [_sign(model, name) for name in names])
    table = pd.DataFrame(population, index=pd.Index(names, name="parameter"))
    if uniform:
        table["deviation"] = [deviation(own) for own in whole.ranks.T]
        table["p"] = [p_of(value, work.replicates) for value in table["deviation"]]
        table["p_holm"] = holm(table["p"].to_numpy())
    rate, css = rates(model, work.data, work.dose)
    quantities = quantities_of(model, varied(model), whole.individual_truth, whole.individual, rate)
    rows = pd.DataFrame({"trial": np.arange(work.replicates)}).set_index("trial")
    return Calibration(
        model.spec.name,
        work.replicates,
        work.truth,
        work.below,
        pd.DataFrame(whole.ranks, columns=list(names), index=rows.index),
        _curves(names, whole.ranks) if uniform else pd.DataFrame(),
        band(work.replicates),
        table,
        individuals(work.data.ids, quantities),
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


def _curves(names: tuple[str, ...], all_ranks: Int[np.ndarray, "trial name"]) -> pd.DataFrame:
    n = len(all_ranks)
    columns = {"band": band(n) * np.sqrt(GRID * (1 - GRID) / n)}
    columns |= {name: ecdf(all_ranks[:, j]) - GRID for j, name in enumerate(names)}
    return pd.DataFrame(columns, index=pd.Index(GRID, name="z"))


def _sign(model: Model, name: str) -> bool:
    """Whether a parameter is positive by its kind: then errors in percent mean something."""
    return name.startswith(("TV", "omega_", "sigma")) and name in model.population_names
