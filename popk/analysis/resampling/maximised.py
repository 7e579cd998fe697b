"""Maximum-likelihood refits: a resampled subject counts as often as it was drawn.

The marginal likelihood is a sum over subjects, so data sets that differ in their subjects need no
data of their own: each subject's share counts so many times, exactly.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from popk.data.dataset import Dataset
from popk.inference.maximum import Estimate, Likelihood, at, maximise
from popk.population.condensed import of_one_trial
from popk.population.events import Events
from popk.population.model import Model
from popk.spec.fit import Sampler as SamplerSpec
from popk.study.maximum import prepare_likelihood

MAXIMUM = 3
"""Place of maximum likelihood among the methods of results."""


def maximised(
    model: Model,
    data: Dataset,
    settings: SamplerSpec,
    start: Float[np.ndarray, " p"],
    times: Int[np.ndarray, "trial subject"] | None,
    events: Events | None,
) -> dict[str, np.ndarray]:
    """Estimates of several data sets, each found from the same starting point.

    Parameters
    ----------
    model, data, settings
        As of the fit whose data are varied.
    start
        Unconstrained coordinates.
    times
        How often each subject counts in each data set; or
    events
        data sets that differ in their observations, with a leading axis of trials.

    Returns
    -------
    dict
        As `popk.analysis.resampling.pieces.done`; the standard errors are by the Hessian.
    """
    found = [
        maximise(likelihood, at(start))
        for likelihood in _each(model, data, settings, times, events)
    ]
    none = np.full(len(found[0].names), np.nan)
    effects = len(model.spec.covariates)
    return {
        "values": np.stack([_statistics(own, none) for own in found]),
        "error": np.zeros((len(found), len(none))),
        "covariance": np.stack([own.covariance for own in found]),
        "verdict": np.full((len(found), effects), -1),
        "passed": np.array([own.ended for own in found]),
        "method": np.full(len(found), MAXIMUM),
        "rhat": np.full(len(found), np.nan),
        "draws": np.array([own.evaluations for own in found]),
    }


def _each(
    model: Model,
    data: Dataset,
    settings: SamplerSpec,
    times: Int[np.ndarray, "trial subject"] | None,
    events: Events | None,
) -> Iterator[Likelihood]:
    own = prepare_likelihood(model, data, settings).likelihood
    if times is not None:
        for each in times:
            yield Likelihood(model, own.events, own.settings, each)
        return
    assert events is not None
    for trial in range(events.dv.shape[0]):
        yield Likelihood(model, of_one_trial(events, trial), own.settings)


def _statistics(
    found: Estimate, none: Float[np.ndarray, " name"]
) -> Float[np.ndarray, "name statistic"]:
    with np.errstate(invalid="ignore"):
        se = np.sqrt(np.diag(found.covariance))
    return np.stack([found.values, se, found.values, none, none], axis=-1)
