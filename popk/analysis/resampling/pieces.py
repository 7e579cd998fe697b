"""The unit of work behind a bootstrap and behind influence: so many data sets, each fitted.

A piece holds the data sets themselves (who is in each, or what was measured in it), so its result
depends neither on who computes it nor on what is computed beside it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from popk.analysis.covariates.effects import (
    NOT_RELEVANT,
    RELEVANT,
    UNKNOWN,
    contrast,
    ratio_draws,
    summarised,
)
from popk.analysis.layout import digest_of, spec_of
from popk.analysis.resampling.maximised import maximised
from popk.analysis.resampling.parametric import Observed, events_of
from popk.data.dataset import Dataset
from popk.inference.batch import Batch
from popk.inference.trials import Trials
from popk.population.condensed import of_trials
from popk.population.events import Events, arrange
from popk.population.model import Model
from popk.population.resampled import Room, room_for, with_subjects
from popk.spec.fit import NO_EFFECT
from popk.spec.fit import Sampler as SamplerSpec

PIECE = 64
"""Most data sets of a piece: those of one wave of the batch sampler."""
NUMBERS = 40_000
"""Quantities of all data sets of a piece, about: their draws have room in memory."""
METHODS = ("ensemble", "alone", "nuts", "maximum")
"""By what a data set was fitted in the end; results hold the place."""
WORDS = (RELEVANT, NOT_RELEVANT, UNKNOWN)
"""Verdicts on a covariate effect; results hold the place, -1 where there is none."""
STATISTICS = ("mean", "sd", "median", "q5", "q95")

Result = dict[str, np.ndarray]
"""[trial, ...] arrays: see `done`."""


class Drawn(NamedTuple):
    """Data sets that differ in their subjects.

    Attributes
    ----------
    subjects
        [trial, subject] who is in each, by the order in the data.
    room
        For the rows of all data sets of the study; None where events are not condensed.
    """

    subjects: Int[np.ndarray, "trial subject"]
    room: Room | None


@dataclass(frozen=True, eq=False)
class Piece:
    """Data sets to be fitted; plain values that can be sent anywhere.

    Attributes
    ----------
    model
        The model's specification as JSON.
    data
        The fit's own data.
    sets, pilot
        The data sets; and one more, the same in all pieces, from which all searches begin.
    first
        Number of the first one.
    wave
        Data sets that the program is compiled for: the same in all pieces.
    seed
        Of the samplers.
    settings
        Of the fits: of the batch sampler, or a method of maximum likelihood.
    start
        For maximum likelihood: unconstrained coordinates at which searches begin.
    no_effect
        Ratios that are taken for no effect.
    """

    model: str
    data: Dataset
    sets: Drawn | Observed
    pilot: Drawn | Observed
    first: int
    wave: int
    seed: int
    settings: SamplerSpec
    start: Float[np.ndarray, " p"] | None = None
    no_effect: tuple[float, float] = NO_EFFECT


def pieces_of(whole: Piece) -> tuple[Piece, ...]:
    """The work of one piece in pieces of a size that suits the sampler, two of them at least."""
    count = _count(whole.sets)
    subjects = whole.data.subjects
    model = Model(spec_of(whole.model))
    varied = sum(p.variability is not None for p in model.spec.parameters.values())
    quantities = len(model.population_names) + varied * subjects
    wave = min(PIECE, 8 * -(-count // 16), max(NUMBERS // quantities, 1))
    return tuple(
        replace(whole, sets=_part(whole.sets, first, wave), first=first, wave=wave)
        for first in range(0, count, wave)
    )


def drawn(model: Model, data: Dataset, subjects: Int[np.ndarray, "trial subject"]) -> Drawn:
    """Data sets that hold these subjects, with the room that they need together."""
    with jax.enable_x64(True):
        return Drawn(subjects, room_for(arrange(model.spec, data)[0], subjects))


def done(piece: Piece) -> Result:
    """Fit the data sets of a piece, each through the convergence gate.

    Returns
    -------
    dict
        Name to [trial, ...] values: ``values`` [trial, parameter, statistic] (see `STATISTICS`;
        for maximum likelihood the estimate is mean and median, its standard error the SD);
        ``error`` [trial, parameter] Monte Carlo standard error of the mean; ``covariance``
        [trial, parameter, parameter]; ``verdict`` [trial, effect] place in `WORDS`; ``passed``
        (the gate, or that the search ended at a maximum), ``method`` (place in `METHODS`),
        ``rhat`` (the worst), ``draws`` (or evaluations of the likelihood). Parameters are the
        population's, correlations last.

    Raises
    ------
    popk.PopkError
        If the data lack what the model needs.
    """
    model = Model(spec_of(piece.model))
    with jax.enable_x64(True):
        if piece.settings.maximises:
            times = None
            if isinstance(piece.sets, Drawn):
                count = piece.data.subjects
                times = np.stack([np.bincount(own, minlength=count) for own in piece.sets.subjects])
                events = None
            else:
                events = events_of(piece.model, piece.data, piece.sets)
            assert piece.start is not None
            return maximised(model, piece.data, piece.settings, piece.start, times, events)
        pilot, events = trials_of(piece)
    entropy = [piece.seed % (1 << 63), piece.first, 3]
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    settings = piece.settings.model_copy(update={"seed": seed})
    with jax.enable_x64(settings.precision == "float64"):
        fitted = Batch(model, events, settings, piece.wave, pilot).run()
    with jax.enable_x64(True):
        return _results(piece, model, fitted)


def trials_of(piece: Piece) -> tuple[Events, Events]:
    """Events of the pilot (one trial) and of the data sets of a piece; in float64."""
    sets, pilot = piece.sets, piece.pilot
    if isinstance(sets, Drawn):
        assert isinstance(pilot, Drawn)
        events, _ = arrange(spec_of(piece.model), piece.data)
        both = with_subjects(events, np.concatenate([pilot.subjects, sets.subjects]), sets.room)
        found = both.events
    else:
        assert isinstance(pilot, Observed)
        values = np.concatenate([pilot.values, sets.values])
        found = events_of(piece.model, piece.data, sets._replace(values=values))
    return of_trials(found, [0]), of_trials(found, np.arange(1, 1 + _count(sets)))


def fingerprint(pieces: Sequence[Piece]) -> str:
    """A hash of all that the results of these pieces depend on."""
    digest = hashlib.sha256()
    for piece in pieces:
        plain = (
            piece.model, digest_of(piece.data), piece.first, piece.wave, piece.seed,
            piece.settings.model_dump_json(), piece.no_effect,
            None if piece.start is None else piece.start.tobytes(),
            *(_of_sets(own) for own in (piece.sets, piece.pilot)),
        )  # fmt: skip
        digest.update(repr(plain).encode())
    return digest.hexdigest()


def _of_sets(sets: Drawn | Observed) -> str:
    if isinstance(sets, Drawn):
        room = None if sets.room is None else (sets.room.order, sets.room.rows.tolist())
        plain = (sets.subjects.tolist(), room)
    else:
        plain = (sets.values.tolist(), tuple(sets.limits), sets.censorable.tolist())
    return hashlib.sha256(repr(plain).encode()).hexdigest()


def _count(sets: Drawn | Observed) -> int:
    return len(sets.subjects if isinstance(sets, Drawn) else sets.values)


def _part(sets: Drawn | Observed, first: int, count: int) -> Drawn | Observed:
    own = slice(first, first + count)
    if isinstance(sets, Drawn):
        return sets._replace(subjects=sets.subjects[own])
    return sets._replace(values=sets.values[own])


def _results(piece: Piece, model: Model, fitted: Trials) -> Result:
    effects = model.spec.covariates
    between = [contrast(effect, piece.data) for effect in effects]
    values, covariances, verdicts = [], [], []
    for draws in fitted.draws:
        flat = np.asarray(draws, np.float64).reshape(-1, draws.shape[2])
        q5, median, q95 = np.quantile(flat, [0.05, 0.5, 0.95], axis=0)
        covariance = np.atleast_2d(np.cov(flat, rowvar=False))
        sd = np.sqrt(np.diag(covariance))
        values.append(np.stack([flat.mean(axis=0), sd, median, q5, q95], axis=-1))
        covariances.append(covariance)
        named = {name: flat[:, j] for j, name in enumerate(fitted.names)} | {
            name: np.asarray(value) for name, value in model.fixed().items()
        }
        words = [
            summarised(ratio_draws(effect, own, named), piece.no_effect).verdict
            for effect, own in zip(effects, between, strict=True)
        ]
        verdicts.append([WORDS.index(word) for word in words])
    bulk = fitted.ess_bulk[:, : len(fitted.names)]
    sds = np.stack(values)[..., 1]
    return {
        "values": np.stack(values),
        "error": sds / np.sqrt(bulk),
        "covariance": np.stack(covariances),
        "verdict": np.array(verdicts, dtype=int).reshape(len(values), len(effects)),
        "passed": np.asarray(fitted.passed),
        "method": np.array([METHODS.index(method) for method in fitted.method]),
        "rhat": fitted.rhat.max(axis=1),
        "draws": np.array([draws.shape[0] * draws.shape[1] for draws in fitted.draws]),
    }
