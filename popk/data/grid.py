"""A data set with further records, at any times: to predict where nothing was measured."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from popk.data.dataset import Array, Bools, Dataset, Ints

SAME_TIME = 1e-9
"""Times that differ by less, relative to the larger of them and 1, are the same."""

FILL = {"mask": True, "evid": 2, "dv": np.nan, "lower": np.nan, "upper": np.nan}
"""What a new record says; everything not named here is zero or False."""
NUMBERS = (
    "line", "mask", "evid", "amount", "rate", "ss", "addl", "interval",
    "observed", "dv", "censoring", "lower", "upper",
)  # fmt: skip
"""Per-record arrays that pad with what `EMPTY` says; `time` and covariates repeat the last."""
EMPTY = {"dv": np.nan, "lower": np.nan, "upper": np.nan}


def at_times(
    data: Dataset, times: Float[np.ndarray, "subject time"]
) -> tuple[Dataset, Int[np.ndarray, "subject time"]]:
    """Add records that say nothing (EVID 2, not observed) at given times of each subject.

    The doses, the observations and the predictions at the records that were there stay as they
    are. A new record stands after the records of the same time, so that a dose given then counts.
    Its covariates are those of a record at the same time, else, as `data.interpolation` says,
    those of the next ("nocb") or of the earlier record ("locf"); beyond the last record its own.

    Where time runs back after a reset there are several stretches of time, and a new record
    belongs to the last one that begins at or before it; a time before all of them comes before
    the first record.

    Parameters
    ----------
    data
        Any data set.
    times
        [subject, time] in `data.units.time`, in any order, finite; the same number for each
        subject.

    Returns
    -------
    Dataset
        With the new records; their `line` is 0.
    Array
        [subject, time] the index of each new record among its subject's records, in the order
        of `times`. With ``events, layout = arrange(model.spec, dataset)`` a model's predictions
        at the new records are ``np.take_along_axis(model.predict(values, events)
        .log_concentration, np.take_along_axis(layout.step, record, 1), 1)``.

    Raises
    ------
    ValueError
        If the shape is not [subject, time] or a time is not finite.
    """
    times = np.asarray(times, dtype=float)
    if times.ndim != 2 or len(times) != data.subjects or not np.isfinite(times).all():
        raise ValueError(
            f"times of shape {times.shape}; expected finite ones, [{data.subjects} subjects, time]"
        )
    stretch = _stretches(data)
    own = _own_stretch(data, stretch, times)
    before = _records_before(data, stretch, own, times)
    source = _covariate_records(data, stretch, own, before, times)
    # Records and new ones in one order: a new one comes after `before` records, earlier times first
    width, count = data.mask.shape[1], times.shape[1]
    place = np.where(data.mask, np.arange(width) + 0.5, np.inf)
    keys = np.concatenate([place, before.astype(float)], axis=1)
    clock = np.concatenate([np.zeros_like(data.time), times], axis=1)
    order = np.lexsort((clock, keys), axis=1)
    records = np.argsort(order, axis=1, kind="stable")[:, width:]
    last = data.mask.sum(axis=1) + count - 1
    return _rebuilt(data, order, source, np.maximum(times, _reached(data, before)), last), records


def _stretches(data: Dataset) -> Ints:
    """[subject, record] how often time has run back so far."""
    back = np.zeros(data.mask.shape, dtype=bool)
    back[:, 1:] = (np.diff(data.time, axis=1) < 0) & data.mask[:, 1:]
    return np.cumsum(back, axis=1)


def _own_stretch(data: Dataset, stretch: Ints, times: Array) -> Ints:
    """[subject, time] the last stretch that begins at or before each time, else the first."""
    first = np.ones(data.mask.shape, dtype=bool)
    first[:, 1:] = np.diff(stretch, axis=1) > 0
    begun = (first & data.mask)[:, None] & (data.time[:, None] <= _up(times)[..., None])
    return np.where(begun, stretch[:, None], 0).max(axis=2)


def _records_before(data: Dataset, stretch: Ints, own: Ints, times: Array) -> Ints:
    """[subject, time] how many records come before each new one."""
    earlier = stretch[:, None] < own[..., None]
    same = stretch[:, None] == own[..., None]
    reached = data.time[:, None] <= _up(times)[..., None]
    return (data.mask[:, None] & (earlier | (same & reached))).sum(axis=2)


def _covariate_records(data: Dataset, stretch: Ints, own: Ints, before: Ints, times: Array) -> Ints:
    """[subject, time] the record whose covariates hold at each time."""
    earlier = np.maximum(before - 1, 0)
    if data.interpolation == "locf":
        return earlier
    following = np.minimum(before, data.mask.sum(axis=1, keepdims=True) - 1)
    at_once = (before > 0) & (_taken(data.time, earlier) >= times - (_up(times) - times))
    beyond = (before == following + 1) | (_taken(stretch, following) != own)
    return np.where(at_once | beyond, earlier, following)


def _reached(data: Dataset, before: Ints) -> Array:
    """[subject, time] the time of the record before: no new one may lie a rounding error behind."""
    return np.where(before > 0, _taken(data.time, np.maximum(before - 1, 0)), -np.inf)


def _rebuilt(data: Dataset, order: Ints, source: Ints, times: Array, last: Ints) -> Dataset:
    """The data set with its records, and after them the new ones, brought into order."""
    shape = times.shape
    is_record: Bools = np.arange(order.shape[1]) <= last[:, None]

    def laid_out(values: np.ndarray, new: np.ndarray, pad: float | None = None) -> np.ndarray:
        both = _taken(np.concatenate([values, new.astype(values.dtype)], axis=1), order)
        padding = _taken(both, last[:, None]) if pad is None else pad
        return np.where(is_record, both, padding).astype(values.dtype)

    arrays = {
        name: laid_out(getattr(data, name), np.full(shape, FILL.get(name, 0)), EMPTY.get(name, 0))
        for name in NUMBERS
    }
    covariates = {
        name: laid_out(values, _taken(values, source)) for name, values in data.covariates.items()
    }
    return replace(data, time=laid_out(data.time, times), covariates=covariates, **arrays)


def _taken(values: np.ndarray, index: Ints) -> np.ndarray:
    return np.take_along_axis(values, index, axis=1)


def _up(times: Array) -> Array:
    return times + SAME_TIME * np.maximum(1.0, np.abs(times))
