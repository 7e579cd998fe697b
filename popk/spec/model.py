"""What a model file says: parameters, covariate relations, variability, residual error."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, PositiveFloat, field_validator, model_validator

from popk.spec.priors import Fixed, Normal, Prior, is_positive
from popk.spec.record import Record, read_record
from popk.spec.units import UnitError, check_unit, conversion_factor, split_quantity

STRUCTURES: dict[str, tuple[str, ...]] = {"one_compartment": ("CL", "V")}


class Units(Record):
    """Units of time, amount and concentration in which the model is written."""

    time: str
    amount: str
    concentration: str

    @field_validator("time", "amount", "concentration")
    @classmethod
    def _known(cls, unit: str) -> str:
        return check_unit(unit)

    @model_validator(mode="after")
    def _dimensions(self) -> "Units":
        conversion_factor(self.time, "h")
        conversion_factor(self.amount, "mg")
        conversion_factor(self.concentration, "mg/L")
        return self


class Scale(Record):
    """The parameter is proportional to (covariate / reference) ** exponent."""

    covariate: str
    reference: str | PositiveFloat
    exponent: FiniteFloat = 1.0


class Variability(Record):
    """Between-subject variability.

    "lognormal": P_i = TV exp(eta), eta ~ Normal(0, sd). "student_t": the same with
    eta ~ Student-t(df, 0, sd), heavy tails on the log scale. "normal": P_i = TV (1 + eta),
    eta ~ Normal(0, sd) cut off where P_i would be negative, so sd is a fraction of TV.
    """

    distribution: Literal["lognormal", "normal", "student_t"]
    sd: Prior
    df: PositiveFloat | Prior | None = None

    @model_validator(mode="after")
    def _sound(self) -> "Variability":
        if not is_positive(self.sd):
            raise ValueError("the prior of an SD lies on positive values, e.g. halfnormal")
        if self.distribution == "student_t":
            if self.df is None:
                raise ValueError("student_t needs its degrees of freedom, e.g. df = 4")
            if not isinstance(self.df, int | float) and not is_positive(self.df):
                raise ValueError("the prior of df lies on positive values, e.g. gamma")
        elif self.df is not None:
            raise ValueError(f"df belongs to student_t only, not to {self.distribution}")
        return self


class Parameter(Record):
    """One structural parameter: unit, scale, typical value and variability."""

    unit: str
    scale: tuple[Scale, ...] = ()
    typical: Prior
    variability: Variability | None = None

    @property
    def scales(self) -> tuple[Scale, ...]:
        """All scales."""
        return self.scale

    @field_validator("scale", mode="before")
    @classmethod
    def _one_or_several(cls, scale: object) -> object:
        return (scale,) if isinstance(scale, dict | Scale) else scale

    @field_validator("unit")
    @classmethod
    def _known(cls, unit: str) -> str:
        return check_unit(unit)

    @model_validator(mode="after")
    def _sound(self) -> "Parameter":
        if not is_positive(self.typical):
            raise ValueError("a typical value is positive: use e.g. a lognormal prior")
        return self


class _Effect(Record):
    parameter: str
    covariate: str

    @property
    def name(self) -> str:
        """Name of the effect in tables and posterior, e.g. ``CL_AGE_below``."""
        return "_".join((self.parameter, self.covariate, *self._suffix))

    @property
    def _suffix(self) -> tuple[str, ...]:
        return ()


class Below(_Effect):
    """Factor exp(effect) where the covariate is below `cut`."""

    relation: Literal["below"]
    cut: str | FiniteFloat
    effect: Prior

    @property
    def _suffix(self) -> tuple[str, ...]:
        return ("below",)


class Category(_Effect):
    """Factor exp(effect) where the covariate equals `level`; other levels are the reference."""

    relation: Literal["category"]
    level: str | FiniteFloat
    effect: Prior

    @property
    def _suffix(self) -> tuple[str, ...]:
        return (f"{self.level:g}" if isinstance(self.level, float) else str(self.level),)


class Power(_Effect):
    """Factor (covariate / reference) ** effect."""

    relation: Literal["power"]
    reference: str | PositiveFloat
    effect: Prior

    @property
    def _suffix(self) -> tuple[str, ...]:
        return ("power",)


class Linear(_Effect):
    """Factor 1 + effect (covariate - center) / per, kept positive for every subject in the data."""

    relation: Literal["linear"]
    center: str | FiniteFloat
    per: str | PositiveFloat = 1.0
    effect: Normal | Fixed = Field(discriminator="prior")

    @property
    def _suffix(self) -> tuple[str, ...]:
        return ("linear",)


class Exponential(_Effect):
    """Factor exp(effect (covariate - center) / per)."""

    relation: Literal["exponential"]
    center: str | FiniteFloat
    per: str | PositiveFloat = 1.0
    effect: Prior

    @property
    def _suffix(self) -> tuple[str, ...]:
        return ("exponential",)


class Maturation(_Effect):
    """Sigmoid maturation: factor PMA**hill / (half**hill + PMA**hill) (Anderson & Holford 2008).

    The covariate is post-menstrual age; `unit` is the unit of `half`, the age at half maturity.
    """

    relation: Literal["maturation"]
    unit: str = "week"
    half: Prior
    hill: Prior

    @property
    def _suffix(self) -> tuple[str, ...]:
        return ("maturation",)

    @model_validator(mode="after")
    def _sound(self) -> "Maturation":
        conversion_factor(self.unit, "week")
        if not (is_positive(self.half) and is_positive(self.hill)):
            raise ValueError("half and hill are positive: use e.g. lognormal priors")
        return self


CovariateEffect = Annotated[
    Below | Category | Power | Linear | Exponential | Maturation,
    Field(discriminator="relation"),
]


class Correlation(Record):
    """Full covariance of these parameters' etas, with an LKJ(concentration) prior."""

    parameters: tuple[str, ...] = Field(min_length=2)
    concentration: PositiveFloat = 2.0


