"""The unit of work behind a calibration: so many trials, simulated, fitted, ranked.

A piece says all that its trials depend on. Its data are those of its trials' numbers, however the
trials are cut into pieces; whoever computes it, and beside whatever else, the result is the same.
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

from popk.analysis.calibration.uniform import ranks
from popk.analysis.layout import digest_of, layout, observed, shapes_of, spec_of
from popk.data.dataset import Dataset
from popk.inference.batch import Batch
from popk.inference.programs import compiled, kept
from popk.inference.trials import Trials
from popk.population.events import Events
from popk.population.model import Model
from popk.population.simulated import drawing
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.residual import ERRORS

PIECE = 64
"""Most trials of a piece: those of one wave of the batch sampler."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Trials of a calibration; plain values that can be sent anywhere.

    Attributes
    ----------
    model
        The model's specification as JSON.
    data
        The design.
    key
        Words of the random key of the whole simulation.
    given
        Population values of all trials; None: each draws its own from the priors.
    below
        Lower limit of the assay in the model's concentration unit.
    first, trials
        Number of the first trial, and how many there are.
    wave
        Trials that the program is compiled for: the same in all pieces.
    settings
        Of the batch sampler; its seed is that of the whole calibration.
    censorable
        [observation] those that are below the limit in some trial of the calibration; None without
        a limit.
    """

    model: str
    data: Dataset
    key: tuple[int, ...]
    given: Mapping[str, float] | None
    below: float | None
    first: int
    trials: int
    wave: int
    settings: SamplerSpec
    censorable: Bool[np.ndarray, " observation"] | None = None


class Simulated(NamedTuple):
    """The trials of a piece before an assay.

    Attributes
    ----------
    values
        [trial, observation] concentrations, in the model's unit and the file's order.
    possible
        [trial, observation] where there is anything to observe.
    truth
        Every named value behind them, [trial, ...].
    """

    values: Float[np.ndarray, "trial observation"]
    possible: Bool[np.ndarray, "trial observation"]
    truth: dict[str, np.ndarray]


class Part(NamedTuple):
    """What is kept of trials, in their order.

    Attributes
    ----------
    truth
        [trial, name] population parameters, correlations included.
    individual_truth
        [trial, parameter, subject].
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

    truth: Float[np.ndarray, "trial name"]
    individual_truth: Float[np.ndarray, "trial parameter subject"]
    ranks: Int[np.ndarray, "trial name"]
    population: Float[np.ndarray, "trial name 4"]
    individual: Float[np.ndarray, "trial parameter subject 4"]
    rhat: Float[np.ndarray, " trial"]
    ess: Float[np.ndarray, " trial"]
    draws: Int[np.ndarray, " trial"]
    passed: Bool[np.ndarray, " trial"]
    method: tuple[str, ...]
    why: tuple[str, ...]


def pieces_of(
    key: jax.Array,
    model: Model,
    data: Dataset,
    replicates: int,
    settings: SamplerSpec,
    given: Mapping[str, float] | None,
    below: float | None,
) -> tuple[Piece, ...]:
    """The work of a calibration; its trials are simulated once to see which rows are ever censored.

    Raises
    ------
    popk.PopkError
        If the design lacks a covariate or cannot be condensed.
    """
    # All pieces share a program: the last one too, of fewer trials
    wave = min(PIECE, 8 * math.ceil(replicates / 8))
    words = tuple(int(word) for word in np.asarray(jax.random.key_data(key)))
    pieces = [
        Piece(
            model.spec.model_dump_json(), data, words, given, below, first,
            min(wave, replicates - first), wave, settings,
        )
        for first in range(0, replicates, wave)
    ]  # fmt: skip
    with jax.enable_x64(True):
        layout(pieces[0].model, data)  # refused before anything is computed
    if below is None:
        return tuple(pieces)
    ever = np.any([_low(piece, below).any(axis=0) for piece in pieces], axis=0)
    return tuple(replace(piece, censorable=ever) for piece in pieces)


