"""Outlying infants and points, by the posterior probability that they are.

A subject is outlying in a parameter if its eta lies further out than the largest of as many etas
would in nineteen of twenty studies, a point if its residual does; the posterior probability of that
is asked for, so that shrinkage and uncertainty are in it (Chaloner & Brant, Biometrika
1988;75:651-9). Beside it, Pareto k of leaving the subject or the point out: above 0.7 the fit hangs
on it (Vehtari, Gelman, Gabry, Stat Comput 2017;27:1413-32).
"""

from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import norm
from scipy.stats import t as student_t

from popk.analysis.observations import individual_values, predicted
from popk.analysis.predictive import UNRELIABLE, over_observations, smoothed, subject_likelihood
from popk.population.condensed import condense
from popk.population.events import arrange
from popk.population.subjects import varied
from popk.study.fit import Fit
from popk.study.maximum import MaximumFit

LIKELY = 0.5
"""Posterior probability from which a subject or a point is named."""


class Outliers(NamedTuple):
    """Subjects and points, and how far out they lie.

    Attributes
    ----------
    subjects
        Index: ID. For each parameter with variability ``z_NAME`` (posterior median of eta in SDs of
        the population; a Student-t eta as the normal quantile of its rank) and ``probability_NAME``
        of being outlying; ``pareto_k`` of leaving the subject out (NaN for maximum likelihood).
    points
        ``ID``, ``line``, ``TIME``, ``z`` (median residual in SDs; NaN where censored),
        ``probability``, ``pareto_k`` of leaving the point out.
    subject_bound, point_bound
        The z beyond which the largest of as many lies in one study of twenty.
    """

    subjects: pd.DataFrame
    points: pd.DataFrame
    subject_bound: float
    point_bound: float

    @property
    def named_subjects(self) -> dict[str, list[str]]:
        """ID to the parameters in which it is outlying."""
        columns = [c for c in self.subjects if str(c).startswith("probability_")]
        found = {}
        likely = self.subjects[columns].to_numpy(float) > LIKELY
        for who, row in zip(self.subjects.index, likely, strict=True):
            of = [
                str(c).removeprefix("probability_")
                for c, far in zip(columns, row, strict=True)
                if far
            ]
            if of:
                found[str(who)] = of
        return found

    @property
    def named_points(self) -> pd.DataFrame:
        """The outlying points."""
        return self.points.loc[self.points["probability"].to_numpy(float) > LIKELY]

    @property
    def influential(self) -> tuple[list[str], pd.DataFrame]:
        """IDs, and points, with a Pareto k above 0.7."""
        subjects = self.subjects.index[self.subjects["pareto_k"].to_numpy(float) > UNRELIABLE]
        points = self.points.loc[self.points["pareto_k"].to_numpy(float) > UNRELIABLE]
        return list(map(str, subjects)), points


def outliers(fit: Fit | MaximumFit, *, leave_out: bool = True) -> Outliers:
    """How far out each subject and each point lies.

    Parameters
    ----------
    fit
        A posterior; for estimates the conditional modes are taken for certain.
    leave_out
        Whether to compute Pareto k of leaving subjects out (for posteriors).
    """
    model, data = fit.model, fit.data
    columns: dict[str, Any] = {}
    bound = bound_of(data.subjects)
    for name in varied(model):
        z = _standardised(fit, name)
        columns[f"z_{name}"] = np.median(z, axis=0)
        columns[f"probability_{name}"] = (np.abs(z) > bound).mean(axis=0)
    missing = np.full(data.subjects, np.nan)
    columns["pareto_k"] = missing
    if isinstance(fit, Fit) and leave_out and data.subjects > 1:
        columns["pareto_k"] = smoothed(subject_likelihood(fit, data)).k
    subjects = pd.DataFrame(columns, index=pd.Index(data.ids, name="ID"))
    return Outliers(subjects, _points(fit), bound, bound_of(data.observations))


def bound_of(count: int) -> float:
    """What the largest of so many standard normal |z| exceeds in one study of twenty."""
    return float(norm.ppf(0.5 + 0.5 * 0.95 ** (1.0 / max(count, 1))))


def _points(fit: Fit | MaximumFit) -> pd.DataFrame:
    data = fit.data
    with jax.enable_x64(True):
        events, order = condense(arrange(fit.model.spec, data)[0])
        _, residuals = predicted(fit.model, individual_values(fit), events)
    z = residuals[:, np.asarray(events.observed)][:, order]
    censored = np.asarray(events.censored)[np.asarray(events.observed)][order]
    subject, _ = np.nonzero(data.observed)
    k = over_observations(fit).k if isinstance(fit, Fit) else np.full(len(subject), np.nan)
    probability = (np.abs(z) > bound_of(data.observations)).mean(axis=0)
    return pd.DataFrame(
        {
            "ID": [data.ids[i] for i in subject],
            "line": data.line[data.observed],
            "TIME": data.time[data.observed],
            "z": np.where(censored, np.nan, np.median(z, axis=0)),
            "probability": np.where(censored, np.nan, probability),
            "pareto_k": k,
        }
    )


def _standardised(fit: Fit | MaximumFit, name: str) -> Float[np.ndarray, "draw subject"]:
    """Etas in SDs of the population, in draws or at the conditional modes."""
    variability = fit.model.spec.parameters[name].variability
    assert variability is not None
    model = fit.model
    values = {**model.fixed(), **individual_values(fit)}
    z = values[f"eta_{name}"] / np.reshape(values[f"omega_{name}"], (-1, 1))
    if variability.distribution != "student_t":
        return np.asarray(z)
    # Correlated etas have their degrees of freedom in common, under the first one's name
    dfs = [n for n in model.population_priors() if n.startswith("df_")]
    df = np.reshape(values[f"df_{name}" if f"df_{name}" in dfs else dfs[0]], (-1, 1))
    tail: Any = student_t.sf(np.abs(z), df)
    return np.sign(z) * norm.isf(tail)
