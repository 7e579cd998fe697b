"""What simulations, targets and single patients have left in results/, read back."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from popk.analysis.reread import reread

WINDOW = re.compile(r"Css ([\d.e+-]+) to ([\d.e+-]+) (.+?); (.*)")
UNITS = re.compile(r"TIME (\S+), concentrations (\S+)")


@dataclass(frozen=True, eq=False)
class Regimens:
    """A simulation of regimens: tables as in `popk.analysis.simulation.simulation.Simulation`.

    ``summary`` has its index as columns; ``about`` says who was simulated.
    """

    summary: pd.DataFrame
    bands: pd.DataFrame
    about: str


@dataclass(frozen=True, eq=False)
class Target:
    """Doses for a window of Css: tables as in `popk.analysis.dosing.attainment.Attainment`.

    ``asked`` is None where no dose was asked for; ``low`` and ``high`` bound it, in ``unit``.
    """

    best: pd.DataFrame
    asked: pd.DataFrame | None
    curves: pd.DataFrame
    about: str
    window: str
    low: float
    high: float
    unit: str


@dataclass(frozen=True, eq=False)
class Patient:
    """One patient's dose: tables as in `popk.analysis.dosing.patient.PatientDose`.

    ``samples`` is None where there were none; ``how`` are sentences: target, rate, method.
    """

    id: str
    how: tuple[str, ...]
    summary: pd.DataFrame
    course: pd.DataFrame
    samples: pd.DataFrame | None
    time_unit: str
    concentration_unit: str


def regimens(folder: Path, again: str) -> Regimens | None:
    """Of results/simulation; None where nothing was simulated."""
    summary = reread(
        folder / "summary.csv", need=("regimen", "group", "quantity", "median", "unit"), again=again
    )
    bands = reread(folder / "bands.csv", need=("regimen", "TIME", "median"), again=again)
    if summary is None or bands is None:
        return None
    return Regimens(summary.table, bands.table, _last(summary.comments))


def target(folder: Path, again: str) -> Target | None:
    """Of results/target; None where no target was asked for."""
    best = reread(folder / "best.csv", need=("basis", "group", "dose", "probability"), again=again)
    curves = reread(folder / "curves.csv", need=("basis", "group", "dose"), again=again)
    if best is None or curves is None:
        return None
    asked = reread(folder / "asked.csv", need=("probability",), again=again)
    found = WINDOW.search(" ".join(best.comments))
    low, high, unit, about = found.groups() if found else ("nan", "nan", "", "")
    window = f"{low} to {high} {unit}"
    return Target(
        best.table, None if asked is None else asked.table, curves.table, about, window,
        float(low), float(high), unit,
    )  # fmt: skip


def patients(folder: Path, again: str) -> tuple[Patient, ...]:
    """Of results/dose, one folder a patient, by name."""
    return tuple(_patients(folder, again))


def _patients(folder: Path, again: str) -> Iterator[Patient]:
    for place in sorted(path.parent for path in folder.glob("*/summary.csv")):
        summary = reread(place / "summary.csv", index="quantity", need=("median",), again=again)
        course = reread(place / "course.csv", need=("TIME", "median", "q5", "q95"), again=again)
        if summary is None or course is None:
            continue
        samples = reread(place / "samples.csv", need=("TIME", "DV"), again=again)
        named = next((c[3:] for c in summary.comments if c.startswith("ID ")), place.name)
        skip = ("SYNTHETIC", "for research", "ID ")
        how = tuple(c for c in summary.comments if not c.startswith(skip))
        units = UNITS.search(" ".join(course.comments))
        time, concentration = units.groups() if units else ("", "")
        yield Patient(
            named, how, summary.table, course.table, None if samples is None else samples.table,
            time, concentration,
        )  # fmt: skip


def _last(comments: tuple[str, ...]) -> str:
    own = [c for c in comments if not c.startswith("SYNTHETIC")]
    return own[-1] if own else ""
