"""What a model file says: parameters, covariate relations, variability, residual error."""

from pathlib import Path
from typing import Literal

from pydantic import Field, FiniteFloat, PositiveFloat, field_validator, model_validator

from popk.spec.priors import Prior, is_positive
from popk.spec.problem import Fault
from popk.spec.record import Record, read_record
from popk.spec.relations import CovariateEffect
from popk.spec.residual import Residual
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
            raise Fault(
                "the prior of an SD lies on positive values, e.g. halfnormal",
                'write for example sd = { prior = "halfnormal", scale = 0.5 }',
            )
        if self.distribution == "student_t":
            if self.df is None:
                raise Fault("student_t needs its degrees of freedom, e.g. df = 4", "add df = 4")
            if not isinstance(self.df, int | float) and not is_positive(self.df):
                raise Fault(
                    "the prior of df lies on positive values, e.g. gamma",
                    'write for example df = { prior = "gamma", shape = 2.0, rate = 0.1 }',
                )
        elif self.df is not None:
            raise Fault(
                f"df belongs to student_t only, not to {self.distribution}",
                'remove df, or write distribution = "student_t"',
            )
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
            raise Fault(
                "a typical value is positive: use e.g. a lognormal prior",
                'write for example typical = { prior = "lognormal", median = 1.0, sigma = 1.0 }',
            )
        return self


class Correlation(Record):
    """Full covariance of these parameters' etas, with an LKJ(concentration) prior."""

    parameters: tuple[str, ...] = Field(min_length=2)
    concentration: PositiveFloat = 2.0


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
            raise Fault(
                f"{self.structure} has the parameters {', '.join(wanted)}; "
                f"the file names {', '.join(self.parameters) or 'none'}",
                f"write the tables {', '.join(f'[parameters.{n}]' for n in wanted)} and no others",
            )
        for name, unit in (("CL", f"L/{self.units.time}"), ("V", "L")):
            try:
                conversion_factor(self.parameters[name].unit, unit)
            except UnitError as error:
                raise Fault(f"parameters.{name}.unit: {error}", error.cure) from None
        return self

    @model_validator(mode="after")
    def _effects_fit_parameters(self) -> "ModelSpec":
        for effect in self.covariates:
            if effect.parameter not in self.parameters:
                raise Fault(
                    f"a covariate acts on {effect.parameter!r}; "
                    f"the parameters are {', '.join(self.parameters)}",
                    f'write parameter = "{next(iter(self.parameters))}", or another of them',
                )
        names = [effect.name for effect in self.covariates]
        if len(set(names)) != len(names):
            raise Fault("the same covariate effect is written twice", "delete one of the two")
        return self

    @model_validator(mode="after")
    def _correlation_fits_variability(self) -> "ModelSpec":
        if self.correlation is None:
            return self
        kinds = set()
        for name in self.correlation.parameters:
            parameter = self.parameters.get(name)
            if parameter is None or parameter.variability is None:
                raise Fault(
                    f"correlation names {name!r}, which has no variability",
                    f"take {name} out of [correlation], or give it variability",
                )
            kinds.add((parameter.variability.distribution, str(parameter.variability.df)))
        if len(kinds) > 1 or next(iter(kinds))[0] == "normal":
            raise Fault(
                "correlated etas share one distribution, lognormal or student_t with the same df",
                'write distribution = "lognormal" for all of them, or remove [correlation]',
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
