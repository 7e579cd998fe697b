"""What all figures share: colours that differ in grey too, units, and how they become a file."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SYNTHETIC = "SYNTHETIC DATA"

# Okabe & Ito's palette for the colour-blind, by rising lightness: black, blue, vermilion, sky blue
INK, DEEP, WARM, SKY = "#000000", "#0072B2", "#D55E00", "#56B4E9"
GREY, PALE = "0.45", "0.88"


def canvas(width: float, height: float, title: str = "", synthetic: bool = False) -> Figure:
    """An empty figure; synthetic data are called so in its heading."""
    figure = Figure(figsize=(width, height), layout="constrained")
    parts = [part for part in (title, SYNTHETIC if synthetic else "") if part]
    if parts:
        figure.suptitle("; ".join(parts), fontsize=10, x=0.01, ha="left")
    return figure


def plain(axes: Axes, x: str, y: str) -> Axes:
    """Labelled axes without the frame's upper and right side."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return axes


def points(
    axes: Axes,
    x: Any,
    y: Any,
    censored: Any,
    *,
    size: float = 14.0,
    colour: str = DEEP,
    labels: tuple[str, str] = ("", ""),
) -> None:
    """Measured observations as dots, censored ones as open triangles."""
    x, y, hidden = np.asarray(x), np.asarray(y), np.asarray(censored, dtype=bool)
    seen = ~hidden
    axes.scatter(
        x[seen], y[seen], marker="o", s=size, color=colour, alpha=0.7, linewidths=0, zorder=3,
        label=labels[0],
    )  # fmt: skip
    if hidden.any():
        axes.scatter(
            x[hidden], y[hidden], marker="v", s=1.4 * size, facecolors="none", edgecolors=WARM,
            linewidths=0.9, zorder=3, label=labels[1],
        )  # fmt: skip


def with_unit(name: str, unit: str) -> str:
    """``name (unit)``, or the name alone where there is no unit."""
    unit = unit.replace("ug", "µg").replace("^2", "²")
    return f"{name} ({unit})" if unit else name


def svg(figure: Figure) -> str:
    """A figure as SVG text, the same at every call."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "popk", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
