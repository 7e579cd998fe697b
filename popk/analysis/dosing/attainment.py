"""How probable a target is by dose, and which dose makes it most probable. For research.

At steady state Css = rate/CL, so that a dose meets a window where CL, for the size by which the
dose is scaled, lies between two bounds: no time course is needed. Every draw of the population has
the same subjects with the same standardised etas, so that draws differ by what is not known of the
population and not by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from popk.analysis.simulation.groups import ALL, AgeGroups, groups_of
from popk.analysis.simulation.source import Source, source_of
from popk.analysis.simulation.subjects import Subjects
from popk.data.dataset import Dataset
from popk.data.regimens import scheduled, units_of
from popk.inference.programs import kept
from popk.population.events import arrange
from popk.population.model import Model
from popk.population.simulated import redrawing
from popk.spec.fit import Dose
from popk.spec.problem import PopkError, Problem
from popk.spec.regimen import infusion
from popk.spec.units import UnitError, conversion_factor, quantity
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

DRAWS, SUBJECTS = 200, 4000
"""Draws of the population, and subjects in each: the error of a probability is below 0.8 %."""
GRID = 400
"""Doses among which the best is found, by equal ratios: about 1 % apart."""
BASES = ("ug/m^2/day", "ug/kg/day", "ug/day")


@dataclass(frozen=True, eq=False)
class Attainment:
    """What doses do for a window of Css.

    Attributes
    ----------
    best
        One basis (per m², per kg, fixed) and age group a row: ``dose``, the one with the highest
        probability, ``dose_q5``, ``dose_q95``: of the best dose in each draw of the population;
        ``probability`` at `dose` with ``probability_q5``, ``probability_q95`` over the draws;
        ``below``, ``above``: probabilities of missing the window on either side; ``n`` subjects.
    curves
        One basis, group and dose a row: ``dose``, ``probability`` with ``q5``, ``q95``, ``below``,
        ``above``.
    asked
        The same columns at the doses that were asked for.
    window
        In `unit`.
    of, about, synthetic, name
        As in a `Simulation`.
    """

    best: pd.DataFrame
    curves: pd.DataFrame
    asked: pd.DataFrame
    window: tuple[float, float]
    unit: str
    of: str
    about: str
    synthetic: bool
    name: str


def attainment(
    given: Fit | MaximumFit | Model,
    window: tuple[str | float, str | float],
    subjects: Subjects | Dataset | int = SUBJECTS,
    *,
    bases: Sequence[str] = BASES,
    doses: Sequence[str] = (),
    age_groups: AgeGroups | None = None,
    uncertainty: bool = True,
    seed: int = 1,
) -> Attainment:
    """Probability that Css lies in a window, by dose, and the best dose on each basis.

    Parameters
    ----------
    given
        A fit, or a model with its priors.
    window
        Lower and upper Css, e.g. ``("500 pg/mL", "900 pg/mL")`` or numbers in the model's unit.
    subjects
        How many virtual infants, or which.
    bases
        Units of dose rates: per m², per kg, or fixed.
    doses
        Doses of interest, e.g. ``"15 ug/m^2/day"``; a fit's nominal dose is always there.
    age_groups, uncertainty, seed
        As in `simulate`.

    Returns
    -------
    Attainment
        ``best`` holds the dose of each basis and age group with the highest probability.

    Raises
    ------
    popk.PopkError
        If the window is upside down, a unit does not convert, or a dose needs a body size that
        the subjects lack.
    """
    source = source_of(given, uncertainty=uncertainty, seed=seed, draws=DRAWS)
    unit = source.model.spec.units.concentration
    bounds = window_of(window, unit)
    like = None if isinstance(given, Model) else given.data
    whole = Subjects.of(subjects, like)
    cohort = whole.cohort(seed)
    cl = _clearances(source, cohort, seed)
    groups = _members(groups_of(_baseline(cohort), whole, age_groups), cohort.subjects)
    nominal = [source.dose.nominal] if source.dose is not None else []
    sized = {basis: _per_css(source.model, cohort, basis, cl) for basis in bases}
    best, curves, at = [], [], []
    for basis, per_css in sized.items():
        for group, own in groups.items():
            grid = _grid(per_css[:, own], bounds)
            found = _probabilities(per_css[:, own], grid, bounds)
            key: dict[str, Any] = {"basis": basis, "group": group}
            best.append(key | _best(grid, found) | {"n": int(own.sum())})
            curves.append(pd.DataFrame(key | {"dose": grid} | found.described()))
    for text in dict.fromkeys([*nominal, *doses]):
        basis = _basis(text)
        per_css = sized.get(basis)
        if per_css is None:
            per_css = _per_css(source.model, cohort, basis, cl)
        dose = np.array([quantity(text, basis)])
        for group, own in groups.items():
            told = _probabilities(per_css[:, own], dose, bounds).described()
            row = {name: float(values[0]) for name, values in told.items()}
            at.append({"dose": text, "group": group, **row, "n": int(own.sum())})
    return Attainment(
        pd.DataFrame(best).set_index(["basis", "group"]),
        pd.concat(curves, ignore_index=True),
        pd.DataFrame(at, columns=None if at else ["dose", "group"]).set_index(["dose", "group"]),
        bounds,
        unit,
        source.of,
        whole.about,
        source.synthetic,
        source.name,
    )


def window_of(window: tuple[str | float, str | float], unit: str) -> tuple[float, float]:
    """A window of concentrations in a unit.

    Raises
    ------
    popk.PopkError
        If it is upside down or empty, not above 0, or its unit does not convert.
    """
    low = high = 0.0
    try:
        low, high = (quantity(bound, unit) for bound in window)
        sound = 0.0 < low < high < float("inf")
        why = "" if sound else "the first is not below the second, above 0"
    except UnitError as error:
        why = str(error)
    if why:
        raise PopkError(
            Problem(
                file="target",
                key="window",
                found=f"{window[0]} to {window[1]}: {why}",
                expected=f"two concentrations above 0, the lower one first, that convert to {unit}",
                cure=f"write for example '500 {unit}' and '900 {unit}'",
            )
        )
    return low, high


def _clearances(source: Source, cohort: Dataset, seed: int) -> Float[np.ndarray, "draw subject"]:
    """CL in its own unit: the same standardised etas in every draw."""
    model = source.model
    with jax.enable_x64(True):
        events, _ = arrange(model.spec, cohort)
        draws = source.draws or DRAWS
        key = jax.random.key(seed)
        # From priors each draw has its own key: for the population, and so for the etas too
        keys = jax.numpy.broadcast_to(key, (draws,)) if source.sites else jax.random.split(
            key, draws
        )  # fmt: skip
        run = kept((model.spec.model_dump_json(), "others"), lambda: jax.jit(redrawing(model)))
        return np.asarray(run(keys, source.sites, events)["CL"])


def _baseline(cohort: Dataset) -> pd.DataFrame:
    return pd.DataFrame({name: values[:, 0] for name, values in cohort.covariates.items()})


def _members(names: pd.Categorical | str, count: int) -> dict[str, Bool[np.ndarray, " subject"]]:
    """Everyone, and each age group that has anyone."""
    groups = {ALL: np.ones(count, bool)}
    if isinstance(names, pd.Categorical):
        codes = np.asarray(names.codes)
        for code, name in enumerate(names.categories):
            if (codes == code).any():
                groups[str(name)] = codes == code
    return groups


def _basis(dose: str) -> str:
    """The unit among `BASES` in which a dose is."""
    per = Dose(nominal=dose).per
    return {"BSA": BASES[0], "WT": BASES[1], None: BASES[2]}[per]


def _per_css(
    model: Model, cohort: Dataset, basis: str, cl: Float[np.ndarray, "draw subject"]
) -> Float[np.ndarray, "draw subject"]:
    """The dose, in the unit of its basis, that gives each subject one unit of Css."""
    one = scheduled(infusion(f"1 {basis}", "1 day"), cohort).size[:, 0]
    time, amount = units_of(cohort)
    units = model.spec.units
    unit = f"({amount})/({time})/({model.spec.parameters['CL'].unit})"
    return cl / (one * conversion_factor(unit, units.concentration))


def _grid(
    per_css: Float[np.ndarray, "draw subject"], window: tuple[float, float]
) -> Float[np.ndarray, " dose"]:
    low, high = np.quantile(per_css, [0.005, 0.995])
    return np.geomspace(window[0] * low, window[1] * high, GRID)


@dataclass(frozen=True)
class _Probabilities:
    """Probabilities of a Css in, and below, the window, in each draw of the population."""

    inside: Float[np.ndarray, "draw dose"]
    below: Float[np.ndarray, "draw dose"]

    def described(self) -> dict[str, Float[np.ndarray, " dose"]]:
        low, high = np.quantile(self.inside, [0.05, 0.95], axis=0)
        inside, below = self.inside.mean(axis=0), self.below.mean(axis=0)
        return {
            "probability": inside,
            "q5": low,
            "q95": high,
            "below": below,
            "above": np.clip(1.0 - inside - below, 0.0, 1.0),
        }


def _probabilities(
    per_css: Float[np.ndarray, "draw subject"],
    doses: Float[np.ndarray, " dose"],
    window: tuple[float, float],
) -> _Probabilities:
    ordered = np.sort(per_css, axis=1)
    count = ordered.shape[1]
    # Css = dose/x is below the window where x > dose/low, above it where x < dose/high
    under = np.stack([count - np.searchsorted(x, doses / window[0], side="right") for x in ordered])
    over = np.stack([np.searchsorted(x, doses / window[1], side="left") for x in ordered])
    return _Probabilities(1.0 - (under + over) / count, under / count)


def _best(doses: Float[np.ndarray, " dose"], found: _Probabilities) -> dict[str, Any]:
    told = found.described()
    place = int(np.argmax(told["probability"]))
    low, high = np.quantile(doses[np.argmax(found.inside, axis=1)], [0.05, 0.95])
    return {
        "dose": float(doses[place]),
        "dose_q5": float(low),
        "dose_q95": float(high),
        "probability": float(told["probability"][place]),
        "probability_q5": float(told["q5"][place]),
        "probability_q95": float(told["q95"][place]),
        "below": float(told["below"][place]),
        "above": float(told["above"][place]),
    }
