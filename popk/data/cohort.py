"""Subjects without doses or observations: covariates at times that all of them share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from popk.data.dataset import Dataset, ItemUnits

UNITS = ItemUnits("h", "ug", "pg/mL")
"""Of time, amount and concentration, where the caller does not say others."""

NOTHING = {
    "line": 0, "mask": True, "evid": 2, "amount": 0.0, "rate": 0.0, "ss": 0, "addl": 0,
    "interval": 0.0, "observed": False, "dv": np.nan, "censoring": 0, "lower": np.nan,
    "upper": np.nan,
}  # fmt: skip
"""What every record of a cohort says: a covariate record (EVID 2) with no dose and no DV."""


def cohort(
    covariates: Mapping[str, Float[np.ndarray, "subject knot"]],
    covariate_units: Mapping[str, str | None],
    *,
    time: ArrayLike | None = None,
    units: ItemUnits = UNITS,
    ids: Sequence[str] | None = None,
    levels: Mapping[str, tuple[str, ...]] | None = None,
    derived: Mapping[str, str] | None = None,
    interpolation: str = "nocb",
    source: str = "virtual subjects",
) -> Dataset:
    """A `Dataset` of covariate records only (EVID 2), at the same times for every subject.

    Parameters
    ----------
    covariates
        Name to [subject, knot] values; of a categorical covariate the index into its levels.
    covariate_units
        Name to unit, None for a pure number; one for each covariate.
    time
        [knot] times of the records in `units.time`, rising; a single one at 0 if None.
    units
        Of the doses and observations that are to come.
    ids
        Names of the subjects; "1", "2", ... if None.
    levels
        Words of the categorical covariates.
    derived
        Formulas of the derived covariates.
    interpolation
        Between two records a covariate has the value of the later ("nocb") or of the earlier
        ("locf") record.
    source
        Where the subjects come from, in words.

    Returns
    -------
    Dataset
        Arrays that say the same for all records are read-only views of one value: they take no
        memory, however many subjects there are.

    Raises
    ------
    ValueError
        If there is no covariate, shapes differ, times do not rise, or a covariate has no unit
        named or is not finite.
    """
    knots = np.zeros(1) if time is None else np.asarray(time, dtype=float)
    values = {name: np.asarray(column, dtype=float) for name, column in covariates.items()}
    shape = _shape(values, knots, ids)
    nothing: dict[str, Any] = {
        name: np.broadcast_to(np.asarray(value), shape) for name, value in NOTHING.items()
    }
    if missing := sorted(set(values) - set(covariate_units)):
        raise ValueError(f"no unit is said for {', '.join(missing)}; write None for a pure number")
    if interpolation not in ("nocb", "locf"):
        raise ValueError(f"unknown interpolation {interpolation!r}; write nocb or locf")
    return Dataset(
        source=source,
        sha256="",
        ids=tuple(ids) if ids is not None else tuple(map(str, range(1, shape[0] + 1))),
        units=units,
        time=np.broadcast_to(knots, shape),
        covariates=values,
        covariate_units={name: covariate_units[name] for name in values},
        levels=dict(levels or {}),
        derived=dict(derived or {}),
        interpolation=interpolation,
        **nothing,
    )


def at_baseline(data: Dataset) -> Dataset:
    """The subjects of data as a cohort: the covariates of each one's first record, at time 0."""
    return cohort(
        {name: values[:, :1] for name, values in data.covariates.items()},
        data.covariate_units,
        units=data.units,
        ids=data.ids,
        levels=data.levels,
        derived=data.derived,
        interpolation=data.interpolation,
        source=data.source,
    )


def _shape(
    values: Mapping[str, Float[np.ndarray, "subject knot"]],
    knots: Float[np.ndarray, " knot"],
    ids: Sequence[str] | None,
) -> tuple[int, int]:
    """The number of subjects and of knots on which all agree."""
    if knots.ndim != 1 or not knots.size or not np.isfinite(knots).all():
        raise ValueError(f"times of shape {knots.shape}; expected finite ones, [knot]")
    if not (np.diff(knots) > 0).all():
        raise ValueError("the times of a cohort's records must rise")
    if not values:
        raise ValueError("a cohort needs at least one covariate")
    subjects = len(ids) if ids is not None else next(iter(values.values())).shape[0]
    for name, column in values.items():
        if column.shape != (subjects, knots.size):
            raise ValueError(
                f"covariate {name} of shape {column.shape}; "
                f"expected [{subjects} subjects, {knots.size} knots]"
            )
        if not np.isfinite(column).all():
            raise ValueError(f"covariate {name} has a value that is not finite")
    return subjects, knots.size
