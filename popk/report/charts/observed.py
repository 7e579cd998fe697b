"""Observations against predictions, residuals against time and prediction."""

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
    source,
    told,
)
from popk.report.charts.theme import colour
from popk.report.labels import with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from popk.analysis.gathered import Gathered

WORDS = {"PRED": "population prediction", "IPRED": "individual prediction"}
AXES = {"TIME": "time", "TAD": "time after dose", "PRED": "PRED"}
BEYOND = 2.0
"""How far below the least measured value an axis goes; what lies further stands at its edge."""


def observed(own: "Gathered") -> "Iterator[Chart]":
    """DV against PRED and IPRED; residuals and NPDE against time, time after dose and PRED."""
    if own.observations is None:
        return
    yield from (_predictions(own, column) for column in WORDS)
    for kind in ("IWRES", "NPDE"):
        if own.observations[kind].dropna().empty:
            continue  # at the end of a fit there is no NPDE yet
        yield from (_residuals(own, kind, column) for column in AXES)


def hover(own: "Gathered") -> list[Any]:
    """What is said of an observation: whose, when, what."""
    unit, time = own.concentration_unit, own.time_unit
    return [
        named("ID", "ID"),
        told("TIME", with_unit("time", time)),
        told("DV", with_unit("DV", unit)),
        named("kind", "row"),
    ]


def _predictions(own: "Gathered", column: str) -> Chart:
    table: Any = own.observations
    unit = own.concentration_unit
    held = table[["DV", "PRED", "IPRED"]].to_numpy(float)
    measured = held[~table["censored"].to_numpy(bool)]
    low, high = float(held.min()), float(held.max())
    form: dict[str, Any] = {"zero": False}
    if low > 0:
        low = min(float(measured.min()) if len(measured) else low, float(held[:, 0].min()))
        low, high = low / BEYOND, high * 1.15
        form = {"type": "log", "nice": False}
    axis: Any = alt.Scale(domain=[plain(low), plain(high)], clamp=True, **form)
    points = (
        source("observations")
        .mark_point(filled=True, size=45, opacity=0.75)
        .encode(
            x=alt.X(f"{column}:Q", scale=axis, title=with_unit(f"{column}, {WORDS[column]}", unit)),
            y=alt.Y("DV:Q", scale=axis, title=with_unit("DV", unit)),
            tooltip=[*hover(own), told(column, with_unit(column, unit))],
            **kinds(table),
        )
    )
    equal = (
        source("equal")
        .mark_line(color=colour("grey"), strokeWidth=1, aria=False)
        .encode(x="at:Q", y="at:Q")
    )
    return chart(
        f"predictions-{column.lower()}",
        "observations",
        f"Observations against {WORDS[column]}s ({column})",
        f"Each point is an observation; the line is where it equals its {WORDS[column]}. "
        "A prediction beyond the axis stands at its edge.",
        layered([equal, points]),
        {
            "equal": [{"at": plain(low)}, {"at": plain(high)}],
            "observations": observed_rows(table, ["ID", "TIME", "DV", "PRED", "IPRED"]),
        },
        synthetic=own.synthetic,
        narrow=True,
    )


def _residuals(own: "Gathered", kind: str, column: str) -> Chart:
    table: Any = own.observations
    if kind == "IWRES":
        table = table[~table["censored"].to_numpy(bool)]
    unit = own.concentration_unit if column == "PRED" else own.time_unit
    words = with_unit(AXES[column], unit)
    low = float(table[column].min()) if len(table) else 0.0
    spread = column == "PRED" and low > 0 and float(table[column].max()) > 20 * low
    scale: Any = alt.Scale(type="log", nice=False) if spread else alt.Scale(zero=False)
    x: Any = alt.X(f"{column}:Q", title=words, scale=scale)
    layers = [
        source("band").mark_rect(color=colour("pale"), opacity=0.6, aria=False)
        .encode(y=alt.Y("low:Q", title=f"{kind} (SD)"), y2="high:Q"),
        source("zero").mark_rule(color=colour("grey"), aria=False).encode(y="at:Q"),
        source("observations").mark_point(filled=True, size=40, opacity=0.75).encode(
            x=x, y=f"{kind}:Q",
            tooltip=[*hover(own), told(kind, f"{kind} (SD)"),
                     *([told(column, words)] if column != "TIME" else [])],
            **kinds(table),
        ),
    ]  # fmt: skip
    data = {
        "band": [{"low": -1.96, "high": 1.96}],
        "zero": [{"at": 0}],
        "observations": observed_rows(table, ["ID", "TIME", "TAD", "DV", "PRED", kind]),
    }
    said = "The shaded field is ± 1.96 SD."
    bins = own.npde_bins
    if kind == "NPDE" and bins is not None:
        layers += _bins()
        of_axis: Any = bins[bins["axis"] == AXES[column]]
        data["bins"] = [
            {
                "middle": plain(row["middle"]), "mean": plain(row["mean"]), "n": int(row["n"]),
                "low": plain(row["mean"] - row["sd"]), "high": plain(row["mean"] + row["sd"]),
            }
            for row in of_axis.to_dict("records")
        ]  # fmt: skip
        said += " Squares and bars: mean ± SD in bins."
    return chart(
        f"{kind.lower()}-{column.lower()}",
        "npde" if kind == "NPDE" else "observations",
        f"{kind} against {AXES[column]}",
        said,
        layered(layers, 240),
        data,
        synthetic=own.synthetic,
        narrow=True,
    )


def _bins() -> list[Any]:
    about = [told("mean", "mean of the bin (SD)"), told("n", "observations", "d")]
    ink = colour("ink")
    return [
        source("bins").mark_line(color=ink, strokeWidth=1.2, aria=False)
        .encode(x="middle:Q", y="mean:Q"),
        source("bins").mark_rule(color=ink, aria=False).encode(x="middle:Q", y="low:Q",
                                                               y2="high:Q"),
        source("bins").mark_square(color=ink, size=40, opacity=1)
        .encode(x="middle:Q", y="mean:Q", tooltip=about),
    ]  # fmt: skip
