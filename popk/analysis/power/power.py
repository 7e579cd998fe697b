"""What a planned trial can tell: power, error rates and precision by full Bayesian refits.

For each true ratio and each number of infants many trials are simulated, and every one of them is
fitted as a real one would be, through the convergence gate. The shares of trials in which each
criterion speaks are its power, or at a ratio of 1 its error rate.
"""

import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from popk.analysis.covariates.candidates import require_testable
from popk.analysis.covariates.effects import contrast
from popk.analysis.power.cells import cells
from popk.analysis.power.design import design, groups
from popk.analysis.power.ratios import coefficient, truth_of
from popk.analysis.power.trials import COLUMNS, PIECE, Piece, Result, done, fingerprint, simulated
from popk.data.dataset import Dataset
from popk.population.model import Model
from popk.spec.fit import NO_EFFECT
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.plan import Plan
from popk.spec.problem import PopkError, Problem
from popk.spec.relations import CovariateEffect
from popk.spec.units import quantity
from popk.study import work
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

LEAST_TRIALS, LEAST_INFANTS = 8, 2
DRAWS = 2000
"""Draws of each chain, at most, of a trial fitted among others."""

Watch = Callable[[int, int, float], None]
"""Told how many pieces of how many are done, and the seconds that are left."""
Run = Callable[..., Sequence[Result]]
"""Called as ``run(done, pieces, key=..., watch=...)``: the results in the order of the pieces."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A power that is to be computed.

    Attributes
    ----------
    pieces
        The work, all pieces of one number of infants after another.
    key
        A hash of all that the results depend on.
    cells
        Of each piece its cell: infants and ratio.
    about
        What `Power` says of itself, by the names of its attributes.
    """

    pieces: tuple[Piece, ...]
    key: str
    cells: tuple[tuple[int, float], ...]
    about: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Power:
    """What the trials of a grid say.

    Attributes
    ----------
    cells
        One number of infants and true ratio a row, see `popk.analysis.power.cells.cells`.
    trials
        One trial a row: index ``infants``, ``ratio``, ``trial``; columns as in
        `popk.analysis.power.trials.done`.
    model, effect, label
        Names, and the two groups (or covariate values) that the ratio compares, in words.
    plan
        What each trial does.
    truth
        Population values of all trials besides the effect's.
    no_effect
        Ratios that are taken for no effect.
    groups
        Number of infants to how many of them are in the effect's group and outside of it; empty
        for an effect without groups.
    seed, key
        The same key means the same results.
    synthetic
        True where the truth comes from a fit of simulated data.
    seconds
        That it took; those of results kept from earlier are not counted.
    notes
        What a reader has to know, in sentences.
    """

    cells: pd.DataFrame
    trials: pd.DataFrame
    model: str
    effect: str
    label: str
    plan: Plan
    truth: Mapping[str, float]
    no_effect: tuple[float, float]
    groups: Mapping[int, tuple[int, int]]
    seed: int
    key: str
    synthetic: bool
    seconds: float
    notes: tuple[str, ...]

    @property
    def type_one(self) -> pd.DataFrame:
        """The cells without an effect, by infants: every share that excludes 1 is an error rate.

        Empty where the grid has no ratio of 1.
        """
        own = np.asarray(self.cells.index.get_level_values("ratio") == 1.0)
        return self.cells.loc[own].droplevel("ratio")

    @property
    def missed(self) -> int:
        """Trials without a converged posterior; they are counted in every share."""
        return int(self.cells["missed"].to_numpy(int).sum())

    @property
    def ratios(self) -> tuple[float, ...]:
        """The true ratios, rising."""
        return tuple(sorted({float(r) for r in self.cells.index.get_level_values("ratio")}))

    @property
    def infants(self) -> tuple[int, ...]:
        """The numbers of infants, rising."""
        return tuple(sorted({int(n) for n in self.cells.index.get_level_values("infants")}))


