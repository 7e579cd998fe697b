"""What a `Dataset` holds, as plain Python values: what a person looks at before a fit."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from popk.data.dataset import Array, Bools, Dataset
from popk.data.nonmem.events import is_dose


@dataclass(frozen=True)
class Span:
    """Smallest, middle and largest value."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class CovariateOverview:
    """One covariate.

    Attributes
    ----------
    name, unit
        Its name, and its unit (None for a pure number or a category).
    baseline
        Values of the subjects' first records, in `unit`; None for a category.
    counts
        Level to number of subjects at baseline; empty for a number.
    missing
        Number of records without a value.
    varies
        True where some subject's value changes over time.
    derived
        The formula that it was computed by, None where it stands in the file.
    """

    name: str
    unit: str | None
    baseline: Span | None
    counts: dict[str, int]
    missing: int
    varies: bool
    derived: str | None


@dataclass(frozen=True)
class Overview:
    """Counts and ranges of a data set.

    Attributes
    ----------
    source, sha256
        The file and the hash of its bytes.
    subjects, records
        Number of subjects and of rows that were read.
    dose_records, boluses, infusions
        Dose rows, and how many of them are boluses and infusions (constant infusions at steady
        state among them).
    doses
        Doses given, those of ADDL included.
    resets
        Rows that set all amounts to zero (EVID 3 and 4).
    observations, below, above, interval
        Rows in the likelihood, and how many of them are censored below a limit, above one, and
        between two.
    observations_per_subject
        Over all subjects.
    time, dv
        Ranges in `time_unit` and `concentration_unit`; `dv` of measured values only, None where
        there are none.
    time_unit, amount_unit, concentration_unit
        Units, None where the file's reader was not told.
    covariates
        One entry per covariate.
    interpolation
        "nocb" or "locf", as in `Dataset`.
    ignored
        Columns that were not used.
    warnings
        What is allowed but deserves a look.
    """

    source: str
    sha256: str
    subjects: int
    records: int
    dose_records: int
    boluses: int
    infusions: int
    doses: int
    resets: int
    observations: int
    below: int
    above: int
    interval: int
    observations_per_subject: Span
    time: Span
    dv: Span | None
    time_unit: str | None
    amount_unit: str | None
    concentration_unit: str | None
    covariates: tuple[CovariateOverview, ...]
    interpolation: str
    ignored: tuple[str, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the same as nested dictionaries and lists, ready for JSON."""
        content = asdict(self)
        for name in ("covariates", "ignored", "warnings"):
            content[name] = list(content[name])
        return content


def overview(dataset: Dataset) -> Overview:
    """Count and measure what a data set holds."""
    dose = dataset.mask & is_dose(dataset.evid)
    infusion = dose & (dataset.rate > 0)
    observed = dataset.observed
    censored = observed & (dataset.censoring == 1)
    below = censored & np.isneginf(dataset.lower)
    above = censored & np.isposinf(dataset.upper)
    measured = dataset.dv[observed & ~censored]
    return Overview(
        source=dataset.source,
        sha256=dataset.sha256,
        subjects=dataset.subjects,
        records=_count(dataset.mask),
        dose_records=_count(dose),
        boluses=_count(dose & ~infusion),
        infusions=_count(infusion),
        doses=_count(dose) + int(dataset.addl[dose].sum()),
        resets=_count(dataset.mask & (dataset.evid >= 3)),
        observations=dataset.observations,
        below=_count(below),
        above=_count(above),
        interval=_count(censored & ~below & ~above),
        observations_per_subject=_span(observed.sum(axis=1).astype(np.float64)),
        time=_span(dataset.time[dataset.mask]),
        dv=_span(measured) if measured.size else None,
        time_unit=dataset.units.time,
        amount_unit=dataset.units.amount,
        concentration_unit=dataset.units.concentration,
        covariates=tuple(_covariate(dataset, name) for name in dataset.covariates),
        interpolation=dataset.interpolation,
        ignored=dataset.ignored,
        warnings=tuple(str(warning) for warning in dataset.warnings),
    )


def _covariate(dataset: Dataset, name: str) -> CovariateOverview:
    values = dataset.covariates[name]
    baseline = values[:, 0]  # no subject is without a record
    levels = dataset.levels.get(name, ())
    known = dataset.mask & ~np.isnan(values)
    return CovariateOverview(
        name=name,
        unit=dataset.covariate_units[name],
        baseline=None if levels else _span(baseline),
        counts={level: int((baseline == code).sum()) for code, level in enumerate(levels)},
        missing=_count(dataset.mask & ~known),
        varies=bool((known & (values != baseline[:, None])).any()),
        derived=dataset.derived.get(name),
    )


def _span(values: Array) -> Span:
    return Span(float(values.min()), float(np.median(values)), float(values.max()))


def _count(where: Bools) -> int:
    return int(where.sum())
