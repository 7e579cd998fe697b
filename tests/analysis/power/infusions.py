"""A small trial: one infusion of 24 h each, sampled while it runs and after it."""

import numpy as np

from popk.data.nonmem.read import read_data
from popk.population.model import Model
from popk.spec.fit import DataSpec
from popk.spec.model import ModelSpec

SD = {"prior": "halfnormal", "scale": 0.5}
END, RATE = 24.0, 3.0
TIMES = np.array([1.0, 6.0, 20.0, 25.0, 30.0])
TRUE = {"TVCL": 0.8, "TVV": 5.0, "omega_CL": 0.3, "omega_V": 0.2, "CL_AGE_below": -0.25}


def spread(distribution="lognormal", **more):
    return {"distribution": distribution, "sd": SD, **more}


def model_of(error="lognormal", variability=None, **sections):
    residual = {"error": error}
    residual |= {"additive": SD, "proportional": SD} if error == "combined" else {"sd": SD}
    parameters = {
        name: {
            "unit": unit,
            "typical": {"prior": "lognormal", "median": middle, "sigma": 1.0},
            "variability": variability or spread(),
        }
        for name, unit, middle in (("CL", "L/h", 1.0), ("V", "L", 5.0))
    }
    effect = {"parameter": "CL", "covariate": "AGE", "relation": "below", "cut": 6.0,
              "effect": {"prior": "normal", "loc": 0.0, "scale": 0.5}}  # fmt: skip
    parts = {
        "name": "infusion",
        "structure": "one_compartment",
        "units": {"time": "h", "amount": "mg", "concentration": "mg/L"},
        "parameters": parameters,
        "covariates": [effect],
        "residual": residual,
    }
    return Model(ModelSpec.model_validate(parts | sections))


def data_of(path, ages, times=TIMES, dv=None):
    """One infusion each, sampled at the same times; [subject, time] what was measured."""
    dv = np.ones((len(ages), len(times))) if dv is None else dv
    lines = ["ID,TIME,AMT,RATE,DV,EVID,MDV,AGE"]
    for i, age in enumerate(ages):
        lines.append(f"{i + 1},0,{RATE * END},{RATE},.,1,1,{age}")
        lines += [f"{i + 1},{t},0,0,{c:.6g},0,0,{age}" for t, c in zip(times, dv[i], strict=True)]
    path.write_text("\n".join([*lines, ""]))
    return read_data(path, DataSpec.model_validate({"columns": {"AGE": {"covariate": True}}}))


def concentration(cl, v, times=TIMES):
    """Of the infusion, by its closed form; times are the last axis."""
    k = cl / v
    return RATE / cl * (np.exp(-k * np.maximum(times - END, 0)) - np.exp(-k * times))
