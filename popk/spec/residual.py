"""Residual errors: what a model file may say of each, and what it means.

An error is one entry in the table `ERRORS`, and its word in the record that has its SDs.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from popk.spec.priors import Prior, is_positive, priors_of
from popk.spec.problem import Fault
from popk.spec.record import Record


class ErrorKind(NamedTuple):
    """An observation is normal around what is predicted; its SD, or that of its log.

    powers
        Name of each SD to a power of the predicted concentration C: the variance is the sum of
        (SD C**power)**2. An SD has the concentration's unit to the power of 1 - power.
    logarithmic
        True where the log of the observation is normal, around log C, and the variance its own.
    """

    powers: Mapping[str, float]
    logarithmic: bool = False

    @property
    def vanishes(self) -> bool:
        """Whether a measured concentration has no likelihood where the prediction is zero."""
        return self.logarithmic or min(self.powers.values()) > 0


ERRORS: Mapping[str, ErrorKind] = MappingProxyType(
    {
        "additive": ErrorKind({"sigma": 0.0}),
        "proportional": ErrorKind({"sigma": 1.0}),
        "lognormal": ErrorKind({"sigma": 0.0}, logarithmic=True),
        "combined": ErrorKind({"sigma_additive": 0.0, "sigma_proportional": 1.0}),
    }
)


class _Residual(Record):
    @property
    def sds(self) -> dict[str, Prior]:
        """Prior of each SD by its name: ``sigma``, or ``sigma_KEY`` where there are several."""
        return priors_of(self, "sigma")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not all(is_positive(prior) for prior in self.sds.values()):
            raise Fault(
                "the prior of an SD lies on positive values, e.g. halfnormal",
                'write for example { prior = "halfnormal", scale = 0.5 }',
            )
        return self


class SimpleResidual(_Residual):
    """Residual error with one SD.

    "additive": DV = C + eps, sd in concentration units; "proportional": DV = C (1 + eps);
    "lognormal": log DV = log C + eps.
    """

    error: Literal["additive", "proportional", "lognormal"]
    sd: Prior


class CombinedResidual(_Residual):
    """Combined error: variance additive**2 + (proportional C)**2."""

    error: Literal["combined"]
    additive: Prior
    proportional: Prior


Residual = Annotated[SimpleResidual | CombinedResidual, Field(discriminator="error")]
