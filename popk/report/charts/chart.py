"""`Chart`: one interactive chart, and what all of them are made with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from popk.report.charts.theme import colour, config
from popk.report.labels import SYNTHETIC

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
Data = Mapping[str, list[Row]]

DIGITS = 6
"""Significant digits of the numbers in a specification: a page holds thousands of them."""
HEIGHT = 300
MEASURED, CENSORED = "measured", "censored, at its limit"


@dataclass(frozen=True)
class Chart:
    """One chart of a report.

    Attributes
    ----------
    name
        Unique in a report; letters, digits and hyphens.
    section
        Where it belongs: "observations", "vpc", "npde", "individuals", "etas", "outliers",
        "covariates", "sensitivity", "paper", "simulation", "dose".
    title
        Plain text, not HTML: it may hold an ID as the data have it.
    description
        What it shows, for those who do not see it; plain text too.
    spec
        Vega-Lite, its rows under "datasets". As wide as what holds it.
    narrow
        Whether two may stand side by side.
    """

    name: str
    section: str
    title: str
    description: str
    spec: dict[str, Any]
    narrow: bool = False


def chart(
    name: str,
    section: str,
    title: str,
    description: str,
    template: Mapping[str, Any],
    data: Data,
    *,
    synthetic: bool,
    narrow: bool = False,
) -> Chart:
    """A chart from a template (`layered`) and its rows; synthetic data are called so in it."""
    note = {"title": {"text": SYNTHETIC, "anchor": "end", "dy": 2}} if synthetic else {}
    said = f"{title}. {description}" + (f" {SYNTHETIC}." if synthetic else "")
    # Of a layer without rows Vega-Lite would find no extent, and say so
    held = [own for own in template["layer"] if data.get(own.get("data", {}).get("name"), True)]
    spec = {**template, **note, "layer": held, "description": said, "datasets": dict(data)}
    return Chart(name, section, title, description, spec, narrow)


def layered(layers: Iterable[Any], height: int = HEIGHT) -> dict[str, Any]:
    """Layers as one specification without its rows.

    Its structure does not depend on the rows, so that the tests can check it once and for all
    against the schema of Vega-Lite, which takes longer than all the rest.

    Parameters
    ----------
    layers
        Altair charts whose data are `alt.NamedData`.
    height
        Of the plot in pixels; a height by the row (``alt.Step``) does not go with a width that
        follows the page.
    """
    whole: Any = alt.layer(*layers).properties(width="container", height=height)
    spec = whole.to_dict(validate=False)
    return {
        **spec,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": config(),
    }


def rows(table: "pd.DataFrame", columns: Iterable[str]) -> list[Row]:
    """Columns of a table as plain rows: numbers to six digits, what is none as null."""
    kept = list(columns)
    return [
        {name: plain(value) for name, value in zip(kept, values, strict=True)}
        for values in table[kept].itertuples(index=False, name=None)
    ]


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, str | bool | None):
        return value
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if abs(value) < float("inf") else None
    return value


def observed_rows(table: "pd.DataFrame", columns: Iterable[str]) -> list[Row]:
    """Rows of observations, each called measured or censored under ``kind``."""
    found = rows(table, [*columns, "censored"])
    for row in found:
        row["kind"] = CENSORED if row.pop("censored") else MEASURED
    return found


def kinds(
    table: "pd.DataFrame | None", first: str = MEASURED, second: str = CENSORED
) -> dict[str, Any]:
    """Encodings of measured and censored observations: colour and shape, one legend.

    Where nothing in the table is ``censored`` there is one kind.
    """
    some = table is not None and bool(table["censored"].to_numpy(bool).any())
    domain = [first, second] if some else [first]
    return {
        "color": alt.Color(
            "kind:N",
            scale=alt.Scale(domain=domain, range=[colour("deep"), colour("warm")][: len(domain)]),
            legend=alt.Legend(title=None),
        ),
        "shape": alt.Shape(
            "kind:N",
            scale=alt.Scale(domain=domain, range=["circle", "triangle-down"][: len(domain)]),
            legend=alt.Legend(title=None),
        ),
    }


def told(field: str, title: str, form: str = ".4~g") -> Any:
    """A line of what hovers over a mark: a number, with its unit in the title."""
    return alt.Tooltip(f"{field}:Q", title=title, format=form)


def named(field: str, title: str) -> Any:
    """The same of a word; shown as text, whatever it holds."""
    return alt.Tooltip(f"{field}:N", title=title)


def source(name: str) -> Any:
    """Data of a template, to be filled in by `chart`."""
    return alt.Chart(alt.NamedData(name=name))


def scale(values: Iterable[float], *, wide: float = 1.08, **given: Any) -> Any:
    """A logarithmic scale where all values are positive and span a factor of four; else linear."""
    held = [float(v) for v in values if v == v]
    if held and min(held) > 0 and max(held) > 4.0 * min(held):
        return alt.Scale(type="log", nice=False, domain=[min(held) / wide, max(held) * wide],
                         **given)  # fmt: skip
    return alt.Scale(zero=False, **given)
