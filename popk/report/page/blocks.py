"""What a page is made of: plain records that the templates know how to show."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from popk.report.numbers import steady

if TYPE_CHECKING:
    import pandas as pd

Tone = Literal["", "passed", "look", "failed", "dim", "strong"]
TONES: dict[str, Tone] = {
    "passed": "passed", "look here": "look", "failed": "failed", "not possible": "dim",
}  # fmt: skip
"""Outcome of a verdict to the tone in which it is shown."""


class Cell(NamedTuple):
    """One cell: what is read; what it is sorted by, in full; what stands under it."""

    text: str
    value: str = ""
    tone: Tone = ""
    badge: bool = False
    under: str = ""


class Column(NamedTuple):
    """One column; `told` explains an abbreviation."""

    label: str
    unit: str = ""
    numeric: bool = True
    told: str = ""


@dataclass(frozen=True)
class Shown:
    """A table; `tools` gives it sorting and a search field."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    tools: bool = False
    folded: str = ""
    name: str = ""


@dataclass(frozen=True)
class Prose:
    """Paragraphs."""

    kind: ClassVar[str] = "prose"
    paragraphs: tuple[str, ...]
    tone: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    kind: ClassVar[str] = "facts"
    rows: tuple[tuple[str, str], ...]


class Figure(NamedTuple):
    """One figure of a row: figures that can be pointed at, and static ones."""

    name: str
    title: str
    told: str
    spec: Any
    narrow: bool = False


class Static(NamedTuple):
    """A static figure: its words, and itself as the address of an image."""

    name: str
    told: str
    address: str


@dataclass(frozen=True)
class Figures:
    """Figures side by side; `pages` says that they are turned, so many at a time."""

    kind: ClassVar[str] = "figures"
    caption: str
    charts: tuple[Figure, ...]
    statics: tuple[Static, ...]
    pages: int = 0
    name: str = ""


@dataclass(frozen=True)
class Commands:
    """Commands to give."""

    kind: ClassVar[str] = "commands"
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """What is not there, and the command that makes it."""

    kind: ClassVar[str] = "missing"
    what: str
    command: str


class Reference(NamedTuple):
    """A work that is cited, and where it is found."""

    text: str
    address: str = ""


@dataclass(frozen=True)
class References:
    """Numbered works."""

    kind: ClassVar[str] = "references"
    works: tuple[Reference, ...]


Block = Shown | Prose | Facts | Figures | Commands | Missing | References


@dataclass(frozen=True)
class Part:
    """A headed part of a section."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    lead: str = ""


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    name: str
    title: str
    blocks: tuple[Block, ...] = ()
    parts: tuple[Part, ...] = field(default=())
    lead: str = ""


def rows_of(table: "pd.DataFrame") -> list[tuple[str, dict[str, Any]]]:
    """Each row with the word of its index."""
    names = [str(name) for name in table.index]
    return list(zip(names, table.to_dict("records"), strict=True))


def word(text: Any, tone: Tone = "", badge: bool = False, under: str = "") -> Cell:
    """A cell of text."""
    return Cell("" if text is None else str(text), "", tone, badge, under)


def figure(value: Any, digits: int = 4) -> Cell:
    """A cell of one number."""
    own = float("nan") if value is None else float(value)
    return Cell(steady(own, digits), "" if own != own else repr(own))


def fixed(value: Any, places: int) -> Cell:
    """A cell of one number with so many decimals."""
    own = float("nan") if value is None else float(value)
    return Cell("-" if own != own else f"{own:,.{places}f}", "" if own != own else repr(own))


def share(value: Any) -> Cell:
    """A cell of a fraction, in percent."""
    own = float("nan") if value is None else float(value)
    return Cell("-" if own != own else f"{100 * own:.0f} %", "" if own != own else repr(own))


def interval(low: Any, high: Any, digits: int = 4) -> Cell:
    """A cell of an interval, sorted by its lower end."""
    own = float(low)
    ends = steady(low, digits), steady(high, digits)
    text = "-" if ends == ("-", "-") else f"{ends[0]} to {ends[1]}"
    return Cell(text, "" if own != own else repr(own))


def ranged(middle: Any, low: Any, high: Any, digits: int = 3) -> Cell:
    """A cell of a middle with its interval, sorted by the middle."""
    own = float(middle)
    if own != own:
        return Cell("-")
    ends = f"{steady(low, digits)} to {steady(high, digits)}"
    return Cell(f"{steady(own, digits)} ({ends})", repr(own))


def outcome(text: str) -> Cell:
    """A cell of what a check ended with."""
    return word(text, TONES.get(text, ""), badge=True)
