"""How often the checks of a model find what is wrong with it, and raise a false alarm.

``python -m benchmarks.criticism [--trials 100]`` simulates studies (SYNTHETIC) from models that are
right or wrong in one known way, fits the plain model to each by maximum likelihood and puts the
verdicts of `popk.analysis.checking.check_verdicts` to the fit. Then two real data sets: phenobarb
with and without weight in the model, and remifentanil, a drug of three compartments, fitted with
one.
Writes criticism.json and criticism.md.
"""

import argparse
import functools
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd

import popk
import popk.analysis.checking.replicates
import popk.analysis.observations
import popk.study.maximum
from benchmarks.batch import ROOT
from benchmarks.criticism_report import ANY, SHORT, WITH, WITHOUT, compared, report
from benchmarks.machine import processor, versions
from benchmarks.wrong_models import TRUTHS, VALUES, designs, plain, read, simulated
from popk.analysis import predictive
from popk.analysis.checking import check_verdicts
from popk.analysis.checking.etas import etas
from popk.analysis.checking.replicates import replicates
from popk.analysis.checking.residuals import npde_tests
from popk.analysis.checking.vpc import beyond_limits, vpc
from popk.analysis.observations import observations
from popk.analysis.verdict import FAILED, IMPOSSIBLE, LOOK, Verdict
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

    rooms = (popk.study.maximum, popk.analysis.observations, popk.analysis.checking.replicates)
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


def worse_without_weight(own: Weight) -> dict[str, bool]:
    """Whether the model without weight is worse, by each comparison: p, OFV, elpd (two errors)."""
    return compared(own._asdict())


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
    return read(
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