class SimpleResidual(Record):
    """Residual error with one SD.

    "additive": DV = C + eps, sd in concentration units; "proportional": DV = C (1 + eps);
    "lognormal": log DV = log C + eps.
    """

    error: Literal["additive", "proportional", "lognormal"]
    sd: Prior

    @model_validator(mode="after")
    def _sound(self) -> "SimpleResidual":
        if not is_positive(self.sd):
            raise ValueError("the prior of an SD lies on positive values, e.g. halfnormal")
        return self


class CombinedResidual(Record):
    """Combined error: variance additive**2 + (proportional C)**2."""

    error: Literal["combined"]
    additive: Prior
    proportional: Prior

    @model_validator(mode="after")
    def _sound(self) -> "CombinedResidual":
        if not (is_positive(self.additive) and is_positive(self.proportional)):
            raise ValueError("the prior of an SD lies on positive values, e.g. halfnormal")
        return self


Residual = Annotated[SimpleResidual | CombinedResidual, Field(discriminator="error")]


class ModelSpec(Record):
    """A whole model file."""

    name: str
    structure: Literal["one_compartment"]
    description: str = ""
    based_on: str | None = None
    units: Units
    parameters: dict[str, Parameter]
    covariates: tuple[CovariateEffect, ...] = ()
    correlation: Correlation | None = None
    residual: Residual

    @model_validator(mode="after")
    def _parameters_fit_structure(self) -> "ModelSpec":
        wanted = STRUCTURES[self.structure]
        if set(self.parameters) != set(wanted):
            raise ValueError(
                f"{self.structure} has the parameters {', '.join(wanted)}; "
                f"the file names {', '.join(self.parameters) or 'none'}"
            )
        for name, unit in (("CL", f"L/{self.units.time}"), ("V", "L")):
            try:
                conversion_factor(self.parameters[name].unit, unit)
            except UnitError as error:
                raise ValueError(f"parameters.{name}.unit: {error}") from None
        return self

    @model_validator(mode="after")
    def _effects_fit_parameters(self) -> "ModelSpec":
        for effect in self.covariates:
            if effect.parameter not in self.parameters:
                raise ValueError(
                    f"a covariate acts on {effect.parameter!r}; "
                    f"the parameters are {', '.join(self.parameters)}"
                )
        names = [effect.name for effect in self.covariates]
        if len(set(names)) != len(names):
            raise ValueError("the same covariate effect is written twice")
        return self

    @model_validator(mode="after")
    def _correlation_fits_variability(self) -> "ModelSpec":
        if self.correlation is None:
            return self
        kinds = set()
        for name in self.correlation.parameters:
            parameter = self.parameters.get(name)
            if parameter is None or parameter.variability is None:
                raise ValueError(f"correlation names {name!r}, which has no variability")
            kinds.add((parameter.variability.distribution, str(parameter.variability.df)))
        if len(kinds) > 1 or next(iter(kinds))[0] == "normal":
            raise ValueError(
                "correlated etas share one distribution, lognormal or student_t with the same df"
            )
        return self

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """Names of all covariates that the data must have, in order of first use."""
        names = [s.covariate for p in self.parameters.values() for s in p.scales]
        names += [effect.covariate for effect in self.covariates]
        return tuple(dict.fromkeys(names))

    def typical_unit(self, parameter: str) -> str:
        """Unit of a typical value, with its scale: ``L/h/m²`` where CL scales with BSA/1 m²."""
        unit = self.parameters[parameter].unit
        for scale in self.parameters[parameter].scales:
            number, per = split_quantity(str(scale.reference))
            per = per or scale.covariate  # a reference without a unit
            if scale.exponent != 1.0:
                unit += f" at {scale.covariate} {scale.reference}"
            else:
                unit += f"/{per}" if number == 1.0 else f"/({number:g} {per})"
        return unit.replace("^2", "²").replace("ug", "µg")


def read_model(path: str | Path) -> ModelSpec:
    """Read and validate a model file.

    Raises
    ------
    popk.PopkError
        With every fault found: file, key, what was found, the nearest valid word.
    """
    return read_record(ModelSpec, path)
