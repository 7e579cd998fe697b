"""What kind of event each row is: EVID, where it is absent inferred, and MDV."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from popk.data.nonmem.cells import Bools, Items
from popk.spec.problem import Problem

Ints = NDArray[np.int64]

OBSERVATION, DOSE, OTHER, RESET, RESET_AND_DOSE = range(5)

DOSE_ITEMS = ("AMT", "RATE", "DUR", "ADDL", "II", "SS")

UNKNOWN = -1
"""EVID of a row whose event cannot be told; nothing further is checked there."""


def read_evid(items: Items) -> Ints:
    """[row] event, inferred from AMT and RATE where the file has no EVID.

    A row with MDV=1 and no dose is then an OTHER event, as NM-TRAN has it.
    """
    if "EVID" in items:
        evid = items.values("EVID")
        known = np.isin(evid, range(5))
        return np.where(known, evid, UNKNOWN).astype(np.int64)
    dose = np.nan_to_num(items.values("AMT")) != 0.0
    dose |= np.nan_to_num(items.values("RATE")) != 0.0
    other = items.values("MDV") == 1.0
    return np.where(dose, DOSE, np.where(other, OTHER, OBSERVATION)).astype(np.int64)


def is_dose(evid: Ints) -> Bools:
    """[row] True where an event gives a dose."""
    return (evid == DOSE) | (evid == RESET_AND_DOSE)


def is_reset(evid: Ints) -> Bools:
    """[row] True where an event sets all amounts to zero and may set the clock back."""
    return (evid == RESET) | (evid == RESET_AND_DOSE)


def event_problems(items: Items, evid: Ints) -> Iterator[Problem]:
    """Errors in ID, TIME, EVID and MDV."""
    places = items.places
    for item in ("ID", "TIME"):
        yield from places.errors(
            items.missing(item),
            items.name(item),
            "nothing",
            f"{item} on every row",
            "fill in the value, or comment the row out with '#'",
        )
    for item, codes in (("EVID", range(5)), ("MDV", range(2))):
        if item in items:
            column = items[item]
            yield from places.errors(
                ~np.isin(column.values, codes) & ~column.unreadable,
                column.name,
                column,
                f"{item} of {', '.join(map(str, codes))}",
                f"correct it, or delete the column: {item} can be inferred from the other items",
            )
    yield from places.errors(
        (evid > OBSERVATION) & (items.values("MDV", absent=1.0) == 0.0),
        items.name("MDV"),
        lambda row: f"MDV = 0 with EVID = {evid[row]}",
        "MDV = 1 where EVID is not 0",
        "set MDV to 1; a sample at the time of a dose is a row of its own with EVID = 0",
    )


def order_problems(items: Items, evid: Ints) -> Iterator[Problem]:
    """Errors where TIME goes back without a reset, or the rows of a subject are torn apart."""
    places, time = items.places, items["TIME"]
    subject = np.array(places.subject)
    begins = np.r_[True, subject[1:] != subject[:-1]]
    back = np.r_[False, np.diff(time.values) < 0.0] & ~begins & ~is_reset(evid)
    yield from places.errors(
        back,
        time.name,
        lambda row: f"{time(row)} after {time(row - 1)}",
        "TIME that does not go back within a subject, except at a reset (EVID 3 or 4)",
        "sort the rows by time, or mark the start of a new occasion with EVID 3 or 4",
    )
    first: dict[str, int] = {}
    for row in np.flatnonzero(begins & ~items.missing("ID")).tolist():
        name = places.subject[row]
        if name in first:
            yield Problem(
                file=places.file,
                line=int(places.line[row]),
                subject=name,
                key=items.name("ID"),
                found=f"a second block of rows of ID {name} (the first begins at line "
                f"{places.line[first[name]]})",
                expected="all rows of a subject one after the other",
                cure="sort the file by ID and time, or give the second subject another ID",
            )
        first.setdefault(name, row)
