"""The JavaScript that shows charts, and charts as images without it."""

import functools
from importlib.metadata import version

import vl_convert

from popk.report.charts.chart import Chart
from popk.study.kept import kept_text

WIDTH = 680


@functools.cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script (0.9 MB) that asks no network for anything.

    It sets ``vegaEmbed``, ``vegaLite`` and ``vega``, and no other name: its own many short ones
    would be in the way of a page's. It takes seconds to put together and is kept between runs. An
    end of a script element within it is written so that it ends none.
    """
    name = f"vega-{version('vl-convert-python')}.js"
    text = kept_text(name, _bundled).replace("</script", "<\\/script")
    return f"(function(){{{text}\n}})();"


def _bundled() -> str:
    # Its annotations ask for what its documentation calls optional
    return vl_convert.javascript_bundle()  # pyright: ignore[reportCallIssue]


def static(chart: Chart, width: int = WIDTH) -> str:
    """A chart as SVG text, for readers without scripts; it has the page's colours too.

    Parameters
    ----------
    width
        In pixels.
    """
    return vl_convert.vegalite_to_svg({**chart.spec, "width": width})
