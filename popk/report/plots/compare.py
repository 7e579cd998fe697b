"""Several models over the same observations: one visual predictive check, each model's bands."""

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.report.plots import vpc as over_time
from popk.report.plots.style import (
    DEEP,
    DOUBLE,
    INK,
    PALE,
    SKY,
    WARM,
    beneath,
    canvas,
    plain,
    styled,
    svg,
    with_unit,
)

if TYPE_CHECKING:
    from popk.analysis.comparison import Comparison

EDGES = ((WARM, "--"), (DEEP, ":"), (INK, "-."))


def of_comparison(found: "Comparison") -> dict[str, str]:
    """The figure as SVG, by file name; none where fewer than two have the same data."""
    figure = vpc(found)
    return {} if figure is None else {"vpc.svg": svg(figure)}


@styled
def vpc(found: "Comparison", width: float = DOUBLE) -> Figure | None:
    """The first model's bands filled, the others' as outlines, over the same observations."""
    if len(found.vpcs) < 2:
        return None
    (first, base), *others = found.vpcs.items()
    said = ", ".join(f"{name} p {own.p:.2g}" for name, own in found.vpcs.items())
    figure = canvas(width, 4.4, f"VPC, 90 % of simulated quantiles: {said}", found.synthetic)
    axes = figure.add_subplot()
    over_time.bands(axes, base.table, fills=(PALE, SKY), of=f", {first}")
    over_time.observed(axes, base.table)
    for i, (name, own) in enumerate(others):
        _outlines(axes, own.table, name, *EDGES[i % len(EDGES)])
    over_time.scattered(axes, base, [own.table for _, own in others])
    plain(axes, with_unit("time", found.time_unit), with_unit("DV", found.concentration_unit))
    beneath(figure, 2)
    return figure


def _outlines(axes: Axes, table: Any, name: str, colour: str, line: str) -> None:
    """One model's bands as boxes without filling; the medians' with a thicker line."""
    for _, row in table.iterrows():
        left, right = over_time.span_of(table, row)
        middle = row["quantile"] == 0.5
        axes.plot(
            [left, right, right, left, left],
            [row["low"], row["low"], row["high"], row["high"], row["low"]],
            color=colour, linestyle=line, linewidth=1.6 if middle else 0.8, zorder=2,
        )  # fmt: skip
    axes.plot([], [], color=colour, linestyle=line, linewidth=1.4, label=f"the same of {name}")
