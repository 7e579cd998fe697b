"""The rows of each subject: their place in the padded arrays, and what only the whole can tell."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from popk.data.nonmem.cells import Items
from popk.data.nonmem.columns import toml_key, toml_text
from popk.data.nonmem.events import is_dose
from popk.data.nonmem.observations import Observations
from popk.data.nonmem.table import NUMBER
from popk.spec.problem import Problem

T = TypeVar("T", bound=np.generic)

COMMENTED = re.compile(rf"[Cc]\s*{NUMBER.pattern}", re.ASCII)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the rows of a file stand in [subject, record] arrays.

    Attributes
    ----------
    ids
        Subjects in file order.
    subject, record
        [row] indices of the row's subject, and of the row among those of its subject.
    """

    ids: tuple[str, ...]
    subject: NDArray[np.intp]
    record: NDArray[np.intp]

    @classmethod
    def of(cls, subjects: Sequence[str]) -> "Layout":
        """Lay out rows that belong to these subjects, [row] IDs."""
        index = {name: position for position, name in enumerate(dict.fromkeys(subjects))}
        subject = np.array([index[name] for name in subjects], dtype=np.intp)
        record = np.empty_like(subject)
        order = np.argsort(subject, kind="stable")
        counts = np.bincount(subject, minlength=len(index))
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        record[order] = np.arange(len(subject)) - starts
        return cls(tuple(index), subject, record)

    @property
    def counts(self) -> NDArray[np.intp]:
        """[subject] number of rows."""
        return np.bincount(self.subject, minlength=len(self.ids))

    def spread(self, values: NDArray[T], pad: float | Literal["last"] = 0) -> NDArray[T]:
        """Spread [row] values over [subject, record]; `pad` fills up, or the subject's last."""
        shape = (len(self.ids), int(self.counts.max(initial=0)))
        if pad == "last":
            last = np.empty(len(self.ids), dtype=values.dtype)
            last[self.subject] = values  # of several rows the last one stays
            spread = np.repeat(last[:, None], shape[1], axis=1)
        else:
            spread = np.full(shape, pad, dtype=values.dtype)
        spread[self.subject, self.record] = values
        return spread

    def any(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """[subject] True where some row of the subject is True."""
        return np.bincount(self.subject, weights=rows, minlength=len(self.ids)) > 0


def subject_problems(
    items: Items, evid: NDArray[np.int64], observations: Observations, layout: Layout
) -> Iterator[Problem]:
    """Subjects and files without doses or observations; observations that precede every dose.

    Subjects with an unreadable row are left out: what is missing may stand in that row.
    """
    places = items.places
    observed, dose = observations.observed, is_dose(evid) & ~items.unreadable
    begins = layout.record == 0
    unsure = layout.any(items.unreadable | (evid < 0))
    no_dose = ~layout.any(dose) & ~unsure
    no_observation = ~layout.any(observed) & ~unsure
    yield from places.errors(
        begins & (no_dose & ~no_observation)[layout.subject],
        items.name("AMT"),
        "observations and no dose",
        "at least one dose for a subject with observations",
        "add the dose rows, or leave the subject out with [rows] ignore",
    )
    if not observed.any() and not unsure.any():
        yield _in_file(
            items,
            "no observation in the whole file",
            "rows with EVID = 0, MDV = 0 and a DV",
            "check EVID, MDV and [rows]; a file with doses only can be simulated, not fitted",
        )
    elif observed.any() and (observations.censoring[observed] == 1).all():
        yield _in_file(
            items,
            f"only censored observations ({int(observed.sum())})",
            "at least some measured concentrations",
            "check the censoring column and the limits, and that all samples were exported",
        )
    if observed.any():
        ids = [layout.ids[subject] for subject in np.flatnonzero(no_observation)]
        yield from places.warning(
            begins & no_observation[layout.subject],
            items.name("ID"),
            f"no observation for ID {', '.join(ids[:10])}{', ...' if len(ids) > 10 else ''}, "
            f"{len(ids)} of {len(layout.ids)} subjects, as",
            "observations; the subjects stay in the data and inform no parameter",
            "leave them out with [rows] ignore if that is not meant",
        )
    yield from _like_comments(items, layout)
    never = len(evid)
    first_dose = np.full(len(layout.ids), never)
    rows = np.flatnonzero(dose)[::-1]
    first_dose[layout.subject[rows]] = rows  # written from the end, the first one stays
    early = observed & (np.arange(len(evid)) < first_dose[layout.subject])
    yield from places.warning(
        early & ~no_dose[layout.subject] & ~unsure[layout.subject],
        items.name("TIME"),
        "an observation before the subject's first dose",
        "observations after a dose; the prediction is zero there",
        "correct the order of rows or the times, or give the row MDV = 1",
    )


def _like_comments(items: Items, layout: Layout) -> Iterator[Problem]:
    """IDs such as C12 among numbers: NONMEM's IGNORE=C leaves these rows out."""
    odd = [name for name in layout.ids if NUMBER.fullmatch(name) is None]
    if len(odd) == len(layout.ids) or not all(map(COMMENTED.fullmatch, odd)):
        return
    named = ", ".join(map(toml_text, odd[:10]))
    yield from items.places.warning(
        (layout.record == 0) & np.isin(np.array(layout.ids)[layout.subject], odd),
        items.name("ID"),
        "an ID that begins with C among IDs that are numbers,",
        "a number: a control stream's IGNORE=C leaves such rows out, here they are read",
        "begin these lines with '#', or leave them out: [rows] ignore = "
        f"{{{toml_key(items.name('ID'))} = [{named}]}}",
    )


def _in_file(items: Items, found: str, expected: str, cure: str) -> Problem:
    return Problem(
        file=items.places.file, key=items.name("DV"), found=found, expected=expected, cure=cure
    )
