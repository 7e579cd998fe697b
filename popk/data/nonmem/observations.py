"""Which rows enter the likelihood, with which DV, and between which limits if censored.

Two vocabularies of censoring exist, and a file speaks one of them:

CENS  1: the true value is below DV, -1: above DV; with LIMIT it lies between LIMIT and DV.
BLQ/ALQ  1: it is below LLOQ / above ULOQ, a column or a limit of the assay; DV is not used.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.data.nonmem.cells import Array, Bools, Items
from popk.data.nonmem.events import OBSERVATION, UNKNOWN, is_dose
from popk.spec.fit import Assay
from popk.spec.problem import Problem
from popk.spec.units import UnitError, quantity

FLAGS = (("BLQ", "LLOQ"), ("ALQ", "ULOQ"))


@dataclass(frozen=True, eq=False)
class Limits:
    """[row] lower and upper limit of quantification in DV's unit, NaN where there is none."""

    lower: Array
    upper: Array


@dataclass(frozen=True, eq=False)
class Observations:
    """[row] as in `popk.data.dataset.Dataset`: concentrations in DV's unit."""

    observed: Bools
    dv: Array
    censoring: NDArray[np.int64]
    lower: Array
    upper: Array


def read_limits(
    items: Items, assay: Assay, concentration: str | None
) -> tuple[Limits, list[Problem]]:
    """Limits of quantification: the row's own, else those of the assay.

    Parameters
    ----------
    items
        The file's items, LLOQ and ULOQ among them.
    assay
        Limits for the whole file.
    concentration
        DV's unit, None if undeclared.
    """
    problems, limits = [], []
    for item, text in (("LLOQ", assay.lloq), ("ULOQ", assay.uloq)):
        limit = np.nan
        if text is not None:
            try:
                limit = quantity(text, concentration)
            except UnitError as error:
                problems.append(
                    Problem(
                        file=items.places.file,
                        key=f"assay.{item.lower()}",
                        found=f"{text!r} ({error})",
                        expected=f"a concentration in a unit convertible to "
                        f"{concentration or 'that of DV, which is not declared'}",
                        cure=f"correct it, or declare [columns] {items.name('DV')} = "
                        '{unit = "..."}',
                    )
                )
        own = items.values(item, absent=np.nan)
        limits.append(np.where(np.isnan(own), limit, own))
    return Limits(*limits), problems


def read_observations(items: Items, evid: NDArray[np.int64], limits: Limits) -> Observations:
    """Read the observations; meaningful once `observation_problems` finds nothing."""
    observed = _observed(items, evid)
    below, above = _flagged(items)
    below, above = below & observed, above & observed
    dv = np.where(observed, items.values("DV"), np.nan)
    if "CENS" in items:
        bound = items.values("LIMIT", absent=np.nan)
        lower = np.where(below, np.where(np.isnan(bound), -np.inf, bound), dv)
        upper = np.where(above, np.where(np.isnan(bound), np.inf, bound), dv)
    else:
        dv = np.where(below, limits.lower, np.where(above, limits.upper, dv))
        lower = np.where(below, -np.inf, dv)
        upper = np.where(above, np.inf, dv)
    censored = below | above
    return Observations(
        observed=observed,
        dv=dv,
        censoring=censored.astype(np.int64),
        lower=np.where(censored, lower, np.nan),
        upper=np.where(censored, upper, np.nan),
    )


def _flagged(items: Items) -> tuple[Bools, Bools]:
    """[row] True where a row is flagged as below, and as above, a limit."""
    if "CENS" in items:
        return items.values("CENS") == 1, items.values("CENS") == -1
    return items.values("BLQ") == 1, items.values("ALQ") == 1


def _observed(items: Items, evid: NDArray[np.int64]) -> Bools:
    """[row] True where MDV is 0; without MDV where a sample has a value or is flagged."""
    if "MDV" in items:
        return (evid == OBSERVATION) & (items.values("MDV") == 0)
    below, above = _flagged(items)
    return (evid == OBSERVATION) & (~items.missing("DV") | below | above)


def observation_problems(
    items: Items, evid: NDArray[np.int64], limits: Limits
) -> Iterator[Problem]:
    """All errors in DV, MDV and the censoring columns, and warnings."""
    observed = _observed(items, evid)
    below, above = _flagged(items)
    yield from _vocabulary(items)
    yield from _without_value(items, evid, observed, below | above)
    yield from _flag_codes(items, observed)
    if "CENS" in items:
        yield from _interval(items, observed)
    else:
        yield from _quantification(items, observed, limits)


def _vocabulary(items: Items) -> Iterator[Problem]:
    """Columns that do not go together."""
    others = [item for item in ("BLQ", "ALQ", "LLOQ", "ULOQ") if item in items]
    if "CENS" in items and others:
        yield Problem(
            file=items.places.file,
            key=items.name("CENS"),
            found=f"two vocabularies of censoring: CENS and {', '.join(others)}",
            expected="CENS with DV (and LIMIT), or BLQ/ALQ with LLOQ/ULOQ",
            cure="declare the columns of one of them with ignore = true",
        )
    if "LIMIT" in items and "CENS" not in items:
        yield Problem(
            file=items.places.file,
            key=items.name("LIMIT"),
            found="a column LIMIT and no CENS",
            expected="CENS, to say which rows lie between LIMIT and DV",
            cure="add CENS, or declare LIMIT with ignore = true",
        )


