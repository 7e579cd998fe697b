"""Which infants are to be drawn: their ages, their sexes, how their body size is made."""

from pydantic import model_validator

from popk.spec.fit import BodySizeFormula
from popk.spec.problem import PopkError, Problem
from popk.spec.record import Record
from popk.spec.units import UnitError, quantity, split_quantity


class Virtual(Record):
    """Virtual infants by the WHO Child Growth Standards.

    age
        The youngest and the oldest at the start; every age between is as likely.
    female
        Share of girls, 0 to 1.
    formula
        Body-surface area from weight and length.
    grow
        Whether age, length and weight advance from the start on.

    Raises
    ------
    popk.PopkError
        Where the range of ages or the share makes no sense, and with every such fault. Whether
        the growth standards go so far is found where the infants are drawn.
    """

    age: tuple[str, str] = ("0 month", "12 month")
    female: float = 0.5
    formula: BodySizeFormula = "haycock"
    grow: bool = False

    @model_validator(mode="after")
    def _possible(self) -> "Virtual":
        problems = [problem for text in self.age if (problem := _age_problem(text)) is not None]
        if not problems and (ages := self.age_range("day"))[0] > ages[1]:
            young, old = self.age
            problems.append(
                Problem(
                    key="age",
                    found=f"ages from {young} to {old}",
                    expected="the youngest first, then the oldest",
                    cure=f"write {old} and then {young}",
                )
            )
        if not 0.0 <= self.female <= 1.0:
            problems.append(
                Problem(
                    key="female",
                    found=f"a share of girls of {self.female:g}",
                    expected="a number from 0 (boys only) to 1 (girls only)",
                    cure="write 0.5 for as many girls as boys",
                )
            )
        if problems:
            raise PopkError(*problems)
        return self

    def age_range(self, unit: str) -> tuple[float, float]:
        """The youngest and the oldest, in a unit of time."""
        youngest, oldest = (quantity(text, unit) for text in self.age)
        return youngest, oldest


def _age_problem(text: str) -> Problem | None:
    """What is wrong with one end of the range."""
    try:
        quantity(text, "day")
        reason = "" if split_quantity(text)[1] else "no unit"
    except UnitError as error:
        reason = str(error)
    if not reason:
        return None
    return Problem(
        key="age",
        found=f"the age {text!r} ({reason})",
        expected="a number and a unit of time, such as '6 month' or '10 day'",
        cure="write the age with its unit",
    )
