"""One chart a subject; etas against covariates; who lies far out."""

from typing import TYPE_CHECKING, Any

import altair as alt

from popk.report.charts.chart import (
    Chart,
    Row,
    chart,
    kinds,
    layered,
    named,
    observed_rows,
    plain,
    rows,
    source,
    told,
)
from popk.report.charts.theme import colour
from popk.report.labels import with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from popk.analysis.gathered import Gathered

INDIVIDUAL, POPULATION = "individual", "population"
DOSE_HEIGHT, CODES = 8, 3
INFLUENTIAL = 0.7
"""Pareto k above which a fit hangs on a subject (`popk.analysis.predictive.UNRELIABLE`)."""


def individuals(own: "Gathered") -> "Iterator[Chart]":
    """Each subject's observations on its own and the population's curve, with its doses."""
    if own.observations is None or own.profiles is None:
        return
    template = _individual(own)
    observations, profiles = dict(_by_id(own.observations)), dict(_by_id(own.profiles))
    doses = dict(_by_id(own.doses))
    for number, who in enumerate(map(str, own.individuals.index), start=1):
        if who not in profiles:
            continue
        curves = rows(
            profiles[who],
            ["TIME", *(f"{kind}{end}" for kind in (INDIVIDUAL, POPULATION)
                       for end in ("", "_low", "_high"))],
        )  # fmt: skip
        data = {
            "profiles": curves,
            "observations": observed_rows(observations[who], ["ID", "TIME", "DV", "PRED", "IPRED"])
            if who in observations
            else [],
            "doses": _doses(doses.get(who), curves[-1]["TIME"]),
        }
        yield chart(
            f"individual-{number}", "individuals", f"ID {who}",
            "Points: observations. Solid line with blue field: the subject's own concentration "
            "with its 90 % band. Dashed line with grey field: other subjects with these doses and "
            "covariates. Bars at the foot: doses.",
            template, data, synthetic=own.synthetic, narrow=True,
        )  # fmt: skip


def _individual(own: "Gathered") -> dict[str, Any]:
    """What all individual charts share: made once for all subjects."""
    time_unit, unit, amount_unit = own.time_unit, own.concentration_unit, own.amount_unit
    time = with_unit("time", time_unit)
    x: Any = alt.X("TIME:Q", title=time)

    def field(kind: str, role: str) -> Any:
        return source("profiles").mark_area(color=colour(role), opacity=0.5, aria=False).encode(
            x=x, y=alt.Y(f"{kind}_low:Q", title=with_unit("concentration", unit)),
            y2=f"{kind}_high:Q",
        )  # fmt: skip

    both = [INDIVIDUAL, POPULATION]
    # "stroke": the points have the scale of "color" to themselves
    lines = (
        source("profiles")
        .transform_fold(both, as_=["line", "value"])
        .mark_line(strokeWidth=1.6, aria=False)
        .encode(
            x=x,
            y=alt.Y("value:Q", title=with_unit("concentration", unit)),
            stroke=alt.Stroke("line:N", scale=alt.Scale(
                domain=both, range=[colour("deep"), colour("grey")])),
            strokeDash=alt.StrokeDash("line:N", scale=alt.Scale(
                domain=both, range=[[1, 0], [6, 4]])),
        )
    )  # fmt: skip
    points = source("observations").mark_point(filled=True, size=60, opacity=0.9).encode(
        x=x, y="DV:Q",
        tooltip=[named("ID", "ID"), told("TIME", time), told("DV", with_unit("DV", unit)),
                 told("PRED", with_unit("PRED", unit)), told("IPRED", with_unit("IPRED", unit)),
                 named("kind", "row")],
        **kinds(own.observations),
    )  # fmt: skip
    nearest = source("profiles").mark_rule(opacity=0, strokeWidth=6, aria=False).encode(
        x=x,
        tooltip=[told("TIME", time), told("individual", with_unit("individual, median", unit)),
                 told("individual_low", with_unit("5 %", unit)),
                 told("individual_high", with_unit("95 %", unit)),
                 told("population", with_unit("population, median", unit))],
    )  # fmt: skip
    doses = source("doses").mark_rect(
        color=colour("ink"), opacity=0.6, y=alt.expr("height - " + str(DOSE_HEIGHT)),
        y2=alt.expr("height"), aria=False,
    ).encode(
        x="TIME:Q", x2="end:Q",
        tooltip=[told("TIME", f"dose at {time}"), told("AMT", with_unit("amount", amount_unit)),
                 told("RATE", with_unit("rate", f"{amount_unit}/{time_unit}")),
                 told("duration", with_unit("duration", time_unit))],
    )  # fmt: skip
    layers = [field(POPULATION, "pale"), field(INDIVIDUAL, "sky"), nearest, lines, doses, points]
    return layered(layers, 220)


def _doses(table: "pd.DataFrame | None", last: float) -> list[Row]:
    """Each dose with its repeats, from its begin to its end; a bolus has a little width."""
    if table is None:
        return []
    least = 0.004 * max(last, 1e-9)
    found = []
    for row in rows(table, ["TIME", "AMT", "RATE", "duration", "ADDL", "II"]):
        endless = row["duration"] is None
        for k in range(1 + int(row["ADDL"] or 0)):
            start = row["TIME"] + k * (row["II"] or 0.0)
            end = last if endless else start + max(row["duration"], least)
            found.append(
                {**{name: row[name] for name in ("AMT", "RATE", "duration")},
                 "TIME": plain(float(start)), "end": plain(float(end))}
            )  # fmt: skip
    return found


