"""popk: population pharmacokinetics of continuous infusions for small, precious data sets.

Three calls from files to a posterior::

    fit = popk.fit(popk.load_model("model.toml"), popk.read_data("data.csv", ...))
    fit.posterior          # arviz InferenceData
    popk.parameters(fit)   # pandas

What a call does not need is not imported: each name below is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from popk.analysis.checking.checks import checks
    from popk.analysis.covariates.covariate_tests import covariate_tests
    from popk.analysis.covariates.search import search
    from popk.analysis.dosing.attainment import attainment
    from popk.analysis.dosing.patient import patient_dose
    from popk.analysis.observations import observations
    from popk.analysis.power.assurance import assurance
    from popk.analysis.power.plans import plans
    from popk.analysis.power.power import power
    from popk.analysis.power.sizes import smallest
    from popk.analysis.simulation.simulation import simulate
    from popk.analysis.summary import individuals, paper_line, parameters
    from popk.api import fit, load_fit, load_model, read_data, resampled, virtual_infants
    from popk.data.dataset import Dataset
    from popk.data.pump_log import read_pump_log
    from popk.data.regimens import record_table, regimens_of, scheduled, with_doses
    from popk.population.model import Model
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
    "Plan": "popk.spec.plan",
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
    "checks",
    "covariate_tests",
    "fit",
    "individuals",
    "infusion",
    "load_fit",
    "load_model",
    "observations",
    "paper_line",
    "parameters",
    "patient_dose",
    "pause",
    "plans",
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