def done(piece: Piece) -> Part:
    """Simulate the trials of a piece, fit each through the convergence gate, rank the truth."""
    model, simulated = Model(spec_of(piece.model)), drawn(piece)
    events = _assayed(piece, simulated)
    seed = np.random.SeedSequence([piece.settings.seed % (1 << 63), piece.first])
    settings = piece.settings.model_copy(update={"seed": int(seed.generate_state(1)[0])})
    with jax.enable_x64(piece.settings.precision == "float64"):
        batch = Batch(model, events, settings, piece.wave)
        return _reduced(batch.run(), simulated.truth)


def drawn(piece: Piece) -> Simulated:
    """The simulated trials of a piece.

    Trial i has a random key of its own, ``fold_in(key, i)``.
    """
    model = Model(spec_of(piece.model))
    with jax.enable_x64(True):
        own = layout(piece.model, piece.data)
        base = jax.random.wrap_key_data(jnp.asarray(piece.key, jnp.uint32))
        # Always as many as the program is compiled for
        numbers = jnp.arange(piece.first, piece.first + piece.wave, dtype=jnp.uint32)
        keys = jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(base, numbers))
        given = {name: np.asarray(value, float) for name, value in (piece.given or {}).items()}
        arguments = (keys, own.events, given)
        key = ("drawn", piece.model, piece.wave, shapes_of(own.events), tuple(given))
        run = kept(key, lambda: compiled(key, _drawing(model), arguments))
        dv, without, truth = jax.tree.map(np.asarray, run(*arguments))
    trials = slice(piece.trials)
    # Without drug there is nothing to measure on a log scale, unless it is censored
    hidden = piece.below is None and ERRORS[model.spec.residual.error].vanishes
    possible = ~without[trials, own.row] if hidden else np.ones((piece.trials, own.row.size), bool)
    values = {name: value[trials] for name, value in truth.items()}
    return Simulated(dv[trials, own.row], possible, values)


def joined(parts: Sequence[Part]) -> Part:
    """Parts one after the other."""

    def whole(name: str) -> Any:
        own = [getattr(part, name) for part in parts]
        if name in ("method", "why"):
            return tuple(word for words in own for word in words)
        return np.concatenate(own)

    return Part(**{name: whole(name) for name in Part._fields})


def fingerprint(pieces: Sequence[Piece]) -> str:
    """A hash of all that the results of these pieces depend on."""
    digest = hashlib.sha256()
    for piece in pieces:
        plain = (
            piece.model, digest_of(piece.data), piece.key,
            None if piece.given is None else sorted(piece.given.items()), piece.below,
            piece.first, piece.trials, piece.wave, piece.settings.model_dump_json(),
            None if piece.censorable is None else piece.censorable.tobytes(),
        )  # fmt: skip
        digest.update(repr(plain).encode())
    return digest.hexdigest()


def _drawing(model: Model) -> Any:
    run = drawing(model)

    def all_of(keys: Array, events: Events, given: Mapping[str, Array]) -> Any:
        return run(jax.random.wrap_key_data(keys), events, given)

    return all_of


def _low(piece: Piece, below: float) -> Bool[np.ndarray, "trial observation"]:
    simulated = drawn(piece)
    return simulated.possible & (simulated.values < below)


def _assayed(piece: Piece, simulated: Simulated) -> Events:
    with jax.enable_x64(True):
        own = layout(piece.model, piece.data, piece.censorable)
        return observed(own, simulated.values, piece.below, simulated.possible)


def _reduced(trials: Trials, truth: Mapping[str, np.ndarray]) -> Part:
    population = []
    for draws in trials.draws:
        flat = np.asarray(draws, float).reshape(-1, draws.shape[2])
        quantiles = np.quantile(flat, [0.05, 0.5, 0.95], axis=0)
        population.append(np.stack([flat.mean(axis=0), *quantiles], axis=-1))
    own = {name: truth[name] for name in trials.names}
    return Part(
        np.stack(list(own.values()), axis=1),
        np.stack([truth[name] for name in trials.parameters], axis=1),
        ranks(trials, own),
        np.stack(population),
        trials.individual,
        trials.rhat.max(axis=1, initial=0.0),
        np.minimum(trials.ess_bulk, trials.ess_tail).min(axis=1),
        np.array([draws.shape[0] * draws.shape[1] for draws in trials.draws]),
        trials.passed,
        trials.method,
        trials.why,
    )
