"""`Dataset`: the records of all subjects as padded [subject, record] arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from popk.spec.problem import Problem

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ItemUnits:
    """Units of the file's items; None where the file's reader was not told."""

    time: str | None = None
    amount: str | None = None
    concentration: str | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a NONMEM-style file says, checked, in file order; rows that pad a subject are masked.

    Padded entries are zero or False, and NaN in `dv`, `lower` and `upper`; in `time` and in
    `covariates` they repeat the subject's last record, so that they stay inside the domain of
    every formula.

    Attributes
    ----------
    source, sha256
        The file's path and the hash of its bytes.
    ids
        Subject IDs as they stand in the file, in file order; axis `subject` of all arrays.
    units
        Of time, amount and concentration, as declared; None where nothing was declared.
    line
        [subject, record] line numbers in the file, 0 where padded.
    mask
        [subject, record] True where there is a record.
    time
        [subject, record] in `units.time`.
    evid
        [subject, record] 0 observation, 1 dose, 2 other, 3 reset, 4 reset and dose.
    amount, rate
        [subject, record] in `units.amount` and `units.amount`/`units.time`; zero off dose records.
        A rate of zero on a dose record is a bolus, an amount of zero with a rate and ss above
        0 the steady state of a constant infusion, which ends at the record.
    ss, addl, interval
        [subject, record] steady-state flag (0, 1, 2), additional doses, dosing interval II
        in `units.time`.
    observed
        [subject, record] True where the record enters the likelihood.
    dv
        [subject, record] in `units.concentration`; for a censored record its limit; NaN elsewhere.
    censoring
        [subject, record] 0 measured, 1 the true value lies in (lower, upper).
    lower, upper
        [subject, record] bounds of a censored record, in `units.concentration`; lower is -inf
        and upper +inf where the interval is open. NaN elsewhere.
    covariates
        Name to [subject, record] values; every record has one. A categorical covariate holds
        the index into its `levels`.
    covariate_units, levels
        Name to unit (None for a pure number) and, for categorical covariates, to its words.
    derived
        Name of each derived covariate to its formula, for instance "haycock(WT, HT)".
    interpolation
        "nocb": a covariate's value between two records is that of the later record (NONMEM);
        "locf": that of the earlier one (Monolix).
    ignored
        Columns of the file that were not used.
    warnings
        What is allowed but deserves a look.
    """

    source: str
    sha256: str
    ids: tuple[str, ...]
    units: ItemUnits
    line: Ints
    mask: Bools
    time: Array
    evid: Ints
    amount: Array
    rate: Array
    ss: Ints
    addl: Ints
    interval: Array
    observed: Bools
    dv: Array
    censoring: Ints
    lower: Array
    upper: Array
    covariates: Mapping[str, Array]
    covariate_units: Mapping[str, str | None]
    levels: Mapping[str, tuple[str, ...]]
    interpolation: str
    derived: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def subjects(self) -> int:
        """Number of subjects."""
        return len(self.ids)

    @property
    def observations(self) -> int:
        """Number of records in the likelihood, censored ones included."""
        return int(self.observed.sum())

    @property
    def censored(self) -> int:
        """Number of censored records."""
        return int((self.censoring[self.observed] == 1).sum())

    def __repr__(self) -> str:
        units = [unit or "no declared unit" for unit in vars(self.units).values()]
        covariates = [f"{n} ({u})" if u else n for n, u in self.covariate_units.items()]
        return (
            f"Dataset of {self.source}: {self.subjects} subjects, {self.observations} observations"
            f" ({self.censored} censored)\n"
            f"  time {units[0]}, amount {units[1]}, concentration {units[2]}; "
            f"covariates: {', '.join(covariates) or 'none'}"
        )


PER_RECORD = (
    "line", "mask", "time", "evid", "amount", "rate", "ss", "addl", "interval",
    "observed", "dv", "censoring", "lower", "upper",
)  # fmt: skip
"""Arrays of a `Dataset` with the axes subject and record."""


def of_subjects(data: Dataset, own: Ints) -> Dataset:
    """Some subjects of a data set, by their places; one may be named more than once."""
    arrays = {name: getattr(data, name)[own] for name in PER_RECORD}
    covariates = {name: values[own] for name, values in data.covariates.items()}
    return replace(data, ids=tuple(data.ids[i] for i in own), covariates=covariates, **arrays)
