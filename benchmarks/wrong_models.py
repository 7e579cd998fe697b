"""Studies (SYNTHETIC) simulated from models that are right, or wrong in one known way."""

import functools
import itertools
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp
from scipy.stats import truncnorm

import popk
import popk.analysis.checking.replicates
import popk.analysis.observations
import popk.study.maximum
from benchmarks.batch import ROOT
from benchmarks.batch import TRUTH as INFANTS
from popk.data.body_size import body_surface_area
from popk.data.dataset import Dataset
from popk.population.model import Model
from popk.study.folder import open_study

VALUES = {name: value for name, value in INFANTS.items() if name != "CL_AGE_below"}
"""True population values of the simulated studies: CL in L/h/m², V in L/m², SDs of logs."""
NOMINAL = 625.0
"""Rate of the infusions, 15 µg/m²/day, in pg/mL L/h/m²: over CL it is the steady state."""
PICOGRAMS = 1000.0
"""pg/mL in 1 µg/L."""

Structure = Literal["one compartment", "two compartments", "falling", "saturable"]
Deviations = Literal["normal", "heavy", "groups", "covariate"]
Errors = Literal["lognormal", "additive", "heavy", "of the subject"]


class Truth(NamedTuple):
    """What studies are simulated from; the fitted model is always the plain one.

    Attributes
    ----------
    told
        In words.
    structure, deviations, errors
        What is different from the plain model, if anything.
    """

    told: str
    structure: Structure = "one compartment"
    deviations: Deviations = "normal"
    errors: Errors = "lognormal"


ADDITIVE = 60.0
"""SD of additive errors, pg/mL: 9 % of a typical steady state."""
SPREAD = 0.6
"""SD of the log of the subjects' own residual SDs."""
DF = 3
"""Degrees of freedom of heavy tails, scaled so that the SD is that of the plain model."""
GROUPS = (2.5, 0.12)
"""Ratio of CL between two groups of equal size, and the SD of log CL within each."""
COVARIATE = 2.0
"""Ratio of CL between the older half and the younger, a covariate that the model leaves out."""
SECOND = (0.46, 16.5)
"""Q (L/h/m²) and V of the second compartment (L/m²): half of CL, five times V."""
FALL = 0.5
"""Share of CL that is lost, linearly, from the start to the last sample."""
KM = 2.0
"""Michaelis constant in typical steady states; CL there is that of the plain model."""

TRUTHS = {
    "right": Truth("the fitted model itself"),
    "additive error": Truth(f"errors additive, SD {ADDITIVE:g} pg/mL", errors="additive"),
    "heavy errors": Truth(f"errors Student-t, {DF} df, same SD", errors="heavy"),
    "error of the subject": Truth(
        f"residual SD differs between subjects, SD {SPREAD:g} of its log", errors="of the subject"
    ),
    "heavy tails": Truth(f"etas of CL and V Student-t, {DF} df, same SD", deviations="heavy"),
    "two groups": Truth(
        f"two groups, CL {GROUPS[0]:g} to 1, SD {GROUPS[1]:g} within", deviations="groups"
    ),
    "omitted covariate": Truth(
        f"CL of the older half {COVARIATE:g} times that of the younger, AGE not in the model",
        deviations="covariate",
    ),
    "two compartments": Truth(
        f"two compartments, Q {SECOND[0]:g} L/h/m², V2 {SECOND[1]:g} L/m²",
        structure="two compartments",
    ),
    "falling CL": Truth(
        f"CL falls by {100 * FALL:g} % from the start to the last sample", structure="falling"
    ),
    "saturable": Truth(
        f"Michaelis-Menten elimination, Km {KM:g} typical steady states", structure="saturable"
    ),
}


class Design(NamedTuple):
    """A study's design.

    Attributes
    ----------
    told
        In words.
    data
        Doses, times and covariates; its observations are replaced.
    limits
        Of the assay, pg/mL, where a simulation is censored.
    """

    told: str
    data: Dataset
    limits: tuple[float, float]


