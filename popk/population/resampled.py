"""Events of trials that differ in the subjects they hold: drawn anew from a data set, or left out.

Each place for a subject has room for as many rows as the subjects that stand there in any trial
need, so at which rows of the list a place stands is the same in all trials; what the rows hold is
a trial's own. In each trial subjects with many rows take the places with much room, which wastes
little. A subject that is drawn twice stands at two places and has an eta at each.
"""

from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from popk.pk.past import Past
from popk.population.condensed import (
    UNOBSERVED,
    Grouped,
    Row,
    Rows,
    grouped,
    past_of,
    with_slots,
    work_of,
)
from popk.population.events import Events
from popk.population.gathering import TILE, Places, laid_out


class Room(NamedTuple):
    """Room for the rows of trials that are to share a program.

    Attributes
    ----------
    order
        Groups of rows (see `popk.population.condensed.grouped`) by which subjects are sorted.
    rows
        [group, place] rows that a place has room for.
    """

    order: tuple[int, ...]
    rows: Int[np.ndarray, "group place"]


class Resampled(NamedTuple):
    """Events of trials, and who stands where in each.

    Attributes
    ----------
    events
        All that depends on subjects has a leading axis of trials.
    subjects
        [trial, place] the original subjects, by their order in the data.
    """

    events: Events
    subjects: Int[np.ndarray, "trial place"]


def room_for(events: Events, subjects: Int[np.ndarray, "trial subject"]) -> Room | None:
    """The least room that all these trials fit in.

    Parameters
    ----------
    events
        All subjects' steps, from `popk.population.events.arrange`.
    subjects
        Who is in each trial, in any order.

    Returns
    -------
    Room or None
        None where the events cannot be condensed: then nothing is sorted, and every subject keeps
        all of its steps.
    """
    rows = grouped(events)
    if rows is None:
        return None
    counts = _counts(rows, events.subjects)
    costs = [work_of(group) for group in rows.groups]

    def needed(order: tuple[int, ...]) -> Int[np.ndarray, "group place"]:
        return counts[:, _placed(subjects, counts, order)].max(axis=1)

    found = [Room(order, needed(order)) for order in permutations(range(len(costs)))]
    return min(found, key=lambda room: int(np.dot(costs, room.rows.sum(axis=1))))


def with_subjects(
    events: Events, subjects: Int[np.ndarray, "trial subject"], room: Room | None = None
) -> Resampled:
    """The events of trials that hold these subjects.

    Parameters
    ----------
    events
        All subjects' steps, from `popk.population.events.arrange`.
    subjects
        Who is in each trial, in any order; a subject that comes twice is two.
    room
        From `room_for`, of these and of other trials that are to have the same shapes; by default
        of these alone.

    Notes
    -----
    Events that cannot be condensed are not (see `popk.population.condensed.condense`).
    """
    rows = grouped(events)
    if rows is None:
        return Resampled(jax.tree.map(lambda a: np.asarray(a)[subjects], events), subjects)
    room = room_for(events, subjects) if room is None else room
    assert room is not None
    placed = _placed(subjects, _counts(rows, events.subjects), room.order)
    own = [
        _laid(group, placed, capacity, events)
        for group, capacity in zip(rows.groups, room.rows, strict=True)
        if capacity.any()
    ]
    data = {name: np.concatenate([part.data[name] for part in own], axis=1) for name in own[0].data}
    condensed = replace(
        events,
        steps=Rows(tuple(part.past for part in own), tuple(part.places for part in own)),
        log_scale={name: scale[placed] for name, scale in events.log_scale.items()},
        terms={name: term[placed] for name, term in events.terms.items()},
        slots=None,
        **data,
    )
    last = rows.late and room.rows[-1].any()
    return Resampled(with_slots(condensed, own[-1].length if last else 0), placed)


class _Laid(NamedTuple):
    """One block of rows: whose places they are, and of each trial what they hold."""

    places: Places
    past: Past
    data: dict[str, np.ndarray]
    length: int


def _laid(
    group: list[Row],
    placed: Int[np.ndarray, "trial place"],
    capacity: Int[np.ndarray, " place"],
    events: Events,
) -> _Laid:
    places = placed.shape[1]
    places_of, row = laid_out(np.repeat(np.arange(places), capacity), places)
    owner = np.repeat(np.arange(places), capacity)[np.maximum(row, 0)]
    # The how-manieth of its place each row of the list is
    nth = np.concatenate([np.arange(count) for count in capacity])[np.maximum(row, 0)]
    of_subject: list[list[int]] = [[] for _ in range(events.subjects)]
    for number, own in enumerate(group):
        of_subject[own.subject].append(number)
    numbers = np.full((events.subjects, max(map(len, of_subject))), -1)
    for subject, own in enumerate(of_subject):
        numbers[subject, : len(own)] = own
    most = numbers.shape[1]
    there = numbers[placed[:, owner], np.minimum(nth, most - 1)]
    there = np.where((row >= 0) & (nth < most), there, -1)
    used, filled = there >= 0, np.maximum(there, 0)
    # [..., trial, row], the axis of trials first
    past = jax.tree.map(lambda a: np.moveaxis(a[..., filled], -2, 0), past_of(group))
    subject, step = (np.array([getattr(r, name) for r in group]) for name in ("subject", "step"))
    data = {"observed": used} | {
        name: np.where(used, getattr(events, name)[subject, step][filled], rest)
        for name, rest in UNOBSERVED.items()
    }
    return _Laid(places_of, past, data, len(row))


def _counts(rows: Grouped, subjects: int) -> Int[np.ndarray, "group original"]:
    """How many rows each subject has in each group."""
    return np.array(
        [np.bincount([r.subject for r in group], minlength=subjects) for group in rows.groups]
    )


def _placed(
    subjects: Int[np.ndarray, "trial place"],
    counts: Int[np.ndarray, "group original"],
    order: tuple[int, ...],
) -> Int[np.ndarray, "trial place"]:
    """The subjects of each trial at their places: those with the most rows first, tile by tile."""
    # The last key is the first to sort by; equal ones stand in the order of the data
    keys = (subjects, *(-counts[group][subjects] for group in reversed(order)))
    ranked = np.take_along_axis(subjects, np.lexsort(keys, axis=1), axis=1)
    places = subjects.shape[1]
    width = min(places, TILE)
    # All tiles have as many rows as the longest: each gets its share of every kind
    tile, within = np.divmod(np.arange(places), width)
    by_rank = np.argsort((within + 0.5) / np.bincount(tile)[tile], kind="stable")
    placed = np.empty_like(ranked)
    placed[:, by_rank] = ranked
    return placed
