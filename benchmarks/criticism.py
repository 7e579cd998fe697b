"""How often the checks of a model find what is wrong with it, and raise a false alarm.

``python -m benchmarks.criticism [--trials 100]`` simulates studies (SYNTHETIC) from models that are
right or wrong in one known way, fits the plain model to each by maximum likelihood and puts the
verdicts of `popk.analysis.check_verdicts` to the fit. Then two real data sets: phenobarb with and
without weight in the model, and remifentanil, a drug of three compartments, fitted with one.
Writes criticism.json and criticism.md.
"""

import argparse
import functools
import itertools
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.integrate import solve_ivp
from scipy.stats import truncnorm

import popk
import popk.analysis.observations
import popk.analysis.replicates
import popk.study.maximum
from benchmarks.batch import ROOT
from benchmarks.batch import TRUTH as INFANTS
from benchmarks.machine import processor, versions
from popk.analysis import check_verdicts, predictive
from popk.analysis.etas import etas
from popk.analysis.observations import observations
from popk.analysis.replicates import replicates
from popk.analysis.residuals import npde_tests
from popk.analysis.verdict import FAILED, IMPOSSIBLE, LOOK, Verdict
from popk.analysis.vpc import beyond_limits, vpc
from popk.data.body_size import body_surface_area
from popk.data.dataset import Dataset
from popk.inference.maximum import Estimate
from popk.inference.posterior import Posterior
from popk.population.condensed import Condensed, condense
from popk.population.events import Events
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.model import ModelSpec
from popk.spec.record import validate
from popk.study.compiled import keep_compiled
from popk.study.fit import Fit, provenance_of
from popk.study.fit import fit as run_fit
from popk.study.folder import open_study
from popk.study.maximum import MaximumFit, maximum

