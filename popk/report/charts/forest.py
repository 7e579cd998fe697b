"""Intervals in rows: covariate effects, each subject's CL and Css, what rests on the priors."""

import math
from typing import TYPE_CHECKING, Any

import altair as alt

from popk.report.charts.chart import Chart, Row, chart, layered, named, plain, source, told
from popk.report.charts.theme import colour
from popk.report.labels import with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from popk.analysis.gathered import Gathered

REFERENCE = (0.80, 1.25)
"""Bioequivalence's limits, which a forest of covariate effects is read against."""
SINGLY, TOGETHER = "tested singly", "all together"
STEP, ROW = 15, 64
SHOWN = {
    "CL_scaled": "CL", "CL": "CL", "Css_nominal": "Css at the nominal dose",
    "Css_actual": "Css at the own rate", "V_scaled": "V", "V": "V",
}  # fmt: skip
PARTS = {"prior": ("prior_median", "prior_q5", "prior_q95"), "data alone": ("data", "data_q5",
         "data_q95"), "posterior": ("median", "q5", "q95")}  # fmt: skip


def covariates(own: "Gathered") -> "Iterator[Chart]":
    """Ratios with their intervals over the range of no effect."""
    table = own.covariates
    if table is None or not len(table):
        return
    found: list[Row] = []
    several = len(table) > 1 and "joint_ratio" in table
    for name, row in zip(map(str, table.index), table.to_dict("records"), strict=True):
        label = f"{row['parameter']}: {row['contrast']}"
        for how, prefix in ((SINGLY, ""), *(((TOGETHER, "joint_"),) if several else ())):
            values = {c: plain(row[prefix + c]) for c in ("ratio", "q2_5", "q5", "q95", "q97_5")}
            found.append({"candidate": name, "effect": label, "how": how, **values,
                          "verdict": str(row.get(f"{prefix}verdict", row["verdict"]))})  # fmt: skip
    low, high = own.no_effect or REFERENCE
    ends = [row[c] for row in found for c in ("q2_5", "ratio", "q97_5") if row[c]] + [low, high]
    axis = alt.Scale(type="log", nice=False, domain=[0.97 * min(ends), 1.03 * max(ends)])
    x: Any = alt.X("q2_5:Q", scale=axis, title="ratio of the parameter")
    about = [named("candidate", "candidate"), named("effect", "contrast"), named("how", "test"),
             told("ratio", "ratio, median"), told("q5", "5 %"), told("q95", "95 %"),
             told("q2_5", "2.5 %"), told("q97_5", "97.5 %"),
             named("verdict", "verdict")]  # fmt: skip
    # Above its intervals and from the left: beside them a phone would have no room left
    place: Any = alt.Y("effect:N", title=None, sort=None, axis=alt.Axis(
        labelAlign="left", labelBaseline="bottom", labelPadding=-2, labelOffset=-ROW // 4,
        labelLimit=340, ticks=False, domain=False, zindex=1))  # fmt: skip
    offset: Any = alt.YOffset("how:N", sort=[SINGLY, TOGETHER], scale=alt.Scale(
        paddingOuter=0.9))  # fmt: skip
    domain = [SINGLY, TOGETHER][: 2 if several else 1]
    shade: Any = alt.Color("how:N", scale=alt.Scale(
        domain=domain, range=[colour("deep"), colour("warm")][: len(domain)]),
        legend=alt.Legend(title=None) if several else None)  # fmt: skip
    shape: Any = alt.Shape("how:N", scale=alt.Scale(
        domain=domain, range=["circle", "square"][: len(domain)]),
        legend=alt.Legend(title=None) if several else None)  # fmt: skip
    base = source("effects")
    layers = [
        source("reference").mark_rect(color=colour("pale"), opacity=0.7, aria=False)
        .encode(x=alt.X("low:Q", scale=axis, title="ratio of the parameter"), x2="high:Q"),
        source("one").mark_rule(color=colour("grey"), aria=False).encode(x="at:Q"),
        base.mark_rule(strokeWidth=1.5, aria=False)
        .encode(x=x, x2="q97_5:Q", y=place, yOffset=offset, color=shade),
        base.mark_rule(strokeWidth=5, aria=False)
        .encode(x="q5:Q", x2="q95:Q", y=place, yOffset=offset, color=shade),
        base.mark_point(filled=True, size=110, opacity=1, stroke=colour("paper"), strokeWidth=1)
        .encode(x="ratio:Q", y=place, yOffset=offset, color=shade, shape=shape, tooltip=about),
    ]  # fmt: skip
    yield chart(
        "covariates", "covariates", "Covariate effects",
        f"Ratios: median, 90 % (thick) and 95 % intervals. Shaded: {low:g} to {high:g}, taken for "
        "no effect.",
        layered(layers, ROW * len({row["effect"] for row in found})),
        {"reference": [{"low": low, "high": high}], "one": [{"at": 1}], "effects": found},
        synthetic=own.synthetic,
    )  # fmt: skip


def exposures(own: "Gathered") -> "Iterator[Chart]":
    """CL and Css of each subject, each in its own order."""
    units = own.individual_units
    cl = "CL_scaled" if "CL_scaled" in units else "CL"
    css = next((n for n in ("Css_nominal", "Css_actual") if n in units), None)
    for name in (cl, css or ("V_scaled" if "V_scaled" in units else "V")):
        yield _exposure(own, name, units[name])


