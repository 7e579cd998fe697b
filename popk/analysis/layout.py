"""A design that many trials are simulated on: condensed once, and laid out the same in all of them.

A program is compiled for a layout, and sums over rows in another order have other last digits: so
all pieces of a study have one layout, which says what may be censored in any of its trials.
"""

import hashlib
import math
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from popk.data.dataset import PER_RECORD, Dataset
from popk.inference.programs import kept
from popk.population.condensed import Rows, condense, with_slots
from popk.population.events import Events, arrange
from popk.spec.model import ModelSpec
from popk.spec.problem import PopkError, Problem


class Layout(NamedTuple):
    """A condensed design, and the row of each observation in the file's order."""

    events: Events
    row: Int[np.ndarray, " observation"]


def spec_of(text: str) -> ModelSpec:
    """A model's specification from its JSON."""
    return kept(("spec", text), lambda: ModelSpec.model_validate_json(text))


def layout(
    model: str, data: Dataset, censorable: Bool[np.ndarray, " observation"] | None = None
) -> Layout:
    """The condensed design.

    Parameters
    ----------
    model
        A specification as JSON.
    data
        Doses, covariates and records of observations; what was measured plays no part.
    censorable
        Observations that may be censored, in the file's order: they come last.

    Raises
    ------
    popk.PopkError
        If the design lacks what the model needs, or cannot be condensed.
    """
    may = censorable if censorable is not None and censorable.any() else None
    key = ("layout", model, digest_of(data), b"" if may is None else may.tobytes())

    def make() -> Layout:
        spec = spec_of(model)
        events, _ = arrange(spec, data)
        events = replace(events, censored=np.zeros_like(events.censored))
        mask = np.zeros(events.observed.shape, dtype=bool)
        if may is not None:
            mask[np.asarray(events.observed)] = may
        events, order = condense(events, mask)
        if not isinstance(events.steps, Rows):
            raise PopkError(
                Problem(
                    file=spec.name,
                    key="design",
                    found="a covariate that changes within a subject, or more than 24 doses behind "
                    "a sample",
                    expected="condensed events (see popk.population.condensed): a design whose "
                    "trials can be fitted side by side",
                    cure="let covariates not change (infants not grow), and plan fewer changes of "
                    "dose; or simulate and fit such trials one by one",
                )
            )
        return Layout(events, np.flatnonzero(events.observed)[order])

    return kept(key, make)


def observed(
    own: Layout,
    values: Float[np.ndarray, "trial observation"],
    below: float | None = None,
    possible: Bool[np.ndarray, "trial observation"] | None = None,
) -> Events:
    """The design with simulated observations, an axis of trials first.

    Parameters
    ----------
    own
        From `layout`, with all that is below the limit among what is censorable.
    values
        Concentrations as an assay without limits would report them.
    below
        Lower limit of the assay: lower values are censored.
    possible
        Where there is anything to observe; by default everywhere.
    """
    low = np.zeros(values.shape, dtype=bool) if below is None else values < below
    seen = np.ones(values.shape, dtype=bool) if possible is None else possible
    low &= seen
    design, shape = own.events, (len(values), *own.events.observed.shape)
    assert design.slots is not None
    last = own.row >= shape[1] - design.slots.count
    assert last[low.any(axis=0)].all(), "censored where the layout says that nothing is"

    def in_rows(rest: float | bool, part: np.ndarray) -> np.ndarray:
        rows = np.full(shape, rest, dtype=part.dtype)
        rows[:, own.row] = part
        return rows

    limit = math.inf if below is None else below
    events = replace(
        design,
        observed=in_rows(False, seen),
        dv=in_rows(1.0, np.where(low | ~seen, 1.0, values)),
        censored=in_rows(False, low),
        lower=np.full(shape, -np.inf),
        upper=in_rows(np.inf, np.where(low, limit, np.inf)),
        slots=None,
    )
    return with_slots(events, design.slots.count)


def digest_of(data: Dataset) -> str:
    """A hash of what a design says."""
    digest = hashlib.sha256(repr((data.units, data.covariate_units, data.levels)).encode())
    for name in PER_RECORD:
        digest.update(np.ascontiguousarray(getattr(data, name)).tobytes())
    for name, values in sorted(data.covariates.items()):
        digest.update(name.encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def shapes_of(events: Events) -> str:
    """What a program is compiled for, as text."""
    leaves, tree = jax.tree.flatten(events)
    return repr((str(tree), [np.shape(leaf) for leaf in leaves]))
