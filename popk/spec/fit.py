"""What a fit file says: which model, which data, what its columns mean, how to sample."""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    Field,
    FiniteFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from popk.spec.problem import Fault
from popk.spec.record import Record, read_record
from popk.spec.relations import CovariateEffect
from popk.spec.units import check_unit, quantity

Item = Literal[
    "ID", "TIME", "AMT", "RATE", "DUR", "DV", "EVID", "MDV", "CMT", "SS", "II", "ADDL",
    "CENS", "LIMIT", "BLQ", "ALQ", "LLOQ", "ULOQ", "C",
]  # fmt: skip
"""NONMEM-style data items (and the censoring columns of Monolix and of assay flags)."""

BodySizeFormula = Literal["mosteller", "haycock", "gehan_george", "dubois", "boyd", "current"]


class Column(Record):
    """What one column of the file means.

    item
        The data item that it holds, where the column has another name.
    covariate
        True where it is a covariate.
    unit
        Its unit. Without one, an item is taken to be in the model's unit.
    levels
        Words of a categorical covariate, coded 0, 1, ... in this order.
    ignore
        True where it is to be left out although its name is that of a data item.
    """

    item: Item | None = None
    covariate: bool = False
    unit: str | None = None
    levels: tuple[str, ...] = ()
    ignore: bool = False

    @field_validator("unit")
    @classmethod
    def _known(cls, unit: str | None) -> str | None:
        return unit if unit is None else check_unit(unit)

    @model_validator(mode="after")
    def _one_meaning(self) -> "Column":
        if (self.item is not None) + self.covariate + self.ignore > 1:
            raise Fault(
                "a column is an item, or a covariate, or ignored: one of the three",
                "keep one of covariate, item and ignore, and remove the others",
            )
        if self.levels and not self.covariate:
            raise Fault("levels belong to a covariate", "add covariate = true, or remove levels")
        if self.levels and self.unit:
            raise Fault("a covariate with levels has no unit", "remove unit, or remove levels")
        return self


class BodySurfaceArea(Record):
    """A covariate in m² from weight and height columns."""

    formula: BodySizeFormula = "haycock"
    weight: str = "WT"
    height: str = "HT"


class PostmenstrualAge(Record):
    """A covariate: postnatal age plus gestational age (a column or a quantity), in weeks."""

    formula: Literal["postmenstrual_age"]
    age: str = "AGE"
    gestation: str = "40 week"


class Rows(Record):
    """Rows to read, by exact values of columns (NONMEM's ACCEPT and IGNORE)."""

    accept: dict[str, tuple[FiniteFloat | str, ...]] = Field(default_factory=dict)
    ignore: dict[str, tuple[FiniteFloat | str, ...]] = Field(default_factory=dict)


class Assay(Record):
    """Limits of quantification that hold for the whole file, e.g. ``lloq = "50 pg/mL"``."""

    lloq: str | None = None
    uloq: str | None = None

    @field_validator("lloq", "uloq")
    @classmethod
    def _concentration(cls, limit: str | None) -> str | None:
        if limit is not None:
            quantity(limit, "mg/L")
        return limit


class DataSpec(Record):
    """How to read a data file."""

    columns: dict[str, Column] = Field(default_factory=dict)
    derived: dict[str, PostmenstrualAge | BodySurfaceArea] = Field(default_factory=dict)
    rows: Rows = Rows()
    assay: Assay = Assay()
    interpolation: Literal["nocb", "locf"] = "nocb"
    delimiter: Literal[",", ";", "\t", " "] = ","


class Dose(Record):
    """The nominal dose to which concentrations are referred, e.g. ``15 ug/m^2/day``."""

    nominal: str

    @field_validator("nominal")
    @classmethod
    def _rate(cls, dose: str) -> str:
        quantity(dose, _nominal_unit(dose))
        return dose

    @property
    def per(self) -> Literal["BSA", "WT"] | None:
        """What the dose is scaled by: body-surface area, weight, or nothing."""
        unit = _nominal_unit(self.nominal)
        return "BSA" if "m^2" in unit else "WT" if "kg" in unit else None

    def rate(self, amount: str, time: str) -> float:
        """The nominal rate as ``amount/time`` (per m² or per kg, see `per`)."""
        per = {"BSA": "/m^2", "WT": "/kg", None: ""}[self.per]
        return quantity(self.nominal, f"{amount}/({time}){per}")


