"""Log-normal, normal and Student-t variability between subjects, side by side."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from popk.analysis.predictive import Predictive, difference, smoothed, subject_likelihood
from popk.population.model import Model
from popk.population.subjects import varied
from popk.spec.fit import Sampler as SamplerSpec
from popk.spec.model import ModelSpec
from popk.study.fit import Fit
from popk.study.fit import fit as run_fit

DF = 4.0
"""Degrees of freedom where the model has none: heavy tails, with a variance."""
KINDS = ("lognormal", "normal", "student_t")
BETTER, BY_ERRORS = 4.0, 2.0
"""Difference of elpd, and its number of standard errors, from which a model predicts better: below
four the difference is small whatever its error (Sivula, Magnusson, Vehtari, arXiv 2008.10296)."""


def variability(
    fit: Fit,
    *,
    settings: SamplerSpec | None = None,
    watch: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Fit the model with each kind of variability and compare what they predict.

    Parameters
    ----------
    fit
        A posterior; its own kind is not fitted again.
    settings
        Of the other fits; the fit's seed and the defaults where None.
    watch
        Told what is being fitted.

    Returns
    -------
    DataFrame
        One kind a row: ``converged``; ``elpd`` of subjects left out one by one, etas integrated
        out (Pareto-smoothed; ``unreliable``: subjects whose Pareto k is above 0.7); ``difference``
        to the fit's own kind and its standard ``error``; ``omega_NAME`` (posterior medians; on
        the scale of its kind). Without rows where nothing varies or there is one subject.
        Correlated etas share a log-scale distribution: "normal" is left out there.
    """
    names = varied(fit.model)
    if not names or fit.data.subjects < 2:
        return pd.DataFrame()
    settings = settings or SamplerSpec(seed=fit.provenance.seed)
    own = _kind(fit.model.spec)
    found: dict[str, tuple[Fit, Predictive]] = {}
    kinds = [k for k in KINDS if not (k == "normal" and fit.model.spec.correlation is not None)]
    for kind in kinds:
        if watch is not None:
            watch(f"variability: {kind}")
        other = fit if kind == own else run_fit(Model(with_kind(fit.model.spec, kind)), fit.data,
                                                 settings)  # fmt: skip
        found[kind] = other, smoothed(subject_likelihood(other, fit.data))
    if own not in found:  # several kinds in one model
        if watch is not None:
            watch("variability: the model's own")
        found[own] = fit, smoothed(subject_likelihood(fit, fit.data))
    rows = {}
    for kind, (other, predictive) in found.items():
        between = difference(predictive, found[own][1])
        rows[kind] = {
            "converged": other.converged,
            "elpd": predictive.total,
            "unreliable": predictive.unreliable,
            "difference": between.difference,
            "error": between.error,
            **{f"omega_{n}": _median(other, f"omega_{n}") for n in names},
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("variability")
    table.attrs["own"] = own
    return table


def with_kind(spec: ModelSpec, kind: str) -> ModelSpec:
    """The model with this kind of variability in every parameter that varies."""
    content = spec.model_dump()
    for parameter in content["parameters"].values():
        if parameter["variability"] is not None:
            df = parameter["variability"]["df"] or DF
            parameter["variability"] |= {
                "distribution": kind,
                "df": df if kind == "student_t" else None,
            }
    return ModelSpec.model_validate(content | {"name": f"{spec.name}, {kind} variability"})


def better(table: pd.DataFrame) -> list[str]:
    """Kinds that predict better than the fit's own, by more than chance."""
    if table.empty:
        return []
    own = table.index != table.attrs["own"]
    rows = own & (table["difference"] > np.maximum(BETTER, BY_ERRORS * table["error"]))
    return list(map(str, table.index[rows]))


def _kind(spec: ModelSpec) -> str:
    kinds = {p.variability.distribution for p in spec.parameters.values() if p.variability}
    return kinds.pop() if len(kinds) == 1 else "as in the model"


def _median(fit: Fit, name: str) -> float:
    known = {**fit.model.fixed(), **fit.samples.draws}
    return float(np.median(known[name]))
