"""Simulating dosing: regimens side by side for the same virtual subjects, as tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.analysis.simulation.engine import Simulated, Switches, Task, simulated
from popk.analysis.simulation.groups import ALL, AgeGroups, groups_of
from popk.analysis.simulation.source import source_of
from popk.analysis.simulation.subjects import Subjects
from popk.data.dataset import Dataset
from popk.data.regimens import scheduled, units_of
from popk.population.model import Model
from popk.spec.problem import PopkError, Problem
from popk.spec.regimen import Regimen
from popk.spec.units import UnitError, conversion_factor, quantity
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

BAND_SUBJECTS = 20_000
"""Subjects behind the bands over time: the first ones, a random sample like any other."""
POINTS = 120
"""Times at which concentrations are given, where none are asked for."""
QUANTILES = {"q5": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}

Watch = Callable[[str, int, int], None]
"""Told of each block: the regimen, subjects done, subjects in all."""
Keep = Callable[[str, Simulated, Float[np.ndarray, " time"]], None]
"""Given each block's concentrations, with the regimen's name and the times."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """What was simulated.

    Attributes
    ----------
    subjects
        One regimen and subject a row (index ``regimen``, ``ID``): the covariates at baseline;
        ``group`` of age; ``CL``, ``V`` (the parameters' own units); ``Css`` (rate/CL of the
        infusion that lasts longest), ``AUC``, ``t90`` (time to 90 % of a new steady state);
        ``above X``, ``below X``: time above and below each threshold.
    bands
        One regimen and time a row: ``regimen``, ``TIME``, quantiles over subjects of the
        concentration (``q5`` to ``q95``), and of measured values (``measured_q5``, ...) where
        there is residual error. ``subjects`` says of how many.
    summary
        One regimen, age group and quantity a row: ``n``, ``mean``, ``sd``, ``median``, ``q5``,
        ``q95``, ``unit``. The group ``all`` holds everyone.
    units
        Column to unit.
    switches
        Which of ``uncertainty``, ``variability``, ``residual`` were on.
    of
        Where the population values came from: posterior, estimates or priors.
    about
        How the subjects were made.
    synthetic, name
        As in a fit.
    """

    subjects: pd.DataFrame
    bands: pd.DataFrame
    summary: pd.DataFrame
    units: dict[str, str]
    switches: Mapping[str, bool]
    of: str
    about: str
    synthetic: bool
    name: str


def simulate(
    given: Fit | MaximumFit | Model,
    regimens: Regimen | Mapping[str, Regimen],
    subjects: Subjects | Dataset | int = 1000,
    *,
    times: Sequence[float] | None = None,
    thresholds: Sequence[str | float] = (),
    uncertainty: bool = True,
    variability: bool = True,
    residual: bool = True,
    seed: int = 1,
    precision: str = "float64",
    age_groups: AgeGroups | None = None,
    watch: Watch | None = None,
    keep: Keep | None = None,
) -> Simulation:
    """Simulate regimens in the same subjects.

    Parameters
    ----------
    given
        A fit, or a model: then population values come from its priors (prior predictive).
    regimens
        One, or several by name; all meet the same subjects, with the same CL and V.
    subjects
        How many virtual infants by the WHO standards (see `Subjects` for others), or a cohort.
    times
        In hours from the start, rising; by default even ones over the longest regimen and what
        follows its end, and just around every change of rate.
    thresholds
        Concentrations, e.g. ``"500 pg/mL"``, or numbers in the model's unit.
    uncertainty, variability, residual
        Each subject with its own draw of the population values or all with the central ones; with
        etas or without; measured values with residual error or none.
    seed
        The same seed gives the same subjects, whatever the number of threads.
    precision
        "float32" is faster.
    age_groups
        Limits of the groups in which results are summarised.
    watch, keep
        Told of every block; `keep` is given its concentrations, which are not held otherwise.

    Returns
    -------
    Simulation
        ``summary`` holds Css, AUC and times above thresholds by regimen and age group,
        ``subjects`` those of each subject, ``bands`` the quantiles of concentrations over time.

    Raises
    ------
    popk.PopkError
        If a regimen or the model needs a covariate that the subjects lack, a threshold has a unit
        that does not convert, or the model has no value for these subjects.
    """
    source = source_of(given, uncertainty=uncertainty, seed=seed)
    named = {regimens.name or "regimen": regimens} if isinstance(regimens, Regimen) else regimens
    whole = Subjects.of(subjects, None if isinstance(given, Model) else given.data)
    limits = _limits(thresholds, source.model)
    hours = {
        name: _times(regimen, named.values()) if times is None else _checked(times)
        for name, regimen in named.items()
    }
    time, _ = units_of(whole.cohort(seed, 1))
    parts = {}
    for name, regimen in named.items():
        task = Task(
            source,
            Switches(variability, residual),
            lambda number, count, r=regimen: whole.block(
                number, count, seed, r.length("day") if whole.grows else 0.0
            ),
            lambda cohort, r=regimen: scheduled(r, cohort),
            hours[name] * conversion_factor("h", time),
            tuple(limits.values()),
            whole.count,
            seed,
            precision,
        )
        parts[name] = _collected(name, task, hours[name], tuple(limits), watch, keep)
    table = pd.concat({name: part[0] for name, part in parts.items()}, names=["regimen", "ID"])
    table.insert(0, "group", groups_of(table, whole, age_groups))
    units = _units(source.model, whole, tuple(limits))
    return Simulation(
        table,
        pd.concat([part[1] for part in parts.values()], ignore_index=True),
        summarised(table, units),
        units,
        {"uncertainty": uncertainty, "variability": variability, "residual": residual},
        source.of,
        whole.about,
        source.synthetic,
        source.name,
    )


def summarised(table: pd.DataFrame, units: Mapping[str, str]) -> pd.DataFrame:
    """Quantities by regimen and age group, and of everyone."""
    quantities = [name for name in units if name in table and bool(table[name].notna().any())]
    rows = []
    parts = [
        (regimen, group, own)
        for regimen, whole in table.groupby("regimen", sort=False)
        for group, own in [(ALL, whole), *whole.groupby("group", observed=True)]
    ]
    for regimen, group, own in parts:
        for name in quantities:
            values = own[name].to_numpy(float)
            low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
            rows.append(
                {
                    "regimen": regimen, "group": str(group), "quantity": name, "n": len(values),
                    "mean": values.mean(), "sd": values.std(ddof=1) if len(values) > 1 else np.nan,
                    "median": middle, "q5": low, "q95": high, "unit": units[name],
                }
            )  # fmt: skip
    found = pd.DataFrame(rows).drop_duplicates(["regimen", "group", "quantity"])
    return found.set_index(["regimen", "group", "quantity"])


def _limits(thresholds: Sequence[str | float], model: Model) -> dict[str, float]:
    """What a threshold is called in the tables, and its value in the model's unit."""
    unit = model.spec.units.concentration
    found = {}
    for text in thresholds:
        try:
            value = quantity(text, unit)
        except UnitError as error:
            raise _threshold_problem(text, unit, str(error)) from None
        if not 0.0 < value < float("inf"):
            raise _threshold_problem(text, unit, "it is not above 0")
        found[text if isinstance(text, str) else f"{text:g} {unit}"] = value
    return found


