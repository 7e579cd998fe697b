"""A power grid with all that is derived from it: what a command prints and a report shows."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from popk.analysis.covariates.effects import contrast
from popk.analysis.power.assurance import assurance, confirmed
from popk.analysis.power.design import design
from popk.analysis.power.expected_power import expected_power
from popk.analysis.power.information import Z90, expected
from popk.analysis.power.power import Power
from popk.analysis.power.ratios import coefficient, log_ratio_draws
from popk.analysis.power.sizes import smallest
from popk.analysis.power.trials import effect_named
from popk.population.model import Model
from popk.spec.problem import PopkError
from popk.spec.units import quantity
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit


@dataclass(frozen=True, eq=False)
class Overview:
    """A grid and what follows from it.

    Attributes
    ----------
    power
        The grid.
    criterion, at
        What the smallest number of infants is searched for.
    smallest
        See `popk.analysis.power.sizes.smallest`; empty where the grid has one size.
    assurance
        One number of infants a row: ``prior`` and, of a fit, ``posterior``: the criterion's rate
        averaged over them, with ``..._error``; of a fit also the columns of
        `popk.analysis.power.assurance.confirmed`. Empty where the grid has one ratio, or the
        criterion is the width. ``attrs["notes"]``: what to know of it.
    precision
        One cell a row: mean simulated ``width`` of the 90 % interval of the log ratio, the
        ``expected_width`` by the design's Fisher information with the prior's, and the
        ``expected_power`` of a normal interval of that width.
    conclusion
        In a sentence.
    """

    power: Power
    criterion: str
    at: float
    smallest: pd.DataFrame
    assurance: pd.DataFrame
    precision: pd.DataFrame
    conclusion: str


def overview(
    power: Power, source: Fit | MaximumFit | Model, criterion: str = "excludes_90", at: float = 0.8
) -> Overview:
    """Derive what a grid says.

    Parameters
    ----------
    power
        From `popk.analysis.power.power.power`.
    source
        What it was computed from: a fit's posterior of the effect gives the assurance.
    criterion, at
        See `popk.analysis.power.sizes.smallest`.

    Raises
    ------
    popk.PopkError
        If there is no such criterion, or `at` is no possible value.
    """
    model = source if isinstance(source, Model) else source.model
    needed = smallest(power, criterion, at) if len(power.infants) > 1 else pd.DataFrame()
    averaged = pd.DataFrame()
    if len(power.ratios) > 1 and criterion != "width":
        averaged = _averaged(power, source, model, criterion)
    return Overview(
        power, criterion, at, needed, averaged, _precision(power, source, model),
        _conclusion(power),
    )  # fmt: skip


def _averaged(
    power: Power, source: Fit | MaximumFit | Model, model: Model, criterion: str
) -> pd.DataFrame:
    effect = effect_named(model.spec, power.effect)
    like = None if isinstance(source, Model) else source.data
    data = design(model, power.plan, power.infants[0], power.seed, effect=effect, like=like)
    between = contrast(effect, data)
    by_prior = assurance(power, log_ratio_draws(model, effect, between), criterion)
    notes = [f"prior: {note}" for note in by_prior["note"].unique() if note]
    table = pd.DataFrame({"prior": by_prior["assurance"], "prior_error": by_prior["error"]})
    if isinstance(source, Fit):
        believed = log_ratio_draws(source, effect, between)
        found = assurance(power, believed, criterion)
        table["posterior"], table["posterior_error"] = found["assurance"], found["error"]
        table = table.join(confirmed(power, believed))
        notes += [f"posterior: {note}" for note in found["note"].unique() if note]
    table.attrs["notes"] = notes
    return table


def _precision(power: Power, source: Fit | MaximumFit | Model, model: Model) -> pd.DataFrame:
    effect = effect_named(model.spec, power.effect)
    like = None if isinstance(source, Model) else source.data
    limit = None
    if power.plan.below is not None:
        limit = quantity(power.plan.below, model.spec.units.concentration)
    rows = {}
    for count in power.infants:
        data = design(model, power.plan, count, power.seed, effect=effect, like=like)
        for ratio in power.ratios:
            value = coefficient(effect, contrast(effect, data), ratio)
            truth: Mapping[str, float] = {**power.truth, effect.name: value}
            try:
                told = expected(model, data, truth, effect=effect.name, below=limit)
            except PopkError:  # information is not computed for this kind of model
                return pd.DataFrame()
            own = power.cells.loc[(count, ratio)]
            rows[(count, ratio)] = {
                "width": own["width"], "width_error": own["width_error"],
                "expected_width": 2.0 * Z90 * told.log_ratio_sd(prior=True),
                "power": own["excludes_90"], "power_error": own["excludes_90_error"],
                "expected_power": expected_power(told, ratio),
            }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["infants", "ratio"])


def _conclusion(power: Power) -> str:
    """What the number of infants nearest to that of the first case can tell, for a clinician."""
    count = min(power.infants, key=lambda n: abs(n - 26))
    own = power.cells.xs(count, level="infants")
    lower = [r for r in power.ratios if r < 1.0]
    found = [r for r in lower if own.loc[r, "excludes_90"] >= 0.8]
    seldom = [r for r in lower if own.loc[r, "excludes_90"] < 0.5]
    parts = []
    if found:
        parts.append(
            f"a trial of {count} infants would see (in at least four of five trials) that one "
            f"group's clearance is lower by {100 * (1 - max(found)):.0f} % or more"
        )
    if seldom:
        parts.append(
            f"a difference of {100 * (1 - min(seldom)):.0f} % or less it would miss more often "
            "than not"
        )
    if 1.0 in power.ratios:
        share = own.loc[1.0, "not_relevant"]
        parts.append(
            "if there is no difference, it could say so (ratio within "
            f"{power.no_effect[0]:g}-{power.no_effect[1]:g}) in {100 * share:.0f} % of trials"
        )
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""
