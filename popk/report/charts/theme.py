"""Colours of charts in light and in dark, and what all charts look like."""

import json
from typing import Any

from popk.report.labels import DEEP, INK, SKY, WARM

LIGHT = {
    "ink": INK, "deep": DEEP, "warm": WARM, "sky": SKY, "grey": "#6b7177", "pale": "#dcdfe2",
    "grid": "#e9ebed", "paper": "#ffffff",
}  # fmt: skip
DARK = {
    "ink": "#eceff1", "deep": "#56B4E9", "warm": "#E69F00", "sky": "#2a6f9e", "grey": "#9aa3ab",
    "pale": "#4a535b", "grid": "#2b3137", "paper": "#1b1f23",
}  # fmt: skip
"""Roles to colours. Dark ones are Okabe & Ito's too, one step lighter; fields one step darker."""

TEXT = "currentColor"
LEGENDS = "{bottom: {anchor: 'start', direction: 'vertical', margin: 2, offset: 16}}"
FONT = "system-ui, sans-serif"


def colour(role: str) -> str:
    """The colour of a role, as the page's theme has it."""
    return f"var(--chart-{role})"


def style() -> str:
    """CSS of a page with charts: their colours in both themes, and those of what hovers."""
    light, dark = _variables(LIGHT), _variables(DARK)
    return (
        f":root{{{light}}}"
        f"@media (prefers-color-scheme: dark){{:root:not([data-theme=light]){{{dark}}}}}"
        f":root[data-theme=dark]{{{dark}}}"
        f"@media print{{:root,:root[data-theme=dark]{{{light}}}}}"
        ".vega-embed{width:100%}.vega-embed svg{max-width:100%}"
        "#vg-tooltip-element.vg-tooltip{background:var(--chart-paper);color:var(--chart-ink);"
        "border:1px solid var(--chart-grey);font:0.8rem " + FONT + "}"
        "#vg-tooltip-element table tr td.key{color:var(--chart-grey)}"
    )


def resolved(spec: dict[str, Any], *, dark: bool = False) -> dict[str, Any]:
    """A specification with the colours of one theme, for programs that know no CSS variables."""
    text = json.dumps(spec)
    for role, value in (DARK if dark else LIGHT).items():
        text = text.replace(colour(role), value)
    return json.loads(text.replace(TEXT, (DARK if dark else LIGHT)["ink"]))


def config() -> dict[str, Any]:
    """The part of a specification that all charts share."""
    grid, grey = colour("grid"), colour("grey")
    return {
        "background": "transparent",
        "font": FONT,
        "axis": {
            "labelColor": TEXT, "titleColor": TEXT, "domainColor": grey, "tickColor": grey,
            "gridColor": grid, "titleFontWeight": "normal", "labelFontSize": 11,
            "titleFontSize": 12, "labelLimit": 160,
        },
        "legend": {
            "labelColor": TEXT, "titleColor": TEXT, "orient": "bottom", "title": None,
            "labelFontSize": 11, "symbolSize": 70, "labelLimit": 320, "columnPadding": 16,
            # One legend under the other: side by side they would not fit a phone
            "layout": {"expr": LEGENDS},
        },
        "title": {
            "color": TEXT, "subtitleColor": TEXT, "anchor": "start", "fontSize": 11,
            "fontWeight": "normal",
        },
        "text": {"color": TEXT, "fill": TEXT},
        "view": {"stroke": None},
        "rule": {"color": grey},
    }  # fmt: skip


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--chart-{role}:{value};" for role, value in colours.items())
