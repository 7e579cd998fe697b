"""The unit of work behind a power: so many trials of one cell, simulated and fitted.

A piece says all that its trials depend on. Whoever computes it, and beside whatever else, the
result is the same; that of a trial depends on its cell and its number, not on the grid around it.
(Where an assay limit censors, the rows that may be censored in any trial of the grid come last,
which changes the rounding of sums.)
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from popk.analysis.covariates.bayes_factor import kernel
from popk.analysis.covariates.classical import correlated, two_groups
from popk.analysis.covariates.criteria import VERDICTS
from popk.analysis.covariates.effects import contrast, summarised, terms
from popk.analysis.layout import digest_of, layout, observed, shapes_of, spec_of
from popk.analysis.observations import population_sites
from popk.analysis.power.nested import likelihood_ratios
from popk.analysis.power.ratios import ratio_of
from popk.data.dataset import Dataset
from popk.inference.batch import Batch
from popk.inference.programs import compiled, kept
from popk.inference.trials import Trials
from popk.population.events import Events
from popk.population.model import Model
from popk.population.simulated import replicating
from popk.spec.fit import NO_EFFECT
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.model import ModelSpec
from popk.spec.relations import Below, Category, CovariateEffect, Linear

PIECE = 64
"""Most trials of a piece: those of one wave of the batch sampler."""
METHODS = ("ensemble", "alone", "nuts")
"""By what a trial was fitted in the end; results hold the place."""

COLUMNS = ("ratio", "q2_5", "q5", "q95", "q97_5", "inside", "verdict", "BF01", "wilcoxon",
           "spearman", "dOFV", "lr", "lr_alone", "passed", "method", "rhat", "draws")  # fmt: skip
"""Names of a result, in the order of tables: one that was sent may come in another."""

Result = dict[str, np.ndarray]
"""[trial] arrays: see `done`."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Trials of one cell; plain values that can be sent anywhere.

    Attributes
    ----------
    model
        The model's specification as JSON.
    data
        The design, from `popk.analysis.power.design.design`.
    effect
        Name of the effect that is tested.
    truth
        Population values of the simulated trials, the effect's and correlations among them.
    ratio
        The true ratio that the effect's value stands for.
    cell
        Number of the cell, from which its random keys come.
    number, first, trials
        Place among the pieces of the cell, number of its first trial, how many there are.
    wave
        Trials that the program is compiled for: the same in all pieces of a design.
    seed
        Of the whole grid.
    settings
        Of the batch sampler.
    no_effect
        Ratios that are taken for no effect.
    below
        Lower limit of the assay in the model's concentration unit.
    censorable
        [observation] those that are below the limit in some trial of the grid; None without one.
    likelihood_ratio
        Whether the likelihood-ratio test is made.
    """

    model: str
    data: Dataset
    effect: str
    truth: Mapping[str, float]
    ratio: float
    cell: int
    number: int
    first: int
    trials: int
    wave: int
    seed: int
    settings: SamplerSpec
    no_effect: tuple[float, float] = NO_EFFECT
    below: float | None = None
    censorable: Bool[np.ndarray, " observation"] | None = None
    likelihood_ratio: bool = False


def done(piece: Piece) -> Result:
    """Simulate the trials of a piece and fit them, each through the convergence gate.

    Returns
    -------
    dict
        Name to [trial] values: of the ratio's posterior ``ratio`` (median), ``q2_5``, ``q5``,
        ``q95``, ``q97_5``, ``inside`` (probability of the range taken for no effect), ``verdict``
        (place in `VERDICTS`); ``BF01`` (kernel estimate; NaN for a linear effect); ``wilcoxon``
        (p of Wilcoxon-Mann-Whitney on individual estimates, see `_unshrunk`; NaN for an effect
        without two groups), ``spearman`` (p of the rank correlation, for such an effect);
        ``dOFV``, ``lr`` (p of the likelihood-ratio test) and ``lr_alone`` (see
        `popk.analysis.power.nested`; NaN where it is not made); ``passed`` (the gate), ``method``
        (place in `METHODS`), ``rhat`` (the worst), ``draws``.

    Raises
    ------
    popk.PopkError
        If the design cannot be condensed.
    """
    spec = spec_of(piece.model)
    model, effect = Model(spec), effect_named(spec, piece.effect)
    events = events_of(piece)
    with jax.enable_x64(piece.settings.precision == "float64"):
        settings = piece.settings.model_copy(update={"seed": _seed(piece)})
        fitted = Batch(model, events, settings, piece.wave).run()
    with jax.enable_x64(True):
        return _results(piece, model, effect, fitted, events)


def events_of(piece: Piece) -> Events:
    """The simulated trials of a piece, as `done` fits them: see `popk.inference.batch.Batch`."""
    with jax.enable_x64(True):
        own = layout(piece.model, piece.data, piece.censorable)
        return observed(own, simulated(piece), piece.below)


def simulated(piece: Piece) -> Float[np.ndarray, "trial observation"]:
    """Concentrations as an assay without limits would report them, in the model's unit.

    Trial i of a cell has a random key of its own, ``fold_in(fold_in(key(seed), cell), i)``.
    """
    model = Model(spec_of(piece.model))
    with jax.enable_x64(True):
        own = layout(piece.model, piece.data)
        base = jax.random.fold_in(jax.random.key(piece.seed % (1 << 32)), piece.cell)
        # Always as many as the program is compiled for
        numbers = jnp.arange(piece.first, piece.first + piece.wave, dtype=jnp.uint32)
        keys = jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(base, numbers))
        values = {name: np.asarray(value, float) for name, value in piece.truth.items()}
        sites = {n: np.asarray(v, float) for n, v in population_sites(model, values).items()}
        key = ("power", piece.model, piece.wave, shapes_of(own.events))
        arguments = (keys, sites, own.events)
        run = kept(key, lambda: compiled(key, _simulating(model), arguments))
        dv = np.asarray(run(*arguments))
    return dv[: piece.trials, own.row]


def fingerprint(pieces: Sequence[Piece]) -> str:
    """A hash of all that the results of these pieces depend on."""
    digest = hashlib.sha256()
    for piece in pieces:
        plain = (
            piece.model, piece.effect, sorted(piece.truth.items()), piece.ratio, piece.cell,
            piece.number, piece.first, piece.trials, piece.wave, piece.seed,
            piece.settings.model_dump_json(), piece.no_effect, piece.below,
            None if piece.censorable is None else piece.censorable.tobytes(),
            digest_of(piece.data), piece.likelihood_ratio,
        )  # fmt: skip
        digest.update(repr(plain).encode())
    return digest.hexdigest()


def effect_named(spec: ModelSpec, name: str) -> CovariateEffect:
    """The model's effect of this name."""
    return next(effect for effect in spec.covariates if effect.name == name)


