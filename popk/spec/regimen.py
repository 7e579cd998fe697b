"""Regimens as values: infusions, boluses and pauses one after the other, in clinical units.

A regimen has no start of its own and no arrays. In TOML::

    name = "step"
    [[step]]
    infusion = "5 ug/m^2/day"
    duration = "7 day"
    [[step]]
    infusion = [{below = "45 kg", dose = "15 ug/m^2/day"}, {dose = "28 ug/day"}]
    duration = "21 day"
    cap = "28 ug/day"

Each step has one of infusion, bolus, pause; ``repeat = 3`` gives all of them three times.
"""

import difflib
import math
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import AfterValidator, BeforeValidator

from popk.spec.problem import PopkError, Problem
from popk.spec.record import Record, read_record, validate
from popk.spec.steps import (
    AnyStep,
    Band,
    Bolus,
    Infusion,
    Pause,
    Step,
    depends_on_size,
    duration_in,
)

__all__ = [
    "READY", "Band", "Bolus", "Infusion", "Pause", "Regimen", "Step",
    "bolus", "infusion", "pause", "read_regimen", "to_toml",
]  # fmt: skip

READY_FOLDER = Path(__file__).parent / "regimens"
READY = tuple(sorted(path.stem for path in READY_FOLDER.glob("*.toml")))
"""Names of the regimens that come with popk."""

MOST_STEPS = 10_000
"""Most steps of a regimen: each is computed on its own, and more is a slip of the pen."""