def _threshold_problem(text: str | float, unit: str, why: str) -> PopkError:
    return PopkError(
        Problem(
            file="simulation",
            key="threshold",
            found=f"{text!r}: {why}",
            expected=f"a concentration above 0 in a unit that converts to {unit}",
            cure=f"write for example '500 {unit}'",
        )
    )


def _times(regimen: Regimen, all_of: Iterable[Regimen]) -> Float[np.ndarray, " time"]:
    """Hours: even ones over the longest regimen and a day, and around each change of rate."""
    end = max(r.length("h") for r in all_of) + 24.0
    turns = np.cumsum([0.0, *(Regimen(steps=(step,)).length("h") for step in regimen.steps)])
    near = np.concatenate([turns + d for d in (0.0, 1.0, 2.0, 4.0, 8.0, 12.0)])
    return np.unique(np.concatenate([np.linspace(0.0, end, POINTS), near[near <= end]]).round(6))


def _checked(times: Sequence[float]) -> Float[np.ndarray, " time"]:
    found = np.asarray(times, float)
    if found.ndim != 1 or len(found) < 2 or not np.isfinite(found).all() or (
        np.diff(found) <= 0
    ).any():  # fmt: skip
        raise PopkError(
            Problem(
                file="simulation",
                key="times",
                found=f"{list(times)!r:.80}",
                expected="two or more finite times, in hours, each later than the one before",
                cure="sort them and leave out what stands twice",
            )
        )
    return found