def _without_value(
    items: Items, evid: NDArray[np.int64], observed: Bools, flagged: Bools
) -> Iterator[Problem]:
    places, dv = items.places, items["DV"]
    # a flag of BLQ or ALQ says all that there is to know; CENS speaks about DV
    needs_value = observed if "CENS" in items else observed & ~flagged
    yield from places.errors(
        needs_value & dv.missing,
        dv.name,
        "no DV on an observation row",
        "a value (for CENS = 1 or -1 the limit)",
        "write the value, or MDV = 1 if there is none",
    )
    left_out = (evid == OBSERVATION) & ~observed
    if "MDV" not in items:
        yield from places.warning(
            left_out & dv.missing,
            dv.name,
            "neither a dose nor a DV",
            "DV, or MDV = 1 to say that there is none; the row is not used as an observation",
            "complete it, or give the row EVID = 2",
        )
    yield from places.warning(
        left_out & flagged,
        items.name("MDV"),
        "MDV = 1 for a censored sample",
        "MDV = 0, so that the sample counts as censored; left out, it biases the estimates",
        "set MDV to 0",
    )
    yield from places.warning(
        (evid != OBSERVATION) & (evid != UNKNOWN) & ~is_dose(evid) & flagged,
        items.name("CENS" if "CENS" in items else "BLQ"),
        "a censored sample on a row that is no observation",
        "EVID = 0; the row is not used as an observation",
        "set EVID to 0, or clear the flag",
    )


def _flag_codes(items: Items, observed: Bools) -> Iterator[Problem]:
    for item, codes in (("CENS", (0, 1, -1)), ("BLQ", (0, 1)), ("ALQ", (0, 1))):
        if item in items:
            column = items[item]
            yield from items.places.errors(
                observed & ~np.isin(column.values, codes) & ~column.unreadable,
                column.name,
                column,
                f"{item} of {', '.join(map(str, codes))} on every observation",
                "correct the flag",
            )
    if "BLQ" in items and "ALQ" in items:
        yield from items.places.errors(
            observed & (items.values("BLQ") == 1) & (items.values("ALQ") == 1),
            items.name("BLQ"),
            "a sample both below and above the limits",
            "BLQ = 1 or ALQ = 1, not both",
            "correct one of the flags",
        )


def _interval(items: Items, observed: Bools) -> Iterator[Problem]:
    """LIMIT on the wrong side of DV."""
    bound, dv = items.values("LIMIT", absent=np.nan), items.values("DV")
    below, above = _flagged(items)
    for flagged, wrong, side in (
        (below, bound >= dv, "below"),
        (above, bound <= dv, "above"),
    ):
        yield from items.places.errors(
            observed & flagged & wrong,
            items.name("LIMIT"),
            lambda row: f"{items['LIMIT'](row)} with {items['CENS'](row)} and {items['DV'](row)}",
            f"LIMIT {side} DV: the true value lies between them",
            "correct LIMIT or DV, or leave LIMIT out ('.')",
        )


def _quantification(items: Items, observed: Bools, limits: Limits) -> Iterator[Problem]:
    """Flags without a limit, and values that contradict flag or limit."""
    places = items.places
    dv = items.values("DV")
    below, above = _flagged(items)
    yield from places.errors(
        observed & (limits.lower >= limits.upper),
        items.name("LLOQ"),
        lambda row: f"a lower limit of {limits.lower[row]:g} and an upper of {limits.upper[row]:g}",
        "a lower limit below the upper one",
        "correct LLOQ or ULOQ (or [assay]), and their units",
    )
    for (flag, limit), flagged, bound, beyond, side in (
        (FLAGS[0], below, limits.lower, dv < limits.lower, "below"),
        (FLAGS[1], above, limits.upper, dv > limits.upper, "above"),
    ):
        yield from places.errors(
            observed & flagged & np.isnan(bound),
            items.name(limit),
            f"{flag} = 1 and no {limit}",
            f"the limit that the sample is {side}",
            f'add a column {limit}, or write [assay] {limit.lower()} = "..."',
        )
        # many files keep a placeholder in DV: 0, the limit itself, or half of it
        contradicts = (dv > bound) if side == "below" else (dv < bound) & (dv != 0)
        yield from places.errors(
            observed & flagged & contradicts,
            items.name("DV"),
            lambda row, flag=flag, bound=bound: (
                f"{items['DV'](row)} with {flag} = 1 and a limit of {bound[row]:g}"
            ),
            f"a DV that is not {'above' if side == 'below' else 'below'} the limit",
            "correct the flag, the limit or their units; DV may be '.' on a flagged row",
        )
        yield from places.warning(
            observed & ~flagged & beyond,
            items.name("DV"),
            f"DV {side} the {limit} of the assay, not flagged as censored,",
            f"{flag} = 1; the values are used as if they had been measured",
            f"set {flag} to 1, or correct the limit",
        )
