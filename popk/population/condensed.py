"""Events with only what a likelihood needs: the observed rows, each with the doses behind it.

`arrange` lays out every step of every history, padded to the longest. Where clearance and volume
do not change within a subject, an observed row depends on the doses before it and on nothing
else; then the rows of all subjects stand in one list without padding, rows with many doses first.
Sizes are rounded up a little, so that similar data share one compiled program.
"""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from popk.pk.dosing import Steps
from popk.pk.past import Behind, Past, look_back, tabulate
from popk.population.censoring import slots_of
from popk.population.events import Events
from popk.population.gathering import Places, places

LONGEST_SUM = 24
"""Doses behind a row up to which they are summed one by one; beyond, a loop over time."""


@no_type_check  # JAX rebuilds a pytree around scalars and placeholders
@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Rows:
    """The observed rows of all subjects.

    Attributes
    ----------
    blocks
        Consecutive rows, each block with room for as many doses as its rows need.
    subject
        The subject of each row of each block.
    """

    blocks: tuple[Past, ...]
    subject: tuple[Places, ...]

    def per_subject(self, values: Float[Array, " row"]) -> Float[Array, " subject"]:
        """The sum over each subject's rows."""
        first, total = 0, 0.0
        for past, subject in zip(self.blocks, self.subject, strict=True):
            count = past.since.shape[0]
            total = total + subject.put(values[first : first + count])
            first += count
        return jnp.asarray(total)


class Condensed(NamedTuple):
    """Condensed events, and where each observation of the file is among their observed rows."""

    events: Events
    order: Int[np.ndarray, " observation"]


class _Row(NamedTuple):
    subject: int
    step: int
    behind: Behind


def condense(events: Events) -> Condensed:
    """What a sampler works on, for events from `arrange`.

    Unchanged where a covariate changes within a subject, or where a row has very many doses
    behind it.
    """
    rows = _rows(events)
    if rows is None:
        return Condensed(events, np.arange(int(events.observed.sum())))
    blocks = _blocks(rows)
    laid = [row for block, _ in blocks for row in block]
    used = np.array([row is not None for row in laid], dtype=bool)
    known = [row for row in laid if row is not None]
    subject = np.array([row.subject if row else 0 for row in laid], dtype=int)
    step = np.array([row.step if row else 0 for row in laid], dtype=int)
    data = {
        name: np.where(used, getattr(events, name)[subject, step], rest)
        for name, rest in UNOBSERVED.items()
    }
    place = [(row.subject, row.step) for row in known]
    condensed = replace(
        events,
        steps=Rows(
            tuple(_past(block, widths) for block, widths in blocks),
            tuple(places(_subjects(block), events.subjects) for block, _ in blocks),
        ),
        observed=used,
        **data,
    )
    return Condensed(
        with_slots(condensed), np.array(sorted(range(len(place)), key=place.__getitem__), dtype=int)
    )


UNOBSERVED = {"dv": 1.0, "censored": False, "lower": -np.inf, "upper": np.inf}
"""What stands in rows that only fill up."""


def with_slots(events: Events, slots: int = 0, *, two_sided: bool = False) -> Events:
    """Gather the censored rows, in at least so many slots; of each trial if there are several."""
    censored = events.censored & events.observed
    count = max(rounded(int(censored.sum(axis=-1).max(initial=0))), slots)
    row = np.argsort(~censored, axis=-1, kind="stable")[..., :count]
    row = np.pad(row, [(0, 0)] * (row.ndim - 1) + [(0, count - row.shape[-1])])
    used = np.arange(count) < censored.sum(axis=-1, keepdims=True)
    lower, upper = (
        np.where(used, np.take_along_axis(a, row, axis=-1), rest)
        for a, rest in ((events.lower, -np.inf), (events.upper, np.inf))
    )
    row = places(np.where(used, row, censored.shape[-1]), censored.shape[-1])
    return replace(events, slots=slots_of(row, lower, upper, two_sided=two_sided))


def trial_axes(events: Events) -> tuple[bool, ...]:
    """Of each leaf of the events, whether it has an axis of trials: observations and slots do."""
    shared = jax.tree.map(lambda _: False, events)
    observations = ("observed", "dv", "censored", "lower", "upper", "slots")
    own = {name: jax.tree.map(lambda _: True, getattr(events, name)) for name in observations}
    return tuple(jax.tree.leaves(replace(shared, **own)))


def rounded(count: int) -> int:
    """The next size that programs are compiled for: at most an eighth above, 1 to 8 as they are."""
    if count <= 8:
        return count
    unit = 1 << (int(count - 1).bit_length() - 4)
    return -(-count // unit) * unit


def _rows(events: Events) -> list[_Row] | None:
    """The observed rows; None where they cannot be condensed."""
    steps = events.steps
    varying = any(a.shape[-1] > 1 for a in (*events.log_scale.values(), *events.terms.values()))
    if varying or not isinstance(steps, Steps):
        return None
    rows = []
    for i, observed in enumerate(events.observed):
        own = Steps(
            **{
                f.name: None if (a := getattr(steps, f.name)) is None else a[i]
                for f in fields(Steps)
            }
        )
        places = np.flatnonzero(observed)
        found = look_back(own, places)
        rows += [_Row(i, int(step), behind) for step, behind in zip(places, found, strict=True)]
    most = np.max([row.behind.widths for row in rows], axis=0, initial=0)
    return rows if most.sum() <= LONGEST_SUM else None


Block = tuple[list[_Row | None], tuple[int, int, int]]


def _blocks(rows: list[_Row]) -> list[Block]:
    """Rows with many doses and rows with few, split where the fewest exponentials are computed."""
    ordered = sorted(rows, key=lambda row: -_cost(row.behind.widths))
    widths = np.array([row.behind.widths for row in ordered]).reshape(-1, 3)
    best, at = np.inf, 0
    for split in range(len(ordered)):
        cost = sum(
            rounded(len(part)) * (_cost(tuple(part.max(axis=0))) + OTHER)
            for part in (widths[:split], widths[split:])
            if len(part)
        )
        if cost + (PER_BLOCK if split else 0) < best:
            best, at = cost + (PER_BLOCK if split else 0), split
    blocks: list[Block] = []
    for part, wide in ((ordered[:at], widths[:at]), (ordered[at:], widths[at:])):
        if part:
            filled = [*part, *[None] * (rounded(len(part)) - len(part))]
            blocks.append((filled, tuple(int(n) for n in wide.max(axis=0))))
    return blocks


def _subjects(block: list[_Row | None]) -> Int[np.ndarray, " row"]:
    """A row that only fills up is the first subject's: nothing of it reaches the likelihood."""
    return np.array([0 if row is None else row.subject for row in block], dtype=np.int32)


OTHER, PER_BLOCK = 6, 100
"""Work of a row beside its doses, and of one more block, in exponentials."""


def _cost(widths: tuple[int, ...]) -> int:
    infusion, bolus, steady = widths
    return 2 * infusion + bolus + 4 * steady


def _past(block: list[_Row | None], widths: tuple[int, int, int]) -> Past:
    rows = [row.behind for row in block if row is not None]
    return tabulate(rows + [rows[-1]] * (len(block) - len(rows)), widths)