def _seed(piece: Piece) -> int:
    """Of the sampler, for this piece alone."""
    entropy = [piece.seed % (1 << 63), piece.cell, piece.first]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _simulating(model: Model) -> Any:
    run = replicating(model)

    def all_of(keys: Array, sites: Mapping[str, Array], events: Events) -> Array:
        own = jax.random.wrap_key_data(keys)
        values = {n: jnp.broadcast_to(v, (own.shape[0], *jnp.shape(v))) for n, v in sites.items()}
        return run(own, values, events)

    return all_of


def _results(
    piece: Piece, model: Model, effect: CovariateEffect, fitted: Trials, events: Events
) -> Result:
    between, own_terms = contrast(effect, piece.data), terms(effect, piece.data)
    grouped = isinstance(effect, Below | Category)
    rows = []
    for trial, draws in enumerate(fitted.draws):
        own = np.asarray(draws, np.float64)
        named = {name: own[..., j] for j, name in enumerate(fitted.names)}
        found = summarised(ratio_of(effect, between, named[effect.name]), piece.no_effect)
        log_own = _unshrunk(model, effect, fitted, trial, named, events, own_terms)
        rows.append(
            {
                "ratio": found.median,
                "q2_5": found.q2_5,
                "q5": found.q5,
                "q95": found.q95,
                "q97_5": found.q97_5,
                "inside": found.inside,
                "verdict": VERDICTS.index(found.verdict),
                "BF01": kernel(named[effect.name], effect),
                "wilcoxon": two_groups(np.exp(log_own), own_terms).p if grouped else math.nan,
                "spearman": math.nan if grouped else correlated(log_own, own_terms).p,
                "method": METHODS.index(fitted.method[trial]),
                "draws": own.shape[0] * own.shape[1],
            }
        )
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    tested = dict.fromkeys(("dOFV", "lr", "lr_alone"), np.full(len(rows), math.nan))
    if piece.likelihood_ratio:
        by = likelihood_ratios(model, effect, fitted, events)
        tested = {"dOFV": by.change, "lr": by.p, "lr_alone": by.alone.astype(float)}
    return columns | tested | {"passed": fitted.passed, "rhat": fitted.rhat.max(axis=1)}


def _unshrunk(
    model: Model,
    effect: CovariateEffect,
    fitted: Trials,
    trial: int,
    named: Mapping[str, np.ndarray],
    events: Events,
    own_terms: Float[np.ndarray, " subject"],
) -> Float[np.ndarray, " subject"]:
    """Log individual estimates, without scale, that the effect has not drawn apart.

    An individual estimate is drawn towards the typical value of its covariate by a share s²/omega²,
    where s is its posterior SD, and with it groups are drawn apart: a rank test on such estimates
    would find an effect too often. Without that share of the effect they are, to first
    order, the estimates of a model without it, which is what a paper tests.
    """
    place = fitted.parameters.index(effect.parameter)
    _, low, middle, high = np.log(fitted.individual[trial, place].astype(float)).T
    sd = (high - low) / (2.0 * 1.6448536269514722)
    omega = named.get(f"omega_{effect.parameter}", model.fixed().get(f"omega_{effect.parameter}"))
    share = np.clip(sd**2 / float(np.median(np.asarray(omega))) ** 2, 0.0, 1.0)
    scale = np.asarray(events.log_scale[effect.parameter])[:, 0]
    value = float(np.median(named[effect.name]))
    if isinstance(effect, Linear):
        return middle - scale - share * np.log1p(value * own_terms)
    return middle - scale - share * value * own_terms
