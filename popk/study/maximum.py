"""`MaximumFit`: maximum-likelihood estimates of a model given data, and where they came from."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from popk.data.dataset import Dataset
from popk.inference.conditional import STUCK, back_solved
from popk.inference.convergence import Check
from popk.inference.laplace import Method
from popk.inference.maximum import (
    GRADIENT,
    LEAST_CURVATURE,
    Estimate,
    Likelihood,
    Settings,
    State,
    at,
    maximise,
)
from popk.inference.posterior import Posterior, Progress
from popk.population.condensed import condense
from popk.population.events import Events, arrange
from popk.population.model import Model
from popk.population.subjects import shares
from popk.spec.fit import Dose
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.problem import PopkError, Problem
from popk.study.fit import Provenance, Watch, dosed_size, in_words, provenance_of

DRAWS = 2000
"""Draws of each subject's conditional distribution, for the tables' intervals."""


@dataclass(frozen=True, eq=False)
class MaximumFit:
    """A finished maximum-likelihood fit. Immutable; tables come from `popk.analysis`.

    Attributes
    ----------
    model, data
        What was fitted.
    estimate
        Population values, their errors, the objective function.
    etas, iwres
        [subject] conditional modes by parameter; [observation] weighted residuals there, in the
        file's order, NaN where a row is censored.
    samples
        Draws of each subject's parameters from the normal approximation of their conditional
        distribution at the estimates (empirical Bayes): they do not carry the estimates' errors.
    checks
        Whether the search has ended at a maximum.
    provenance, dose, synthetic, name
        As in `popk.study.fit.Fit`.
    """

    model: Model
    data: Dataset
    estimate: Estimate
    etas: Mapping[str, Float[np.ndarray, " subject"]]
    iwres: Float[np.ndarray, " observation"]
    samples: Posterior
    checks: tuple[Check, ...]
    provenance: Provenance
    dose: Dose | None = None
    synthetic: bool = False
    name: str = field(default="")

    @property
    def converged(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def __repr__(self) -> str:
        return in_words(self)

    @property
    def aic(self) -> float:
        """Akaike's criterion, -2 log L + 2 p."""
        return 2.0 * (self.estimate.parameters - self.estimate.log_likelihood)

    @property
    def bic(self) -> float:
        """Schwarz's criterion, -2 log L + p log N, N observations (as R's nlme)."""
        penalty = self.estimate.parameters * math.log(self.data.observations)
        return penalty - 2.0 * self.estimate.log_likelihood


class Prepared(NamedTuple):
    """A likelihood, and where each observation of the file is among its rows."""

    likelihood: Likelihood
    order: np.ndarray


def prepare_likelihood(model: Model, data: Dataset, settings: SamplerSpec) -> Prepared:
    """The marginal likelihood of a model given data.

    Raises
    ------
    popk.PopkError
        If nothing is to be estimated, or "focei" is asked for with Student-t variability.
    """
    for name, parameter in model.spec.parameters.items():
        variability = parameter.variability
        if variability is not None and variability.df is not None and settings.method == "focei":
            raise PopkError(
                Problem(
                    file=data.source,
                    key="sampler.method",
                    found=f'method "focei" for {name} with Student-t variability',
                    expected="etas that are normal: FOCEI's curvature is theirs",
                    cure='set method = "laplace", "agq" or "importance"',
                )
            )
    if not model.population_names:
        raise PopkError(
            Problem(
                file=data.source,
                key="sampler.method",
                found=f'method "{settings.method}" with every population parameter fixed',
                expected="a parameter to estimate",
                cure="give one of them a prior that is not fixed",
            )
        )
    events, order = condense(arrange(model.spec, data)[0])
    if not settings.maximises:
        raise ValueError(f"{settings.method} is a sampler")
    own = Settings(cast("Method", settings.method), settings.nodes, settings.samples, settings.seed)
    return Prepared(Likelihood(model, events, own), order)


def maximum(
    model: Model,
    data: Dataset,
    settings: SamplerSpec,
    *,
    dose: Dose | None = None,
    synthetic: bool = False,
    name: str = "",
    state: Any = None,
    start: MaximumFit | None = None,
    watch: Watch | None = None,
) -> MaximumFit:
    """Maximise the likelihood of a model given data; see `popk.study.fit.fit`.

    Without a saved `state` the search begins at the centre of the priors, or at the estimates of
    another model of the same data, `start`, where the two models name the same parameters.
    """
    if dose is not None:
        dosed_size(dose, data)
    begun = time.perf_counter()
    with jax.enable_x64(True):
        likelihood, order = prepare_likelihood(model, data, settings)

        def told(reached: State) -> None:
            if watch is not None:
                count = reached.evaluations
                watch(Progress("maximum likelihood", count, count + 1, 0, 0), reached)

        if state is None and start is not None:
            other = prepare_likelihood(start.model, data, settings).likelihood.coordinates
            values = other.values(jnp.asarray(start.estimate.vector))
            state = at(likelihood.vector(jax.tree.map(np.asarray, values)))
        estimate = maximise(likelihood, state, watch=told)
        found = at_estimate(likelihood, estimate, order, settings.seed)
    finished = time.perf_counter()
    method = {
        "name": settings.method,
        "evaluations": estimate.evaluations,
        "seed": settings.seed,
    }
    if settings.method == "agq":
        method["nodes"] = settings.nodes
    if settings.method == "importance":
        method["samples"] = settings.samples
    samples = Posterior(found.draws, {}, np.zeros((1, DRAWS, 0)), method)
    seconds = {"maximum likelihood": finished - begun}
    provenance = provenance_of(model, data, settings, "cpu", seconds, method)
    return MaximumFit(
        model, data, estimate, found.etas, found.iwres, samples, checks_of(estimate, data),
        provenance, dose, synthetic, name,
    )  # fmt: skip