def _times(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST_STEPS:
        raise ValueError(f"a whole number of times, 1 to {MOST_STEPS}: a regimen has an end")
    return number


def _some(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if not 1 <= len(steps) <= MOST_STEPS:
        raise ValueError(f"1 to {MOST_STEPS} steps")
    return steps


_Steps = Annotated[tuple[AnyStep, ...], AfterValidator(_some)]


class _Headed(Record):
    name: str = ""
    description: str = ""
    source: str = ""
    recalculated: bool = True


class Regimen(_Headed):
    """Doses and pauses, one after the other in time.

    Attributes
    ----------
    steps
        At least one.
    name, description, source
        For tables and figures; a composed regimen has none until it is `named`.
    recalculated
        True where doses per m² or kg and bands go by the body size at the start of each step,
        False where they go by that at the start of the regimen.
    """

    steps: _Steps

    def then(self, *others: "Regimen") -> "Regimen":
        """Give this regimen and then the others, one after the other.

        Raises
        ------
        PopkError
            If some of those with doses by body size are `recalculated` and some are not.
        """
        parts = (self, *others)
        asked = {part.recalculated for part in parts if part.by_size}
        if len(asked) > 1:
            raise _fault(
                "recalculated",
                "regimens with recalculated = true and with recalculated = false",
                "one way to compute doses from body size within a regimen",
                "give all of them the same recalculated",
            )
        together = asked.pop() if asked else all(part.recalculated for part in parts)
        return _composed([step for part in parts for step in part.steps], together)

    def repeat(self, times: int) -> "Regimen":
        """Give this regimen so many times, one after the other.

        Raises
        ------
        PopkError
            If `times` is no whole number of 1 or more.
        """
        try:
            steps = list(self.steps) * _times(times)
        except ValueError as error:
            raise _fault(
                "repeat", repr(times), str(error), "write how often, such as repeat(3)"
            ) from None
        return _composed(steps, self.recalculated)

    def named(self, name: str, description: str = "", source: str = "") -> "Regimen":
        """The same steps under this name."""
        head = {"name": name, "description": description, "source": source}
        return self.model_copy(update=head)

    def length(self, time_unit: str) -> float:
        """Time from the start of the first step to the end of the last, in `time_unit`."""
        return math.fsum(duration_in(step, time_unit) for step in self.steps)

    @property
    def by_size(self) -> bool:
        """Whether some dose depends on a covariate: per m², per kg, or in bands."""
        return any(depends_on_size(step) for step in self.steps)


def _composed(steps: list[Step], recalculated: bool) -> Regimen:
    if len(steps) > MOST_STEPS:
        raise _fault(
            "step", f"{len(steps)} steps", f"at most {MOST_STEPS}", "repeat the regimen less often"
        )
    return Regimen(steps=tuple(steps), recalculated=recalculated)


def _fault(key: str, found: str, expected: str, cure: str) -> PopkError:
    return PopkError(Problem(key=key, found=found, expected=expected, cure=cure))


def infusion(dose: str | tuple[Band, ...], duration: str, *, cap: str | None = None) -> Regimen:
    """A constant rate for a time: ``infusion("15 ug/m^2/day", duration="28 day")``.

    Parameters
    ----------
    dose
        Amount per time, also per m² or per kg; or bands of them.
    duration
        A time with its unit.
    cap
        The highest rate that is given: ``"28 ug/day"``.

    Returns
    -------
    Regimen
        One step, which composes with others.

    Raises
    ------
    PopkError
        For a dose that is no amount per time or not above 0, and for a time without end.
    """
    content = {"infusion": dose, "duration": duration, "cap": cap}
    return Regimen(steps=(validate(Infusion, content, "infusion"),))


def bolus(dose: str | tuple[Band, ...], *, cap: str | None = None) -> Regimen:
    """An amount at once: ``bolus("10 mg/kg", cap="100 mg")``.

    Parameters
    ----------
    dose
        An amount, also per m² or per kg; or bands of them.
    cap
        The highest amount that is given: ``"100 mg"``.

    Returns
    -------
    Regimen
        One step, which composes with others.

    Raises
    ------
    PopkError
        For a dose that is no amount or not above 0.
    """
    return Regimen(steps=(validate(Bolus, {"bolus": dose, "cap": cap}, "bolus"),))


def pause(duration: str) -> Regimen:
    """A time in which nothing is given: ``pause("14 day")``.

    Parameters
    ----------
    duration
        A time with its unit.

    Returns
    -------
    Regimen
        One step, which composes with others.

    Raises
    ------
    PopkError
        For a time without unit or without end.
    """
    return Regimen(steps=(validate(Pause, {"pause": duration}, "pause"),))


class RegimenFile(_Headed):
    """A regimen as it stands in a file."""

    repeat: Annotated[int, BeforeValidator(_times)] = 1
    step: _Steps


def read_regimen(path_or_name: str | Path) -> Regimen:
    """Read a regimen from a TOML file, or one of those that come with popk by its name.

    Parameters
    ----------
    path_or_name
        A file, or the name of a ready regimen, e.g. ``"standard"``.

    Returns
    -------
    Regimen
        With the name, description and source that stand in the file.

    Raises
    ------
    PopkError
        With every fault found; or with the known names where there is no such file.
    """
    ready = str(path_or_name) in READY
    path = READY_FOLDER / f"{path_or_name}.toml" if ready else Path(path_or_name)
    if not path.exists():
        close = difflib.get_close_matches(path.stem, READY, n=1)
        raise PopkError(
            Problem(
                file=str(path_or_name),
                found="neither a file nor the name of a regimen",
                expected=f"a TOML file, or one of {', '.join(READY)}",
                cure=f"did you mean {close[0]!r}?" if close else "check the path or the name",
            ),
            unreadable=True,
        )
    content = read_record(RegimenFile, path)
    composed = _composed(list(content.step) * content.repeat, content.recalculated)
    return composed.named(content.name, content.description, content.source)


def to_toml(regimen: Regimen) -> str:
    """The text of a file that `read_regimen` reads as the same regimen."""
    head = {name: getattr(regimen, name) for name in _Headed.model_fields}
    record = RegimenFile(step=regimen.steps, **head)
    return tomli_w.dumps(
        record.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    )