@functools.cache
def plain() -> Model:
    """The fitted model: models/infusion_1cpt_bsa.toml without its covariate effect."""
    spec = popk.load_model(ROOT / "models" / "infusion_1cpt_bsa.toml").spec
    return Model(spec.model_copy(update={"covariates": ()}))


@functools.cache
def designs() -> dict[str, Design]:
    """The designs by name."""
    infants = open_study(ROOT / "fits" / "blinatumomab-infants").data
    rich = _rich()
    return {
        "infants": Design(
            f"fits/blinatumomab-infants: {infants.subjects} infants, 28 days of infusion, "
            f"{infants.observations} samples, most at steady state",
            infants,
            (50.0, 1000.0),
        ),
        "rich": Design(
            f"{rich.subjects} adults, one infusion of 24 h, {rich.observations} samples: 5 during "
            "the infusion and 3 in the 12 h after it",
            rich,
            (50.0, math.inf),
        ),
    }


def _rich(subjects: int = 40, seed: int = 0) -> Dataset:
    """Adults with 8 samples each; the concentrations in the file only hold the place."""
    rng = np.random.default_rng(seed)
    lines = ["ID,TIME,AMT,RATE,DV,EVID,MDV,AGE,WT,HT,SEX"]
    for i in range(subjects):
        female = i % 2
        height = rng.normal(164.0 if female else 177.0, 6.5)
        weight = 24.0 * (height / 100.0) ** 2 * np.exp(0.12 * rng.standard_normal())
        who = f"{rng.uniform(20, 75):.1f},{weight:.1f},{height:.0f},{female}"
        size = float(body_surface_area(round(weight, 1), round(height), "haycock"))
        lines.append(f"{i + 1},0,{15 * size:.6f},{15 * size / 24:.6f},.,1,1,{who}")
        times = np.array([1.0, 3.0, 8.0, 16.0, 23.5, 26.0, 30.0, 36.0])
        times = times + rng.uniform(-0.4, 0.4, times.size)
        lines += [f"{i + 1},{t:.2f},0,0,100,0,0,{who}" for t in times]
    return read(
        "\n".join(lines),
        columns={
            "TIME": {"unit": "h"},
            "AMT": {"unit": "ug"},
            "DV": {"unit": "pg/mL"},
            "AGE": {"covariate": True, "unit": "year"},
            "WT": {"covariate": True, "unit": "kg"},
            "HT": {"covariate": True, "unit": "cm"},
            "SEX": {"covariate": True},
        },
        derived={"BSA": {"formula": "haycock"}},
    )


def read(text: str, **options: Any) -> Dataset:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.csv"
        file.write_text(text + "\n", encoding="utf-8")
        return popk.read_data(file, **options)


def simulated(
    design: Design, truth: Truth, rng: np.random.Generator, *, censored: bool = False
) -> Dataset:
    """One study (SYNTHETIC); where it is not censored, as an assay without limits reports it."""
    data = design.data
    cl, v = individuals(data, truth.deviations, rng)
    true = concentrations(data, cl, v, truth.structure)
    seen = data.observed
    own = _measured(true[seen], np.nonzero(seen)[0], truth.errors, rng)
    low, high = design.limits if censored else (-math.inf, math.inf)
    dv, lower, upper = (np.full(seen.shape, np.nan) for _ in range(3))
    dv[seen] = np.clip(own, low, high)
    beyond = np.zeros(seen.shape, dtype=bool)
    beyond[seen] = (own < low) | (own > high)
    below = beyond & (dv == low)
    lower[beyond], upper[beyond] = high, math.inf
    lower[below], upper[below] = -math.inf, low
    return replace(data, dv=dv, censoring=beyond.astype(np.int64), lower=lower, upper=upper)


