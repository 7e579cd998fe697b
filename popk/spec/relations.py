"""Covariate relations: what a model file may say of each, and the number it makes of a covariate.

A relation is one class here. Its `term` turns the covariate's values, as they stand in the data,
into the number that the relation uses; the parameter's factor is then exp(effect x term). Two have
a factor of another form, which is a case of `popk.population.covariates.log_factor` too.
"""

from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, PositiveFloat, model_validator

from popk.spec.priors import Fixed, Normal, Prior, is_positive, priors_of
from popk.spec.problem import Fault
from popk.spec.record import Record
from popk.spec.units import conversion_factor, quantity

Values = NDArray[np.float64]


class _Effect(Record):
    parameter: str
    covariate: str

    @property
    def name(self) -> str:
        """Name of the effect in tables and posterior, e.g. ``CL_AGE_below``."""
        return f"{self.parameter}_{self.covariate}_{self._suffix}"

    @property
    def coefficients(self) -> dict[str, Prior]:
        """Prior of each coefficient by its name: the effect's own, or several with their keys."""
        return priors_of(self, self.name)

    @property
    @abstractmethod
    def _suffix(self) -> str: ...

    @abstractmethod
    def term(self, values: Values, unit: str | None, levels: tuple[str, ...]) -> Values:
        """The number by which the relation uses a covariate.

        Parameters
        ----------
        values, unit, levels
            The covariate's values, of any shape, their unit, and the words of a categorical one.

        Returns
        -------
        Array
            Of the same shape.

        Raises
        ------
        ValueError
            If a unit does not convert, a level is not among the words, or a value has no place.
        """


class Below(_Effect):
    """Factor exp(effect) where the covariate is below `cut`."""

    relation: Literal["below"]
    cut: str | FiniteFloat
    effect: Prior

    @property
    def _suffix(self) -> str:
        return "below"

    def term(self, values: Values, unit: str | None, levels: tuple[str, ...]) -> Values:
        """1 below the cut, 0 from it on."""
        return (values < quantity(self.cut, unit)).astype(float)


class Category(_Effect):
    """Factor exp(effect) where the covariate equals `level`; other levels are the reference."""

    relation: Literal["category"]
    level: str | FiniteFloat
    effect: Prior

    @property
    def _suffix(self) -> str:
        return f"{self.level:g}" if isinstance(self.level, float) else str(self.level)

    def term(self, values: Values, unit: str | None, levels: tuple[str, ...]) -> Values:
        """1 at the level, 0 at others."""
        if isinstance(self.level, float):
            return (values == self.level).astype(float)
        if self.level not in levels:
            known = ", ".join(levels) or "none: the column is not declared with levels"
            raise ValueError(f"level {self.level!r} is not among the covariate's levels ({known})")
        return (values == levels.index(self.level)).astype(float)


class Power(_Effect):
    """Factor (covariate / reference) ** effect."""

    relation: Literal["power"]
    reference: str | PositiveFloat
    effect: Prior

    @property
    def _suffix(self) -> str:
        return "power"

    def term(self, values: Values, unit: str | None, levels: tuple[str, ...]) -> Values:
        """log(covariate / reference)."""
        if (values <= 0).any():
            raise ValueError("a power relation needs a covariate above 0")
        return np.log(values / quantity(self.reference, unit))


class Linear(_Effect):
    """Factor 1 + effect (covariate - center) / per, kept positive for every subject in the data."""

    relation: Literal["linear"]
    center: str | FiniteFloat
    per: str | PositiveFloat = 1.0
    effect: Normal | Fixed = Field(discriminator="prior")

    @property
    def _suffix(self) -> str:
        return "linear"

    def term(self, values: Values, unit: str | None, levels: tuple[str, ...]) -> Values:
        """(covariate - center) / per; the factor is 1 + effect x term."""
        return (values - quantity(self.center, unit)) / quantity(self.per, unit)


class Exponential(_Effect):
    """Factor exp(effect (covariate - center) / per)."""

    relation: Literal["exponential"]
    center: str | FiniteFloat
    per: str | PositiveFloat = 1.0
    effect: Prior

    @property
    def _suffix(self) -> str:
        return "exponential"

    def term(self, values: Values, unit: str | None, levels: tuple[str, ...]) -> Values:
        """(covariate - center) / per."""
        return (values - quantity(self.center, unit)) / quantity(self.per, unit)


class Maturation(_Effect):
    """Sigmoid maturation: factor PMA**hill / (half**hill + PMA**hill) (Anderson & Holford 2008).

    The covariate is post-menstrual age; `unit` is the unit of `half`, the age at half maturity.
    """

    relation: Literal["maturation"]
    unit: str = "week"
    half: Prior
    hill: Prior

    @property
    def _suffix(self) -> str:
        return "maturation"

    def term(self, values: Values, unit: str | None, levels: tuple[str, ...]) -> Values:
        """The age in `self.unit`; the factor is the sigmoid."""
        if unit is None:
            raise ValueError("a maturation relation needs the unit of the age")
        if (values <= 0).any():
            raise ValueError("a maturation relation needs an age above 0")
        return values * conversion_factor(unit, self.unit)

    @model_validator(mode="after")
    def _sound(self) -> "Maturation":
        conversion_factor(self.unit, "week")
        if not (is_positive(self.half) and is_positive(self.hill)):
            raise Fault(
                "half and hill are positive: use e.g. lognormal priors",
                'write for example { prior = "lognormal", median = 1.0, sigma = 1.0 }',
            )
        return self


CovariateEffect = Annotated[
    Below | Category | Power | Linear | Exponential | Maturation,
    Field(discriminator="relation"),
]
