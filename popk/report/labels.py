"""What figures of every kind share: words with units, and colours that differ in grey too."""

SYNTHETIC = "SYNTHETIC DATA"

# Okabe & Ito's palette for the colour-blind, by rising lightness: black, blue, vermilion, sky blue
INK, DEEP, WARM, SKY = "#000000", "#0072B2", "#D55E00", "#56B4E9"


def with_unit(name: str, unit: str) -> str:
    """``name (unit)``, or the name alone where there is no unit."""
    unit = unit.replace("ug", "µg").replace("^2", "²").replace("*", "·")
    return f"{name} ({unit})" if unit else name


def short(name: str, most: int = 12) -> str:
    """A name that has room on an axis: of a long one its end, which differs most often."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
