"""Draws as ArviZ InferenceData, and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from popk.data.dataset import Dataset
from popk.inference.posterior import Posterior
from popk.population.model import Model

if TYPE_CHECKING:
    import arviz

# ArviZ has its own names for what a sampler reports
STATS = {"acceptance": "acceptance_rate", "steps": "n_steps"}


class Labelled(NamedTuple):
    """What an InferenceData holds, before ArviZ is imported.

    Attributes
    ----------
    groups
        Group to variables; those of `sampled` groups have the axes chain and draw first.
    coords
        Axis to its labels.
    dims
        Variable to its axes, chain and draw left out.
    attrs
        Of every group.
    """

    groups: Mapping[str, Mapping[str, np.ndarray]]
    coords: Mapping[str, Any]
    dims: Mapping[str, list[str]]
    attrs: Mapping[str, str]


SAMPLED = ("posterior", "sample_stats", "log_likelihood")


def labelled(model: Model, data: Dataset, samples: Posterior) -> Labelled:
    """Groups posterior, sample_stats, log_likelihood, observed_data and constant_data.

    Individual parameters are ``individual[subject, parameter]`` (in the parameter's unit) and
    ``eta[subject, parameter]``; population values have variables of their own.
    """
    parameters = list(model.spec.parameters)
    varied = [name for name in parameters if f"eta_{name}" in samples.draws]
    eta_axis = "parameter" if varied == parameters else "parameter_with_eta"
    own = {*parameters, *(f"eta_{name}" for name in varied)}
    posterior = {name: draws for name, draws in samples.draws.items() if name not in own}
    posterior["individual"] = np.stack([samples.draws[n] for n in parameters], axis=-1)
    if varied:
        posterior["eta"] = np.stack([samples.draws[f"eta_{n}"] for n in varied], axis=-1)
    rows = data.observed
    subject = np.repeat(np.arange(data.subjects), rows.sum(axis=1))
    coords: dict[str, Any] = {
        "subject": list(data.ids),
        "parameter": parameters,
        "observation": np.arange(data.observations),
    }
    if eta_axis != "parameter":
        coords[eta_axis] = varied
    return Labelled(
        {
            "posterior": posterior,
            "sample_stats": {STATS.get(name, name): v for name, v in samples.stats.items()},
            "log_likelihood": {"DV": samples.log_likelihood},
            "observed_data": {"DV": data.dv[rows]},
            "constant_data": {
                "observation_subject": subject,
                "time": data.time[rows],
                "censored": data.censoring[rows],
                **{name: values[:, 0] for name, values in data.covariates.items()},
            },
        },
        coords,
        {
            "individual": ["subject", "parameter"],
            "eta": ["subject", eta_axis],
            "DV": ["observation"],
            "observation_subject": ["observation"],
            "time": ["observation"],
            "censored": ["observation"],
            **{name: ["subject"] for name in data.covariates},
        },
        {"library": "popk", "model": model.spec.name},
    )


def inference_data(model: Model, data: Dataset, samples: Posterior) -> "arviz.InferenceData":
    """`labelled` as an InferenceData."""
    import arviz

    parts = labelled(model, data, samples)
    options: dict[str, Any] = {**parts.groups, "coords": parts.coords, "dims": parts.dims}
    return arviz.from_dict(**options, attrs=dict(parts.attrs))


def samples_from(idata: "arviz.InferenceData", method: Mapping[str, Any]) -> Posterior:
    """The plain arrays that `inference_data` labelled."""
    groups: Any = idata
    draws: dict[str, np.ndarray] = {}
    for name, values in groups.posterior.data_vars.items():
        if name in ("individual", "eta"):
            axis = values.dims[-1]
            prefix = "eta_" if name == "eta" else ""
            for parameter in values[axis].values:
                draws[f"{prefix}{parameter}"] = values.sel({axis: parameter}).values
        else:
            draws[str(name)] = values.values
    back = {theirs: ours for ours, theirs in STATS.items()}
    stats = {
        back.get(str(name), str(name)): values.values
        for name, values in groups.sample_stats.data_vars.items()
    }
    return Posterior(draws, stats, groups.log_likelihood["DV"].values, method)
