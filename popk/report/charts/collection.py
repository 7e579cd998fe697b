"""All charts that a report can show of what was gathered."""

from typing import TYPE_CHECKING

from popk.report.charts import dosing, forest, observed, predictive, subject
from popk.report.charts.chart import Chart

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered


def charts(gathered: "Gathered") -> tuple[Chart, ...]:
    """Every chart whose tables are there, in the order in which a section shows them.

    Parameters
    ----------
    gathered
        Tables read back from results/ (`popk.analysis.gathered.gathered`).

    Returns
    -------
    tuple of Chart
        ``individual-1`` and on in the order of ``gathered.individuals``.
    """
    return (
        *observed.observed(gathered),
        *predictive.predictive(gathered),
        *subject.individuals(gathered),
        *subject.etas(gathered),
        *subject.outliers(gathered),
        *forest.covariates(gathered),
        *forest.sensitivity(gathered),
        *forest.exposures(gathered),
        *dosing.simulation(gathered),
        *dosing.target(gathered),
        *dosing.patients(gathered),
    )
