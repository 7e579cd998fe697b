"""What tests of one patient's dose share: a model, a population that is known, one infant."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from popk.data.cohort import cohort
from popk.data.dataset import Dataset
from popk.data.patient import patient_data
from popk.inference.diagnostics import diagnostics
from popk.inference.posterior import Posterior
from popk.population.model import Model
from popk.spec.model import ModelSpec
from popk.spec.patient import PatientSpec
from popk.spec.record import validate
from popk.study.fit import Fit, Provenance

AREA, RATE, END = 0.4, 0.25, 48.0
"""The infant's BSA (m²), what it is infused (ug/h), and until when (h)."""
KNOWN = {"TVCL": 0.9, "TVV": 3.0, "omega_CL": 0.4, "omega_V": 0.3, "sigma": 0.2}
GIVEN = {"infusion": f"{RATE} ug/h", "duration": f"{END} h"}


def lognormal(**more: Any) -> dict[str, Any]:
    return {"distribution": "lognormal", "sd": {"prior": "halfnormal", "scale": 0.5}, **more}


def model(
    cl: Mapping[str, Any] | None = None, v: Mapping[str, Any] | None = None, **parts: Any
) -> Model:
    """CL and V scaled by BSA, with log-normal variability and error; parts are replaced."""
    common = {
        "scale": {"covariate": "BSA", "reference": "1 m^2"},
        "typical": {"prior": "lognormal", "median": 1.0, "sigma": 1.0},
        "variability": lognormal(),
    }
    content = {
        "name": "test",
        "structure": "one_compartment",
        "units": {"time": "h", "amount": "ug", "concentration": "pg/mL"},
        "parameters": {
            "CL": {"unit": "L/h", **common, **(cl or {})},
            "V": {"unit": "L", **common, **(v or {})},
        },
        "residual": {"error": "lognormal", "sd": {"prior": "halfnormal", "scale": 0.5}},
        **parts,
    }
    return Model(ModelSpec.model_validate(content))


def others() -> Dataset:
    """The data of a fit: two subjects without records that would count."""
    sizes = {"BSA": np.array([[0.3], [0.5]]), "WT": np.array([[6.0], [10.0]])}
    return cohort(sizes, {"BSA": "m^2", "WT": "kg"}, ids=("a", "b"), source="data.csv")


def patient(samples: Any = (), **parts: Any) -> PatientSpec:
    """A patient file's content; samples are (time, DV) or tables."""
    tables = [s if isinstance(s, dict) else {"time": s[0], "DV": s[1]} for s in samples]
    content = {"covariates": {"BSA": AREA, "WT": 8.0}, "given": [GIVEN], "samples": tables}
    found = validate(PatientSpec, {**content, **parts}, "patient.toml")
    return found.model_copy(update={"file": "patient.toml"})


def infant(of: Model, samples: Any = (), **parts: Any) -> Dataset:
    return patient_data(patient(samples, **parts), others(), of.spec)


def populated(of: Model, **values: float | np.ndarray) -> Fit:
    """A fit whose draws of the population are given, each a number or [chain, draw]."""
    given = {**KNOWN, **values}
    shape = next((np.shape(v) for v in given.values() if np.ndim(v)), (2, 40))
    draws = {name: np.broadcast_to(np.asarray(v, float), shape) for name, v in given.items()}
    samples = Posterior(draws, {}, np.zeros((*shape, 0)), {"name": "none"})
    provenance = Provenance({}, {}, "none", "float64", 0, "", {}, {"name": "none"})
    found = diagnostics({"TVCL": np.array(draws["TVCL"])})
    return Fit(of, others(), samples, (), found, provenance, name="given", synthetic=True)