def _collected(
    name: str,
    task: Task,
    hours: Float[np.ndarray, " time"],
    labels: Sequence[str],
    watch: Watch | None,
    keep: Keep | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of one regimen: its subjects, and its bands over time."""
    rows, inside, measured, done = [], [], [], 0
    span = float(hours[-1] - hours[0]) * conversion_factor("h", task.source.model.spec.units.time)
    for block in simulated(task):
        _require_finite(block, task)
        rows.append(_rows(block, labels, span))
        room = max(BAND_SUBJECTS - done, 0)
        if room:
            inside.append(block.concentration[:room].astype(np.float32))
            if block.measured is not None:
                measured.append(block.measured[:room].astype(np.float32))
        if keep is not None:
            keep(name, block, hours)
        done += len(block.CL)
        if watch is not None:
            watch(name, done, task.subjects)
    curves = {"regimen": name, "TIME": hours, "subjects": min(done, BAND_SUBJECTS)}
    for prefix, parts in (("", inside), ("measured_", measured)):
        if parts:
            found = np.quantile(np.concatenate(parts), list(QUANTILES.values()), axis=0)
            curves |= {f"{prefix}{q}": v for q, v in zip(QUANTILES, found, strict=True)}
    return pd.concat(rows), pd.DataFrame(curves)


def _rows(block: Simulated, labels: Sequence[str], span: float) -> pd.DataFrame:
    cohort = block.cohort
    columns = {name: values[:, 0] for name, values in cohort.covariates.items()}
    columns |= {
        name: np.asarray(getattr(block, name), float) for name in ("CL", "V", "Css", "AUC", "t90")
    }
    for i, label in enumerate(labels):
        above = np.asarray(block.above[:, i], float)
        columns |= {f"above {label}": above, f"below {label}": span - above}
    return pd.DataFrame(columns, index=pd.Index(cohort.ids, name="ID"))


def _require_finite(block: Simulated, task: Task) -> None:
    """A covariate far from those of the fit can leave a linear effect no value."""
    bad = np.flatnonzero(~np.isfinite(block.CL) | ~np.isfinite(block.V))
    if not bad.size:
        return
    own = {name: values[bad[0], 0] for name, values in block.cohort.covariates.items()}
    raise PopkError(
        Problem(
            file=task.source.name,
            subject=block.cohort.ids[bad[0]],
            found="no CL or V above 0 with "
            + ", ".join(f"{name} {value:.3g}" for name, value in own.items()),
            expected="covariates within the range for which the model was made",
            cure="narrow the ages, or use a power or exponential relation instead of a linear one",
        )
    )


def _units(model: Model, subjects: Subjects, labels: Sequence[str]) -> dict[str, str]:
    spec, units = model.spec, model.spec.units
    found = {name: unit or "" for name, unit in subjects.covariate_units.items()}
    found |= {name: spec.parameters[name].unit for name in ("CL", "V")}
    found |= {
        "Css": units.concentration,
        "AUC": f"{units.concentration}*{units.time}",
        "t90": units.time,
    }
    return found | {
        f"{side} {label}": units.time for label in labels for side in ("above", "below")
    }