def _by_id(table: "pd.DataFrame") -> "Iterator[tuple[str, pd.DataFrame]]":
    return ((str(who), own) for who, own in table.groupby("ID", sort=False))


def etas(own: "Gathered") -> "Iterator[Chart]":
    """Each eta against each covariate at baseline."""
    if own.etas is None:
        return
    table = own.etas.reset_index()
    told_p = {} if own.eta_tests is None else {
        (str(row["parameter"]), str(row["covariate"])): row
        for row in own.eta_tests.to_dict("records")
    }  # fmt: skip
    for covariate, unit in own.covariate_units.items():
        words = _in_words(table[covariate].tolist())
        for name in own.eta_names:
            yield _eta(own, table, name, covariate, unit, words, told_p.get((name, covariate)))


def _eta(
    own: "Gathered", table: "pd.DataFrame", name: str, covariate: str, unit: str, words: bool,
    test: Any,
) -> Chart:  # fmt: skip
    # Names of the data's own columns are no names of a specification's fields: dots mean more there
    found = [
        {"ID": str(who), "x": plain(x), "eta": plain(eta)}
        for who, x, eta in zip(table["ID"], table[covariate], table[name], strict=True)
    ]
    label = with_unit(covariate, unit)
    zero = source("zero").mark_rule(color=colour("grey"), aria=False).encode(y="at:Q")
    x: Any = alt.X("x:N", title=label) if words else alt.X(
        "x:Q", title=label, scale=alt.Scale(zero=False, padding=12))  # fmt: skip
    about = named("x", label) if words else told("x", label)
    dots = source("etas").mark_point(
        filled=True, size=45, opacity=0.8, color=colour("deep")
    ).encode(
        x=x, y=alt.Y("eta:Q", title=f"eta of {name} (log scale)"),
        tooltip=[named("ID", "ID"), about, told("eta", f"eta of {name}")],
    )  # fmt: skip
    said = ""
    if test is not None and test["p_holm"] == test["p_holm"]:
        rho = "" if test["rho"] != test["rho"] else f"rank correlation {test['rho']:.2f}, "
        said = f"{rho}p {test['p_holm']:.2g} (corrected for the number of tests)."
    return chart(
        f"eta-{_safe(name)}-{_safe(covariate)}", "etas", f"eta of {name} against {covariate}",
        said or "Too few subjects, or all alike, for a test.", layered([zero, dots], 200),
        {"zero": [{"at": 0}], "etas": found}, synthetic=own.synthetic, narrow=True,
    )  # fmt: skip


def _in_words(values: list[Any]) -> bool:
    """Whether a covariate is of levels, or of so few codes that each is a place of its own."""
    plains = [plain(v) for v in values]
    numbers = all(isinstance(v, int | float) for v in plains)
    return not numbers or (len(set(plains)) <= CODES and all(float(v).is_integer() for v in plains))


def outliers(own: "Gathered") -> "Iterator[Chart]":
    """How far out each subject lies, and how much the fit hangs on it."""
    table = own.outlying_subjects
    if table is None:
        return
    names = [c.removeprefix("z_") for c in map(str, table) if c.startswith("z_")]
    found = [
        {
            "ID": str(who), "parameter": name, "z": plain(row[f"z_{name}"]),
            "probability": plain(row[f"probability_{name}"]),
        }
        for who, row in zip(table.index, table.to_dict("records"), strict=True)
        for name in names
    ]  # fmt: skip
    order = [str(who) for who in table.index]
    x: Any = alt.X("ID:N", sort=order, title="subject (ID)")
    roles = [colour(r) for r in ("deep", "warm", "ink", "grey")][: len(names)]
    shapes = ["circle", "triangle-up", "square", "diamond"][: len(names)]
    if names:
        dots = source("subjects").mark_point(filled=True, size=45, opacity=0.9).encode(
            x=x, y=alt.Y("z:Q", title="eta (SD of the population)"),
            color=alt.Color("parameter:N", scale=alt.Scale(domain=names, range=roles)),
            shape=alt.Shape("parameter:N", scale=alt.Scale(domain=names, range=shapes)),
            tooltip=[named("ID", "ID"), named("parameter", "parameter"), told("z", "eta (SD)"),
                     told("probability", "probability of being outlying", ".3~f")],
        )  # fmt: skip
        zero = source("zero").mark_rule(color=colour("grey"), aria=False).encode(y="at:Q")
        yield chart(
            "outliers", "outliers", "How far out each subject lies",
            "Posterior median of each eta, in SDs of the population.", layered([zero, dots], 220),
            {"zero": [{"at": 0}], "subjects": found}, synthetic=own.synthetic,
        )  # fmt: skip
    if bool(table["pareto_k"].notna().any()):
        k = [{"ID": who, "k": plain(v)} for who, v in zip(order, table["pareto_k"], strict=True)]
        bound = source("bound").mark_rule(
            color=colour("warm"), strokeDash=[5, 4], aria=False
        ).encode(y="at:Q")  # fmt: skip
        dots = source("subjects").mark_point(
            filled=True, size=45, opacity=0.9, color=colour("ink")
        ).encode(
            x=x, y=alt.Y("k:Q", title="Pareto k, subject left out"),
            tooltip=[named("ID", "ID"), told("k", "Pareto k")],
        )  # fmt: skip
        yield chart(
            "influence", "outliers", "How much the fit hangs on each subject",
            f"Pareto k of leaving the subject out; above the dashed line ({INFLUENTIAL}) the fit "
            "hangs on it.", layered([bound, dots], 180),
            {"bound": [{"at": INFLUENTIAL}], "subjects": k}, synthetic=own.synthetic,
        )  # fmt: skip


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in name) or "x"
