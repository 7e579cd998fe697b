"""What a GPU does: many trials at once, and 10,000 subjects.

``python -m benchmarks.gpu [--trials 1000 100000] [--subjects 10000]`` writes gpu.json where JAX
sees a GPU (``pip install 'popk[cuda]'``). Where it sees none there is nothing to measure: it says
so and writes nothing. ``--rehearse`` goes the same way on a CPU, in small, to see that it goes.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.batch import fitted, simulated
from benchmarks.machine import cores_worth, processor, versions
from benchmarks.scaling import measure
from popk.inference.batch import Batch
from popk.spec.fit import Sampler
from popk.study.compiled import keep_compiled

OUTPUT = Path(__file__).with_name("gpu.json")


def many_trials(trials: int, precision: str) -> dict[str, Any]:
    """Fit so many simulated trials twice: the second time everything is compiled."""
    with jax.enable_x64(precision == "float64"):
        model, sim = simulated(trials, 1)
        settings = Sampler.model_validate({"seed": 1, "precision": precision, "draws": 4000})
        begun = time.perf_counter()
        fitted(Batch(model, sim.events, settings))
        first = time.perf_counter() - begun
        result, seconds = fitted(Batch(model, sim.events, settings))
    return {
        "trials": trials,
        "precision": precision,
        "seconds_with_compiling": round(first, 2),
        "seconds": round(seconds, 2),
        "passed": int(result.passed.sum()),
        "refitted_by_nuts": int(sum(method == "nuts" for method in result.method)),
        "least_ess": float(min(result.ess_bulk.min(), result.ess_tail.min())),
        "largest_rhat": float(np.max(result.rhat)),
    }


def gpu() -> Any:
    """The GPU that JAX sees, or None."""
    try:
        return jax.devices("gpu")[0]
    except RuntimeError:
        return None


def _driver() -> str:
    """The GPU and its driver in the words of nvidia-smi, where there is one."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main() -> None:
    """Measure, or say that nothing was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="*", default=[1000, 100_000])
    parser.add_argument("--subjects", type=int, nargs="*", default=[10_000])
    parser.add_argument("--precisions", nargs="*", default=["float32"])
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, saving nothing")
    options = parser.parse_args()
    device = gpu()
    if device is None and not options.rehearse:
        print("not measured: JAX sees no GPU")
        return
    keep_compiled()
    result: dict[str, Any] = {
        "command": "python -m benchmarks.gpu " + " ".join(sys.argv[1:]),
        "machine": processor(),
        "all_cores_to_one": round(cores_worth(), 2),
        "device": _driver() if device is not None else "CPU (rehearsal)",
        "versions": versions("popk", "jax", "jaxlib", "numpyro", "numpy"),
        "batch": [],
        "subjects": [],
    }
    with jax.default_device(device or jax.devices("cpu")[0]):
        for precision in options.precisions:
            for trials in options.trials:
                result["batch"].append(many_trials(trials, precision))
                print(json.dumps(result["batch"][-1]), file=sys.stderr)
            for subjects in options.subjects:
                result["subjects"].append(measure(subjects, precision))
                print(json.dumps(result["subjects"][-1]), file=sys.stderr)
            if device is not None:
                OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
