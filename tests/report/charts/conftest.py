"""Gathered tables that need no fit: numbers of the right kind, and names that are no HTML."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

IDS = ("<script>alert(1)</script>", "007", "b&\"'", "d")
EACH = 6


def observations() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    count = len(IDS) * EACH
    time = np.tile(np.linspace(2.0, 650.0, EACH), len(IDS)) + rng.uniform(0, 3, count)
    dv = 650.0 * np.exp(0.3 * rng.standard_normal(count))
    hidden = np.arange(count) % 7 == 3
    return pd.DataFrame(
        {
            "ID": np.repeat(IDS, EACH), "line": np.arange(count) + 2, "TIME": time, "TAD": time,
            "DV": np.where(hidden, 1000.0, dv), "censored": hidden,
            "PRED": np.where(np.arange(count) == 3, 0.4, 650.0 + rng.uniform(0, 9, count)),
            "IPRED": dv * 1.05,
            "IWRES": np.where(hidden, np.nan, rng.standard_normal(count)),
            "NPDE": rng.standard_normal(count),
        }
    )  # fmt: skip


def quantiles() -> pd.DataFrame:
    rows = [
        {
            "bin": b, "start": 100.0 * b, "end": 100.0 * b + 50.0 * (b > 0), "n": 8,
            "time": 100.0 * b + 5, "censored": 1, "quantile": q,
            "observed": 600.0 + 400 * (q - 0.5) + b, "low": 500.0 + 400 * (q - 0.5),
            "median": 600.0 + 400 * (q - 0.5), "high": 700.0 + 400 * (q - 0.5),
            "band_low": 400.0, "band_high": 900.0, "outside": b == 1 and q == 0.5,
        }
        for b in range(3) for q in (0.1, 0.5, 0.9)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def profiles() -> pd.DataFrame:
    time = np.linspace(0.0, 660.0, 30)
    table = pd.DataFrame({"ID": np.repeat(IDS, 30), "TIME": np.tile(time, len(IDS))})
    for kind, spread in (("individual", 0.1), ("population", 0.4)):
        table[kind] = 650.0
        table[f"{kind}_low"], table[f"{kind}_high"] = 650 * (1 - spread), 650 * (1 + spread)
    return table


def doses() -> pd.DataFrame:
    kept: dict[str, Any] = {"ADDL": 0, "II": 0.0, "SS": 0}
    rows = [
        {"ID": IDS[0], "TIME": 0.0, "AMT": 96.0, "RATE": 0.2, "duration": 480.0, **kept},
        {"ID": IDS[1], "TIME": 0.0, "AMT": 5.0, "RATE": 0.0, "duration": 0.0, **kept,
         "ADDL": 2, "II": 24.0},
        {"ID": IDS[2], "TIME": 0.0, "AMT": 0.0, "RATE": 0.2, "duration": np.inf, **kept, "SS": 1},
    ]  # fmt: skip
    return pd.DataFrame(rows)


def individuals() -> pd.DataFrame:
    columns = {}
    for name, middle in (("CL", 0.4), ("CL_scaled", 0.9), ("V", 1.2), ("Css_nominal", 690.0)):
        values = middle * np.array([1.2, 0.9, 1.1, 0.7])
        columns |= {name: values, f"{name}_q5": 0.8 * values, f"{name}_q95": 1.3 * values}
    return pd.DataFrame(columns, index=pd.Index(IDS, name="ID"))


def effects(count: int) -> pd.DataFrame:
    row = {"parameter": "CL", "contrast": "AGE < 6 month against others", "ratio": 1.02,
           "q2_5": 0.7, "q5": 0.8, "q95": 1.3, "q97_5": 1.45, "verdict": "cannot tell"}  # fmt: skip
    joint = {f"joint_{k}": v for k, v in row.items() if k not in ("parameter", "contrast")}
    return pd.DataFrame([{**row, **joint, "ratio": 1.02 + i} for i in range(count)],
                        index=[f"CL_AGE_{i}" for i in range(count)])  # fmt: skip


def simulated() -> SimpleNamespace:
    time = np.linspace(0.0, 672.0, 20)
    parts = [
        pd.DataFrame({"regimen": name, "TIME": time, "q5": 400.0, "q25": 500.0,
                      "median": 600.0 + i, "q75": 700.0, "q95": 900.0})
        for i, name in enumerate(("standard", "<b>step</b>"))
    ]  # fmt: skip
    return SimpleNamespace(bands=pd.concat(parts, ignore_index=True))


def target() -> SimpleNamespace:
    dose = np.linspace(5.0, 30.0, 12)
    parts = [
        pd.DataFrame({"basis": basis, "group": group, "dose": dose, "probability": 0.5,
                      "q5": 0.4, "q95": 0.6})
        for basis in ("µg/m²/day", "µg/day") for group in ("all", "0 to 3 month")
    ]  # fmt: skip
    return SimpleNamespace(curves=pd.concat(parts, ignore_index=True),
                           window="500 to 900 pg/mL")  # fmt: skip


def patient() -> SimpleNamespace:
    time = np.linspace(0.0, 48.0, 9)
    course = pd.DataFrame({"TIME": time, "median": 500.0, "q5": 400.0, "q95": 600.0,
                           "measured_q5": 300.0, "measured_q95": 700.0})  # fmt: skip
    samples = pd.DataFrame({"TIME": [10.0, 24.0], "DV": [420.0, 50.0], "censored": [False, True]})
    return SimpleNamespace(id=IDS[0], course=course, samples=samples, time_unit="h",
                           concentration_unit="pg/mL")  # fmt: skip


def sensitivity() -> pd.DataFrame:
    row = {"prior_median": 1.0, "prior_q5": 0.2, "prior_q95": 5.0, "median": 0.9, "q5": 0.8,
           "q95": 1.1, "data": 0.95, "data_q5": 0.7, "data_q95": 1.2, "diagnosis": ""}  # fmt: skip
    bare = {"data": np.nan, "data_q5": np.nan, "data_q95": np.nan}
    return pd.DataFrame([row, {**row, **bare, "diagnosis": "strong prior or weak likelihood"}],
                        index=pd.Index(["TVCL", "omega_V"], name="parameter"))  # fmt: skip


def made(**changed: Any) -> Any:
    """All that charts read of a `Gathered`."""
    table, own = observations(), quantiles()
    points = pd.DataFrame({"ID": table["ID"], "time": table["TIME"], "value": table["DV"],
                           "censored": table["censored"]})  # fmt: skip
    bins = pd.DataFrame([{"axis": axis, "middle": m, "start": m, "end": m, "n": 8, "mean": 0.1,
                          "sd": 1.0} for axis in ("time", "time after dose", "PRED")
                         for m in (10.0, 400.0)])  # fmt: skip
    etas = pd.DataFrame({"CL": [0.1, -0.2, 0.3, 0.0], "AGE.m[0]": [1.0, 2.0, 5.0, 9.0],
                         "SEX": ["girl", "boy", "<i>", "boy"]},
                        index=pd.Index(IDS, name="ID"))  # fmt: skip
    tests = pd.DataFrame({"parameter": "CL", "covariate": ["AGE.m[0]", "SEX"], "rho": [0.3, np.nan],
                          "p": 0.5, "p_holm": [0.9, np.nan]})  # fmt: skip
    far = pd.DataFrame({"z_CL": [0.1, 3.2, 0.0, -1.0], "probability_CL": [0, 0.6, 0, 0.0],
                        "pareto_k": [0.1, 0.9, 0.3, np.nan]},
                       index=pd.Index(IDS, name="ID"))  # fmt: skip
    return SimpleNamespace(**{
        "name": "made", "synthetic": True, "time_unit": "h", "concentration_unit": "pg/mL",
        "amount_unit": "µg", "observations": table, "profiles": profiles(), "doses": doses(),
        "individuals": individuals(),
        "individual_units": {"CL": "L/h", "CL_scaled": "L/h/m²", "V": "L", "Css_nominal": "pg/mL"},
        "parameters": pd.DataFrame({"unit": ["L/h/m²", "log scale (SD)"]},
                                   index=["TVCL", "omega_V"]),
        "vpc": own, "pcvpc": own, "vpc_points": points, "pcvpc_points": points, "npde_bins": bins,
        "etas": etas, "eta_names": ("CL",), "covariate_units": {"AGE.m[0]": "month", "SEX": ""},
        "eta_tests": tests, "outlying_subjects": far, "covariates": effects(2),
        "no_effect": (0.8, 1.25), "prior_sensitivity": sensitivity(), "simulation": simulated(),
        "target": target(), "patients": (patient(),),
    } | changed)  # fmt: skip


NOTHING = dict.fromkeys(
    ("observations", "profiles", "vpc", "pcvpc", "vpc_points", "pcvpc_points", "npde_bins", "etas",
     "eta_tests", "outlying_subjects", "covariates", "prior_sensitivity", "simulation", "target"),
)  # fmt: skip


@pytest.fixture(scope="module")
def gathered() -> Any:
    return made()
