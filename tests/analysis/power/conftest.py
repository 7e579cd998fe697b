"""A model whose power is known: CL with an effect of age, V known, steady state only."""

import numpy as np
import pandas as pd
import pytest

from popk.analysis.power.cells import CRITERIA
from popk.analysis.power.power import Power
from popk.population.model import Model
from popk.spec.model import ModelSpec
from popk.spec.plan import Plan

OMEGA, SIGMA, TVCL = 0.3, 0.2, 0.9
TRUTH = {"TVCL": TVCL, "omega_CL": OMEGA, "sigma": SIGMA}
TIMES = ("2 day", "8 day", "15 day")


@pytest.fixture(scope="session")
def steady() -> Model:
    scale = {"covariate": "BSA", "reference": "1 m^2"}
    halfnormal = {"prior": "halfnormal", "scale": 0.5}
    spec = {
        "name": "steady state",
        "structure": "one_compartment",
        "units": {"time": "h", "amount": "ug", "concentration": "pg/mL"},
        "parameters": {
            "CL": {
                "unit": "L/h",
                "scale": scale,
                "typical": {"prior": "lognormal", "median": 1.0, "sigma": 1.0},
                "variability": {"distribution": "lognormal", "sd": halfnormal},
            },
            "V": {"unit": "L", "scale": scale, "typical": {"prior": "fixed", "value": 3.0}},
        },
        "covariates": [
            {
                "parameter": "CL",
                "covariate": "AGE",
                "relation": "below",
                "cut": "6 month",
                "effect": {"prior": "normal", "loc": 0.0, "scale": 0.5},
            }
        ],
        "residual": {"error": "lognormal", "sd": halfnormal},
    }
    return Model(ModelSpec.model_validate(spec))


@pytest.fixture(scope="session")
def plan() -> Plan:
    return Plan(times=TIMES, young=0.5)


def made_of(rates, ratios, infants, trials=500, **columns) -> Power:
    """A power whose rates are a function of ratio and infants; nothing is fitted."""
    index = pd.MultiIndex.from_product([infants, ratios], names=["infants", "ratio"])
    grid = np.array([(n, r) for n, r in index], dtype=float)
    rate = rates(grid[:, 1], grid[:, 0])
    table = pd.DataFrame({"trials": trials, "missed": 0}, index=index)
    for name in CRITERIA:
        table[name] = columns[name](grid[:, 1], grid[:, 0]) if name in columns else rate
        table[f"{name}_error"] = np.sqrt(table[name] * (1 - table[name]) / trials)
    table["width"] = 4.0 / np.sqrt(grid[:, 0])
    table["width_error"] = 0.01 * table["width"]
    return Power(
        table, pd.DataFrame(), "made up", "CL_AGE_below", "", Plan(), {}, (0.8, 1.25), {}, 1, "",
        False, 0.0, (),
    )  # fmt: skip