def power(
    source: Fit | MaximumFit | Model,
    plan: Plan,
    ratios: Sequence[float],
    infants: Sequence[int],
    trials: int = 500,
    *,
    values: Mapping[str, float] | None = None,
    effect: str | None = None,
    settings: SamplerSpec | None = None,
    no_effect: tuple[float, float] = NO_EFFECT,
    likelihood_ratio: bool = True,
    seed: int = 1,
    run: Run = work.run,
    watch: Watch | None = None,
) -> Power:
    """Simulate trials on a grid of true ratios and numbers of infants, and fit every one.

    Parameters
    ----------
    source
        A fit, or a model: the model that trials are fitted with, and the population values that
        they are simulated with: posterior medians or estimates, or the medians of the priors.
    plan
        What each trial does.
    ratios
        True ratios of the parameter between the effect's two groups (for an effect of a number,
        between the 95 % and the 5 % quantile of the planned infants). With 1 among them the error
        rates are found too.
    infants
        Numbers of infants. The infants of each are drawn once: chance in their ages is part of a
        design.
    trials
        Of each cell.
    values
        Population values of the truth, by name, instead of the source's.
    effect
        Name of the effect; by default the model's first.
    settings
        Of the batch sampler; by default float32 and at most 2,000 draws of each chain.
    no_effect
        Ratios that are taken for no effect.
    likelihood_ratio
        Whether every trial's likelihood is maximised too, with the effect and without, for the
        criterion ``lr``: it takes about a tenth of the time.
    seed
        The same seed gives the same results, however they are computed.
    run
        How pieces are computed: by default as many at once as there are cores, in this process.
    watch
        Told as pieces are finished.

    Returns
    -------
    Power
        ``cells`` holds the rates of each number of infants and true ratio, with their Monte Carlo
        errors, ``trials`` every trial.

    Raises
    ------
    popk.PopkError
        If a ratio, a number of infants or a value makes no sense; if a group has no infants; if
        the model has no effect that can be tested on this design.
    """
    grid = planned(
        source, plan, ratios, infants, trials,
        values=values, effect=effect, settings=settings, no_effect=no_effect,
        likelihood_ratio=likelihood_ratio, seed=seed,
    )  # fmt: skip
    begun = time.perf_counter()
    results = run(done, grid.pieces, key=grid.key, watch=watch)
    return gathered(grid, results, time.perf_counter() - begun)


def planned(
    source: Fit | MaximumFit | Model,
    plan: Plan,
    ratios: Sequence[float],
    infants: Sequence[int],
    trials: int = 500,
    *,
    values: Mapping[str, float] | None = None,
    effect: str | None = None,
    settings: SamplerSpec | None = None,
    no_effect: tuple[float, float] = NO_EFFECT,
    likelihood_ratio: bool = True,
    seed: int = 1,
) -> Grid:
    """The work of `power`, whose arguments these are; nothing is fitted yet."""
    model = source if isinstance(source, Model) else source.model
    like = None if isinstance(source, Model) else source.data
    _refuse(ratios, infants, trials)
    chosen = _effect(model, effect)
    settings = settings or SamplerSpec(precision="float32", draws=DRAWS)
    truth = truth_of(source, values, chosen)
    limit = None if plan.below is None else quantity(plan.below, model.spec.units.concentration)
    sizes = sorted({int(n) for n in infants})
    levels = sorted({float(r) for r in ratios})
    pieces: list[Piece] = []
    where: list[tuple[int, float]] = []
    label, found = "", {}
    for count in sizes:
        data = design(model, plan, count, seed, effect=chosen, like=like)
        require_testable(model, data, [chosen])
        label = contrast(chosen, data).label
        if (own := groups(chosen, data)) is not None:
            found[count] = own
        of_design = [
            piece
            for ratio in levels
            for piece in _pieces(
                model, data, chosen, truth, ratio, trials,
                settings=settings, no_effect=no_effect, below=limit, seed=seed,
                likelihood_ratio=likelihood_ratio,
            )
        ]  # fmt: skip
        pieces += of_design if limit is None else _with_limit(of_design, limit)
        where += [(count, piece.ratio) for piece in of_design]
    del truth[chosen.name]
    about = {
        "model": model.spec.name, "effect": chosen.name, "label": label, "plan": plan,
        "truth": truth, "no_effect": no_effect, "groups": found, "seed": seed,
        "synthetic": not isinstance(source, Model) and source.synthetic,
        "notes": _notes(levels, sizes),
    }  # fmt: skip
    return Grid(tuple(pieces), fingerprint(pieces), tuple(where), about)


