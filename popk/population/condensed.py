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
from jaxtyping import Array, Bool, Float, Int

from popk.pk.dosing import Steps
from popk.pk.past import Behind, Past, look_back, tabulate
from popk.population.censoring import slots_of
from popk.population.events import Events
from popk.population.gathering import Places, places_of

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


def condense(
    events: Events, censorable: Bool[np.ndarray, "subject step"] | None = None
) -> Condensed:
    """What a sampler works on, for events from `arrange`.

    Unchanged where a covariate changes within a subject, or where a row has very many doses
    behind it.

    Parameters
    ----------
    events
        All steps.
    censorable
        Observed steps that may be censored, in other data on this design; by default those that
        are. They come last.
    """
    rows = _rows(events)
    if rows is None:
        return Condensed(events, np.arange(int(events.observed.sum())))
    last = events.censored if censorable is None else events.censored | censorable
    blocks = _blocks([row for row in rows if not last[row.subject, row.step]])
    tail = _filled([row for row in rows if last[row.subject, row.step]])
    blocks += tail
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
            tuple(places_of(_subjects(block), events.subjects) for block, _ in blocks),
        ),
        observed=used,
        **data,
    )
    order = np.array(sorted(range(len(place)), key=place.__getitem__), dtype=int)
    return Condensed(with_slots(condensed, sum(len(block) for block, _ in tail)), order)


UNOBSERVED = {"dv": 1.0, "censored": False, "lower": -np.inf, "upper": np.inf}
"""What stands in rows that only fill up."""


def censored_last(events: Events) -> Events:
    """Condensed events of several trials, with the rows that are censored in any of them last."""
    rows = events.steps
    if not isinstance(rows, Rows):
        return events
    ever = events.censored.any(axis=0)
    subject = np.concatenate([np.argmax(places.dense(), axis=1) for places in rows.subject])
    blocks: list[Past] = []
    owners: list[Places] = []
    order, first = [], 0
    moved = [np.flatnonzero(ever)]
    for past in rows.blocks:
        own = np.arange(first, first + past.since.shape[0])
        first += len(own)
        order.append(own[~ever[own]])
        if len(order[-1]):
            blocks.append(jax.tree.map(lambda a, keep=~ever[own]: a[..., keep], past))
            owners.append(places_of(subject[order[-1]], events.subjects))
    if ever.any():
        wide = [_widened(past, rows.blocks) for past in rows.blocks]
        whole = jax.tree.map(lambda *parts: np.concatenate(parts, axis=-1), *wide)
        blocks.append(jax.tree.map(lambda a: a[..., ever], whole))
        owners.append(places_of(subject[moved[0]], events.subjects))
    index = np.concatenate(order + moved)
    data = {name: getattr(events, name)[..., index] for name in ("observed", *UNOBSERVED)}
    ordered = replace(events, steps=Rows(tuple(blocks), tuple(owners)), **data)
    return with_slots(ordered, int(ever.sum()))


def _widened(past: Past, others: tuple[Past, ...]) -> Past:
    """The same with room for as many doses as any of the others has."""

    def wide(name: str) -> np.ndarray:
        values = getattr(past, name)
        if values.ndim == 1:
            return values
        most = max(getattr(other, name).shape[0] for other in others)
        fill = 1.0 if name == "steady_interval" else 0.0
        pad = [(0, most - values.shape[0]), (0, 0)]
        return np.pad(values, pad, constant_values=fill)

    return Past(**{f.name: wide(f.name) for f in fields(Past)})


def with_slots(events: Events, count: int) -> Events:
    """Bounds of the last rows, so many of them, of each trial if there are several."""
    first = events.censored.shape[-1] - count
    return replace(events, slots=slots_of(events.lower[..., first:], events.upper[..., first:]))


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
    return _filled(ordered[:at]) + _filled(ordered[at:])


def _filled(rows: list[_Row]) -> list[Block]:
    """A block of these rows and as many that fill it up as its size asks for; none of none."""
    if not rows:
        return []
    infusion, bolus, steady = np.max([row.behind.widths for row in rows], axis=0).tolist()
    return [([*rows, *[None] * (rounded(len(rows)) - len(rows))], (infusion, bolus, steady))]


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