def _nominal_unit(dose: str) -> str:
    for unit in ("mg/h", "mg/h/m^2", "mg/h/kg"):
        try:
            quantity(dose, unit)
        except ValueError:
            continue
        return unit
    raise Fault(
        f"{dose!r} is no dose rate such as '15 ug/m^2/day', '28 ug/day', '1 ug/kg/h'",
        'write an amount per time, for example nominal = "28 ug/day"',
    )


Likelihood = Literal["focei", "laplace", "agq", "importance"]
"""Ways to integrate the subjects' own numbers out, for maximum likelihood."""


class Sampler(Record):
    """How a model is fitted: by which sampler, or by which approximation of the likelihood.

    method
        "ensemble": many chains in lockstep, until the convergence gate holds, at most `draws` of
        each. "nuts": NumPyro's No-U-Turn sampler, `draws` of each chain. Or maximum likelihood,
        in which priors only say where to begin and what values are allowed: "focei" (as
        NONMEM's), "laplace", "agq" (adaptive Gauss-Hermite quadrature), "importance" (sampling).
    chains, warmup
        By default 32 and automatic for "ensemble", 4 and 1000 for "nuts".
    ess
        Effective sample size, bulk and tail, that every parameter must reach.
    target_accept
        By default 0.8 for "ensemble", 0.9 for "nuts".
    precision, device
        Of the sampler's arithmetic, and what it runs on. A single small fit is faster on the CPU.
    nodes
        Of "agq", for each of a subject's etas.
    samples
        Of "importance", for each subject.
    """

    method: Literal["ensemble", "nuts", "focei", "laplace", "agq", "importance"] = "ensemble"
    draws: PositiveInt = 1000
    warmup: PositiveInt | None = None
    chains: PositiveInt | None = None
    seed: int = 1
    target_accept: Annotated[float, Field(gt=0.5, lt=1.0)] | None = None
    ess: PositiveFloat = 400.0
    precision: Literal["float32", "float64"] = "float64"
    device: Literal["cpu", "gpu"] = "cpu"
    nodes: Annotated[int, Field(ge=1, le=25)] = 7
    samples: Annotated[int, Field(ge=10, le=100_000)] = 1000

    @property
    def maximises(self) -> bool:
        """Whether the method is one of maximum likelihood."""
        return self.method in get_args(Likelihood)

    @model_validator(mode="after")
    def _exact(self) -> "Sampler":
        if self.maximises and (self.precision, self.device) != ("float64", "cpu"):
            raise Fault(
                f'method "{self.method}" computes in float64 on the CPU',
                'write precision = "float64" and device = "cpu", or leave both out',
            )
        return self


NO_EFFECT = (0.80, 1.25)
"""Ratios of a parameter that are taken for no effect; the field's range, and the default."""


class FitSpec(DataSpec):
    """A whole fit file. Paths are relative to the file's own folder.

    candidates
        Covariate effects that `popk covariates` tests, each written as in a model file; by default
        those of the model.
    no_effect
        Ratios of a parameter that are taken for no effect.
    """

    model: str
    data: str
    name: str = ""
    description: str = ""
    synthetic: bool = False
    dose: Dose | None = None
    sampler: Sampler = Sampler()
    candidates: tuple[CovariateEffect, ...] = ()
    no_effect: tuple[PositiveFloat, PositiveFloat] = NO_EFFECT

    @model_validator(mode="after")
    def _testable(self) -> "FitSpec":
        names = [effect.name for effect in self.candidates]
        if len(set(names)) != len(names):
            raise Fault("the same candidate is written twice", "delete one of the two")
        if not self.no_effect[0] < 1.0 < self.no_effect[1]:
            raise Fault(
                "no_effect is a range of ratios around 1, e.g. [0.8, 1.25]",
                "write no_effect = [0.8, 1.25]",
            )
        return self


def read_fit(path: str | Path) -> FitSpec:
    """Read and validate a fit file; a folder stands for the ``fit.toml`` in it.

    Raises
    ------
    popk.PopkError
        With every fault found.
    """
    path = Path(path)
    return read_record(FitSpec, path / "fit.toml" if path.is_dir() else path)
