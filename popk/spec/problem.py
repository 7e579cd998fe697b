"""A fault in what the user gave, as a value: where it is, what was found, what to do."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """One fault (or warning) in a file that the user wrote.

    Attributes
    ----------
    found, expected, cure
        What stands there, what should stand there, and what to change.
    file
        The file's path as the user gave it.
    line
        Line number, counted from 1 as an editor does; None where no line applies.
    subject
        The ID that the line belongs to; None where no subject applies.
    key
        Column name or dotted key, for instance ``parameters.CL.unit``.
    severity
        A "warning" does not stop a fit.
    """

    found: str
    expected: str
    cure: str
    file: str = ""
    line: int | None = None
    subject: str | None = None
    key: str | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = [self.file] if self.file else []
        if self.line is not None:
            place.append(f"line {self.line}")
        if self.subject is not None:
            place.append(f"ID {self.subject}")
        if self.key is not None:
            place.append(self.key)
        head = f"{', '.join(place)}: " if place else ""
        return f"{head}found {self.found}; expected {self.expected}. Cure: {self.cure}"


class Fault(ValueError):
    """Something within a record that does not hold; the record's reader adds file and key.

    Parameters
    ----------
    expected
        What should hold.
    cure
        What to write instead.
    """

    def __init__(self, expected: str, cure: str) -> None:
        self.cure = cure
        super().__init__(expected)


class PopkError(Exception):
    """Something the user gave cannot be used; carries every problem found, not only the first.

    Parameters
    ----------
    problems
        All faults found, in file order.
    unreadable
        True where the file as a whole could not be read (missing, empty, not a table).
    """

    def __init__(self, *problems: Problem, unreadable: bool = False) -> None:
        self.problems = problems
        self.unreadable = unreadable
        super().__init__("\n".join(str(p) for p in problems))
