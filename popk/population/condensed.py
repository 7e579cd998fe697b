"""Events with only what a likelihood needs: the observed rows, each with the doses behind it.

`arrange` lays out every step of every history, padded to the longest. Where clearance and volume
do not change within a subject, an observed row depends on the doses before it and on nothing
else; then the rows of all subjects stand in one list without padding, rows with many doses first.
Sizes are rounded up a little, so that similar data share one compiled program.
"""

from collections.abc import Sequence
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
from popk.population.gathering import Places, laid_out

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

    def per_subject(self, values: Float[Array, " row"], subjects: int) -> Float[Array, " subject"]:
        """The sum over each subject's rows."""
        first, total = 0, jnp.zeros(subjects, values.dtype)
        for past, subject in zip(self.blocks, self.subject, strict=True):
            count = past.since.shape[0]
            total = total + subject.put(values[first : first + count], subjects)
            first += count
        return total


class Condensed(NamedTuple):
    """Condensed events, and where each observation of the file is among their observed rows."""

    events: Events
    order: Int[np.ndarray, " observation"]


class Row(NamedTuple):
    """An observed row: whose it is, at which of its steps, and the doses behind it."""

    subject: int
    step: int
    behind: Behind


class Grouped(NamedTuple):
    """The observed rows in groups, each of which has room for as many doses as its rows need.

    Attributes
    ----------
    groups
        The rows of each, none empty.
    late
        Whether the last group holds the rows that may be censored.
    """

    groups: tuple[list[Row], ...]
    late: bool


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
    rows = grouped(events, censorable)
    if rows is None:
        return Condensed(events, np.arange(int(events.observed.sum())))
    laid: list[Row | None] = []
    blocks, owners = [], []
    for group in rows.groups:
        subject, place = laid_out(np.array([row.subject for row in group]), events.subjects)
        block = [None if i < 0 else group[i] for i in place]
        blocks.append(jax.tree.map(lambda a, i=place: a[..., np.maximum(i, 0)], past_of(group)))
        owners.append(subject)
        laid += block
    used = np.array([row is not None for row in laid], dtype=bool)
    subject = np.array([row.subject if row else 0 for row in laid], dtype=int)
    step = np.array([row.step if row else 0 for row in laid], dtype=int)
    data = {
        name: np.where(used, getattr(events, name)[subject, step], rest)
        for name, rest in UNOBSERVED.items()
    }
    condensed = replace(
        events, steps=Rows(tuple(blocks), tuple(owners)), observed=used, slots=None, **data
    )
    known = [(row.subject, row.step) for row in laid if row is not None]
    order = np.array(sorted(range(len(known)), key=known.__getitem__), dtype=int)
    slots = blocks[-1].since.shape[0] if rows.late else 0
    return Condensed(with_slots(condensed, slots), order)


UNOBSERVED = {"dv": 1.0, "censored": False, "lower": -np.inf, "upper": np.inf}
"""What stands in rows that only fill up."""


def censored_last(events: Events) -> Events:
    """Condensed events of several trials, with the rows that are censored in any of them last."""
    rows = events.steps
    if not isinstance(rows, Rows):
        return events
    ever = events.censored.any(axis=0)
    observed = events.observed.any(axis=0)
    subject = np.concatenate([places.subject for places in rows.subject])
    blocks: list[Past] = []
    owners: list[Places] = []
    order = []

    def add(past: Past, own: Int[np.ndarray, " row"]) -> None:
        """A block of those of the rows (numbers among all) that `past` has."""
        places, place = laid_out(subject[own], events.subjects)
        blocks.append(jax.tree.map(lambda a: a[..., np.maximum(place, 0)], past))
        owners.append(places)
        order.append(np.where(place < 0, -1, own[np.maximum(place, 0)]))

    first = 0
    for past in rows.blocks:
        own = np.arange(first, first + past.since.shape[0])
        first += len(own)
        keep = observed[own] & ~ever[own]
        if keep.any():
            add(jax.tree.map(lambda a, keep=keep: a[..., keep], past), own[keep])
    slots = 0
    if ever.any():
        wide = [_widened(past, rows.blocks) for past in rows.blocks]
        whole = jax.tree.map(lambda *parts: np.concatenate(parts, axis=-1), *wide)
        add(jax.tree.map(lambda a: a[..., ever], whole), np.flatnonzero(ever))
        slots = blocks[-1].since.shape[0]
    index = np.concatenate(order)
    used = index >= 0
    data = {
        name: np.where(used, getattr(events, name)[..., np.maximum(index, 0)], rest)
        for name, rest in {"observed": False, **UNOBSERVED}.items()
    }
    ordered = replace(events, steps=Rows(tuple(blocks), tuple(owners)), **data)
    return with_slots(ordered, slots)


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
    """Of each leaf of the events of several trials, whether it has an axis of trials.

    Observations and slots do. Where trials differ in their subjects (see `resampled`) so does all
    that depends on these; at which rows of the list a subject stands is the same in all trials.
    """
    shared, whole = (jax.tree.map(lambda _, own=own: own, events) for own in (False, True))
    if subjects_differ(events):
        if isinstance(events.steps, Rows):
            whole = replace(whole, steps=replace(whole.steps, subject=shared.steps.subject))
        return tuple(jax.tree.leaves(whole))
    observations = ("observed", "dv", "censored", "lower", "upper", "slots")
    own = {name: getattr(whole, name) for name in observations}
    return tuple(jax.tree.leaves(replace(shared, **own)))


