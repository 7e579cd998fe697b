"""The unit of work behind a power: so many trials of one cell, simulated and fitted.

A piece says all that its trials depend on. Whoever computes it, and beside whatever else, the
result is the same; that of a trial depends on its cell and its number, not on the grid around it.
(Where an assay limit censors, the rows that may be censored in any trial of the grid come last,
which changes the rounding of sums.)
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from popk.analysis.covariates.bayes_factor import kernel
from popk.analysis.covariates.classical import two_groups
from popk.analysis.covariates.criteria import VERDICTS
from popk.analysis.covariates.effects import contrast, summarised, terms
from popk.analysis.observations import population_sites
from popk.analysis.power.ratios import ratio_of
from popk.data.dataset import PER_RECORD, Dataset
from popk.inference.batch import Batch
from popk.inference.programs import compiled, kept
from popk.inference.trials import Trials
from popk.population.condensed import Rows, condense, with_slots
from popk.population.events import Events, arrange
from popk.population.model import Model
from popk.population.simulated import replicating
from popk.spec.fit import NO_EFFECT
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.model import Below, Category, CovariateEffect, ModelSpec
from popk.spec.problem import PopkError, Problem

PIECE = 64
"""Most trials of a piece: those of one wave of the batch sampler."""
METHODS = ("ensemble", "alone", "nuts")
"""By what a trial was fitted in the end; results hold the place."""

COLUMNS = ("ratio", "q2_5", "q5", "q95", "q97_5", "inside", "verdict", "BF01", "wilcoxon", "passed",
           "method", "rhat", "draws")  # fmt: skip
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


class _Layout(NamedTuple):
    """A condensed design, and the row of each observation in the file's order."""

    events: Events
    row: Int[np.ndarray, " observation"]


def done(piece: Piece) -> Result:
    """Simulate the trials of a piece and fit them, each through the convergence gate.

    Returns
    -------
    dict
        Name to [trial] values: of the ratio's posterior ``ratio`` (median), ``q2_5``, ``q5``,
        ``q95``, ``q97_5``, ``inside`` (probability of the range taken for no effect), ``verdict``
        (place in `VERDICTS`); ``BF01`` (kernel estimate; NaN for a linear effect); ``wilcoxon``
        (p of Wilcoxon-Mann-Whitney on individual estimates, see `_unshrunk`; NaN for an effect
        without two groups); ``passed`` (the gate), ``method`` (place in `METHODS`), ``rhat``
        (the worst), ``draws``.

    Raises
    ------
    popk.PopkError
        If the design cannot be condensed.
    """
    spec = _spec(piece.model)
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
        return _observed(piece, simulated(piece))


def simulated(piece: Piece) -> Float[np.ndarray, "trial observation"]:
    """Concentrations as an assay without limits would report them, in the model's unit.

    Trial i of a cell has a random key of its own, ``fold_in(fold_in(key(seed), cell), i)``.
    """
    model = Model(_spec(piece.model))
    with jax.enable_x64(True):
        layout = _layout(piece, None)
        base = jax.random.fold_in(jax.random.key(piece.seed % (1 << 32)), piece.cell)
        # Always as many as the program is compiled for
        numbers = jnp.arange(piece.first, piece.first + piece.wave, dtype=jnp.uint32)
        keys = jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(base, numbers))
        values = {name: np.asarray(value, float) for name, value in piece.truth.items()}
        sites = {n: np.asarray(v, float) for n, v in population_sites(model, values).items()}
        key = ("power", piece.model, piece.wave, _shapes(layout.events))
        arguments = (keys, sites, layout.events)
        run = kept(key, lambda: compiled(key, _simulating(model), arguments))
        dv = np.asarray(run(*arguments))
    return dv[: piece.trials, layout.row]


def fingerprint(pieces: Sequence[Piece]) -> str:
    """A hash of all that the results of these pieces depend on."""
    digest = hashlib.sha256()
    for piece in pieces:
        plain = (
            piece.model, piece.effect, sorted(piece.truth.items()), piece.ratio, piece.cell,
            piece.number, piece.first, piece.trials, piece.wave, piece.seed,
            piece.settings.model_dump_json(), piece.no_effect, piece.below,
            None if piece.censorable is None else piece.censorable.tobytes(),
            _of_data(piece.data),
        )  # fmt: skip
        digest.update(repr(plain).encode())
    return digest.hexdigest()


def effect_named(spec: ModelSpec, name: str) -> CovariateEffect:
    """The model's effect of this name."""
    return next(effect for effect in spec.covariates if effect.name == name)


def _spec(text: str) -> ModelSpec:
    return kept(("power", text, "spec"), lambda: ModelSpec.model_validate_json(text))


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