OUTPUT = Path(__file__).with_name("criticism.json")
REMIFENTANIL = ROOT.parent / "shared" / "data" / "remifentanil.csv"
FOCEI = Sampler(method="focei")
VALUES = {name: value for name, value in INFANTS.items() if name != "CL_AGE_below"}
"""True population values of the simulated studies: CL in L/h/m², V in L/m², SDs of logs."""
NOMINAL = 625.0
"""Rate of the infusions, 15 µg/m²/day, in pg/mL L/h/m²: over CL it is the steady state."""
PICOGRAMS = 1000.0
"""pg/mL in 1 µg/L."""
SHORT = {
    "NPDE, mean and spread": "NPDE mean, spread",
    "NPDE, shape": "NPDE shape",
    "NPDE, along time, time after dose and PRED": "NPDE trends",
    "VPC": "VPC",
    "prediction-corrected VPC": "pcVPC",
    "fractions beyond the assay's limits": "limits",
    "etas against covariates": "etas",
}
ANY = "any"

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
    return _read(
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


def _read(text: str, **options: Any) -> Dataset:
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


def verdicts(fit: Fit | MaximumFit, seed: int | None = None) -> list[Verdict]:
    """What the predictive checks and the etas say of a fit."""
    table = observations(fit, seed=seed)
    measured = int(np.sum(~table["censored"].to_numpy(bool)))
    reps = replicates(fit, seed=seed)
    time_unit = fit.data.units.time or fit.model.spec.units.time
    found = [
        *check_verdicts.npde(npde_tests(table), measured),
        check_verdicts.vpc(vpc(reps), measured, time_unit),
        check_verdicts.vpc(vpc(reps, corrected=True), measured, time_unit),
        check_verdicts.limits(beyond_limits(reps)),
        check_verdicts.eta_trends(etas(fit, table["IWRES"].to_numpy(float))),
    ]
    return [v for v in found if v is not None]


@contextmanager
def shared_programs(censored: bool) -> Iterator[None]:
    """Events of censored studies with room for a censored row anywhere.

    Which rows are censored decides the events' shapes: without this every study would be compiled
    anew, in half a minute. The likelihood is the same.
    """

    def roomy(events: Events) -> Condensed:
        return condense(events, events.observed)

    rooms = (popk.study.maximum, popk.analysis.observations, popk.analysis.replicates)
    with ExitStack() as stack:
        for room in rooms if censored else ():
            stack.enter_context(patch.object(room, "condense", roomy))
        yield


class Judged(NamedTuple):
    """Simulated studies and what was said of them.

    Attributes
    ----------
    outcomes
        Of each study, by short name of the verdict.
    lost
        Studies in which the search for the maximum did not end.
    seconds
        Of all.
    """

    outcomes: list[dict[str, str]]
    lost: int
    seconds: float

    def count(self, name: str, *outcomes: str) -> int:
        """Studies with one of these outcomes of a verdict, or of any."""
        return sum(
            any(said in outcomes for key, said in own.items() if name in (key, ANY))
            for own in self.outcomes
        )


def judge(design: str, truth: str, trials: int, *, seed: int = 1, censored: bool = False) -> Judged:
    """Simulate studies, fit the plain model to each, and judge the fits."""
    begun, outcomes, lost = time.perf_counter(), [], 0
    for trial in range(trials):
        rng = _rng(seed, design, truth, trial)
        data = simulated(designs()[design], TRUTHS[truth], rng, censored=censored)
        with shared_programs(censored):
            fit = maximum(plain(), data, FOCEI, synthetic=True)
            said = verdicts(fit, seed=trial + 1)
        lost += not fit.estimate.highest
        outcomes.append({SHORT[v.check]: v.outcome for v in said})
    judged = Judged(outcomes, lost, time.perf_counter() - begun)
    _watch(f"{design}, {truth}{', censored' if censored else ''}", judged)
    return judged


def _rng(seed: int, design: str, truth: str, trial: int) -> np.random.Generator:
    # The same studies censored and not
    return np.random.default_rng(
        [seed, list(designs()).index(design), list(TRUTHS).index(truth), trial]
    )


WRONG = {
    "nothing": {},
    "residual SD x 1.5": {"sigma": 1.5},
    "omegas x 1.5": {"omega_CL": 1.5, "omega_V": 1.5},
    "CL x 1.2": {"TVCL": 1.2},
}
"""Factors of the values that a model which is not fitted is judged at."""


def judge_given(
    design: str, wrong: str, trials: int, *, seed: int = 1, censored: bool = False
) -> Judged:
    """NPDE of studies from the plain model, at their true values but for what is wrong."""
    begun, outcomes = time.perf_counter(), []
    values = {n: value * WRONG[wrong].get(n, 1.0) for n, value in VALUES.items()}
    for trial in range(trials):
        rng = _rng(seed, design, "right", trial)
        data = simulated(designs()[design], TRUTHS["right"], rng, censored=censored)
        with shared_programs(censored):
            table = observations(at_values(plain(), data, values), seed=trial + 1)
        measured = int(np.sum(~table["censored"].to_numpy(bool)))
        found = check_verdicts.npde(npde_tests(table), measured)
        outcomes.append({SHORT[v.check]: v.outcome for v in found})
    judged = Judged(outcomes, 0, time.perf_counter() - begun)
    _watch(f"{design}, given, {wrong}{', censored' if censored else ''}", judged)
    return judged


def at_values(model: Model, data: Dataset, values: Mapping[str, float]) -> MaximumFit:
    """A model with these population values and etas of zero, in the shape of a fit."""
    names = model.population_names
    none = np.full((len(names), len(names)), np.nan)
    estimate = Estimate(
        names=names,
        values=np.array([values[name] for name in names]),
        covariance=none,
        sandwich=none,
        vector=np.zeros(len(names)),
        log_likelihood=math.nan,
        ofv=math.nan,
        error=0.0,
        x=np.zeros((data.subjects, 2)),
        curvature_factor=np.tile(np.eye(2), (data.subjects, 1, 1)),
        evaluations=0,
        slope=0.0,
        least_curvature=1.0,
        condition=1.0,
        lost=(),
        message="given",
    )
    none_yet = {name: np.zeros(data.subjects) for name in ("CL", "V")}
    return MaximumFit(
        model, data, estimate, none_yet, np.zeros(data.observations),
        Posterior({}, {}, np.zeros((1, 0, 0)), {}), (),
        provenance_of(model, data, FOCEI, "cpu", {}, {}), synthetic=True,
    )  # fmt: skip


def _watch(what: str, judged: Judged) -> None:
    each = judged.seconds / max(len(judged.outcomes), 1)
    caught = judged.count(ANY, LOOK, FAILED)
    print(
        f"{what}: {caught}/{len(judged.outcomes)} caught, {each:.2f} s each",
        file=sys.stderr,
        flush=True,
    )


def counted(judged: Judged) -> dict[str, Any]:
    """Counts of each verdict over the studies in which it was possible."""
    names = dict.fromkeys(name for own in judged.outcomes for name in own)
    counts = {}
    for name in (*names, ANY):
        told = [own for own in judged.outcomes if own.get(name, "") != IMPOSSIBLE]
        counts[name] = {
            "studies": sum(name == ANY or name in own for own in told),
            "look or failed": judged.count(name, LOOK, FAILED),
            "failed": judged.count(name, FAILED),
        }
    return {
        "studies": len(judged.outcomes),
        "search not ended": judged.lost,
        "seconds": round(judged.seconds, 1),
        "verdicts": counts,
        "found by one verdict alone": dict(_sole(judged)),
    }


def _sole(judged: Judged) -> Counter[str]:
    """How often each verdict was the only one that found something."""
    alarms = ([k for k, said in own.items() if said in (LOOK, FAILED)] for own in judged.outcomes)
    return Counter(found[0] for found in alarms if len(found) == 1)


class Weight(NamedTuple):
    """Phenobarb with and without weight in the model.

    Attributes
    ----------
    verdicts
        By model, "with weight" and "without": p and outcome of each verdict.
    ofv
        By FOCEI, and AIC.
    elpd
        Of subjects left out, by model.
    difference
        The first less the second, and its error.
    seconds
        Of everything.
    """

    verdicts: dict[str, dict[str, tuple[float, str]]]
    ofv: dict[str, float]
    aic: dict[str, float]
    elpd: dict[str, float]
    difference: tuple[float, float]
    refitted: dict[str, int]
    converged: dict[str, bool]
    seconds: float


WITH, WITHOUT = "with weight", "without weight"


def without_weight(spec: ModelSpec) -> ModelSpec:
    """The phenobarb model with CL and V in L/h and L, whatever the weight."""
    medians = {"CL": 0.0058, "V": 1.45}
    own = {
        name: parameter.model_copy(
            update={
                "scale": (),
                "typical": parameter.typical.model_copy(update={"median": medians[name]}),
            }
        )
        for name, parameter in spec.parameters.items()
    }
    content = spec.model_copy(update={"parameters": own, "name": f"{spec.name}, without weight"})
    return validate(ModelSpec, content.model_dump(), "without weight")


@functools.cache
def phenobarb() -> Weight:
    """Both models of the data of fits/phenobarb-neonates."""
    begun = time.perf_counter()
    study = open_study(ROOT / "fits" / "phenobarb-neonates")
    models = {WITH: study.model, WITHOUT: Model(without_weight(study.model.spec))}
    fits = {name: run_fit(model, study.data, Sampler(seed=1)) for name, model in models.items()}
    maxima = {name: maximum(model, study.data, FOCEI) for name, model in models.items()}
    left_out = {name: predictive.over_subjects(fit) for name, fit in fits.items()}
    better = predictive.difference(left_out[WITH], left_out[WITHOUT])
    return Weight(
        {n: {SHORT[v.check]: (v.value, v.outcome) for v in verdicts(f)} for n, f in fits.items()},
        {name: fit.estimate.ofv for name, fit in maxima.items()},
        {name: fit.aic for name, fit in maxima.items()},
        {name: found.total for name, found in left_out.items()},
        (better.difference, better.error),
        {name: len(found.refitted) for name, found in left_out.items()},
        {name: fit.converged for name, fit in fits.items()},
        time.perf_counter() - begun,
    )


REMIFENTANIL_MODEL = {
    "name": "remifentanil, one compartment",
    "structure": "one_compartment",
    "units": {"time": "min", "amount": "ug", "concentration": "ng/mL"},
    "parameters": {
        name: {
            "unit": unit,
            "typical": {"prior": "lognormal", "median": median, "sigma": 1.0},
            "variability": {
                "distribution": "lognormal",
                "sd": {"prior": "halfnormal", "scale": 0.5},
            },
        }
        for name, unit, median in (("CL", "L/min", 2.5), ("V", "L", 15.0))
    },
    "residual": {"error": "lognormal", "sd": {"prior": "halfnormal", "scale": 0.5}},
}


class Criticised(NamedTuple):
    """A fit by maximum likelihood, and what was said of it."""

    fit: MaximumFit
    verdicts: list[Verdict]
    seconds: float


@functools.cache
def remifentanil() -> Criticised:
    """One compartment fitted to a drug of three (Minto et al., Anesthesiology 1997;86:10-23)."""
    begun = time.perf_counter()
    model = Model(validate(ModelSpec, REMIFENTANIL_MODEL, "remifentanil"))
    fit = maximum(model, _remifentanil_data(), FOCEI)
    return Criticised(fit, verdicts(fit), time.perf_counter() - begun)


def _remifentanil_data() -> Dataset:
    """The file's rows: an observation where there is a conc, an infusion where there is a rate."""
    file: Any = pd.read_csv(REMIFENTANIL)
    lines = ["ID,TIME,AMT,RATE,DV,EVID,MDV,AGE,WT,SEX"]
    for row in file.to_dict("records"):
        at = f"{row['ID']},{row['Time']}"
        who = f"{row['Age']},{row['Wt']},{int(row['Sex'] == 'Female')}"
        if row["conc"] > 0:
            lines.append(f"{at},0,0,{row['conc']},0,0,{who}")
        if row["Rate"] > 0 and row["Amt"] > 0:
            lines.append(f"{at},{row['Amt']},{row['Rate']},.,1,1,{who}")
    return _read(
        "\n".join(lines),
        columns={
            "TIME": {"unit": "min"},
            "AMT": {"unit": "ug"},
            "DV": {"unit": "ng/mL"},
            "AGE": {"covariate": True, "unit": "year"},
            "WT": {"covariate": True, "unit": "kg"},
            "SEX": {"covariate": True},
        },
    )


def studies(trials: int, seed: int) -> dict[str, Any]:
    """Everything that is simulated: fits of the plain model, then models that are not fitted."""
    fewer = max(trials // 4, 1)
    found: dict[str, Any] = {"fitted": {}, "given": {}}
    for design in designs():
        for censored in (False, True):
            key = f"{design}, censored" if censored else design
            right = judge(design, "right", trials, seed=seed, censored=censored)
            found["fitted"][key] = {"right": counted(right)}
            found["given"][key] = {
                wrong: counted(
                    judge_given(
                        design, wrong, fewer if factors else trials, seed=seed, censored=censored
                    )
                )
                for wrong, factors in WRONG.items()
            }
        for truth in TRUTHS:
            if truth != "right":
                found["fitted"][design][truth] = counted(judge(design, truth, fewer, seed=seed))
    return found


def _cell(count: int, of: int) -> str:
    if not of:
        return "-"
    rate = count / of
    return f"{100 * rate:.0f} ± {100 * math.sqrt(rate * (1 - rate) / of):.0f}"


def _cells(own: dict[str, Any]) -> str:
    """Rate of "look here" or worse, and in brackets of "failed"."""
    both = (_cell(own[outcome], own["studies"]) for outcome in ("look or failed", "failed"))
    return "{} ({})".format(*both)


def _table(rows: dict[str, dict[str, Any]], first: str) -> list[str]:
    names = list(dict.fromkeys(name for row in rows.values() for name in row["verdicts"]))
    names = [*(name for name in names if name != ANY), ANY]
    lines = [
        f"| {first} | studies | {' | '.join(names)} |",
        "|" + "---|" * (len(names) + 2),
    ]
    for told, row in rows.items():
        cells = [_cells(row["verdicts"][n]) if n in row["verdicts"] else "" for n in names]
        lines.append(f"| {told} | {row['studies']} | {' | '.join(cells)} |")
    return [*lines, ""]


def too_many(found: dict[str, Any]) -> list[str]:
    """Verdicts that say "look here" or worse of the right model more often than 5 %."""
    lines = []
    for kind in ("fitted", "given"):
        for design, rows in found[kind].items():
            row = rows["right" if kind == "fitted" else "nothing"]
            for name, own in row["verdicts"].items():
                n, count = own["studies"], own["look or failed"]
                allowed = 0.05 + 2.0 * math.sqrt(0.05 * 0.95 / n) if n else 1.0
                if name != ANY and n and count / n > allowed:
                    lines.append(f"{name}, {design}, {kind}: {_cell(count, n)} % of {n}")
    return lines


def _false_alarms(found: dict[str, Any]) -> list[str]:
    """The right model, fitted: one verdict a row, one design a column."""
    rows = {design: own["right"] for design, own in found["fitted"].items()}
    names = dict.fromkeys(name for row in rows.values() for name in row["verdicts"])
    lines = [
        f"| verdict | {' | '.join(rows)} |",
        "|" + "---|" * (len(rows) + 1),
    ]
    for name in (*(name for name in names if name != ANY), ANY):
        cells = [
            _cells(r["verdicts"][name]) if name in r["verdicts"] else "" for r in rows.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


SELDOM, MOSTLY = 0.2, 0.8
"""Shares of studies up to which a wrong model is called hidden, and from which called found."""


def _any(row: dict[str, Any]) -> str:
    own = row["verdicts"][ANY]
    return _cell(own["look or failed"], own["studies"])


def _conservative(fitted: dict[str, Any]) -> str:
    """Which verdicts are raised far less often than their nominal rate."""
    names = dict.fromkeys(n for rows in fitted.values() for n in rows["right"]["verdicts"])
    never = []
    for name in names:
        own = [
            r["right"]["verdicts"][name] for r in fitted.values() if name in r["right"]["verdicts"]
        ]
        raised, studies = (sum(r[key] for r in own) for key in ("look or failed", "studies"))
        if name != ANY and raised / studies < 0.02:
            never.append(f"{name} {raised} of {studies}")
    return (
        "After a fit to the same data, rates are below the nominal 5 %, as parameters bend to the "
        "data: raised for the right model in fewer than 2 % of all studies (censored ones are the "
        f"same studies as uncensored ones): {', '.join(never) or 'none'}. There p "
        "values are larger than they should be, and a pass is weak evidence."
    )


def _sentences(found: dict[str, Any]) -> list[str]:
    """What the tables of fitted models say."""
    high = too_many(found["studies"])
    lines = [
        "Above their nominal 5 % by more than two Monte Carlo errors: " + "; ".join(high) + "."
        if high
        else "No verdict calls the right model suspect more often than its nominal 5 % by more "
        "than two Monte Carlo errors, with or without censoring.",
        _conservative(found["studies"]["fitted"]),
    ]
    for name, design in designs().items():
        rows = found["studies"]["fitted"][name]
        rates = {
            truth: row["verdicts"][ANY]["look or failed"] / row["studies"]
            for truth, row in rows.items()
        }
        wrong = {truth: rate for truth, rate in rates.items() if truth != "right"}
        told = {t: f"{t} ({_any(rows[t])} %)" for t in wrong}
        seldom = [told[t] for t, r in wrong.items() if r <= SELDOM]
        mostly = [told[t] for t, r in wrong.items() if r >= MOSTLY]
        between = [told[t] for t, r in wrong.items() if SELDOM < r < MOSTLY]
        lines.append(
            f"{design.data.subjects} subjects, {design.data.observations} samples ({name}): "
            f"some verdict is raised in {_any(rows['right'])} % of the right model's studies; "
            f"found in {100 * MOSTLY:.0f} % or more: {', '.join(mostly) or 'none'}; "
            f"sometimes: {', '.join(between) or 'none'}; "
            f"in {100 * SELDOM:.0f} % or fewer, so that these data cannot reveal it: "
            f"{', '.join(seldom) or 'none'}."
        )
    return [f"- {line}" for line in lines]


def report(found: dict[str, Any]) -> str:
    """Everything as tables."""
    values = ", ".join(f"{k} {v:g}" for k, v in VALUES.items())
    lines = [
        "# What the checks of a model find, and how often they raise a false alarm",
        "",
        f"`{found['command']}`, {found['machine']}; {found['versions']}; "
        f"{found['seconds'] / 60:.0f} minutes in all.",
        "",
        "## What the tables say",
        "",
        *_sentences(found),
        *(f"- {line}" for line in (_weight_sentence(found), _remifentanil_sentence(found))),
        "",
        "## False alarms (SYNTHETIC): the right model, fitted",
        "",
        *_false_alarms(found["studies"]),
        "## Wrong models (SYNTHETIC), fitted",
        "",
        "Fitted is always the plain model: one compartment, log-normal CL and V (diagonal), "
        "log-normal error, by FOCEI. True values of the plain model: "
        f"{values} (CL in L/h/m², V in L/m²); wrong in one way:",
        "",
        *(f"- {name}: {truth.told}." for name, truth in TRUTHS.items()),
        "",
        'Cells: percent of studies with "look here" or "failed" ± Monte Carlo standard error, in '
        'brackets "failed" alone. The verdicts and their thresholds are those of `popk` '
        "(popk/analysis/check_verdicts.py, with sources): NPDE, Brendel et al., J Pharmacokinet "
        "Pharmacodyn 2010;37:49-65; VPC by the global envelope test, Myllymäki et al., J R Stat "
        'Soc B 2017;79:381-404. "etas" never says more than "look here". 0 of 100 leaves up '
        "to 3.6 % possible (95 %, Clopper-Pearson), 0 of 25 up to 14 %.",
        "",
    ]
    for name, design in designs().items():
        rows = found["studies"]["fitted"][name]
        limits = " to ".join("no upper limit" if math.isinf(x) else f"{x:g}" for x in design.limits)
        censored = found["studies"]["fitted"][f"{name}, censored"]["right"]
        lines += [
            f"### {name}",
            "",
            f"{design.told}. Censored: limits {limits} pg/mL.",
            "",
            *_table({**rows, "right, censored": censored}, "truth"),
            "Search for the maximum that did not end: "
            + (
                ", ".join(
                    f"{truth} {row['search not ended']} of {row['studies']}"
                    for truth, row in rows.items()
                    if row["search not ended"]
                )
                or "none"
            )
            + ".",
            "",
        ]
    lines += [
        "## Simulated studies (SYNTHETIC), not fitted: NPDE",
        "",
        "The plain model at the values that the studies were simulated with, but for one; nothing "
        "is estimated, so that p values should be what they say.",
        "",
    ]
    for name, rows in found["studies"]["given"].items():
        lines += [f"### {name}", "", *_table(rows, "wrong")]
    return "\n".join([*lines, *_weight_section(found), *_remifentanil_section(found), ""])


def _weight_sentence(found: dict[str, Any]) -> str:
    better, same = [], []
    for name, of in _compared(found["phenobarb"]).items():
        (better if of else same).append(name)
    return (
        f"Phenobarb: the model without weight is worse by {', '.join(better)}"
        + (f"; not by {', '.join(same)}" if same else "")
        + "."
    )


def _compared(own: dict[str, Any]) -> dict[str, bool]:
    """Whether the model without weight is worse, by each comparison."""
    with_, without = (own["verdicts"][name] for name in (WITH, WITHOUT))
    found = {name: without[name][0] < with_[name][0] for name in with_}
    found["OFV"] = own["ofv"][WITH] < own["ofv"][WITHOUT]
    found["elpd of subjects left out"] = own["difference"][0] > 2.0 * own["difference"][1]
    return found


def worse_without_weight(own: Weight) -> dict[str, bool]:
    """Whether the model without weight is worse, by each comparison: p, OFV, elpd (two errors)."""
    return _compared(own._asdict())


def _weight_section(found: dict[str, Any]) -> list[str]:
    own = found["phenobarb"]
    with_, without = (own["verdicts"][name] for name in (WITH, WITHOUT))
    worse = _compared(own)
    lines = [
        "## Phenobarb in 59 neonates (real data): with and without weight in the model",
        "",
        "Posteriors (`fits/phenobarb-neonates`, seed 1); p of each verdict. OFV and AIC by FOCEI. "
        "elpd: leave-one-subject-out, Vehtari et al., Stat Comput 2017;27:1413-32. Data: Grasela & "
        "Donn, Dev Pharmacol Ther 1985;8:374-83.",
        "",
        "| figure | with weight | without | worse without |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name}, p | {p:.3g}, {said} | {without[name][0]:.3g}, {without[name][1]} | "
        f"{'yes' if worse[name] else 'NO'} |"
        for name, (p, said) in with_.items()
    ]
    lines += [
        f"| OFV | {own['ofv'][WITH]:.2f} | {own['ofv'][WITHOUT]:.2f} | "
        f"{'yes' if worse['OFV'] else 'NO'} |",
        f"| AIC | {own['aic'][WITH]:.2f} | {own['aic'][WITHOUT]:.2f} | |",
        f"| elpd of subjects left out | {own['elpd'][WITH]:.1f} | {own['elpd'][WITHOUT]:.1f} | "
        f"{'yes' if worse['elpd of subjects left out'] else 'NO'}, "
        f"by {own['difference'][0]:.1f} ± {own['difference'][1]:.1f} |",
        "",
        f"Both converged: {'yes' if all(own['converged'].values()) else 'NO'}. Subjects for which "
        f"a model was fitted again: {own['refitted'][WITH]} with weight, "
        f"{own['refitted'][WITHOUT]} without. {own['seconds']:.0f} s.",
        "",
    ]
    return lines


def _remifentanil_sentence(found: dict[str, Any]) -> str:
    own = found["remifentanil"]
    if "skipped" in own:
        return f"Remifentanil: {own['skipped']}."
    failed = [
        f"{SHORT[row['check']]} ({row['figure']})"
        for row in own["verdicts"]
        if row["outcome"] == FAILED
    ]
    return "Remifentanil, three compartments fitted with one: failed by " + ", ".join(failed) + "."


def _remifentanil_section(found: dict[str, Any]) -> list[str]:
    own = found["remifentanil"]
    lines = ["## Remifentanil in 65 adults (real data): three compartments fitted with one", ""]
    if "skipped" in own:
        return [*lines, own["skipped"], ""]
    lines += [
        f"{own['observations']} concentrations (Minto et al., Anesthesiology 1997;86:10-23; nlme, "
        "not shipped), FOCEI. Estimates: "
        + ", ".join(f"{name} {value:.3g}" for name, value in own["estimates"].items())
        + f". {own['seconds']:.0f} s.",
        "",
        "| check | outcome | p | shown by | meaning |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['check']} | {row['outcome']} | {row['value']:.3g} | {row['figure']} | "
        f"{row['meaning']} |"
        for row in own["verdicts"]
    ]
    return lines


def main() -> None:
    """Compute everything, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--trials", type=int, default=100, help="of the right model; of each wrong one a fourth"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    keep_compiled()
    begun = time.perf_counter()
    found: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.criticism", *sys.argv[1:]]),
        "machine": processor(),
        "versions": versions("popk", "jax", "jaxlib", "numpyro", "numpy", "scipy"),
        "values": VALUES,
        "remifentanil": {"skipped": f"{REMIFENTANIL.name} is not there: it is not shipped"},
    }
    if REMIFENTANIL.exists():
        own = remifentanil()
        estimate = own.fit.estimate
        found["remifentanil"] = {
            "observations": own.fit.data.observations,
            "converged": own.fit.converged,
            "estimates": dict(zip(estimate.names, estimate.values.tolist(), strict=True)),
            "verdicts": [vars(v) for v in own.verdicts],
            "seconds": round(own.seconds, 1),
        }
    found["phenobarb"] = phenobarb()._asdict()
    found["studies"] = studies(options.trials, options.seed)
    found["seconds"] = round(time.perf_counter() - begun, 1)
    OUTPUT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    OUTPUT.with_suffix(".md").write_text(report(found), encoding="utf-8")
    print(report(found))


if __name__ == "__main__":
    main()
