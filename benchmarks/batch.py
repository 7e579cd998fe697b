"""Many simulated trials of 26 infants, each fitted through the convergence gate, and calibration.

``python -m benchmarks.batch [--trials 1000] [--precision float32] [--calibration]`` writes
batch.json, batch-float64.json, or with ``--calibration`` calibration.json. There every trial is
simulated from its own draw of the priors, and the ranks of the true values among the posterior
draws must be uniform (simulation-based calibration, Talts et al., arXiv 1804.06788), by the
simultaneous band of Säilynoja, Bürkner & Vehtari, Stat Comput 2022;32:32.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from benchmarks.machine import cores_worth, processor, versions
from popk.inference.batch import Batch
from popk.inference.trials import Trials
from popk.population.condensed import condense
from popk.population.events import arrange
from popk.population.model import Model
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
CALIBRATED: dict[str, Any] = {
    "parameters": {
        name: {
            "typical": {"prior": "lognormal", "median": median, "sigma": 0.3},
            "variability": {"sd": {"prior": "gamma", "shape": 6.0, "rate": 15.0}},
        }
        for name, median in (("CL", 1.0), ("V", 3.2))
    },
    "residual": {"sd": {"prior": "gamma", "shape": 6.0, "rate": 30.0}},
}
"""Priors of the calibration, narrower than the model file's. From those a trial in fifteen has next
to no information (all rows below the assay limit, an SD of nearly zero); it misses its gate, and a
NUTS refit of such a posterior takes minutes."""
LIMIT = 50.0
"""Assay limit, pg/mL: lower values are censored."""
THIN = 400
"""Draws of each trial that ranks are taken among: about as many as are effective."""


def simulated(trials: int, seed: int, *, from_priors: bool) -> tuple[Any, Simulated]:
    """The model, and synthetic trials on the design of fits/blinatumomab-infants."""
    study = open_study(ROOT / "fits" / "blinatumomab-infants")
    model = study.model
    if from_priors:
        model = Model(type(model.spec).model_validate(_merged(model.spec.model_dump(), CALIBRATED)))
    design, _ = condense(arrange(model.spec, study.data)[0])
    given = None if from_priors else TRUTH
    return model, simulate(jax.random.key(seed), model, design, trials, given=given, below=LIMIT)


def _merged(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """`part` laid over `whole`, table by table; a prior is replaced as a whole."""
    return whole | {
        key: _merged(whole[key], value)
        if isinstance(value, dict) and "prior" not in value
        else value
        for key, value in part.items()
    }


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


def ranks(trials: Trials, truth: dict[str, np.ndarray]) -> dict[str, Float[np.ndarray, " trial"]]:
    """Normalised ranks of the true values, in (0, 1)."""
    found = {}
    for j, name in enumerate(trials.names):
        own = []
        for i, draws in enumerate(trials.draws):
            flat = np.swapaxes(draws[..., j], 0, 1).ravel()
            # Draws of different chains stand next to each other: every so-and-so-manyth is
            # nearly independent
            kept = flat[np.linspace(0, len(flat) - 1, THIN).astype(int)]
            own.append((np.sum(kept < truth[name][i]) + 0.5) / (THIN + 1))
        found[name] = np.array(own)
    return found


def band(count: int, level: float = 0.95, seed: int = 0, simulations: int = 2000) -> float:
    """Largest deviation, in standard deviations, of the ECDF of uniform ranks, at this level.

    The simultaneous band by simulation: of the largest of the standardised deviations over a
    grid of points (Säilynoja et al. 2022, sec. 2.2).
    """
    rng = np.random.default_rng(seed)
    uniform = (rng.integers(0, THIN + 1, (simulations, count)) + 0.5) / (THIN + 1)
    return float(np.quantile([deviation(row) for row in uniform], level))


def deviation(values: Float[np.ndarray, " trial"]) -> float:
    """Largest standardised deviation of the ECDF from uniform."""
    grid = np.linspace(0.01, 0.99, 99)
    ecdf = np.searchsorted(np.sort(values), grid, side="right") / len(values)
    return float(np.max(np.abs(ecdf - grid) / np.sqrt(grid * (1 - grid) / len(values))))


def main() -> None:
    """Fit, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    parser.add_argument("--draws", type=int, default=4000, help="of each chain, at most")
    parser.add_argument("--calibration", action="store_true")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    options = parser.parse_args()
    keep_compiled()
    device = jax.devices(options.device)[0]
    with jax.enable_x64(options.precision == "float64"), jax.default_device(device):
        model, sim = simulated(options.trials, options.seed, from_priors=options.calibration)
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
    if options.calibration:
        bound = band(options.trials)
        found = {name: deviation(r) for name, r in ranks(trials, sim.truth).items()}
        result["calibration"] = {
            "band_95_simultaneous": bound,
            "deviation": found,
            "inside": {name: value <= bound for name, value in found.items()},
        }
    name = OUTPUT.with_name("calibration.json") if options.calibration else OUTPUT
    if options.precision == "float64" and not options.calibration:
        name = OUTPUT.with_name("batch-float64.json")
    name.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
