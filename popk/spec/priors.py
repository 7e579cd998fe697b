"""The closed vocabulary of priors that a specification file may name."""

from typing import Annotated, Literal, get_args

from pydantic import Field, FiniteFloat, PositiveFloat, model_validator

from popk.spec.problem import Fault
from popk.spec.record import Record


class Normal(Record):
    """Normal(loc, scale)."""

    prior: Literal["normal"]
    loc: FiniteFloat
    scale: PositiveFloat


class LogNormal(Record):
    """Log-normal, by its median and the SD on the log scale."""

    prior: Literal["lognormal"]
    median: PositiveFloat
    sigma: PositiveFloat


class HalfNormal(Record):
    """Half-normal: the absolute value of Normal(0, scale)."""

    prior: Literal["halfnormal"]
    scale: PositiveFloat


class Exponential(Record):
    """Exponential, by its mean `scale`."""

    prior: Literal["exponential"]
    scale: PositiveFloat


class Gamma(Record):
    """Gamma(shape, rate); its mean is shape/rate."""

    prior: Literal["gamma"]
    shape: PositiveFloat
    rate: PositiveFloat


class Uniform(Record):
    """Uniform between `low` and `high`."""

    prior: Literal["uniform"]
    low: FiniteFloat
    high: FiniteFloat

    @model_validator(mode="after")
    def _ordered(self) -> "Uniform":
        if self.low >= self.high:
            raise Fault(
                f"low {self.low} is not below high {self.high}",
                f"write a low below the high, for example low = {self.high}, high = {self.low}"
                if self.low > self.high
                else "write a low below the high",
            )
        return self


class Fixed(Record):
    """A known value: nothing is estimated (NONMEM's FIX)."""

    prior: Literal["fixed"]
    value: FiniteFloat


Prior = Annotated[
    Normal | LogNormal | HalfNormal | Exponential | Gamma | Uniform | Fixed,
    Field(discriminator="prior"),
]


def is_positive(prior: Prior) -> bool:
    """Whether the prior puts all its mass on positive values."""
    match prior:
        case Normal():
            return False
        case Uniform():
            return prior.low >= 0
        case Fixed():
            return prior.value > 0
        case _:
            return True


def priors_of(record: Record, name: str) -> dict[str, Prior]:
    """The priors that stand in a record, by the names of the numbers that they are priors of.

    One alone has the name itself, several have their keys behind it: ``sigma``, but
    ``sigma_additive`` and ``sigma_proportional``.
    """
    own = {key: value for key, value in record if isinstance(value, get_args(Prior)[0])}
    return {name if len(own) == 1 else f"{name}_{key}": prior for key, prior in own.items()}
