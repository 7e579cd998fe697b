"""What benchmarks.simulation runs of popk, each in a process of its own: fit, infants, one size.

``python -m benchmarks.simulation_popk fit|infants|measure FOLDER`` works in a copy of
fits/blinatumomab-infants and prints one line of JSON.
"""

import argparse
import json
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.courses import REGIMENS, TIMES
from popk.analysis.simulation.engine import Simulated
from popk.analysis.simulation.simulation import Simulation, simulate
from popk.api import load_fit
from popk.report import files
from popk.spec.regimen import read_regimen
from popk.study.compiled import keep_compiled
from popk.study.folder import open_study, run

ROOT = Path(__file__).parents[1]
STUDY = Path("fits") / "blinatumomab-infants"
KEPT = 2000
"""Infants whose concentrations are kept, to be compared."""


def fit(folder: Path) -> dict[str, Any]:
    """Fit the synthetic infants, with the settings of the fit's file, in a copy."""
    results = shutil.ignore_patterns("results")
    shutil.copytree(ROOT / STUDY, folder / STUDY, ignore=results)
    shutil.copytree(ROOT / "models", folder / "models")
    return {"converged": run(open_study(folder / STUDY), files.of_fit).converged}


def simulated(folder: Path, regimen: str, precision: str, subjects: int, **more: Any) -> Simulation:
    """What is measured; each infant with its own draw of the posterior, etas, residual errors."""
    plan = read_regimen(regimen)
    given = load_fit(folder / STUDY)
    return simulate(given, plan, subjects, times=list(TIMES), precision=precision, **more)


def infants(folder: Path, precision: str, subjects: int) -> dict[str, Any]:
    """Write all infants' CL, V and BSA, and the first ones' concentrations with each regimen."""
    arrays: dict[str, np.ndarray] = {}

    def keep(regimen: str, block: Simulated, times: np.ndarray) -> None:
        if block.first == 0:
            arrays[regimen] = block.concentration[:KEPT]

    for regimen in REGIMENS:
        found = simulated(folder, regimen, precision, subjects, keep=keep).subjects
        for name in ("CL", "V", "BSA"):
            own = found[name].to_numpy()
            assert np.array_equal(arrays.setdefault(name, own), own), "not the same infants"
    np.savez(folder / f"{precision}.npz", allow_pickle=False, **arrays)
    return {"subjects": subjects}


def measure(folder: Path, precision: str, subjects: int, regimen: str) -> dict[str, Any]:
    """Seconds of a first and of a second call, and the memory."""
    given, plan = load_fit(folder / STUDY), read_regimen(regimen)
    loaded = peak_mb()
    seconds, peaks = [], []
    for _ in range(2):
        begun = time.perf_counter()
        simulate(given, plan, subjects, times=list(TIMES), precision=precision)
        seconds.append(time.perf_counter() - begun)
        peaks.append(peak_mb())
    return {"first": seconds[0], "second": seconds[1], "loaded_MB": loaded, "peak_MB": peaks[0]}


def peak_mb() -> int:
    """The most memory that this process has had (Linux counts in kB)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Do one thing, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("fit", "infants", "measure"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=("float32", "float64"), default="float64")
    parser.add_argument("--subjects", type=int, default=1000)
    parser.add_argument("--regimen", choices=REGIMENS, default="standard")
    options = parser.parse_args()
    keep_compiled()
    match options.what:
        case "fit":
            found = fit(options.folder)
        case "infants":
            found = infants(options.folder, options.precision, options.subjects)
        case _:
            about = (options.precision, options.subjects, options.regimen)
            found = measure(options.folder, *about)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
