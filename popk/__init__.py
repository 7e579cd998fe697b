"""popk: population pharmacokinetics of continuous infusions for small, precious data sets.

Three calls from files to a posterior::

    fit = popk.fit(popk.load_model("model.toml"), popk.read_data("data.csv", ...))
    fit.posterior          # arviz InferenceData
    popk.parameters(fit)   # pandas

What a call does not need is not imported: each name below is loaded when it is first used.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from popk.analysis.checking.checks import checks
    from popk.analysis.comparison import compare
    from popk.analysis.covariates.covariate_tests import covariate_tests
    from popk.analysis.covariates.search import search
    from popk.analysis.dosing.attainment import attainment
    from popk.analysis.dosing.patient import patient_dose
    from popk.analysis.observations import observations
    from popk.analysis.power.assurance import assurance
    from popk.analysis.power.plans import plans
    from popk.analysis.power.power import power
    from popk.analysis.power.sizes import smallest
    from popk.analysis.resampling.bootstrap import bootstrap
    from popk.analysis.resampling.influence import influence
    from popk.analysis.simulation.simulation import simulate
    from popk.analysis.summary import individuals, paper_line, parameters
    from popk.api import (
        events,
        fit,
        load_fit,
        load_model,
        patient,
        read_data,
        resampled,
        virtual_infants,
    )
    from popk.data.dataset import Dataset
    from popk.data.pump_log import read_pump_log
    from popk.data.regimens import record_table, regimens_of, scheduled, with_doses
    from popk.population.model import Model
    from popk.report.plots.catalogue import plot
    from popk.spec.patient import read_patient
    from popk.spec.plan import Plan
    from popk.spec.problem import PopkError, Problem
    from popk.spec.regimen import Regimen, bolus, infusion, pause, read_regimen
    from popk.study.fit import Fit
    from popk.study.maximum import MaximumFit

_HOME = {
    "read_data": "popk.api",
    "load_model": "popk.api",
    "load_fit": "popk.api",
    "fit": "popk.api",
    "events": "popk.api",
    "Fit": "popk.study.fit",
    "MaximumFit": "popk.study.maximum",
    "Dataset": "popk.data.dataset",
    "Model": "popk.population.model",
    "PopkError": "popk.spec.problem",
    "Problem": "popk.spec.problem",
    "parameters": "popk.analysis.summary",
    "individuals": "popk.analysis.summary",
    "paper_line": "popk.analysis.summary",
    "checks": "popk.analysis.checking.checks",
    "compare": "popk.analysis.comparison",
    "plot": "popk.report.plots.catalogue",
    "covariate_tests": "popk.analysis.covariates.covariate_tests",
    "search": "popk.analysis.covariates.search",
    "observations": "popk.analysis.observations",
    "Regimen": "popk.spec.regimen",
    "infusion": "popk.spec.regimen",
    "bolus": "popk.spec.regimen",
    "pause": "popk.spec.regimen",
    "read_regimen": "popk.spec.regimen",
    "read_pump_log": "popk.data.pump_log",
    "regimens_of": "popk.data.regimens",
    "scheduled": "popk.data.regimens",
    "with_doses": "popk.data.regimens",
    "record_table": "popk.data.regimens",
    "virtual_infants": "popk.api",
    "resampled": "popk.api",
    "simulate": "popk.analysis.simulation.simulation",
    "attainment": "popk.analysis.dosing.attainment",
    "power": "popk.analysis.power.power",
    "smallest": "popk.analysis.power.sizes",
    "assurance": "popk.analysis.power.assurance",
    "plans": "popk.analysis.power.plans",
    "bootstrap": "popk.analysis.resampling.bootstrap",
    "influence": "popk.analysis.resampling.influence",
    "Plan": "popk.spec.plan",
    "patient": "popk.api",
    "patient_dose": "popk.analysis.dosing.patient",
    "read_patient": "popk.spec.patient",
}

__all__ = [
    "Dataset",
    "Fit",
    "MaximumFit",
    "Model",
    "Plan",
    "PopkError",
    "Problem",
    "Regimen",
    "assurance",
    "attainment",
    "bolus",
    "bootstrap",
    "checks",
    "compare",
    "covariate_tests",
    "events",
    "fit",
    "individuals",
    "influence",
    "infusion",
    "load_fit",
    "load_model",
    "observations",
    "paper_line",
    "parameters",
    "patient",
    "patient_dose",
    "pause",
    "plans",
    "plot",
    "power",
    "read_data",
    "read_patient",
    "read_pump_log",
    "read_regimen",
    "record_table",
    "regimens_of",
    "resampled",
    "scheduled",
    "search",
    "simulate",
    "smallest",
    "virtual_infants",
    "with_doses",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"popk has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)


_SHOWN = ("Dataset", "Model", "Fit", "MaximumFit")


def load_ipython_extension(shell: Any) -> None:
    """Show data, models and fits as tables in this notebook; importing popk there does it too."""
    formatter = shell.display_formatter.formatters["text/html"]
    for name in _SHOWN:
        formatter.for_type_by_name(_HOME[name], name, _html)


def _html(record: Any) -> str:
    from popk.report.display import html

    return html(record)


if (_shell := getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()) is not None:
    load_ipython_extension(_shell)
