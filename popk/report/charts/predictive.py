"""Visual predictive checks and the distribution of NPDE."""

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import altair as alt

from popk.report.charts.chart import (
    Chart,
    chart,
    kinds,
    layered,
    named,
    observed_rows,
    plain,
    rows,
    scale,
    source,
    told,
)
from popk.report.charts.theme import colour
from popk.report.labels import with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from popk.analysis.gathered import Gathered

LEAST = 0.012
"""Width of a bin that is a point in time, as a share of the whole axis."""
MIDDLE, OUTER = "simulated median, 90 %", "simulated outer, 90 %"
SEEN_MIDDLE, SEEN_OUTER = "observed median", "observed outer quantiles"
DRAWN = "censored, at a value drawn for it"


def predictive(own: "Gathered") -> "Iterator[Chart]":
    """VPC, prediction-corrected VPC, NPDE."""
    if own.vpc is not None:
        yield _vpc(own, own.vpc, own.vpc_points, corrected=False)
    if own.pcvpc is not None:
        yield _vpc(own, own.pcvpc, own.pcvpc_points, corrected=True)
    if own.observations is not None and not own.observations["NPDE"].dropna().empty:
        yield _npde(own)
        yield _qq(own)


def _vpc(
    own: "Gathered", table: "pd.DataFrame", points: "pd.DataFrame | None", *, corrected: bool
) -> Chart:
    unit, time = own.concentration_unit, own.time_unit
    words = "DV, corrected to the bin's prediction" if corrected else "DV"
    held = [*table["observed"], *table["low"], *table["high"]]
    if points is not None:
        held += list(points["value"][~points["censored"].to_numpy(bool)])
    y = scale(held, clamp=True)
    line = alt.Scale(domain=[SEEN_MIDDLE, SEEN_OUTER], range=[[1, 0], [6, 4]])
    quantile = told("percent", "quantile (%)")
    bands = source("quantiles").mark_rect(opacity=0.55, aria=False).encode(
        x=alt.X("left:Q", title=with_unit("time", time), scale=alt.Scale(zero=False, nice=False)),
        x2="right:Q",
        y=alt.Y("low:Q", title=with_unit(words, unit), scale=y), y2="high:Q",
        fill=alt.Fill("band:N", legend=alt.Legend(title=None), scale=alt.Scale(
            domain=[MIDDLE, OUTER], range=[colour("sky"), colour("pale")])),
        tooltip=[named("band", "field"), quantile, told("low", with_unit("5 %", unit)),
                 told("high", with_unit("95 %", unit)), told("n", "observations", "d")],
    )  # fmt: skip
    seen = source("quantiles").mark_line(color=colour("ink"), strokeWidth=1.5, aria=False).encode(
        x="time:Q", y="observed:Q", detail="quantile:N",
        strokeDash=alt.StrokeDash("line:N", scale=line, legend=alt.Legend(title=None)),
    )  # fmt: skip
    marks = source("quantiles").mark_square(color=colour("ink"), size=35, opacity=1).encode(
        x="time:Q", y="observed:Q",
        tooltip=[named("line", "line"), quantile, told("time", with_unit("time", time)),
                 told("observed", with_unit("observed", unit)), told("n", "observations", "d"),
                 named("where", "simultaneous 95 % band")],
    )  # fmt: skip
    rings = source("outside").mark_point(
        color=colour("warm"), size=260, strokeWidth=2, filled=False, aria=False
    ).encode(x="time:Q", y="observed:Q")  # fmt: skip
    layers = [bands, seen, marks, rings]
    data = {"quantiles": _quantiles(table)}
    data["outside"] = [row for row in data["quantiles"] if row["where"] == "outside"]
    if points is not None:
        dots = source("points").mark_point(filled=True, size=18, opacity=0.55).encode(
            x="time:Q", y="value:Q",
            tooltip=[named("ID", "ID"), told("time", with_unit("time", time)),
                     told("value", with_unit(words, unit)), named("kind", "row")],
            **kinds(points, second=DRAWN),
        )  # fmt: skip
        layers.insert(1, dots)
        data["points"] = observed_rows(points, ["ID", "time", "value"])
        for row in data["points"]:
            row["kind"] = DRAWN if row["kind"] != "measured" else row["kind"]
    outside = len(data["outside"])
    said = f"{outside} of {len(table)} observed quantiles lie outside the simultaneous 95 % band"
    return chart(
        "pcvpc" if corrected else "vpc", "vpc",
        "Prediction-corrected visual predictive check" if corrected else "Visual predictive check",
        "Lines: observed quantiles in bins of time. Fields: 90 % of the same quantiles in "
        f"simulated data. {said}" + (" (ringed)." if outside else "."),
        layered(layers, 360), data, synthetic=own.synthetic,
    )  # fmt: skip


