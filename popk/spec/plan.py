"""What a trial does: who is recruited, what they are given, when blood is drawn."""

from collections.abc import Iterator

from pydantic import model_validator

from popk.spec.problem import PopkError, Problem
from popk.spec.record import Record
from popk.spec.regimen import Pause, Regimen, read_regimen
from popk.spec.steps import duration_in
from popk.spec.units import UnitError, quantity, split_quantity
from popk.spec.virtual import Virtual

WASHOUT = 48.0
"""Hours after the end of a regimen in which blood may still be drawn."""


class Plan(Record):
    """The plan of a trial.

    Attributes
    ----------
    regimen
        One of the ready regimens by its name, or the path of a regimen file.
    times
        When blood is drawn of every infant, from the start of the regimen, each with its unit and
        each later than the one before. By default hour 10 of days 2, 8, 15, 22 and 28, and 2 h and
        6 h after the end of a course of 28 days.
    virtual
        Which infants are recruited. They may not grow: trials are fitted side by side only where
        no covariate changes within an infant.
    below
        Lower limit of quantification of the assay, e.g. ``"50 pg/mL"``: lower values are censored.
    young
        Share of the infants who are recruited below the cut of an effect of age, 0 to 1; None:
        as ages fall.

    Raises
    ------
    popk.PopkError
        With every fault found: a time without unit, before the first dose, or more than 2 days
        after the end; times that do not rise; a limit that is no concentration; infants that grow.
    """

    regimen: str = "standard"
    times: tuple[str, ...] = ("34 h", "178 h", "346 h", "514 h", "658 h", "674 h", "678 h")
    virtual: Virtual = Virtual()
    below: str | None = None
    young: float | None = None

    @model_validator(mode="after")
    def _possible(self) -> "Plan":
        problems = [*self._time_problems(), *self._other_problems()]
        if problems:
            raise PopkError(*problems)
        return self

    def given(self) -> Regimen:
        """The regimen."""
        return read_regimen(self.regimen)

    def hours(self) -> tuple[float, ...]:
        """The times in hours."""
        return tuple(quantity(text, "h") for text in self.times)

    def _time_problems(self) -> Iterator[Problem]:
        if not self.times:
            yield Problem(
                key="times",
                found="no times",
                expected="at least one time at which blood is drawn",
                cure='write e.g. times = ["34 h", "28 day"]',
            )
        unreadable = [problem for text in self.times if (problem := _unreadable(text)) is not None]
        yield from unreadable
        if unreadable or not self.times:
            return
        regimen = self.given()
        first, last = _first_dose(regimen), regimen.length("h")
        for text, hour in zip(self.times, self.hours(), strict=True):
            if not first < hour <= last + WASHOUT:
                yield Problem(
                    key="times",
                    found=f"blood drawn at {text}",
                    expected=f"a time after the first dose at {first:g} h and up to "
                    f"{last + WASHOUT:g} h: the regimen {self.regimen!r} ends at {last:g} h, and "
                    f"drug is looked for {WASHOUT:g} h longer",
                    cure="choose times within that range, or another regimen",
                )
        yield from self._order_problems()

    def _order_problems(self) -> Iterator[Problem]:
        hours = self.hours()
        pairs = zip(self.times[:-1], self.times[1:], hours[:-1], hours[1:], strict=True)
        for before, after, early, late in pairs:
            if late <= early:
                what = "twice the same time" if late == early else "times that run back"
                yield Problem(
                    key="times",
                    found=f"{what}: {before}, then {after}",
                    expected="each time once, and each later than the one before",
                    cure=f"leave {after} out" if late == early else f"write {after} before",
                )

    def _other_problems(self) -> Iterator[Problem]:
        if self.below is not None and (why := _no_limit(self.below)):
            yield Problem(
                key="below",
                found=f"the assay limit {self.below!r} ({why})",
                expected="a concentration above 0 with its unit",
                cure='write e.g. below = "50 pg/mL", or leave it out',
            )
        if self.young is not None and not 0.0 < self.young < 1.0:
            yield Problem(
                key="young",
                found=f"a share of young infants of {self.young:g}",
                expected="a share above 0 and below 1: an effect compares two groups",
                cure="write 0.5 for as many below the cut as above it",
            )
        if self.virtual.grow:
            yield Problem(
                key="virtual.grow",
                found="infants that grow during the trial",
                expected="covariates that do not change within an infant: thousands of trials are "
                "fitted side by side only then",
                cure="write grow = false",
            )


def _first_dose(regimen: Regimen) -> float:
    """Hours from the start of the regimen to the first step that is no pause."""
    begun = 0.0
    for step in regimen.steps:
        if not isinstance(step, Pause):
            break
        begun += duration_in(step, "h")
    return begun


def _unreadable(text: str) -> Problem | None:
    try:
        quantity(text, "h")
        reason = "" if split_quantity(text)[1] else "no unit"
    except UnitError as error:
        reason = str(error)
    if not reason:
        return None
    return Problem(
        key="times",
        found=f"the time {text!r} ({reason})",
        expected="a number and a unit of time, such as '34 h' or '28 day'",
        cure="write the time with its unit",
    )


def _no_limit(text: str) -> str:
    """What is wrong with an assay limit; empty where it is one."""
    try:
        limit = quantity(text, "mg/L")
    except UnitError as error:
        return str(error)
    if not split_quantity(text)[1]:
        return "no unit"
    return "" if limit > 0.0 else "not above 0"