def individuals(
    data: Dataset, deviations: Deviations, rng: np.random.Generator
) -> tuple[Float[np.ndarray, " subject"], Float[np.ndarray, " subject"]]:
    """CL (L/h) and V (L) of each subject."""
    n = data.subjects
    z = rng.standard_normal((2, n))
    if deviations == "heavy":
        z = rng.standard_t(DF, (2, n)) / math.sqrt(DF / (DF - 2))
    eta_cl, eta_v = VALUES["omega_CL"] * z[0], VALUES["omega_V"] * z[1]
    if deviations == "groups":
        ratio, within = GROUPS
        side = rng.permutation(np.where(np.arange(n) % 2 == 0, 0.5, -0.5))
        eta_cl = math.log(ratio) * side + within * z[0]
    if deviations == "covariate":
        age = data.covariates["AGE"][:, 0]
        eta_cl += math.log(COVARIATE) * np.where(age > np.median(age), 0.5, -0.5)
    size = data.covariates["BSA"][:, 0]
    return VALUES["TVCL"] * size * np.exp(eta_cl), VALUES["TVV"] * size * np.exp(eta_v)


def concentrations(
    data: Dataset,
    cl: Float[np.ndarray, " subject"],
    v: Float[np.ndarray, " subject"],
    structure: Structure,
) -> Float[np.ndarray, "subject record"]:
    """True concentrations (pg/mL) at every record, by numerical integration.

    All subjects are one system of equations, integrated from one change of any rate to the next.
    """
    size = data.covariates["BSA"][:, 0]
    q, v2 = (part * size for part in SECOND) if structure == "two compartments" else (0.0, 1.0)
    steady = NOMINAL / VALUES["TVCL"]
    last = float(data.time[data.observed].max())

    def clearance(t: float, c: np.ndarray) -> np.ndarray:
        if structure == "falling":
            return cl * (1.0 - FALL * t / last)
        if structure == "saturable":
            return cl * (KM + 1.0) * steady / (KM * steady + c)
        return cl

    dose = data.evid == 1
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = np.where(dose, data.time + data.amount / data.rate, 0.0)
    # Ends that differ by rounding alone are one
    edges = np.unique(np.round(np.r_[data.time[dose], ends[dose], last], 4))
    found = np.zeros(data.time.shape)
    state = np.zeros(2 * data.subjects)
    for start, end in itertools.pairwise(edges):
        middle = 0.5 * (start + end)
        on = dose & (data.time < middle) & (middle < ends)
        rate = PICOGRAMS * np.where(on, data.rate, 0.0).sum(axis=1)

        def slope(t: float, y: np.ndarray, rate: np.ndarray = rate) -> np.ndarray:
            c, c2 = np.split(y, 2)
            across = q * (c - c2)
            return np.r_[(rate - clearance(t, c) * c - across) / v, across / v2]

        run = solve_ivp(
            slope, (start, end), state, method="DOP853", rtol=1e-7, atol=1e-6, dense_output=True
        )
        assert run.sol is not None
        here = data.observed & (data.time > start) & (data.time <= end)
        who = np.nonzero(here)[0]
        found[here] = run.sol(data.time[here])[who, np.arange(who.size)]
        state = run.y[:, -1]
    return found


def _measured(
    true: Float[np.ndarray, " row"], subject: np.ndarray, errors: Errors, rng: np.random.Generator
) -> Float[np.ndarray, " row"]:
    if errors == "additive":
        # A log-normal model has no place for values that are not positive
        low = -true / ADDITIVE
        return true + ADDITIVE * truncnorm.rvs(low, np.inf, size=true.size, random_state=rng)
    z = rng.standard_normal(true.size)
    if errors == "heavy":
        z = rng.standard_t(DF, true.size) / math.sqrt(DF / (DF - 2))
    own = np.ones(subject.max() + 1)
    if errors == "of the subject":
        own = np.exp(SPREAD * rng.standard_normal(own.size))
    return true * np.exp(VALUES["sigma"] * own[subject] * z)
