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
    from popk.analysis.observations import observations
    from popk.analysis.summary import individuals, paper_line, parameters
    from popk.api import fit, load_fit, load_model, read_data
    from popk.data.dataset import Dataset
    from popk.population.model import Model
    from popk.spec.problem import PopkError, Problem
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
}

__all__ = [
    "Dataset",
    "Fit",
    "MaximumFit",
    "Model",
    "PopkError",
    "Problem",
    "checks",
    "covariate_tests",
    "fit",
    "individuals",
    "load_fit",
    "load_model",
    "observations",
    "paper_line",
    "parameters",
    "read_data",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"popk has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
