from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from popk.data.dataset import Dataset
from popk.data.nonmem.read import read_data
from popk.inference.fallback import EnsembleOrNuts
from popk.inference.posterior import Posterior, Sampler
from popk.population.model import Model
from popk.spec.fit import DataSpec
from popk.spec.fit import Sampler as Settings
from popk.spec.model import ModelSpec
from popk.study.fit import prepare

UNITS = {"time": "h", "amount": "ug", "concentration": "ug/L"}
OMEGA = SIGMA = {"prior": "halfnormal", "scale": 0.5}


class Problem(NamedTuple):
    """A model and its data."""

    model: Model
    data: Dataset


def finish(sampler: Sampler, state: Any = None) -> Posterior:
    """Advance a state, by default the first one, to its end."""
    state = sampler.start() if state is None else state
    while sampler.progress(state).done < sampler.progress(state).total:
        state = sampler.advance(state)
    return sampler.posterior(state)


@pytest.fixture(scope="session")
def finished() -> Callable[..., Posterior]:
    return finish


@pytest.fixture(scope="session")
def prepared() -> Callable[..., Sampler]:
    """A sampler for a problem; keywords are those of [sampler] in fit.toml."""

    def of(problem: Problem, **settings: Any) -> Sampler:
        with jax.enable_x64(True):
            sampler, _ = prepare(problem.model, problem.data, Settings(**settings))
        # The ensemble itself: what takes over where it fails has tests of its own
        return sampler.ensemble if isinstance(sampler, EnsembleOrNuts) else sampler

    return of


class SteadyState(NamedTuple):
    """A log-normal model of steady states, linear and Gaussian given omega and sigma.

    Attributes
    ----------
    problem
        Model and data.
    subject, young, log_size
        [observation], [subject], [subject]: whose it is; indicator of AGE < 6; log(WT / 1 kg).
    log_rate, log_dv
        [observation] of the infusion rate and of the concentration.
    priors
        Mean and SD of log TVCL and of the effect; scales of the half-normal omega and sigma.
    """

    problem: Problem
    subject: np.ndarray
    young: np.ndarray
    log_size: np.ndarray
    log_rate: np.ndarray
    log_dv: np.ndarray
    priors: Mapping[str, Any]


@pytest.fixture(scope="session")
def steady_state(tmp_path_factory: pytest.TempPathFactory) -> SteadyState:
    """Thirty subjects with two to four steady states each, CL with one covariate, V known.

    With ten, omega may be near zero, where chains mix slowly and underrate their own error.
    """
    rng = np.random.default_rng(20)
    counts = np.tile([2, 3, 4, 3, 2, 4, 3, 3, 2, 4], 3)
    subjects = counts.size
    subject = np.repeat(np.arange(subjects), counts)
    young = (np.arange(subjects) % 2 == 0).astype(float)
    weight = rng.uniform(3.0, 9.0, subjects).round(2)
    log_cl = np.log(0.8) + np.log(weight) - 0.3 * young + 0.3 * rng.standard_normal(subjects)
    rate = rng.uniform(2.0, 6.0, subject.size).round(3)
    log_dv = np.log(rate) - log_cl[subject] + 0.2 * rng.standard_normal(subject.size)
    dv = np.exp(log_dv).round(4)
    lines = ["ID,TIME,EVID,MDV,AMT,RATE,SS,II,DV,AGE,WT"]
    for j, i in enumerate(subject):
        who = f"{3 if young[i] else 9},{weight[i]}"
        lines.append(f"{i + 1},{24 * j},1,1,0,{rate[j]},1,0,.,{who}")
        lines.append(f"{i + 1},{24 * j},0,0,0,0,0,0,{dv[j]},{who}")
    spec = ModelSpec.model_validate(
        {
            "name": "steady state",
            "structure": "one_compartment",
            "units": UNITS,
            "parameters": {
                "CL": {
                    "unit": "L/h",
                    "scale": {"covariate": "WT", "reference": "1 kg"},
                    "typical": {"prior": "lognormal", "median": 1.0, "sigma": 1.0},
                    "variability": {"distribution": "lognormal", "sd": OMEGA},
                },
                "V": {"unit": "L", "typical": {"prior": "fixed", "value": 3.0}},
            },
            "covariates": [
                {
                    "parameter": "CL",
                    "covariate": "AGE",
                    "relation": "below",
                    "cut": 6.0,
                    "effect": {"prior": "normal", "loc": 0.1, "scale": 0.5},
                }
            ],
            "residual": {"error": "lognormal", "sd": SIGMA},
        }
    )
    columns = {"AGE": {"covariate": True}, "WT": {"covariate": True, "unit": "kg"}}
    path = tmp_path_factory.mktemp("steady_state") / "data.csv"
    data = _read(path, lines, columns)
    return SteadyState(
        Problem(Model(spec), data),
        subject,
        young,
        np.log(weight),
        np.log(rate),
        np.log(dv),
        {"mean": np.array([0.0, 0.1]), "sd": np.array([1.0, 0.5]), "omega": 0.5, "sigma": 0.5},
    )


