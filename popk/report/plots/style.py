"""What all figures share: sizes, type, marks that differ in grey too; and figures as files."""

import functools
import io
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from popk.report.labels import DEEP, INK, SKY, SYNTHETIC, WARM, with_unit
from popk.spec.problem import PopkError, Problem

__all__ = [
    "COLOURS", "DEEP", "DOUBLE", "GREY", "INK", "LINES", "MARKERS", "PALE", "SINGLE", "SKY",
    "SYNTHETIC", "WARM", "beneath", "canvas", "encoded", "heading", "logarithmic", "narrow",
    "plain", "points", "styled", "svg", "with_unit",
]  # fmt: skip

MM = 1.0 / 25.4
SINGLE, DOUBLE = 85.0 * MM, 180.0 * MM
"""Widths of one and of two columns of a journal, in inches."""
NARROW = 120.0 * MM
"""Width below which panels stand below each other."""
GREY, PALE = "0.45", "0.88"
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 2)), (0, (3, 1)))
COLOURS = (INK, DEEP, WARM, SKY)
MARKERS = "osD^vP*X"
TYPE: dict[Any, Any] = {
    "font.size": 8.0,
    "figure.titlesize": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
}
FORMATS = ("svg", "pdf", "png")
DPI = 300
COLUMNS = {"single": SINGLE, "double": DOUBLE}
LEAST, MOST = 60.0, 400.0
"""Widths in mm between which figures are drawn."""

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """A figure in the type of all figures; the caller's own settings stay as they are."""

    @functools.wraps(draw)
    def of(*given: P.args, **named: P.kwargs) -> R:
        with matplotlib.rc_context(TYPE):
            return draw(*given, **named)

    return of


def wide(text: str) -> float:
    """A width in inches from "single", "double" or a number of mm.

    Raises
    ------
    popk.PopkError
        If it is neither, or no width for a figure.
    """
    if text in COLUMNS:
        return COLUMNS[text]
    try:
        mm = float(text.removesuffix("mm"))
    except ValueError:
        mm = float("nan")
    if LEAST <= mm <= MOST:
        return mm * MM
    raise PopkError(
        Problem(
            file="--width",
            found=repr(text),
            expected=f"single, double, or mm between {LEAST:g} and {MOST:g}",
            cure="give e.g. --width double, or --width 120",
        )
    )


def narrow(width: float) -> bool:
    """Whether a figure of this width (inches) has no room for panels beside each other."""
    return width < NARROW


def canvas(width: float, height: float, title: str = "", synthetic: bool = False) -> Figure:
    """An empty figure, in inches; synthetic data are called so in its heading."""
    figure = Figure(figsize=(width, height), layout="constrained")
    parts = [part for part in (title, SYNTHETIC if synthetic else "") if part]
    if parts:
        heading(figure, "; ".join(parts))
    return figure


def heading(figure: Figure, words: str) -> None:
    """A heading at the left, in as many lines as the figure's width asks for."""
    # A character of this type is about half as wide as it is high
    room = max(20, int(figure.get_figwidth() * 72.0 / (0.56 * TYPE["figure.titlesize"])))
    lines, line = [], ""
    for word in words.split(" "):
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    figure.suptitle(
        "\n".join([*lines, line]), fontsize=TYPE["figure.titlesize"], x=0.01, ha="left",
        parse_math=False,
    )  # fmt: skip


def plain(axes: Axes, x: str, y: str) -> Axes:
    """Labelled axes without the frame's upper and right side."""
    axes.spines[["top", "right"]].set_visible(False)
    # Ticks are made when they are drawn, when the type of `styled` is no longer set
    axes.tick_params(labelsize=TYPE["xtick.labelsize"], width=TYPE["axes.linewidth"])
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return axes


def logarithmic(axis: Any) -> None:
    """A logarithmic axis with plain numbers: 0.5, 10, 2,000."""
    axis.axes.set_xscale("log") if axis.axis_name == "x" else axis.axes.set_yscale("log")
    low, high = axis.get_view_interval()
    decades = np.log10(max(high, 1e-300) / max(low, 1e-300))
    if decades < 0.7:
        axis.set_major_locator(MaxNLocator(4))
        axis.set_minor_locator(NullLocator())
    elif decades <= 2.5:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    axis.set_minor_formatter(NullFormatter())


def beneath(figure: Figure, columns: int | None = None, axes: Axes | None = None) -> None:
    """One legend below all panels, each entry once."""
    found: dict[str, Any] = {}
    for own in [axes] if axes is not None else figure.axes:
        for handle, label in zip(*own.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found:
        return
    longest = max(map(len, found))
    room = int(figure.get_figwidth() * 72.0 / (0.56 * TYPE["legend.fontsize"]))
    most = max(1, room // (longest + 9))
    figure.legend(
        list(found.values()), list(found), loc="outside lower center",
        ncols=min(columns or most, most, len(found)), fontsize=TYPE["legend.fontsize"],
        frameon=False,
    )  # fmt: skip


def points(
    axes: Axes,
    x: Any,
    y: Any,
    censored: Any,
    *,
    size: float = 12.0,
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


def svg(figure: Figure) -> str:
    """A figure as SVG text, the same at every call; its words stay text."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "popk", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def encoded(figure: Figure, kind: str) -> bytes:
    """A figure for print, the same at every call.

    Parameters
    ----------
    kind
        "svg" (letters as outlines: the same on every screen), "pdf" (TrueType fonts embedded:
        letters can be searched and edited), "png" (300 dots per inch).
    """
    out = io.BytesIO()
    fonts: dict[Any, Any] = {"svg.hashsalt": "popk", "svg.fonttype": "path", "pdf.fonttype": 42}
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    with matplotlib.rc_context(fonts):
        figure.savefig(out, format=kind, dpi=DPI, metadata=metadata)
    return out.getvalue()