class AtEstimate(NamedTuple):
    """The subjects at the estimates; see `MaximumFit`."""

    etas: dict[str, np.ndarray]
    iwres: np.ndarray
    draws: dict[str, np.ndarray]


def at_estimate(
    likelihood: Likelihood, estimate: Estimate, order: np.ndarray, seed: int
) -> AtEstimate:
    """Conditional modes, residuals there, and draws from the conditional distributions."""
    model, events = likelihood.model, likelihood.events

    def of(x: jax.Array, values: Any, events: Events) -> Any:
        share = shares(model, events, values, x)
        return share.etas, share.parameters, share.iwres

    values = likelihood.coordinates.values(jnp.asarray(estimate.vector))
    etas, _, iwres = jax.jit(of)(estimate.x, values, events)
    measured = np.where(np.asarray(events.censored), np.nan, np.asarray(iwres))
    z = np.random.default_rng([seed, 4]).standard_normal((DRAWS, *estimate.x.shape))
    turn = jax.vmap(back_solved, (None, 0))
    shift = turn(jnp.asarray(estimate.curvature_factor), jnp.asarray(z))
    draw = jax.jit(lambda points: jax.lax.map(lambda x: of(x, values, events)[:2], points))
    own, parameters = draw(estimate.x + shift)
    draws = {f"eta_{name}": v for name, v in own.items()} | dict(parameters)
    return AtEstimate(
        {name: np.asarray(eta) for name, eta in etas.items()},
        measured[np.asarray(events.observed)][order],
        {name: np.asarray(v)[None] for name, v in draws.items()},
    )


def checks_of(estimate: Estimate, data: Dataset) -> tuple[Check, ...]:
    """Whether a search has ended at a maximum, check by check."""
    lost = ", ".join(data.ids[i] for i in estimate.lost[:5])
    return (
        Check(
            "slope", estimate.slope, f"< {GRADIENT:g}", estimate.slope < GRADIENT, "the search",
            f"the search has not come to its end ({estimate.message}): begin from priors nearer "
            "to the estimates, or simplify the model", "popk.inference.maximum",
        ),
        Check(
            "curvature", estimate.least_curvature, f"> {LEAST_CURVATURE:g}",
            estimate.least_curvature > LEAST_CURVATURE,
            "the Hessian", "there is no maximum here: some parameter is not identified by these "
            "data, or lies at the edge of what is allowed", "popk.inference.maximum",
        ),
        Check(
            "subjects' modes not found", float(len(estimate.lost)), "= 0", not estimate.lost,
            f"ID {lost}" if lost else "all subjects",
            "look at these subjects' records; the squared length of the last Newton step must be "
            f"below {STUCK:g}", "popk.inference.conditional",
        ),
    )  # fmt: skip


def objective_of(fit: MaximumFit) -> dict[str, float]:
    """The objective function and what is derived from it, for the record of a run."""
    found = fit.estimate
    return {
        "OFV": found.ofv,
        "OFV Monte Carlo error": found.error,
        "-2 log L": -2.0 * found.log_likelihood,
        "parameters": found.parameters,
        "observations": fit.data.observations,
        "AIC": fit.aic,
        "BIC": fit.bic,
        "condition number": found.condition,
        "epsilon shrinkage": 1.0 - float(np.nanstd(fit.iwres)),
    }


def arrays_of(fit: MaximumFit) -> dict[str, np.ndarray]:
    """A fit as named arrays, to be stored; `maximum_from` reads them."""
    arrays = {f"estimate.{name}": np.asarray(v) for name, v in asdict(fit.estimate).items()}
    arrays |= {f"eta.{name}": eta for name, eta in fit.etas.items()}
    arrays |= {f"draw.{name}": draw for name, draw in fit.samples.draws.items()}
    return arrays | {"iwres": fit.iwres, "ids": np.array(fit.data.ids)}


class Kept(NamedTuple):
    """What `arrays_of` stored."""

    ids: tuple[str, ...]
    estimate: Estimate
    etas: dict[str, np.ndarray]
    iwres: np.ndarray
    samples: Posterior


def maximum_from(arrays: Mapping[str, np.ndarray], method: Mapping[str, Any]) -> Kept:
    """What was stored; KeyError or TypeError where something is missing."""

    def under(prefix: str) -> dict[str, np.ndarray]:
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    stored = under("estimate.")
    plain: dict[str, Any] = {
        item.name: stored[item.name] if stored[item.name].ndim else stored[item.name].item()
        for item in fields(Estimate)
    }
    plain["names"] = tuple(map(str, stored["names"]))
    plain["lost"] = tuple(map(int, stored["lost"]))
    draws = under("draw.")
    return Kept(
        tuple(map(str, arrays["ids"])),
        Estimate(**plain),
        under("eta."),
        arrays["iwres"],
        Posterior(draws, {}, np.zeros((1, DRAWS, 0)), method),
    )
