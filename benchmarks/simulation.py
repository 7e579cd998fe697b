"""Simulation beside NumPy, SciPy and R's deSolve: subjects x times per second, and memory.

``python -m benchmarks.simulation [--subjects 1000000] [--repeats 3]`` writes simulation.json and
simulation.md. The task: virtual infants with a standard course of 28 days and with the published
interruption, concentrations every 4 h to day 29; all competitors have the same CL, V and BSA.
popk's figure is that of the whole call. What the others leave out stands in their files:
peers/closed_form.py, peers/ode.py and peers/desolve.R. Their concentrations must agree with popk's,
or nothing is written.

deSolve is "not measured" without Rscript and its packages; Debian has them: ``apt-get update &&
apt-get install -y --no-install-recommends r-base-core r-cran-desolve``.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.likelihood import process
from benchmarks.machine import cores_worth, processor, versions
from benchmarks.peers.courses import REGIMENS, TIMES, infants, scaled, stretches
from benchmarks.simulation_report import report

OUTPUT = Path(__file__).with_name("simulation.json")
DESOLVE = Path(__file__).with_name("peers") / "desolve.R"
SIZES = (1_000, 100_000)
PRECISIONS = ("float64", "float32")
FORMS = ("superposition", "stepwise", "measured")
SOLVERS = ("solve_ivp", "odeint")
CLOSED, ODE, SINGLE = 1e-10, 1e-5, 1e-4
"""Largest deviations from popk that are accepted; the last of its own float32."""
LEAST = 1.0
"""pg/mL: deviations of lower concentrations are relative to this (an assay measures from 50)."""


class Bench:
    """Processes that measure, with files in a folder of their own."""

    def __init__(self, folder: Path, sizes: Sequence[int], few: int, repeats: int) -> None:
        self.folder, self.sizes, self.few, self.repeats = folder, sizes, few, repeats
        self.deviations: dict[str, float] = {}

    def python(self, module: str, *arguments: object, cache: str = "shared") -> dict[str, Any]:
        """One Python process; programs that it compiles are kept in a cache of that name."""
        command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{module}"]
        told = [argument for argument in arguments if not isinstance(argument, Path)]
        print(module, *told, file=sys.stderr)
        plain = {k: v for k, v in os.environ.items() if k not in ("POPK_CACHE", *JAX)}
        environment = plain | {"XDG_CACHE_HOME": str(self.folder / "cache" / cache)}
        return process([*command, *map(str, arguments)], environment)

    def prepare(self) -> None:
        """Fit, and make the infants whom all competitors meet."""
        self.python("simulation_popk", "fit", self.folder)
        for precision, subjects in zip(PRECISIONS, (self.sizes[-1], self.sizes[0]), strict=True):
            about = ("--precision", precision, "--subjects", subjects)
            self.python("simulation_popk", "infants", self.folder, *about)

    def popk(self, regimen: str) -> Iterator[dict[str, Any]]:
        """Whole calls, with empty and with filled caches."""
        for precision in PRECISIONS:
            for subjects in self.sizes:
                about = ("--precision", precision, "--subjects", subjects, "--regimen", regimen)
                empty, filled = [], []
                for repeat in range(self.repeats):
                    for runs in (empty, filled):
                        cache = f"{regimen}-{precision}-{subjects}-{repeat}"
                        found = self.python(
                            "simulation_popk", "measure", self.folder, *about, cache=cache
                        )
                        runs.append(found)
                yield {
                    "who": f"popk {precision}",
                    "subjects": subjects,
                    "first_empty": median(run["first"] for run in empty),
                    "first_filled": median(run["first"] for run in filled),
                    "seconds": median(run["second"] for run in [*empty, *filled]),
                    "loaded_MB": max(run["loaded_MB"] for run in filled),
                    "peak_MB": max(run["peak_MB"] for run in [*empty, *filled]),
                }
        self.compare(regimen, "superposition", "float32", SINGLE)

    def numpy(self, regimen: str) -> Iterator[dict[str, Any]]:
        """Closed forms."""
        for form in FORMS:
            for subjects in self.sizes:
                about = (form, self.folder / "float64.npz", regimen, subjects)
                found = self.python("peers.closed_form", *about, "--repeats", self.repeats)
                seconds = median(found["seconds"])
                row = {"who": f"NumPy {form}", "subjects": subjects, "seconds": seconds}
                yield row | {"peak_MB": found["peak_MB"]}
            if form != "measured":
                self.compare(regimen, form, "float64", CLOSED)

    def compare(self, regimen: str, form: str, precision: str, accepted: float) -> None:
        """A closed form beside popk's concentrations of the first infants."""
        file, kept = self.folder / f"{precision}.npz", self.folder / "kept.npy"
        with np.load(file) as arrays:
            count = len(arrays[regimen])
        about = (form, file, regimen, count, "--keep", kept, "--kept", count)
        self.python("peers.closed_form", *about)
        who = f"popk {precision}, NumPy {form}, {regimen}"
        self.agree(who, np.load(kept), regimen, accepted, precision)

    def scipy(self, regimen: str) -> Iterator[dict[str, Any]]:
        """ODE solvers."""
        for solver in SOLVERS:
            kept = self.folder / "kept.npy"
            about = (solver, self.folder / "float64.npz", regimen, self.few)
            more = ("--repeats", self.repeats, "--keep", kept)
            found = self.python("peers.ode", *about, *more)
            yield self.extrapolated(f"SciPy {solver}", found)
            self.agree(f"popk float64, SciPy {solver}, {regimen}", np.load(kept), regimen, ODE)

    def desolve(self, regimen: str) -> Iterator[dict[str, Any]]:
        """R, where it is."""
        rscript = shutil.which("Rscript")
        if rscript is None:
            yield {"who": "deSolve lsoda", "missing": "Rscript is not installed"}
            return
        who, steps, kept = (self.folder / f"{name}.csv" for name in ("infants", "steps", "kept"))
        own = np.column_stack(infants(self.folder / "float64.npz", self.few))
        np.savetxt(who, own, delimiter=",", header="CL,V,BSA", comments="", fmt="%.17g")
        rates = np.array(
            [(start, end, scaled(dose, 1.0)) for start, end, dose in stretches(regimen)]
        )
        np.savetxt(steps, rates, delimiter=",", header="start,end,rate", comments="", fmt="%.17g")
        command = [rscript, DESOLVE, who, steps, TIMES[1] - TIMES[0], self.repeats, kept]
        print("deSolve", regimen, file=sys.stderr)
        try:
            found = process(list(map(str, command)), os.environ)
        except RuntimeError as error:
            yield {"who": "deSolve lsoda", "missing": str(error)}
            return
        yield self.extrapolated("deSolve lsoda", found) | {"version": found["version"]}
        values = np.loadtxt(kept, delimiter=",", ndmin=2)
        self.agree(f"popk float64, deSolve lsoda, {regimen}", values, regimen, ODE)

    def extrapolated(self, who: str, found: Mapping[str, Any]) -> dict[str, Any]:
        """Seconds of the few, brought to the largest size: each subject costs the same."""
        each = median(found["seconds"]) / self.few
        largest = self.sizes[-1]
        row = {"who": who, "subjects": largest, "seconds": each * largest}
        return row | {"extrapolated_from": self.few}

    def agree(
        self, who: str, found: np.ndarray, regimen: str, accepted: float, own: str = "float64"
    ) -> None:
        """Largest deviation from popk's concentrations of the same infants."""
        with np.load(self.folder / f"{own}.npz") as arrays:
            expected = arrays[regimen][: len(found)].astype(float)
        if found.shape != expected.shape:
            raise RuntimeError(f"{who}: {found.shape} concentrations beside {expected.shape}")
        largest = float(np.max(np.abs(found - expected) / np.maximum(expected, LEAST)))
        print(f"{who}: largest deviation {largest:.1e}", file=sys.stderr)
        if not largest <= accepted:
            raise RuntimeError(f"{who}: deviates by {largest:.1e}, more than {accepted:g}")
        self.deviations[who] = largest


JAX = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
"""Settings that would keep popk from its own cache."""


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=1_000_000, help="the largest number")
    parser.add_argument("--few", type=int, default=300, help="subjects of the ODE solvers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="simulation.json")
    options = parser.parse_args()
    sizes = (*(size for size in SIZES if size < options.subjects), options.subjects)
    few = min(options.few, sizes[-1])
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), sizes, few, options.repeats)
        bench.prepare()
        parts = (bench.popk, bench.numpy, bench.scipy, bench.desolve)
        rows = {regimen: [row for part in parts for row in part(regimen)] for regimen in REGIMENS}
    result = {
        "command": " ".join(["python -m benchmarks.simulation", *sys.argv[1:]]),
        "machine": processor(),
        "cores_worth": round(cores_worth(), 2),
        "versions": versions("popk", "jax", "jaxlib", "numpy", "scipy", "pandas"),
        "times": len(TIMES),
        "repeats": options.repeats,
        "deviations": bench.deviations,
        "least_concentration": LEAST,
        "regimens": rows,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    options.output.with_suffix(".md").write_text(report(result))
    print(report(result))


if __name__ == "__main__":
    main()