def gathered(grid: Grid, results: Sequence[Result], seconds: float) -> Power:
    """The results of a grid's pieces, in their order, as tables."""
    tables = []
    for piece, (infants, ratio), result in zip(grid.pieces, grid.cells, results, strict=True):
        numbers = range(piece.first, piece.first + piece.trials)
        index = pd.MultiIndex.from_product(
            [[infants], [ratio], numbers], names=["infants", "ratio", "trial"]
        )
        tables.append(pd.DataFrame(result, index=index, columns=list(COLUMNS)))
    trials = pd.concat(tables)
    return Power(cells(trials), trials, key=grid.key, seconds=seconds, **grid.about)


def _pieces(
    model: Model,
    data: Dataset,
    effect: CovariateEffect,
    truth: Mapping[str, float],
    ratio: float,
    trials: int,
    *,
    settings: SamplerSpec,
    no_effect: tuple[float, float],
    below: float | None,
    seed: int,
    likelihood_ratio: bool,
) -> list[Piece]:
    """The pieces of one cell."""
    value = coefficient(effect, contrast(effect, data), ratio)
    # All pieces share a program: the last one too, of fewer trials
    wave = min(PIECE, 8 * math.ceil(trials / 8))
    cell = zlib.crc32(f"{data.subjects} {ratio!r}".encode())
    return [
        Piece(
            model=model.spec.model_dump_json(),
            data=data,
            effect=effect.name,
            truth={**truth, effect.name: value},
            ratio=ratio,
            cell=cell,
            number=number,
            first=first,
            trials=min(wave, trials - first),
            wave=wave,
            seed=seed,
            settings=settings,
            no_effect=no_effect,
            below=below,
            likelihood_ratio=likelihood_ratio,
        )
        for number, first in enumerate(range(0, trials, wave))
    ]


def _with_limit(pieces: list[Piece], limit: float) -> list[Piece]:
    """Pieces of one design that all have the same observations last: those ever censored."""
    ever = np.any([(simulated(piece) < limit).any(axis=0) for piece in pieces], axis=0)
    return [replace(piece, censorable=ever) for piece in pieces]


def _effect(model: Model, name: str | None) -> CovariateEffect:
    known = [effect.name for effect in model.spec.covariates]
    if not known or (name is not None and name not in known):
        raise PopkError(
            Problem(
                file=model.spec.name,
                key="effect",
                found=f"the effect {name!r}" if known else "a model without covariate effects",
                expected=f"one of {', '.join(known)}" if known else "an effect to be found",
                cure="correct the name"
                if known
                else "add one to the model file: [[covariates]] "
                'parameter = "CL", covariate = "AGE", relation = "below", cut = "6 month", ...',
            )
        )
    return model.spec.covariates[known.index(name) if name is not None else 0]


def _refuse(ratios: Sequence[float], infants: Sequence[int], trials: int) -> None:
    problems = []

    def problem(key: str, found: str, expected: str, cure: str) -> None:
        problems.append(Problem(key=key, found=found, expected=expected, cure=cure))

    if not len(ratios):
        problem("ratios", "no true ratio", "one or more", "write e.g. 0.5, 0.8, 1")
    for ratio in ratios:
        if not (math.isfinite(ratio) and ratio > 0):
            problem(
                "ratios", f"a true ratio of {ratio:g}", "a number above 0",
                "write 0.8 for a clearance that is lower by 20 %",
            )  # fmt: skip
    if not len(infants):
        problem("infants", "no number of infants", "one or more", "write e.g. 10, 26, 60")
    for count in infants:
        if count != int(count) or count < LEAST_INFANTS:
            problem(
                "infants", f"a trial of {count:g} infants: zero infants in a group",
                f"a whole number of {LEAST_INFANTS} or more", "plan at least one for each group",
            )  # fmt: skip
    if trials < LEAST_TRIALS:
        problem(
            "trials", f"{trials} trials", f"{LEAST_TRIALS} or more",
            "500 give shares to within 2 points",
        )  # fmt: skip
    if problems:
        raise PopkError(*problems)


def _notes(ratios: Sequence[float], infants: Sequence[int]) -> tuple[str, ...]:
    notes = []
    if len(ratios) == 1 and len(infants) == 1:
        notes.append(
            "A grid of one cell: it says what this trial can tell of this ratio, but neither how "
            "many infants are needed nor what assurance there is."
        )
    elif len(ratios) == 1:
        notes.append("One true ratio only: no assurance can be computed from it.")
    elif len(infants) == 1:
        notes.append("One number of infants only: no smallest number can be found.")
    if 1.0 not in ratios:
        notes.append("No true ratio of 1 in the grid: error rates are not known.")
    return tuple(notes)
