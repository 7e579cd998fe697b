"""What the dose records say: amount, rate, steady state and repetition, in the items' units."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.data.nonmem.cells import Array, Bools, Items
from popk.data.nonmem.columns import toml_key
from popk.data.nonmem.events import DOSE, DOSE_ITEMS, RESET_AND_DOSE, UNKNOWN, is_dose
from popk.spec.problem import Problem

MOST_ADDITIONAL = 10_000
"""Largest ADDL: every additional dose is computed on its own, and more is a slip of the pen."""

DURATION_TOLERANCE = 1e-6
"""Largest relative difference between DUR and AMT/RATE."""


@dataclass(frozen=True, eq=False)
class Doses:
    """[row] dose items, zero where a row is no dose.

    Attributes
    ----------
    amount, rate
        In AMT's unit, and in AMT's per TIME's unit.
    ss, addl
        Steady-state flag (0, 1, 2) and number of additional doses.
    interval
        II in TIME's unit.
    """

    amount: Array
    rate: Array
    ss: NDArray[np.int64]
    addl: NDArray[np.int64]
    interval: Array


def read_doses(items: Items, evid: NDArray[np.int64]) -> Doses:
    """Read the dose items; meaningful once `dose_problems` finds nothing."""
    dose = is_dose(evid)

    def on_doses(values: Array) -> Array:
        return np.where(dose, np.nan_to_num(values), 0.0)

    return Doses(
        amount=on_doses(items.values("AMT")),
        rate=on_doses(_rate(items)),
        ss=on_doses(items.values("SS")).astype(np.int64),
        addl=on_doses(items.values("ADDL")).astype(np.int64),
        interval=on_doses(items.values("II")),
    )


def _rate(items: Items) -> Array:
    """[row] RATE, or AMT/DUR where the file has DUR and no RATE."""
    if "RATE" in items or "DUR" not in items:
        return items.values("RATE")
    amount, duration = items.values("AMT"), items.values("DUR")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(duration > 0.0, amount / duration, 0.0)


def dose_problems(items: Items, evid: NDArray[np.int64]) -> Iterator[Problem]:
    """All errors in dose items, row by row, and warnings on what they may have meant."""
    dose = is_dose(evid)
    yield from _misplaced(items, evid)
    yield from _incomplete(items, dose)
    yield from _out_of_range(items, dose)
    yield from _without_size_or_end(items, evid, dose)
    yield from _duration(items, dose)
    yield from _repetition(items, dose)
    yield from _goes_on(items, dose)


def _misplaced(items: Items, evid: NDArray[np.int64]) -> Iterator[Problem]:
    """Dose items on rows that are no doses, and DV on rows that are."""
    other = ~is_dose(evid) & (evid != UNKNOWN)
    for item in (name for name in DOSE_ITEMS if name in items):
        column = items[item]
        yield from items.places.errors(
            other & (np.nan_to_num(column.values) != 0.0),
            column.name,
            lambda row, column=column: f"{column(row)} on a row with EVID = {evid[row]}",
            f"{item} = 0 or '.' where no dose is given",
            "set EVID to 1 (4 after a reset) if it is a dose, or clear the item; a dose and a "
            "sample at the same time are two rows; a column that means something else: [columns] "
            f"{toml_key(column.name)} = {{ignore = true}}",
        )
    reset = is_dose(evid) | (evid == 3)
    yield from items.places.errors(
        reset & (np.nan_to_num(items.values("DV")) != 0.0),
        items.name("DV"),
        lambda row: f"{items['DV'](row)} on a row with EVID = {evid[row]}",
        "DV = '.' or 0 on a dose or reset row",
        "write the sample as a row of its own with EVID = 0 (before the dose row if it was "
        "drawn before the dose)",
    )


def _incomplete(items: Items, dose: Bools) -> Iterator[Problem]:
    for item in (name for name in DOSE_ITEMS if name in items):
        if item == "DUR" and "RATE" in items:
            continue  # RATE says it all
        yield from items.places.errors(
            dose & items.missing(item),
            items.name(item),
            f"no {item} on a dose row",
            f"a number: a missing {item} is not taken to be 0",
            WHERE_MISSING.get(item, "write 0 where there is none, or complete the record"),
        )


WHERE_MISSING = {
    "AMT": "write the amount; write 0 only for a constant infusion at steady state (SS = 1)",
    "RATE": "write 0 for a bolus, or the rate of the infusion",
    "DUR": "write 0 for a bolus, or the duration of the infusion",
}
"""Cures of a missing dose item."""


def _out_of_range(items: Items, dose: Bools) -> Iterator[Problem]:
    """Values that an item cannot have whatever the others are."""
    places = items.places

    def errors(item: str, wrong: Bools, expected: str, cure: str) -> Iterator[Problem]:
        if item in items:
            yield from places.errors(dose & wrong, items.name(item), items[item], expected, cure)

    amount, rate = items.values("AMT"), items.values("RATE")
    yield from errors("AMT", amount < 0, "an amount above 0", "correct the sign of the dose")
    yield from errors(
        "RATE",
        rate == -1,
        "a rate of infusion, or 0 for a bolus",
        "RATE = -1 asks for a rate that the model estimates, which popk does not do: write AMT "
        "over the known duration",
    )
    yield from errors(
        "RATE",
        rate == -2,
        "a rate of infusion, or 0 for a bolus",
        "RATE = -2 asks for a duration that the model estimates, which popk does not do: write "
        "AMT over the known duration",
    )
    yield from errors(
        "RATE",
        (rate < 0) & (rate != -1) & (rate != -2),
        "a rate of infusion, or 0 for a bolus",
        "correct the sign of the rate",
    )
    for item in ("DUR", "II"):
        yield from errors(item, items.values(item) < 0, "a time of 0 or more", "correct the sign")
    steady = items.values("SS")
    yield from errors(
        "SS",
        ~np.isin(steady, (0, 1, 2)) & ~np.isnan(steady),
        "0 (no), 1 (steady state after a reset) or 2 (added to what is there)",
        "correct the flag, or declare the column with ignore = true",
    )
    additional = items.values("ADDL")
    yield from errors(
        "ADDL",
        (additional < 0)
        | (additional > MOST_ADDITIONAL)
        | ((additional % 1 != 0) & ~np.isnan(additional)),
        f"a whole number of additional doses, 0 to {MOST_ADDITIONAL}",
        "count the doses that follow this one",
    )
    compartment = items.values("CMT", absent=1.0)
    yield from errors(
        "CMT",
        ~np.isin(compartment, (0, 1)) & ~np.isnan(compartment),
        "compartment 1 (or 0), the only one that can be dosed",
        "set CMT to 1 for an intravenous dose; other routes are not modelled",
    )
    if "CMT" in items:
        yield from places.warning(
            ~dose & ~np.isin(compartment, (0, 1)) & ~np.isnan(compartment),
            items.name("CMT"),
            "CMT other than 0 or 1",
            "compartment 1; such a row is read as one of compartment 1",
            "leave rows of another analyte or matrix out with [rows] ignore",
        )


def _without_size_or_end(items: Items, evid: NDArray[np.int64], dose: Bools) -> Iterator[Problem]:
    """Doses of nothing, and infusions of which no end is known."""
    places = items.places
    amount, rate, steady = items.values("AMT"), _rate(items), items.values("SS")
    nothing = dose & (amount == 0) & (rate == 0)
    yield from places.errors(
        nothing & (evid == DOSE),
        items.name("AMT"),
        "a dose with neither amount nor rate",
        "AMT above 0",
        "complete the dose, or set EVID to 2 (no dose)",
    )
    yield from places.errors(
        nothing & (evid == RESET_AND_DOSE),
        items.name("AMT"),
        "a dose with neither amount nor rate",
        "AMT above 0",
        "complete the dose, or set EVID to 3 (reset without a dose)",
    )
    endless = dose & (amount == 0) & (rate > 0)
    yield from places.errors(
        endless & (steady == 0),
        items.name("AMT"),
        lambda row: f"a dose without end: RATE = {items['RATE'].text[row]} and AMT = 0",
        "AMT above 0, so that the infusion ends after AMT/RATE",
        "write the total amount of the infusion; for the steady state of a constant infusion "
        "set SS to 1",
    )
    for item in ("II", "ADDL"):
        yield from places.errors(
            endless & (steady > 0) & (items.values(item) > 0),
            items.name(item),
            lambda row, item=item: (
                f"{items[item](row)} with {items['SS'](row)}, AMT = 0 and RATE above 0"
            ),
            f"{item} = 0 for the steady state of a constant infusion",
            f"set {item} to 0, or write AMT if the dose is an infusion that is repeated",
        )


def _duration(items: Items, dose: Bools) -> Iterator[Problem]:
    """Infusions whose duration is no number, or disagrees with DUR."""
    places, item = items.places, "RATE" if "RATE" in items else "DUR"
    amount, rate = items.values("AMT"), _rate(items)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        duration = np.where(rate > 0, amount / rate, 0.0)
    yield from places.errors(
        dose & ((np.isinf(duration) & ~np.isnan(amount)) | np.isinf(rate)),
        items.name(item),
        lambda row: f"{items[item](row)} with {items['AMT'](row)}: an infinite duration or rate",
        "AMT/RATE that is a finite time",
        "correct the rate or the duration",
    )
    if "RATE" in items and "DUR" in items:
        given = items.values("DUR")
        apart = np.abs(given - duration) > DURATION_TOLERANCE * duration
        yield from places.errors(
            dose & (amount >= 0) & (rate >= 0) & (given >= 0) & apart,
            items.name("DUR"),
            lambda row: (
                f"{items['DUR'](row)} beside {items['AMT'](row)} and "
                f"{items['RATE'](row)} (AMT/RATE is {duration[row]:.8g}, DUR {given[row]:.8g} in "
                "TIME's unit)"
            ),
            "DUR equal to AMT/RATE (a bolus has RATE 0 and DUR 0)",
            "correct one of the three, or declare DUR with ignore = true",
        )


def _repetition(items: Items, dose: Bools) -> Iterator[Problem]:
    """Doses that are repeated at no interval, and intervals that nothing repeats."""
    amount, interval = items.values("AMT"), items.values("II")
    steady, additional = items.values("SS"), items.values("ADDL")
    for item, repeats in (("ADDL", additional > 0), ("SS", np.isin(steady, (1, 2)))):
        yield from items.places.errors(
            dose & repeats & (amount > 0) & (interval == 0),
            items.name("II"),
            lambda row, item=item: f"no dosing interval (II) with {items[item](row)}",
            f"II above 0 where {item} repeats the dose",
            "write the interval between the doses in a column II",
        )
    yield from items.places.warning(
        dose & (interval > 0) & (steady == 0) & (additional == 0),
        items.name("II"),
        "II above 0 with neither ADDL nor SS",
        "an interval only where a dose is repeated; these doses are given once",
        "add ADDL if they were repeated",
    )


def _goes_on(items: Items, dose: Bools) -> Iterator[Problem]:
    """Warn of a steady-state constant infusion that ends at its own record's time."""
    time, amount, rate = items.values("TIME"), items.values("AMT"), _rate(items)
    subject = items.places.subject
    constant = dose & (items.values("SS") > 0) & (amount == 0) & (rate > 0)
    stops = np.zeros(items.rows, dtype=np.bool_)
    for row in np.flatnonzero(constant).tolist():
        stops[row] = True
        following = row + 1
        while (
            following < items.rows
            and subject[following] == subject[row]
            and time[following] == time[row]
        ):
            if dose[following] and amount[following] > 0 and rate[following] > 0:
                stops[row] = False
            following += 1
    yield from items.places.warning(
        stops,
        items.name("SS"),
        "the steady state of a constant infusion (SS above 0, AMT = 0) that ends there",
        "a further dose row at the same TIME if the infusion goes on",
        "add a row at that TIME with SS = 0, the same RATE, and AMT = RATE times the time that "
        "the infusion went on",
    )
