"""Many simulated trials of 26 infants, each fitted through the convergence gate.

``python -m benchmarks.batch [--trials 1000] [--precision float32]`` writes batch.json or
batch-float64.json. (Calibration is a command of its own: ``popk calibrate``.)
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.machine import cores_worth, processor, versions
from popk.inference.batch import Batch
from popk.inference.trials import Trials
from popk.population.condensed import condense
from popk.population.events import arrange
from popk.population.simulated import Simulated, simulate
from popk.spec.fit import Sampler
from popk.study.compiled import keep_compiled
from popk.study.folder import open_study

ROOT = Path(__file__).parents[1]
OUTPUT = Path(__file__).with_name("batch.json")
TRUTH = {
    "TVCL": 0.92,
    "TVV": 3.3,
    "CL_AGE_below": -0.1,
    "omega_CL": 0.35,
    "omega_V": 0.2,
    "sigma": 0.2,
}
"""Population values of the simulated trials (SYNTHETIC)."""
LIMIT = 50.0
"""Assay limit, pg/mL: lower values are censored."""


def simulated(trials: int, seed: int) -> tuple[Any, Simulated]:
    """The model, and synthetic trials on the design of fits/blinatumomab-infants."""
    study = open_study(ROOT / "fits" / "blinatumomab-infants")
    design, _ = condense(arrange(study.model.spec, study.data)[0])
    key = jax.random.key(seed)
    return study.model, simulate(key, study.model, design, trials, given=TRUTH, below=LIMIT)


def fitted(batch: Batch) -> tuple[Trials, float]:
    """Fit all trials, with a line of progress for each wave; results and seconds."""
    begun = time.perf_counter()
    parts: dict[int, Trials] = {}
    for wave, trials in batch.waves():
        parts[wave] = trials
        done = sum(len(part.draws) for part in parts.values())
        print(f"{done}/{batch.trials} trials, {time.perf_counter() - begun:.1f} s", file=sys.stderr)
    joined = Trials.joined([parts[i] for i in range(len(parts))])
    return joined, time.perf_counter() - begun


def main() -> None:
    """Fit, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    parser.add_argument("--draws", type=int, default=4000, help="of each chain, at most")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    options = parser.parse_args()
    keep_compiled()
    device = jax.devices(options.device)[0]
    with jax.enable_x64(options.precision == "float64"), jax.default_device(device):
        model, sim = simulated(options.trials, options.seed)
        settings = Sampler(seed=options.seed, precision=options.precision, draws=options.draws)
        warm = Batch(model, sim.events, settings)
        begun = time.perf_counter()
        next(iter(Batch(model, warm.events_of(range(min(64, options.trials))), settings).waves()))
        compiled = time.perf_counter() - begun
        trials, seconds = fitted(Batch(model, sim.events, settings))
    result: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.batch", *sys.argv[1:]]),
        "machine": processor(),
        "all_cores_to_one": round(cores_worth(), 2),
        "device": str(device),
        "versions": versions("popk", "jax", "jaxlib", "numpyro", "numpy"),
        "trials": options.trials,
        "precision": options.precision,
        "seconds": round(seconds, 2),
        "compiling_and_first_wave_seconds": round(compiled, 2),
        "passed": int(trials.passed.sum()),
        "refitted_alone": int(sum(m == "alone" for m in trials.method)),
        "refitted_by_nuts": int(sum(m == "nuts" for m in trials.method)),
        "largest_rhat": float(trials.rhat.max()),
        "least_ess": float(min(trials.ess_bulk.min(), trials.ess_tail.min())),
        "draws_per_trial_median": float(np.median([d.shape[0] * d.shape[1] for d in trials.draws])),
    }
    name = OUTPUT.with_name("batch-float64.json") if options.precision == "float64" else OUTPUT
    name.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
