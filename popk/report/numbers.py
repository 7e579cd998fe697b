"""How numbers and units are written, in the terminal as in the report."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from popk.data.overview import Span


def number(value: Any, digits: int = 4) -> str:
    """Significant digits without exponents for the sizes that occur; a dash for no number."""
    own = math.nan if value is None else float(value)
    if own != own:
        return "-"
    if own == 0 or 1e-4 <= abs(own) < 10**digits:
        return f"{own:.{digits}g}"
    return f"{own:,.0f}" if 1 <= abs(own) < 1e9 else f"{own:.{digits - 1}e}"


def steady(value: Any, digits: int = 4) -> str:
    """The same with all its digits, zeros too: for columns of numbers."""
    short = number(value, digits)
    if short == "-" or "," in short or "e" in short:
        return short
    return f"{float(value):#.{digits}g}".removesuffix(".")


def between(low: Any, high: Any, digits: int = 3) -> str:
    """An interval; a dash where there is none."""
    found = number(low, digits), number(high, digits)
    return "-" if found == ("-", "-") else f"{found[0]} to {found[1]}"


def percent(value: Any) -> str:
    """A fraction in percent; a dash for no number."""
    own = math.nan if value is None else float(value)
    return "-" if own != own else f"{100 * own:.0f} %"


def spread(span: "Span") -> str:
    """The median with the range, or the one value that there is."""
    if span.minimum == span.maximum:
        return number(span.minimum)
    return f"{number(span.median)} ({number(span.minimum)}-{number(span.maximum)})"


def unit(text: str) -> str:
    """A unit as it is read: µ and superscripts."""
    return text.replace("ug", "µg").replace("^2", "²")
