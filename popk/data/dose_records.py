"""Dose records as regimens, and a data set as a table of NONMEM's columns."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from popk.data.dataset import Array, Bools, Dataset
from popk.data.dose_covariates import up
from popk.spec.problem import PopkError, Problem
from popk.spec.regimen import MOST_STEPS, Bolus, Infusion, Pause, Regimen, Step
from popk.spec.units import UnitError, conversion_factor


def units_of(data: Dataset) -> tuple[str, str]:
    """The units of time and of amount, "h" and "ug" where none are declared."""
    return data.units.time or "h", data.units.amount or "ug"


def mass_units(data: Dataset) -> tuple[str, str]:
    """The units of time and of amount, if doses can be written in them.

    Raises
    ------
    PopkError
        If the amounts are no masses.
    """
    time, amount = units_of(data)
    try:
        conversion_factor(amount, "ug")
    except UnitError as error:
        raise PopkError(
            Problem(
                file=data.source,
                key="AMT",
                found=f"amounts in {amount}",
                expected=f"a mass, as in the doses of a regimen ({error})",
                cure="convert the amounts to mass in the file, and correct their unit",
            )
        ) from None
    return time, amount


def regimens_of(data: Dataset) -> tuple[Regimen, ...]:
    """What each subject was given, as a regimen that begins at time 0.

    Doses are absolute amounts in the data's units. Additional doses (ADDL) are written out, rates
    of infusions that overlap are added up, and a time without a dose is a pause.

    Parameters
    ----------
    data
        From `popk.read_data`, or simulated.

    Returns
    -------
    tuple
        One regimen for each subject, named by its ID.

    Raises
    ------
    PopkError
        Naming each subject that has no dose, a dose before time 0, a reset, or a dose at steady
        state, whose past has no beginning.
    """
    problems = [problem for subject in range(data.subjects) for problem in _problems(data, subject)]
    if problems:
        raise PopkError(*problems)
    return tuple(_regimen(data, subject) for subject in range(data.subjects))


def _problems(data: Dataset, subject: int) -> Iterator[Problem]:
    evid, mask = data.evid[subject], data.mask[subject]
    dose = mask & (evid == 1)

    def first(wrong: Bools, key: str, found: str, expected: str, cure: str) -> Iterator[Problem]:
        for record in np.flatnonzero(wrong)[:1]:
            line = int(data.line[subject, record])
            yield Problem(
                file=data.source,
                line=line or None,
                subject=data.ids[subject],
                key=key,
                found=found,
                expected=expected,
                cure=cure,
            )

    yield from first(
        mask & (evid >= 3),
        "EVID",
        "a reset (EVID 3 or 4)",
        "doses along one stretch of time: a regimen has no resets",
        "give each stretch an ID of its own",
    )
    yield from first(
        dose & (data.ss[subject] > 0),
        "SS",
        "a dose at steady state (SS 1 or 2)",
        "a regimen that has a beginning",
        "write the doses that led to the steady state, with ADDL and II",
    )
    yield from first(
        dose & (data.time[subject] < 0),
        "TIME",
        f"a dose at {data.time[subject][dose].min(initial=0.0):g}",
        "doses at time 0 or later: a regimen begins at time 0",
        "count TIME from the first dose",
    )
    yield from first(
        (np.arange(mask.size) == 0) & ~(mask & np.isin(evid, (1, 4))).any(),
        "AMT",
        "no dose",
        "at least one dose",
        "leave the subject out",
    )


def _regimen(data: Dataset, subject: int) -> Regimen:
    """The doses of one subject as steps between the times at which something changes."""
    time, amount = mass_units(data)
    steps = _steps(_written_out(data, subject), time, amount)
    if len(steps) > MOST_STEPS:
        raise PopkError(
            Problem(
                file=data.source,
                subject=data.ids[subject],
                key="ADDL",
                found=f"{len(steps)} doses and pauses",
                expected=f"at most {MOST_STEPS}",
                cure="leave the subject out, or shorten its doses",
            )
        )
    return Regimen(steps=tuple(steps), name=data.ids[subject])


class _Doses(NamedTuple):
    """Doses of one subject, additional ones written out; `duration` is 0 for a bolus."""

    time: Float[np.ndarray, " dose"]
    amount: Float[np.ndarray, " dose"]
    rate: Float[np.ndarray, " dose"]
    duration: Float[np.ndarray, " dose"]


def _written_out(data: Dataset, subject: int) -> _Doses:
    given = np.flatnonzero(data.mask[subject] & (data.evid[subject] == 1))
    times = data.addl[subject, given] + 1
    own = np.repeat(given, times)
    number = np.arange(own.size) - np.repeat(np.cumsum(times) - times, times)
    time = data.time[subject, own] + number * data.interval[subject, own]
    amount, rate = data.amount[subject, own], data.rate[subject, own]
    duration = np.divide(amount, rate, out=np.zeros_like(amount), where=rate > 0)
    at_once = time + duration <= up(time)  # too short to be told from a bolus
    return _Doses(time, amount, np.where(at_once, 0, rate), np.where(at_once, 0, duration))


def _steps(doses: _Doses, time_unit: str, amount_unit: str) -> list[Step]:
    """Steps from time 0 to the end of the last dose."""
    infused, finish = doses.rate > 0, doses.time + doses.duration
    turns = _distinct(np.concatenate([[0.0], doses.time, finish]))
    begins = np.searchsorted(turns, doses.time, side="right") - 1
    ends = np.searchsorted(turns, finish, side="right") - 1
    order = np.argsort(begins, kind="stable")
    starting = np.split(order, np.searchsorted(begins[order], np.arange(1, turns.size)))
    rate_unit = over(amount_unit, time_unit)
    steps: list[Step] = []
    running: list[int] = []
    for turn, new in enumerate(group.tolist() for group in starting):
        running = [dose for dose in running if ends[dose] > turn]
        running += [dose for dose in new if infused[dose]]
        at_once = (float(doses.amount[dose]) for dose in new if not infused[dose])
        steps += [Bolus(dose=in_text(amount, amount_unit)) for amount in at_once]
        if turn + 1 == turns.size:
            break
        length = turns[turn + 1] - turns[turn]
        for dose in running[:1]:
            # AMT/RATE itself where it is that: a difference of two times has lost digits
            if (doses.time[dose], finish[dose]) == (turns[turn], turns[turn + 1]):
                length = doses.duration[dose]
        duration = in_text(float(length), time_unit)
        rate = math.fsum(doses.rate[running])
        steps.append(
            Infusion(dose=in_text(rate, rate_unit), duration=duration)
            if running
            else Pause(duration=duration)
        )
    return steps


def _distinct(times: Array) -> Array:
    """Times in order, the first of those that count as the same."""
    kept: list[float] = []
    for time in np.sort(times):
        if not kept or time > up(kept[-1]):
            kept.append(time)
    return np.array(kept)


def in_text(number: float, unit: str) -> str:
    """A quantity from which the same number is read back."""
    return f"{number!r}".removesuffix(".0") + f" {unit}"


def over(amount: str, time: str) -> str:
    """The unit of a rate."""
    return f"{amount}/{time}" if time.isidentifier() else f"({amount})/({time})"


def record_table(data: Dataset) -> pd.DataFrame:
    """A data set as a table with NONMEM's columns, one row a record.

    Parameters
    ----------
    data
        From `popk.read_data`, or simulated.

    Returns
    -------
    DataFrame
        ID, TIME, EVID, MDV, AMT, RATE, DV and the covariates (words where they have levels), and
        ADDL, II, SS and CENS, LIMIT where some record has them; DV is empty where nothing was
        measured. Units are those of `data.units` and `data.covariate_units`: reading the written
        table as such gives the same records.
    """
    mask = data.mask
    columns: dict[str, np.ndarray | list[str]] = {
        "ID": np.repeat(np.array(data.ids, dtype=object), mask.sum(axis=1)),
        "TIME": data.time[mask],
        "EVID": data.evid[mask],
        "MDV": (~data.observed[mask]).astype(int),
        "AMT": data.amount[mask],
        "RATE": data.rate[mask],
    }
    repeated = {"ADDL": data.addl[mask], "II": data.interval[mask], "SS": data.ss[mask]}
    if any(values.any() for values in repeated.values()):
        columns |= repeated
    columns["DV"] = np.where(data.observed, data.dv, np.nan)[mask]
    censored = (data.censoring == 1)[mask]
    if censored.any():
        below = data.upper[mask] == data.dv[mask]
        bound = np.where(below, data.lower[mask], data.upper[mask])
        columns["CENS"] = np.where(censored, np.where(below, 1, -1), 0)
        columns["LIMIT"] = np.where(censored & np.isfinite(bound), bound, np.nan)
    for name, values in data.covariates.items():
        words = np.array(data.levels.get(name, ()), dtype=object)
        columns[name] = words[values[mask].astype(int)] if words.size else values[mask]
    return pd.DataFrame(columns)
