"""Small fit folders for tests of the report: what is in them is made up to be awkward."""

from pathlib import Path

import numpy as np
import pandas as pd

from popk.inference.convergence import gate
from popk.inference.diagnostics import diagnostics
from popk.inference.posterior import Posterior
from popk.report.files import of_fit
from popk.study.fit import Fit, provenance_of
from popk.study.folder import Study, open_study, save

EVIL = "<script>alert(1)</script>"
"""A subject's ID."""

MODEL = """
name = "infusion & <b>bold</b>"
structure = "one_compartment"
[units]
time = "h"
amount = "ug"
concentration = "ug/L"
[parameters.CL]
unit = "L/h"
scale = {covariate = "WT", reference = "1 kg"}
typical = {prior = "lognormal", median = 1.0, sigma = 1.0}
variability = {distribution = "lognormal", sd = {prior = "halfnormal", scale = 0.5}}
[parameters.V]
unit = "L"
typical = {prior = "lognormal", median = 3.0, sigma = 0.3}
[[covariates]]
parameter = "CL"
covariate = "A<i>GE"
relation = "below"
cut = 6
effect = {prior = "normal", loc = 0.0, scale = 0.5}
[residual]
error = "lognormal"
sd = {prior = "halfnormal", scale = 0.5}
"""
FIT = """
name = "awkward </script><b>study</b>"
description = "8 made-up infants"
synthetic = true
model = "model.toml"
data = "data.csv"
[columns]
TIME = {unit = "h"}
AMT = {unit = "ug"}
DV = {unit = "ug/L"}
WT = {covariate = true, unit = "kg"}
"A<i>GE" = {covariate = true}
[dose]
nominal = "1 ug/kg/h"
[sampler]
seed = 1
"""
SUBJECTS = {
    EVIL: (5, 3, [0.9, 1.1, 0.4]),
    "b": (6, 4, [0.6, 0.7, 0.2]),
    "c'\"": (4, 8, [1.4, 1.5, 0.6]),
    "</script>": (5, 9, [0.8, 0.9, 0.5]),
    "e": (7, 2, [1.3, 1.0, 0.4]),
    "f": (6, 11, [0.7, 0.6, 0.3]),
    "10": (5, 10, [1.1, 1.3, 0.5]),
    "9": (4, 5, [0.9, 0.8, 0.2]),
}
"""ID to weight, age and concentrations."""


def data() -> str:
    """An infusion of 48 h each, sampled at 24, 47 and 51 h; one value below the assay's limit."""
    lines = ["ID,TIME,EVID,MDV,AMT,RATE,DV,CENS,LIMIT,WT,A<i>GE"]
    for who, (weight, age, values) in SUBJECTS.items():
        quoted = '"' + who.replace('"', '""') + '"'
        lines.append(f"{quoted},0,1,1,{48 * weight},{weight},.,0,.,{weight},{age}")
        lines += [
            f"{quoted},{time},0,0,0,0,{dv},{int(dv == 0.2)},.,{weight},{age}"
            for time, dv in zip((24, 47, 51), values, strict=True)
        ]
    return "\n".join([*lines, ""])