def _exposure(own: "Gathered", name: str, unit: str) -> Chart:
    table: Any = own.individuals
    ordered = table.sort_values(name, ascending=False)
    found = [
        {"ID": str(who), "median": plain(row[name]), "low": plain(row[f"{name}_q5"]),
         "high": plain(row[f"{name}_q95"])}
        for who, row in zip(ordered.index, ordered.to_dict("records"), strict=True)
    ]  # fmt: skip
    words = with_unit(SHOWN[name], unit)
    middle = plain(float(table[name].median()))
    y: Any = alt.Y("ID:N", sort=None, title="subject (ID)", axis=alt.Axis(labelLimit=110))
    about = [named("ID", "ID"), told("median", words), told("low", "5 %"), told("high", "95 %")]
    layers = [
        source("middle").mark_rule(color=colour("grey"), strokeDash=[5, 4], aria=False)
        .encode(x="at:Q"),
        source("subjects").mark_rule(color=colour("deep"), strokeWidth=2, aria=False)
        .encode(x=alt.X("low:Q", title=words), x2="high:Q", y=y, tooltip=about),
        source("subjects").mark_point(filled=True, color=colour("ink"), size=36, opacity=1)
        .encode(x=alt.X("median:Q", title=words), y=y, tooltip=about),
    ]  # fmt: skip
    return chart(
        f"individual-{'cl' if name.startswith('CL') else 'css' if name.startswith('Css') else 'v'}",
        "paper", f"{SHOWN[name]} of each subject",
        "Posterior median and 90 % interval, in order; dashed: median of all subjects.",
        layered(layers, STEP * max(len(found), 3)), {"middle": [{"at": middle}], "subjects": found},
        synthetic=own.synthetic, narrow=True,
    )  # fmt: skip


def sensitivity(own: "Gathered") -> "Iterator[Chart]":
    """Prior, data and posterior of each parameter, on the scale of the prior's interval."""
    table = own.prior_sensitivity
    if table is None or not len(table):
        return
    found: list[Row] = []
    for name, row in zip(map(str, table.index), table.to_dict("records"), strict=True):
        for part, columns in PARTS.items():
            middle, low, high = (float(row[c]) for c in columns)
            if not all(v == v for v in (middle, low, high)):
                continue
            found.append({
                "parameter": name, "part": part, "median": plain(middle), "low": plain(low),
                "high": plain(high), "diagnosis": str(row["diagnosis"] or "nothing to say"),
                "unit": str(own.parameters["unit"].get(name, "")),
                **{f"at_{k}": plain(placed(row, v)) for k, v in
                   (("median", middle), ("low", low), ("high", high))},
            })  # fmt: skip
    axis: Any = alt.Scale(domain=[-1.6, 1.6], clamp=True)
    x: Any = alt.X("at_low:Q", scale=axis, title="in units of the prior's 90 % interval",
                   axis=alt.Axis(values=[-1, 0, 1], labelExpr="datum.value < 0 ? 'prior 5 %' : "
                                 "datum.value > 0 ? 'prior 95 %' : 'middle'"))  # fmt: skip
    parts = list(PARTS)
    y: Any = alt.Y("parameter:N", sort=None, title=None)
    offset: Any = alt.YOffset("part:N", sort=parts)
    shade: Any = alt.Color("part:N", scale=alt.Scale(
        domain=parts, range=[colour("grey"), colour("warm"), colour("deep")]))  # fmt: skip
    about = [named("parameter", "parameter"), named("part", "of"), told("median", "median"),
             told("low", "5 %"), told("high", "95 %"), named("unit", "unit"),
             named("diagnosis", "prior sensitivity")]  # fmt: skip
    layers = [
        source("prior").mark_rect(color=colour("pale"), opacity=0.5, aria=False)
        .encode(x=alt.X("low:Q", scale=axis), x2="high:Q"),
        source("parts").mark_rule(strokeWidth=2, aria=False)
        .encode(x=x, x2="at_high:Q", y=y, yOffset=offset, color=shade,
                strokeDash=alt.StrokeDash("part:N", scale=alt.Scale(
                    domain=parts, range=[[5, 3], [2, 2], [1, 0]]))),
        source("parts").mark_point(filled=True, size=60, opacity=1)
        .encode(x="at_median:Q", y=y, yOffset=offset, color=shade, tooltip=about,
                shape=alt.Shape("part:N", scale=alt.Scale(
                    domain=parts, range=["square", "triangle-up", "circle"]))),
    ]  # fmt: skip
    yield chart(
        "prior-sensitivity", "sensitivity", "Prior, data and posterior",
        "90 % intervals of each parameter; the shaded field is the prior's.",
        layered(layers, 3 * STEP * len(table)),
        {"prior": [{"low": -1, "high": 1}], "parts": found}, synthetic=own.synthetic,
    )  # fmt: skip


def placed(row: "dict[Any, Any]", value: float) -> float:
    """Where a value stands with the prior's 5 % and 95 % quantiles at -1 and 1."""
    low, high = float(row["prior_q5"]), float(row["prior_q95"])
    if low > 0:
        if not value > 0:
            return float("nan")
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (2.0 * value - low - high) / (high - low)
