"""From 26 to 10,000 subjects: time of a gradient and of an effective draw, memory, growth.

``python -m benchmarks.scaling`` runs each size in a process of its own (so that memory is its
own) and writes scaling.json and scaling.png.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from benchmarks.batch import LIMIT, ROOT, TRUTH
from benchmarks.machine import cores_worth, processor, versions
from popk.data.dataset import Dataset, of_subjects
from popk.inference.convergence import constants, gate
from popk.inference.diagnostics import diagnostics
from popk.inference.ensemble import Ensemble
from popk.inference.lockstep import Chains
from popk.inference.machine import Machine, Tuned, trial_seeds
from popk.population.condensed import condense, trial_axes
from popk.population.events import Events, arrange
from popk.population.parameters import Known
from popk.population.simulated import simulate
from popk.spec.fit import Sampler
from popk.study.compiled import keep_compiled
from popk.study.folder import open_study

SIZES = (26, 100, 1000, 10_000)
CHAINS = 8
OUTPUT = Path(__file__).with_name("scaling.json")


def repeated(data: Dataset, subjects: int) -> Dataset:
    """So many subjects with the designs of the data's, one after the other (SYNTHETIC)."""
    who = np.arange(subjects) % data.subjects
    return replace(of_subjects(data, who), ids=tuple(str(i + 1) for i in range(subjects)))


def one_trial(subjects: int) -> tuple[Any, Events]:
    """The model and one simulated trial of so many subjects."""
    study = open_study(ROOT / "fits" / "blinatumomab-infants")
    design, _ = condense(arrange(study.model.spec, repeated(study.data, subjects))[0])
    sim = simulate(jax.random.key(1), study.model, design, 1, given=TRUTH, below=LIMIT)
    leaves, tree = jax.tree.flatten(sim.events)
    own = trial_axes(sim.events)
    return study.model, jax.tree.unflatten(
        tree, [a[0] if has else a for a, has in zip(leaves, own, strict=True)]
    )


def measure(subjects: int, precision: Literal["float32", "float64"]) -> dict[str, Any]:
    """Fit one size and time its parts."""
    keep_compiled()
    with jax.enable_x64(precision == "float64"):
        begun = time.perf_counter()
        model, events = one_trial(subjects)
        prepared = time.perf_counter() - begun
        sampler = Ensemble(model, events, Sampler(chains=CHAINS, precision=precision, seed=1))
        begun = time.perf_counter()
        state = sampler.start()
        phases: dict[str, float] = {}
        while not state.finished:
            phase, clock = sampler.progress(state).phase, time.perf_counter()
            state = sampler.advance(state)
            phases[phase] = phases.get(phase, 0.0) + time.perf_counter() - clock
            print(f"{subjects}: {phase} {sampler.progress(state).done}", file=sys.stderr)
        total = time.perf_counter() - begun
        posterior = sampler.posterior(state)
        machine: Machine = sampler._machine
        steps = int(state.tuned.tuning.steps[0])
        in_all = gradient_time(machine, state.tuned)
        width = CHAINS // machine.groups
        chains = Chains(*(a[:, :width] for a in state.tuned.chains))
        alone = replace(machine, chains=width, groups=1)
        in_one = gradient_time(alone, state.tuned._replace(chains=chains))
    points = state.tuned.chains.vector
    error = None
    if precision == "float32":
        error = energy_error(model, events, points, state.tuned.centring)
    found = diagnostics(posterior.draws)
    checks = gate(posterior, found, 400.0, constants(model, subjects))
    least = float(min(np.nanmin(found.ess_bulk), np.nanmin(found.ess_tail)))
    return {
        "subjects": subjects,
        "precision": precision,
        "dimension": int(machine.flat.start.size),
        "converged": all(check.passed for check in checks),
        "failed": state.failed,
        "prepare_seconds": round(prepared, 2),
        "total_seconds": round(total, 2),
        "phases": {name: round(s, 2) for name, s in phases.items()},
        "draws": CHAINS * state.drawn,
        "integrator_steps": steps,
        "microseconds_per_gradient": round(1e6 * in_one, 2),
        "microseconds_per_gradient_all_cores": round(1e6 * in_all, 2),
        "energy_error_of_float32": error,
        "least_ess": round(least, 1),
        "milliseconds_per_effective_draw": round(1e3 * total / least, 3),
        "peak_memory_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def gradient_time(machine: Machine, tuned: Tuned) -> float:
    """Seconds of a gradient of one chain, transitions and all: the median of 2 s or more."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begun < 2.0:
        clock = time.perf_counter()
        _, trace = machine.run(tuned, trial_seeds(1, [0]), 1, 5)
        computed = int(trace.gradients[:, 0, 0].sum()) * machine.chains
        times.append((time.perf_counter() - clock) / computed)
    return float(np.median(times[1:]))


def energy_error(model: Any, events: Events, points: np.ndarray, centring: Known) -> float:
    """SD of the error of float32 in the difference of two chains' log densities.

    Against float64 at the same points; what a proposal is accepted by is such a difference.
    """
    own = (False,) * len(jax.tree.leaves(events))
    found = []
    for double in (False, True):
        with jax.enable_x64(double):
            machine = Machine(model, events, own, 1, CHAINS, 1, 1)
            found.append(machine.gradients(points, centring)[0][0].astype(float))
    single, exact = (values - values.mean() for values in found)
    return float(np.std(single - exact) * np.sqrt(2.0))


def plot(rows: list[dict[str, Any]]) -> None:
    """Time per gradient, per effective draw, and memory, against subjects."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3.2))
    shown = (
        ("microseconds_per_gradient", "µs per gradient, one thread"),
        ("milliseconds_per_effective_draw", "ms per effective draw"),
        ("peak_memory_MB", "peak memory, MB"),
    )
    for axis, (key, label) in zip(axes, shown, strict=True):
        for precision, mark in (("float64", "o-"), ("float32", "s--")):
            own = [row for row in rows if row["precision"] == precision]
            axis.loglog([r["subjects"] for r in own], [r[key] for r in own], mark, label=precision)
        axis.set_xlabel("subjects")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(OUTPUT.with_suffix(".png"), dpi=120)


def main() -> None:
    """Measure every size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--precisions", nargs="*", default=("float64", "float32"))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        double = options.one[1] == "float64"
        print(json.dumps(measure(int(options.one[0]), "float64" if double else "float32")))
        return
    rows: list[dict[str, Any]] = []
    result = {
        "command": "python -m benchmarks.scaling",
        "machine": processor(),
        "all_cores_to_one": round(cores_worth(), 2),
        "versions": versions("popk", "jax", "jaxlib", "numpyro", "numpy"),
        "rows": rows,
    }
    for precision in options.precisions:
        for subjects in options.sizes:
            own = ["-m", "benchmarks.scaling", "--one", str(subjects), precision]
            done = subprocess.run(
                [sys.executable, *own], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(json.dumps(rows[-1]), file=sys.stderr)
            OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
            plot(rows)


if __name__ == "__main__":
    main()
