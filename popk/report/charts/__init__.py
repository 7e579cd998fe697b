"""Interactive charts of a report, as Vega-Lite specifications. Compute nothing.

Each is a `Chart`: JSON with its rows inline. A page shows them by the script of `bundle`, without a
network, in the colours of `style`; without a script, as the images of `static`.
"""

from popk.report.charts.chart import Chart as Chart
from popk.report.charts.collection import charts as charts
from popk.report.charts.script import bundle as bundle
from popk.report.charts.script import static as static
from popk.report.charts.theme import style as style

__all__ = ["Chart", "bundle", "charts", "static", "style"]
