"""Stepwise search of covariate effects by the likelihood-ratio test.

Forward, the effect with the smallest p enters, until none is below a level; backward, the effect
with the largest p leaves, until all are below a stricter level (Jonsson & Karlsson, Pharm Res
1998;15:1463-8). What such a search keeps it keeps because it looked large in these data: its
estimate is too far from no effect, its interval too narrow (Ribbing & Jonsson, J Pharmacokinet
Pharmacodyn 2004;31:109-34). The model with all candidates, which no data have chosen, is the
answer to read (Gastonguay, AAPS J 2004;6(S1):W4354).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from popk.analysis.covariates.candidates import require_testable, with_effects, without_effects
from popk.analysis.covariates.effects import contrast, verdict
from popk.analysis.covariates.likelihood_ratio import (
    Test,
    likelihood_of,
    likelihood_ratio,
    maximised,
    wald_ratio,
)
from popk.data.dataset import Dataset
from popk.population.model import Model
from popk.spec.fit import NO_EFFECT
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.model import ModelSpec
from popk.spec.problem import PopkError, Problem
from popk.spec.relations import Category, CovariateEffect
from popk.study.maximum import MaximumFit

FORWARD, BACKWARD = 0.05, 0.01


@dataclass(frozen=True, eq=False)
class Search:
    """A stepwise search, and the full model beside it.

    Attributes
    ----------
    tried
        Every model that was fitted, a row each: ``step``, ``direction``, ``candidate``, ``OFV``,
        ``dOFV`` (with less without the candidate), ``df``, ``p``, ``ratio``, ``q5``, ``q95`` (of
        the candidate's effect where the model has it; 90 % by its standard error), ``taken``,
        ``effects`` (of the model), and the estimate of every population parameter.
    effects
        Every candidate, a row each: ``contrast``, ``selected``, ``ratio``, ``q5``, ``q95`` in the
        final model, and ``full_ratio``, ``full_q5``, ``full_q95``, ``full_verdict`` in the full
        one.
    final, full
        The models: what the search ends with, and that with all candidates.
    fits
        Maximum-likelihood fits of "start", "final" and "full".
    joint
        Likelihood-ratio test of all candidates together.
    forward, backward
        The levels of p.
    notes
        What to mind.
    synthetic
        True where the data are simulated.
    """

    tried: pd.DataFrame
    effects: pd.DataFrame
    final: ModelSpec
    full: ModelSpec
    fits: dict[str, MaximumFit]
    joint: Test
    forward: float
    backward: float
    notes: tuple[str, ...]
    synthetic: bool

    @property
    def ended(self) -> bool:
        """Whether the likelihoods of the final and the full model are at their highest."""
        return all(fit.estimate.highest for fit in self.fits.values())


def search(
    model: Model,
    data: Dataset,
    candidates: Sequence[CovariateEffect] | None = None,
    *,
    forward: float = FORWARD,
    backward: float = BACKWARD,
    settings: SamplerSpec | None = None,
    no_effect: tuple[float, float] = NO_EFFECT,
    synthetic: bool = False,
    watch: Callable[[str], None] | None = None,
) -> Search:
    """Search stepwise among candidate effects.

    Parameters
    ----------
    model, data
        The model may have candidates; the search begins without any. Its other effects stay.
    candidates
        By default the covariate effects that the model has. Of several relations of one
        parameter to one covariate (power, linear, below a cut) at most one enters.
    forward, backward
        p below which an effect enters, and at or above which it leaves again.
    settings
        How the likelihood is computed, if by "focei", "laplace", "agq" or "importance"; FOCEI by
        default, Laplace for Student-t variability.
    no_effect
        Ratios that are taken for no effect.
    synthetic
        True where the data are simulated.
    watch
        Called with what is being computed.

    Returns
    -------
    Search
        ``tried`` holds every model that was fitted, ``effects`` every candidate.

    Raises
    ------
    popk.PopkError
        If a candidate cannot be tested in these data, or the levels are no probabilities.
    """
    own = tuple(model.spec.covariates if candidates is None else candidates)
    _require_levels(forward, backward)
    require_testable(model, data, own)
    base = without_effects(model.spec, own)
    likelihood = likelihood_of(model.spec, settings)
    models = _Models(base, own, data, likelihood, watch or (lambda _: None))
    rows: list[dict[str, Any]] = []
    chosen = _forwards(models, rows, forward)
    entered = len(chosen)
    chosen = _backwards(models, rows, chosen, backward)
    whole = frozenset(_without_rivals(own))
    fits = {
        "start": models.fit(frozenset()),
        "final": models.fit(chosen),
        "full": models.fit(whole),
    }
    joint = likelihood_ratio(fits["full"].estimate, fits["start"].estimate)
    effects = {e.name: _effect(e, chosen, whole, models, no_effect) for e in own}
    notes = _notes(fits, len(own), entered, len(chosen), len(whole), backward)
    return Search(
        pd.DataFrame(rows),
        pd.DataFrame.from_dict(effects, orient="index").rename_axis("candidate"),
        fits["final"].model.spec,
        fits["full"].model.spec,
        fits,
        joint,
        forward,
        backward,
        tuple(notes),
        synthetic,
    )


@dataclass(frozen=True, eq=False)
class _Models:
    """The fits of the models with some of the candidates, each made once."""

    base: ModelSpec
    candidates: tuple[CovariateEffect, ...]
    data: Dataset
    settings: SamplerSpec
    tell: Callable[[str], None]
    done: dict[frozenset[str], MaximumFit] = field(default_factory=dict)

    def fit(self, names: frozenset[str], start: MaximumFit | None = None) -> MaximumFit:
        """The model with these effects."""
        if names not in self.done:
            effects = [e for e in self.candidates if e.name in names]
            label = f"with {', '.join(e.name for e in effects)}" if effects else "without effects"
            self.tell(label)
            spec = with_effects(self.base, effects, f"{self.base.name}, {label}")
            self.done[names] = maximised(spec, self.data, self.settings, start)
        return self.done[names]

    def named(self, name: str) -> CovariateEffect:
        """A candidate by its name."""
        return next(e for e in self.candidates if e.name == name)


def _forwards(models: _Models, rows: list[dict[str, Any]], level: float) -> frozenset[str]:
    """Add the effect with the smallest p while that is below the level."""
    chosen: frozenset[str] = frozenset()
    current = models.fit(chosen)
    rows.append(_row(models, 0, "start", "", chosen, None))
    while True:
        open_ones = [e for e in models.candidates if _may_enter(models, e, chosen)]
        tested = []
        for effect in open_ones:
            larger = models.fit(chosen | {effect.name}, current)
            tested.append((likelihood_ratio(larger.estimate, current.estimate), effect.name))
        best = min((t for t in tested if t[0].p < level), default=None, key=lambda t: t[0][::-2])
        taken = None if best is None else best[1]
        step = rows[-1]["step"] + 1
        rows += [
            _row(models, step, "forward", name, chosen | {name}, test, taken=name == taken)
            for test, name in tested
        ]
        if taken is None:
            return chosen
        chosen |= {taken}
        current = models.fit(chosen)


def _backwards(
    models: _Models, rows: list[dict[str, Any]], chosen: frozenset[str], level: float
) -> frozenset[str]:
    """Take away the effect with the largest p while that is at or above the level."""
    while chosen:
        current = models.fit(chosen)
        tested = []
        for effect in (e for e in models.candidates if e.name in chosen):
            smaller = models.fit(chosen - {effect.name}, current)
            tested.append((likelihood_ratio(current.estimate, smaller.estimate), effect.name))
        worst = max((t for t in tested if t[0].p >= level), default=None, key=lambda t: t[0].p)
        taken = None if worst is None else worst[1]
        step = rows[-1]["step"] + 1
        rows += [
            _row(models, step, "backward", name, chosen - {name}, test, taken=name == taken)
            for test, name in tested
        ]
        if taken is None:
            break
        chosen -= {taken}
    return chosen


def _may_enter(models: _Models, effect: CovariateEffect, chosen: frozenset[str]) -> bool:
    others = [models.named(name) for name in chosen]
    return effect.name not in chosen and not any(_rivals(effect, other) for other in others)


def _rivals(a: CovariateEffect, b: CovariateEffect) -> bool:
    """Whether two are relations of the same parameter to the same covariate.

    Levels of a category are not: each has its own subjects.
    """
    same = a.parameter == b.parameter and a.covariate == b.covariate and a.name != b.name
    return same and not (isinstance(a, Category) and isinstance(b, Category))


def _without_rivals(candidates: Iterable[CovariateEffect]) -> list[str]:
    """The first relation of each parameter to each covariate."""
    kept: list[CovariateEffect] = []
    for effect in candidates:
        if not any(_rivals(effect, other) for other in kept):
            kept.append(effect)
    return [effect.name for effect in kept]


def _row(
    models: _Models,
    step: int,
    direction: str,
    candidate: str,
    names: frozenset[str],
    test: Test | None,
    *,
    taken: bool = True,
) -> dict[str, Any]:
    fit = models.fit(names)
    # The effect's interval is that of the model which has it, on the way up and on the way down
    of = models.fit(names | {candidate}) if candidate else fit
    ratio = wald_ratio(of, models.named(candidate)) if candidate else (math.nan,) * 3
    return {
        "step": step,
        "direction": direction,
        "candidate": candidate,
        "OFV": fit.estimate.ofv,
        **dict(zip(("dOFV", "df", "p"), test or (math.nan, 0, math.nan), strict=True)),
        **dict(zip(("ratio", "q5", "q95"), ratio, strict=True)),
        "taken": taken,
        "effects": " ".join(e.name for e in models.candidates if e.name in names),
        "ended": fit.estimate.highest,
        **{name: fit.estimate[name] for name in fit.estimate.names},
    }


def _effect(
    effect: CovariateEffect,
    chosen: frozenset[str],
    whole: frozenset[str],
    models: _Models,
    no_effect: tuple[float, float],
) -> dict[str, Any]:
    def in_model(names: frozenset[str]) -> tuple[float, float, float]:
        nothing = (math.nan, math.nan, math.nan)
        return wald_ratio(models.fit(names), effect) if effect.name in names else nothing

    full = in_model(whole)
    return {
        "parameter": effect.parameter,
        "contrast": contrast(effect, models.data).label,
        "selected": effect.name in chosen,
        **dict(zip(("ratio", "q5", "q95"), in_model(chosen), strict=True)),
        **dict(zip(("full_ratio", "full_q5", "full_q95"), full, strict=True)),
        "full_verdict": verdict(full[1], full[2], no_effect) if effect.name in whole else "",
    }


def _notes(
    fits: dict[str, MaximumFit], count: int, entered: int, kept: int, whole: int, backward: float
) -> list[str]:
    notes = [
        f"NOT ENDED: the search for the maximum of the {name} model; do not use its figures"
        for name, fit in fits.items()
        if not fit.estimate.highest
    ]
    notes += [
        f"the {name} model has no maximum inside its bounds (an omega at zero, for example): its "
        "standard errors are not known"
        for name, fit in fits.items()
        if fit.estimate.highest and not fit.estimate.ended
    ]
    if not kept:
        how = "no effect entered" if not entered else "every effect that entered was taken out"
        notes.append(
            f"{how}: the search ends with the model without effects. That is no evidence that "
            "there is none: see the full model's intervals, and popk covariates"
        )
    else:
        notes.append(
            "what a search keeps looked large in these data: its estimate lies too far from 1, its "
            "interval is too narrow and its p too small (Ribbing & Jonsson 2004); read the full "
            "model, whose effects these data have not chosen"
        )
    false = 1.0 - (1.0 - backward) ** count
    notes.append(
        f"with no true effect among {count} unrelated candidates such a search keeps one or more "
        f"in about {100 * false:.0f} % of studies, more where subjects are few"
    )
    if whole < count:
        notes.append(
            "the full model has only the first relation of each parameter to each covariate"
        )
    return notes


def _require_levels(forward: float, backward: float) -> None:
    wrong = [
        (key, level)
        for key, level in (("forward", forward), ("backward", backward))
        if not 0.0 < level < 1.0
    ]
    problems = [
        Problem(
            file="search", key=key, found=f"{level:g}", expected="a probability between 0 and 1",
            cure=f"give --{key} 0.05, for example",
        )
        for key, level in wrong
    ]  # fmt: skip
    if not problems and backward > forward:
        problems.append(
            Problem(
                file="search",
                key="backward",
                found=f"{backward:g}, above the forward level {forward:g}",
                expected="a level that is no wider than the forward one",
                cure=f"give --backward {forward:g} or less",
            )
        )
    if problems:
        raise PopkError(*problems)