TIMES = np.array([2.0, 8.0, 23.0, 26.0, 34.0])
RATES = np.linspace(4.0, 6.0, 10)
END, LLOQ = 24.0, 0.5


class Course(NamedTuple):
    """One infusion in each of ten subjects, sampled during and after it.

    Attributes
    ----------
    problem
        Model and data; CL and V correlate, the error is proportional.
    dv, censored
        [subject, time] concentrations; True where only known to lie below `dv`.
    concentration
        (CL, V) of shape [..., subject] to [..., subject, time].
    """

    problem: Problem
    dv: np.ndarray
    censored: np.ndarray
    concentration: Callable[[np.ndarray, np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    rng = np.random.default_rng(3)
    deviation = 0.3 * rng.standard_normal((2, RATES.size))
    true = _concentration(np.exp(deviation[0]), 8.0 * np.exp(deviation[1]))
    dv = (true * (1 + 0.1 * rng.standard_normal(true.shape))).round(4)
    censored = dv < LLOQ
    dv[censored] = LLOQ
    assert 0 < censored.sum() < dv.size
    lines = ["ID,TIME,EVID,MDV,AMT,RATE,DV,CENS"]
    for i, rate in enumerate(RATES):
        lines.append(f"{'abcdefghij'[i]},0,1,1,{rate * END},{rate},.,0")
        lines += [
            f"{'abcdefghij'[i]},{t},0,0,0,0,{x},{int(c)}"
            for t, x, c in zip(TIMES, dv[i], censored[i], strict=True)
        ]
    spread = {"distribution": "lognormal", "sd": OMEGA}
    spec = ModelSpec.model_validate(
        {
            "name": "course",
            "structure": "one_compartment",
            "units": UNITS,
            "parameters": {
                "CL": {
                    "unit": "L/h",
                    "typical": {"prior": "lognormal", "median": 1.0, "sigma": 1.0},
                    "variability": spread,
                },
                "V": {
                    "unit": "L",
                    "typical": {"prior": "lognormal", "median": 8.0, "sigma": 1.0},
                    "variability": spread,
                },
            },
            "correlation": {"parameters": ["CL", "V"]},
            "residual": {"error": "proportional", "sd": SIGMA},
        }
    )
    data = _read(tmp_path_factory.mktemp("course") / "data.csv", lines, {})
    return Course(Problem(Model(spec), data), dv, censored, _concentration)


def _concentration(cl: np.ndarray, v: np.ndarray) -> np.ndarray:
    """One compartment during and after a constant infusion from 0 to END."""
    k = (cl / v)[..., None]
    rise = -np.expm1(-k * np.minimum(TIMES, END)) * np.exp(-k * np.maximum(TIMES - END, 0.0))
    return RATES[:, None] / cl[..., None] * rise


def _read(path: Path, lines: list[str], columns: dict[str, Any]) -> Dataset:
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return read_data(path, DataSpec.model_validate({"columns": columns}))