def _quantiles(table: "pd.DataFrame") -> list[dict[str, Any]]:
    found = rows(table, ["bin", "start", "end", "time", "n", "quantile", "observed", "low",
                         "median", "high", "outside"])  # fmt: skip
    ends: Any = table[["start", "end"]].to_numpy(float)
    least = LEAST * (float(ends.max()) - float(ends.min())) / 2.0
    for row in found:
        middle, half = 0.5 * (row["start"] + row["end"]), 0.5 * (row["end"] - row["start"])
        row["left"], row["right"] = middle - max(half, least), middle + max(half, least)
        row["percent"] = plain(100.0 * row["quantile"])
        central = row["quantile"] == 0.5
        row["band"] = MIDDLE if central else OUTER
        row["line"] = SEEN_MIDDLE if central else SEEN_OUTER
        row["where"] = "outside" if row.pop("outside") else "inside"
    return found


def _npde(own: "Gathered") -> Chart:
    table: Any = own.observations
    bars = source("observations").mark_bar(color=colour("pale"), stroke=colour("grey")).encode(
        x=alt.X("NPDE:Q", bin=alt.Bin(step=0.5), title="NPDE (SD)"),
        y=alt.Y("count():Q", title="observations"),
        tooltip=[alt.Tooltip("NPDE:Q", bin=alt.Bin(step=0.5), title="NPDE (SD)"),
                 alt.Tooltip("count():Q", title="observations")],
    )  # fmt: skip
    normal = source("normal").mark_line(color=colour("ink"), strokeWidth=1.6, aria=False).encode(
        x="at:Q", y=alt.Y("expected:Q")
    )  # fmt: skip
    density = NormalDist()
    curve = [
        {"at": i / 10, "expected": plain(0.5 * len(table) * density.pdf(i / 10))}
        for i in range(-40, 41)
    ]
    return chart(
        "npde", "npde", "Distribution of NPDE",
        "Bars: observations; line: what a standard normal distribution gives, as a right model has "
        "it.",
        layered([bars, normal], 240),
        {"observations": observed_rows(table, ["ID", "TIME", "DV", "NPDE"]), "normal": curve},
        synthetic=own.synthetic, narrow=True,
    )  # fmt: skip


def _qq(own: "Gathered") -> Chart:
    table: Any = own.observations
    unit = own.concentration_unit
    ordered = sorted(observed_rows(table, ["ID", "TIME", "DV", "NPDE"]), key=lambda r: r["NPDE"])
    for i, row in enumerate(ordered):
        row["expected"] = plain(NormalDist().inv_cdf((i + 0.5) / len(ordered)))
    end = plain(max(3.0, math.ceil(max(abs(row["NPDE"]) for row in ordered))))
    line = source("equal").mark_line(color=colour("grey"), aria=False).encode(x="at:Q", y="at:Q")
    dots = source("observations").mark_point(filled=True, size=40, opacity=0.75).encode(
        x=alt.X("expected:Q", title="quantile of the standard normal (SD)"),
        y=alt.Y("NPDE:Q", title="NPDE (SD)"),
        tooltip=[named("ID", "ID"), told("TIME", with_unit("time", own.time_unit)),
                 told("DV", with_unit("DV", unit)), told("NPDE", "NPDE (SD)"),
                 named("kind", "row")],
        **kinds(table),
    )  # fmt: skip
    return chart(
        "npde-qq", "npde", "NPDE against the standard normal",
        "Points on the line: NPDE as a right model has them.", layered([line, dots], 240),
        {"equal": [{"at": -end}, {"at": end}], "observations": ordered},
        synthetic=own.synthetic, narrow=True,
    )  # fmt: skip
