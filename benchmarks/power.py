"""A cell of a power grid by NUTS, trial by trial, beside the batch engine.

``popk fit fits/blinatumomab-infants`` first. ``python -m benchmarks.power [--fits 200]`` takes the
first trials of one cell of the grid of
`popk power` (26 infants, a true ratio of 0.7, SYNTHETIC trials) as the batch engine fits them, and
fits each of them again by NumPyro's NUTS, one after the other. It writes power_nuts.json and
prints how often either says that the 90 % interval excludes 1, and by how much their intervals
differ beside the Monte Carlo errors of their bounds.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.batch import ROOT
from benchmarks.machine import processor, versions
from popk.analysis.covariates.effects import contrast
from popk.analysis.power.power import planned
from popk.analysis.power.ratios import ratio_of
from popk.analysis.power.trials import done, effect_named, events_of
from popk.inference.diagnostics import diagnostics
from popk.inference.nuts import Nuts
from popk.inference.posterior import run_through
from popk.population.condensed import trial_axes
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.plan import Plan
from popk.study.compiled import keep_compiled
from popk.study.folder import load, open_study
from popk.study.work import run

OUTPUT = Path(__file__).with_name("power_nuts.json")
RATIO, INFANTS = 0.7, 26
LIMIT = "50 pg/mL"
DENSITY_AT_BOUND = 0.1031
"""Of a standard normal at its 5 % quantile: a quantile's error is sqrt(p (1 - p) / ESS) over it."""


def by_nuts(model: Model, events: Any, trial: int, effect: Any, between: Any) -> dict[str, float]:
    """One trial: bounds of the ratio's 90 % interval, and the log's SD and ESS."""
    settings = Sampler(method="nuts", chains=4, warmup=500, draws=1000, seed=trial + 1)
    posterior = run_through(Nuts(model, events, settings))
    ratio = ratio_of(effect, between, np.asarray(posterior.draws[effect.name], float))
    low, high = np.quantile(ratio, [0.05, 0.95])
    _, bulk, tail = diagnostics({"x": np.log(ratio)}).of("x")
    return {
        "q5": float(low), "q95": float(high), "sd": float(np.log(ratio).std()),
        "ess": float(min(bulk, tail)), "diverging": int(np.sum(posterior.stats["diverging"])),
    }  # fmt: skip


def main() -> None:
    """Fit both ways and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fits", type=int, default=200)
    options = parser.parse_args()
    keep_compiled()
    study = open_study(ROOT / "fits" / "blinatumomab-infants")
    grid = planned(load(study), Plan(below=LIMIT, young=0.5), [RATIO], [INFANTS], 500)
    pieces = grid.pieces[: math.ceil(options.fits / grid.pieces[0].wave)]
    begun = time.perf_counter()
    batch = run(done, pieces)
    seconds = {"batch": time.perf_counter() - begun}
    model = study.model
    effect = effect_named(model.spec, pieces[0].effect)
    between = contrast(effect, pieces[0].data)
    rows = []
    begun = time.perf_counter()
    for piece, found in zip(pieces, batch, strict=True):
        events = events_of(piece)
        for trial in range(piece.trials):
            if len(rows) == options.fits:
                break
            with jax.enable_x64(True):
                row = by_nuts(model, _one(events, trial), piece.first + trial, effect, between)
            rows.append(row | {f"batch_{n}": float(found[n][trial]) for n in ("q5", "q95")})
            print(f"{len(rows)}/{options.fits}", file=sys.stderr, flush=True)
    seconds["nuts"] = time.perf_counter() - begun
    result = summary(rows) | {
        "command": " ".join(["python -m benchmarks.power", *sys.argv[1:]]),
        "machine": processor(), "versions": versions("popk", "jax", "numpyro", "numpy"),
        "fits": len(rows), "ratio": RATIO, "infants": INFANTS,
        "seconds": {name: round(value, 1) for name, value in seconds.items()}, "rows": rows,
    }  # fmt: skip
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "rows"}, indent=2))


def _one(events: Any, trial: int) -> Any:
    """One trial's events: what has an axis of trials is cut."""
    leaves, tree = jax.tree.flatten(events)
    own = [a[trial] if has else a for a, has in zip(leaves, trial_axes(events), strict=True)]
    return jax.tree.unflatten(tree, own)


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Shares by both, and how far their bounds lie apart in Monte Carlo errors."""
    n = len(rows)
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def excluded(low: str, high: str) -> np.ndarray:
        return (table[low] > 1.0) | (table[high] < 1.0)

    nuts, batch = excluded("q5", "q95"), excluded("batch_q5", "batch_q95")
    # Both have the same number of effective draws or more (the gate asks for 400)
    error = table["sd"] * np.sqrt(0.05 * 0.95) / DENSITY_AT_BOUND
    error = error * np.sqrt(1.0 / table["ess"] + 1.0 / 400.0)
    z = np.concatenate(
        [np.log(table[f"batch_{name}"] / table[name]) / error for name in ("q5", "q95")]
    )
    return {
        "excludes_1_nuts": float(nuts.mean()), "excludes_1_batch": float(batch.mean()),
        "error": float(np.sqrt(nuts.mean() * (1 - nuts.mean()) / n)),
        "trials_that_differ": int((nuts != batch).sum()),
        "largest_z": float(np.abs(z).max()), "mean_square_z": float((z**2).mean()),
    }  # fmt: skip


if __name__ == "__main__":
    main()
