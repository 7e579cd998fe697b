from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpyro.infer import Predictive

from popk.data.dataset import Dataset
from popk.data.nonmem.read import read_data
from popk.inference.convergence import gate
from popk.inference.diagnostics import diagnostics
from popk.inference.posterior import Posterior
from popk.population.events import arrange
from popk.population.model import Model
from popk.spec.fit import DataSpec, Dose
from popk.spec.model import ModelSpec
from popk.study.fit import Fit, Provenance
from tests.inference.conftest import course as course
from tests.inference.conftest import steady_state as steady_state

CHAINS, DRAWS = 2, 40


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Dataset]:
    """Read a text; keywords are those of `DataSpec`."""

    def of(text: str, **spec: Any) -> Dataset:
        path = tmp_path / "data.csv"
        path.write_text(text, encoding="utf-8")
        return read_data(path, DataSpec.model_validate(spec))

    return of


@pytest.fixture(scope="session")
def prior_draws() -> Callable[[Model, Dataset], dict[str, np.ndarray]]:
    """[chain, draw, ...] draws from the prior by NumPyro, kept for the session."""
    kept: dict[str, dict[str, np.ndarray]] = {}

    def of(model: Model, data: Dataset) -> dict[str, np.ndarray]:
        covariates = [(name, data.covariates[name].tolist()) for name in sorted(data.covariates)]
        key = model.spec.model_dump_json() + repr((data.sha256, covariates))
        if key not in kept:
            events, _ = arrange(model.spec, data)
            with jax.enable_x64(True):
                predict = Predictive(model, num_samples=CHAINS * DRAWS, parallel=True)
                sites = predict(jax.random.key(1), events)
            kept[key] = {
                name: np.asarray(value).reshape(CHAINS, DRAWS, *value.shape[1:])
                for name, value in sites.items()
                if not name.startswith("x_") and name not in ("DV", "correlation_cholesky")
            }
        return kept[key]

    return of


@pytest.fixture
def drawn(prior_draws: Callable[[Model, Dataset], dict[str, np.ndarray]]) -> Callable[..., Fit]:
    """A `Fit` with draws from the prior: no sampler has run; `draws` replaces some by name."""

    def of(
        spec: Mapping[str, Any],
        data: Dataset,
        dose: str | None = None,
        draws: Mapping[str, np.ndarray] | None = None,
    ) -> Fit:
        model = Model(ModelSpec.model_validate(spec))
        shape = (CHAINS, DRAWS)
        energy = np.random.default_rng(1).standard_normal(shape)
        stats = {"diverging": np.zeros(shape, bool), "energy": energy}
        values = {**prior_draws(model, data), **(draws or {})}
        samples = Posterior(values, stats, np.zeros((*shape, data.observations)), {"name": "none"})
        found = diagnostics(samples.draws)
        provenance = Provenance({}, {}, "none", "float64", 0, "", {}, {})
        nominal = None if dose is None else Dose(nominal=dose)
        return Fit(model, data, samples, gate(samples, found, 400.0), found, provenance, nominal)

    return of


@pytest.fixture
def model() -> Callable[..., dict[str, Any]]:
    """A model as a file says it, BSA-scaled with log-normal variability; parts are replaced."""

    def of(
        cl: Mapping[str, Any] | None = None, v: Mapping[str, Any] | None = None, **parts: Any
    ) -> dict[str, Any]:
        scale = {"covariate": "BSA", "reference": "1 m^2"}
        spread = {"distribution": "lognormal", "sd": {"prior": "halfnormal", "scale": 0.5}}
        return {
            "name": "test",
            "structure": "one_compartment",
            "units": {"time": "h", "amount": "ug", "concentration": "pg/mL"},
            "parameters": {
                "CL": {
                    "unit": "L/h",
                    "scale": scale,
                    "typical": {"prior": "lognormal", "median": 1.0, "sigma": 1.0},
                    "variability": spread,
                    **(cl or {}),
                },
                "V": {
                    "unit": "L",
                    "scale": scale,
                    "typical": {"prior": "lognormal", "median": 3.0, "sigma": 0.5},
                    "variability": spread,
                    **(v or {}),
                },
            },
            "residual": {"error": "lognormal", "sd": {"prior": "halfnormal", "scale": 0.5}},
            **parts,
        }

    return of


BSA = np.array([0.36, 0.42, 0.5])
WEIGHT = np.array([7.0, 8.5, 11.0])
RATES = np.array([0.2, 0.3, 0.25])  # ug/h, given for the longest time
COLUMNS = {
    "TIME": {"unit": "h"},
    "AMT": {"unit": "ug"},
    "DV": {"unit": "pg/mL"},
    "BSA": {"covariate": True, "unit": "m^2"},
    "WT": {"covariate": True, "unit": "kg"},
}


@pytest.fixture
def infants() -> str:
    """Three subjects; the second is first infused at another rate, for a shorter time."""
    lines = ["ID,TIME,AMT,RATE,DV,EVID,MDV,BSA,WT"]
    for i, (bsa, weight, rate) in enumerate(zip(BSA, WEIGHT, RATES, strict=True)):
        who = f"{bsa},{weight}"
        if i == 1:
            lines.append(f"s{i},0,2.4,0.1,.,1,1,{who}")
        lines.append(f"s{i},24,{rate * 72},{rate},.,1,1,{who}")
        lines += [f"s{i},{t},0,0,{600 + 50 * i - t},0,0,{who}" for t in (48, 90, 97, 100)]
    return "\n".join([*lines, ""])


@pytest.fixture
def columns() -> dict[str, dict[str, Any]]:
    return dict(COLUMNS)


CENTRE = {"TVCL": 0.9, "TVV": 3.0, "omega_CL": 0.25, "omega_V": 0.2, "sigma": 0.15}
SPREAD = {"TVCL": 0.07, "TVV": 0.1, "omega_CL": 0.15, "omega_V": 0.2, "sigma": 0.1}


@pytest.fixture
def compiled(model) -> Model:
    """The BSA-scaled model of `model`, compiled."""
    return Model(ModelSpec.model_validate(model()))


@pytest.fixture
def small_fit(drawn, model, read, infants, columns) -> Callable[..., Fit]:
    """A `Fit` whose population draws are log-normal around `CENTRE`: no sampler has run."""

    def of(**sections) -> Fit:
        rng = np.random.default_rng(3)
        draws = {
            name: value * np.exp(SPREAD[name] * rng.standard_normal((2, 40)))
            for name, value in CENTRE.items()
        }
        data = read(infants, columns=columns)
        return drawn(model(**sections), data, dose="15 ug/m^2/day", draws=draws)

    return of