def placed(folder: Path, method: str = "ensemble", model: str = MODEL) -> Path:
    """Write the study into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"model.toml": model, "fit.toml": f'{FIT}method = "{method}"\n', "data.csv": data()}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def fitted(folder: Path) -> tuple[Study, Fit]:
    """A study with its results: independent draws around known values, no sampler has run."""
    study = open_study(placed(folder))
    rng = np.random.default_rng(1)
    shape, ages = (4, 500), study.data.covariates["A<i>GE"][:, 0]
    draws = {
        "TVCL": 0.2 * np.exp(0.1 * rng.standard_normal(shape)),
        "TVV": 3.0 * np.exp(0.2 * rng.standard_normal(shape)),
        "CL_A<i>GE_below": 0.1 * rng.standard_normal(shape),
        "omega_CL": 0.3 * np.exp(0.2 * rng.standard_normal(shape)),
        "sigma": 0.2 * np.exp(0.1 * rng.standard_normal(shape)),
    }
    own = 0.25 * rng.standard_normal(study.data.subjects)
    draws["eta_CL"] = own + 0.1 * rng.standard_normal((*shape, study.data.subjects))
    weight = study.data.covariates["WT"][:, 0]
    below = draws["CL_A<i>GE_below"][..., None] * (ages < 6)
    draws["CL"] = draws["TVCL"][..., None] * weight * np.exp(draws["eta_CL"] + below)
    draws["V"] = np.repeat(draws["TVV"][..., None], study.data.subjects, axis=-1)
    stats = {"diverging": np.zeros(shape, bool), "energy": rng.standard_normal(shape),
             "lp": rng.standard_normal(shape)}  # fmt: skip
    method = {"name": "ensemble", "chains": 4, "draws": 500, "warmup": 40, "seed": 1}
    likelihood = np.zeros((*shape, study.data.observations))
    samples = Posterior(draws, stats, likelihood, method)
    found = diagnostics(draws)
    made = provenance_of(study.model, study.data, study.spec.sampler, "cpu:0", {"all": 1.0}, method)
    fit = Fit(study.model, study.data, samples, gate(samples, found, 400.0), found, made,
              study.spec.dose, True, study.spec.name)  # fmt: skip
    save(fit, study.folder, of_fit(fit))
    return study, fit


def checked(study: Study) -> dict[str, str]:
    """Files of results/checks with numbers of the right kind."""
    rng, ids = np.random.default_rng(2), study.data.ids
    count, data = study.data.observations, study.data
    who = np.nonzero(data.observed)[0]
    time, dv = data.time[data.observed], np.nan_to_num(data.dv[data.observed], nan=0.2)
    censored = data.censoring[data.observed] == 1
    base = pd.DataFrame({"ID": [ids[i] for i in who], "TIME": time})
    table = base.assign(
        line=np.arange(count) + 2, TAD=time, DV=dv, censored=censored, PRED=1.0,
        IPRED=1.1 * dv, IWRES=np.where(censored, np.nan, rng.standard_normal(count)),
        NPDE=rng.standard_normal(count),
    )  # fmt: skip
    grid = np.linspace(0, 51, 12)
    curves = pd.DataFrame({"ID": np.repeat(ids, 12), "TIME": np.tile(grid, len(ids))})
    for kind, spread in (("individual", 0.1), ("population", 0.4)):
        curves = curves.assign(**{kind: 1.0, f"{kind}_low": 1 - spread, f"{kind}_high": 1 + spread})
    quantiles = pd.DataFrame(
        [
            {"bin": b, "start": t, "end": t + 2, "time": t + 1, "n": 8, "censored": 0,
             "quantile": q, "observed": 0.5 + q, "low": 0.3 + q, "median": 0.5 + q,
             "high": 0.7 + q, "band_low": 0.1 + q, "band_high": 0.9 + q, "outside": False}
            for b, t in enumerate((23, 46, 50)) for q in (0.1, 0.5, 0.9)
        ]
    )  # fmt: skip
    points = base.rename(columns={"TIME": "time"}).assign(value=dv, censored=censored)
    verdicts = pd.DataFrame(
        [
            ("convergence", "passed", 0.0, "every check", "all hold", "", "source"),
            ("NPDE, shape", "look here", 0.01, "p ≥ 0.05", "tails <b>heavy</b>", "npde", "B 2006"),
            ("VPC", "failed", 0.0001, "p ≥ 0.05", "outside", "vpc", "Holford 2005"),
            ("identifiability", "not possible", np.nan, "contraction", "too few", "", "B 2018"),
        ],
        columns=["check", "outcome", "value", "threshold", "meaning", "figure", "source"],
    )  # fmt: skip
    far = pd.DataFrame({"ID": ids, "z_CL": 0.5, "probability_CL": 0.1, "pareto_k": 0.3})
    baseline = {name: values[:, 0] for name, values in data.covariates.items()}
    etas = pd.DataFrame({"ID": ids, "CL": rng.normal(0, 0.3, len(ids)), **baseline})
    tests = pd.DataFrame(
        [{"parameter": "CL", "covariate": name, "rho": 0.1, "p": 0.5, "p_holm": 0.5}
         for name in data.covariates]
    )  # fmt: skip
    priors = pd.DataFrame(
        [{"parameter": "TVCL", "prior": 0.01, "likelihood": 0.1, "conditional": 0.1,
          "own_prior": 0.01, "most": "TVCL", "conflict_p": 0.5, "prior_median": 1.0,
          "prior_q5": 0.2, "prior_q95": 5.2, "median": 0.2, "q5": 0.17, "q95": 0.24, "data": 0.2,
          "data_q5": 0.16, "data_q95": 0.25, "contraction": 0.99, "diagnosis": ""}]
    )  # fmt: skip
    tables = {
        "observations": table, "profiles": curves, "vpc": quantiles, "pcvpc": quantiles,
        "vpc_points": points, "pcvpc_points": points, "verdicts": verdicts, "etas": etas,
        "eta_tests": tests, "outlying_subjects": far, "prior_sensitivity": priors,
    }  # fmt: skip
    note = "# SYNTHETIC DATA\n# time h, concentrations µg/L\n"
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60"><text>{}</text></svg>'
    figures = {f"{name}.svg": drawing.format(name) for name in ("vpc", "npde", "individuals_1")}
    return {f"{name}.csv": note + own.to_csv(index=False) for name, own in tables.items()} | figures


def effects_table() -> str:
    """covariates.csv of one candidate."""
    row = {
        "candidate": "CL_A<i>GE_below", "parameter": "CL", "contrast": "A<i>GE < 6.0 against not",
        "ratio": 1.02, "q2_5": 0.7, "q5": 0.78, "q95": 1.3, "q97_5": 1.4, "direction": 0.55,
        "inside": 0.8, "verdict": "the data cannot tell", "BF01": 3.0, "BF01_error": 0.1,
        "evidence": "moderate evidence against an effect", "loo": -0.4, "loo_error": 0.5,
        "loo_unreliable": 0, "loso": -1.0, "loso_error": 0.3, "loso_refitted": 0, "dOFV": -0.1,
        "df": 1, "p": 0.75, "classical": "Wilcoxon-Mann-Whitney, Hodges-Lehmann ratio",
        "classical_p": 0.7, "classical_value": 1.03, "classical_q2_5": 0.8, "classical_q97_5": 1.3,
    }  # fmt: skip
    joint = ("parameter", "contrast", "ratio", "q2_5", "q5", "q95", "q97_5", "direction", "inside",
             "verdict")  # fmt: skip
    row |= {f"joint_{name}": row[name] for name in joint}
    head = (
        '# SYNTHETIC DATA\n# "relevant effect" if ..., else "the data cannot tell"\n# note: mind\n'
    )
    return head + pd.DataFrame([row]).to_csv(index=False)