def subjects_differ(events: Events) -> bool:
    """Whether events of several trials differ in the subjects that they hold."""
    return any(np.ndim(scale) == 3 for scale in events.log_scale.values())


def of_trials(events: Events, trials: Sequence[int] | Int[np.ndarray, " trial"]) -> Events:
    """Some trials of the events of several."""
    leaves, tree = jax.tree.flatten(events)
    own, chosen = trial_axes(events), np.asarray(trials)
    return jax.tree.unflatten(
        tree, [a[chosen] if has else a for a, has in zip(leaves, own, strict=True)]
    )


def of_one_trial(events: Events, trial: int) -> Events:
    """One trial of the events of several, without an axis of trials."""
    leaves, tree = jax.tree.flatten(events)
    own = trial_axes(events)
    return jax.tree.unflatten(
        tree, [a[trial] if has else a for a, has in zip(leaves, own, strict=True)]
    )


def grouped(
    events: Events, censorable: Bool[np.ndarray, "subject step"] | None = None
) -> Grouped | None:
    """The observed rows of events from `arrange`, in groups; None where they cannot be condensed.

    `censorable` as in `condense`.
    """
    rows = _rows(events)
    if rows is None:
        return None
    last = events.censored if censorable is None else events.censored | censorable
    head, tail = ([r for r in rows if last[r.subject, r.step] == late] for late in (False, True))
    return Grouped(tuple(group for group in (*_parted(head), tail) if group), bool(tail))


def past_of(group: Sequence[Row]) -> Past:
    """The doses behind the rows of a group as arrays; axis `row`, in their order."""
    infusions, boluses, steady = np.max([row.behind.widths for row in group], axis=0).tolist()
    return tabulate([row.behind for row in group], (infusions, boluses, steady))


def work_of(group: Sequence[Row]) -> int:
    """Exponentials that each row of a group costs, about."""
    return int(COSTS @ np.max([row.behind.widths for row in group], axis=0)) + OTHER


def _rows(events: Events) -> list[Row] | None:
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
        rows += [Row(i, int(step), behind) for step, behind in zip(places, found, strict=True)]
    most = np.max([row.behind.widths for row in rows], axis=0, initial=0)
    return rows if most.sum() <= LONGEST_SUM else None


def _parted(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Rows with many doses and rows with few, split where the fewest exponentials are computed."""
    ordered = sorted(rows, key=lambda row: -_cost(row.behind.widths))
    if not ordered:
        return [], []
    widths = np.array([row.behind.widths for row in ordered])
    most = np.maximum.accumulate(widths[::-1])[::-1]  # of a row and those behind it
    whole = int(COSTS @ widths.max(axis=0)) + OTHER
    split = np.arange(1, len(ordered))
    costs = split * whole + (len(ordered) - split) * (most[1:] @ COSTS + OTHER) + PER_BLOCK
    at = int(split[np.argmin(costs)]) if len(split) else 0
    if not len(split) or costs.min() >= whole * len(ordered):
        at = 0
    return ordered[:at], ordered[at:]


OTHER, PER_BLOCK = 6, 100
"""Work of a row beside its doses, and of one more block, in exponentials."""
COSTS = np.array([2, 1, 4])
"""Exponentials of an infusion, a bolus and a steady state."""


def _cost(widths: tuple[int, ...]) -> int:
    return int(COSTS @ np.array(widths))