def _layout(piece: Piece, censorable: Bool[np.ndarray, " observation"] | None) -> _Layout:
    """The condensed design; observations that may be censored come last."""
    may = b"" if censorable is None else censorable.tobytes()
    key = ("power", piece.model, _of_data(piece.data), may)

    def make() -> _Layout:
        spec = _spec(piece.model)
        events, _ = arrange(spec, piece.data)
        mask = None
        if censorable is not None:
            mask = np.zeros(events.observed.shape, dtype=bool)
            mask[np.asarray(events.observed)] = censorable
        events, order = condense(events, mask)
        if not isinstance(events.steps, Rows):
            raise PopkError(
                Problem(
                    file=spec.name,
                    key="regimen",
                    found="a covariate that changes within an infant, or more than 24 doses behind "
                    "a blood sample",
                    expected="a design whose trials can be fitted side by side",
                    cure="let the infants not grow, and plan fewer changes of dose",
                )
            )
        return _Layout(events, np.flatnonzero(events.observed)[order])

    return kept(key, make)


def _observed(piece: Piece, values: Float[np.ndarray, "trial observation"]) -> Events:
    """The design with simulated observations, of which those below the limit are censored."""
    low = np.zeros(values.shape, dtype=bool) if piece.below is None else values < piece.below
    censorable = piece.censorable
    if low.any():
        ever = np.asarray(low.any(axis=0))
        censorable = ever if censorable is None else ever | censorable
    layout = _layout(piece, censorable if censorable is not None and censorable.any() else None)
    design, shape = layout.events, (len(values), *layout.events.observed.shape)

    def in_rows(rest: float | bool, own: np.ndarray) -> np.ndarray:
        rows = np.full(shape, rest, dtype=own.dtype)
        rows[:, layout.row] = own
        return rows

    limit = math.inf if piece.below is None else piece.below
    events = replace(
        design,
        observed=np.broadcast_to(design.observed, shape),
        dv=in_rows(1.0, np.where(low, 1.0, values)),
        censored=in_rows(False, low),
        lower=np.full(shape, -np.inf),
        upper=in_rows(np.inf, np.where(low, limit, np.inf)),
        slots=None,
    )
    assert design.slots is not None
    return with_slots(events, design.slots.count)


def _results(
    piece: Piece, model: Model, effect: CovariateEffect, fitted: Trials, events: Events
) -> Result:
    between = contrast(effect, piece.data)
    group = terms(effect, piece.data) if isinstance(effect, Below | Category) else None
    rows = []
    for trial, draws in enumerate(fitted.draws):
        own = np.asarray(draws, np.float64)
        named = {name: own[..., j] for j, name in enumerate(fitted.names)}
        ratio = ratio_of(effect, between, named[effect.name])
        found = summarised(ratio, piece.no_effect)
        p = math.nan
        if group is not None:
            log_own = _unshrunk(model, effect, fitted, trial, named, events, group)
            p = two_groups(np.exp(log_own), group).p
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
                "wilcoxon": p,
                "method": METHODS.index(fitted.method[trial]),
                "draws": own.shape[0] * own.shape[1],
            }
        )
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return columns | {"passed": fitted.passed, "rhat": fitted.rhat.max(axis=1)}


def _unshrunk(
    model: Model,
    effect: CovariateEffect,
    fitted: Trials,
    trial: int,
    named: Mapping[str, np.ndarray],
    events: Events,
    group: Float[np.ndarray, " subject"],
) -> Float[np.ndarray, " subject"]:
    """Log individual estimates, without scale, that the effect has not drawn apart.

    An individual estimate is drawn towards the typical value of its group by a share s²/omega²,
    where s is its posterior SD, and with it the groups are drawn apart: a rank test on such
    estimates would find an effect too often. Without that share of the effect they are, to first
    order, the estimates of a model without it, which is what a paper tests.
    """
    place = fitted.parameters.index(effect.parameter)
    _, low, middle, high = np.log(fitted.individual[trial, place].astype(float)).T
    sd = (high - low) / (2.0 * 1.6448536269514722)
    omega = named.get(f"omega_{effect.parameter}", model.fixed().get(f"omega_{effect.parameter}"))
    share = np.clip(sd**2 / float(np.median(np.asarray(omega))) ** 2, 0.0, 1.0)
    scale = np.asarray(events.log_scale[effect.parameter])[:, 0]
    return middle - scale - share * float(np.median(named[effect.name])) * group


def _of_data(data: Dataset) -> str:
    """A hash of what a design says."""
    digest = hashlib.sha256(repr((data.units, data.covariate_units, data.levels)).encode())
    for name in PER_RECORD:
        digest.update(np.ascontiguousarray(getattr(data, name)).tobytes())
    for name, values in sorted(data.covariates.items()):
        digest.update(name.encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _shapes(events: Events) -> str:
    leaves, tree = jax.tree.flatten(events)
    return repr((str(tree), [np.shape(leaf) for leaf in leaves]))
