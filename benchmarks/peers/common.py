"""What all peers share: the command line, the posterior's numbers, the clock, the files they write.

A peer is a script with ``prepare(posterior, settings)``, which compiles and returns a function from
a seed to a `Run`. `main` calls it once with a seed of its own (cold), then with each of the seeds
(warm). With ``--whole FILE`` it does what a script of a user's does instead: sample once, R-hat and
ESS of every quantity by ArviZ, draws saved as netCDF.
"""

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

POPULATION = ("TVCL", "TVV", "effect", "omega_CL", "omega_V", "sigma")
INDIVIDUAL = ("CL", "V")
LEAST_LOG_CONCENTRATION = -20.0
"""With proportional error a lower prediction is taken to be this: its SD must not be 0."""


@dataclass(frozen=True)
class Settings:
    """How to run: the variant of the sampler, the chains and their lengths."""

    variant: str
    chains: int
    warmup: int
    draws: int
    seeds: tuple[int, ...]
    cold_seed: int


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes
    ----------
    draws
        The names of `POPULATION` and `INDIVIDUAL` to [chain, draw] and [chain, draw, subject].
    gradients
        Of all chains while the draws were made; None where the sampler does not say.
    warmup_gradients
        The same before.
    divergences
        Of all chains, among the draws.
    sampling_s
        Seconds after warm-up; None where the sampler does not say.
    notes
        Anything else worth a line in the record.
    """

    draws: dict[str, np.ndarray]
    gradients: int | None = None
    warmup_gradients: int | None = None
    divergences: int | None = None
    sampling_s: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)


Sample = Callable[[int], Run]


class Posterior:
    """The numbers that benchmarks/posteriors.py wrote, as arrays, and what follows from them.

    Attributes
    ----------
    measured, censored
        Indices of rows.
    infusions
        For each place of an infusion (the newest of each row first) its rows, which are the first
        ones, as a number; rate, ran and ended of these rows.
    boluses
        The newest of each row; row, amount and `ended` of all others, one by one.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        numbers = json.loads(self.file.read_text(encoding="utf-8"))
        self.numbers = numbers
        self.error, self.effect_on = numbers["error"], numbers["effect_on"]
        self.per_liter, self.priors = float(numbers["per_liter"]), numbers["priors"]
        self.log_size = {name: np.array(numbers[f"log_size_{name}"]) for name in INDIVIDUAL}
        self.indicator = np.array(numbers["indicator"])
        self.subject = np.array(numbers["subject"], dtype=np.int64)
        self.dv, self.bound, self.since = (
            np.array(numbers[name], dtype=float) for name in ("dv", "bound", "since")
        )
        self.sign = np.array(numbers["sign"], dtype=float)
        self.measured, self.censored = np.flatnonzero(self.sign == 0), np.flatnonzero(self.sign)
        self.subjects, self.rows = self.indicator.size, self.subject.size
        doses = {
            name: np.array(numbers[name], dtype=float).reshape(-1, self.rows)
            for name in ("rate", "ran", "ended", "bolus", "bolus_ended")
        }
        self.infusions = [
            (n, rate[:n], ran[:n], ended[:n])
            for rate, ran, ended in zip(doses["rate"], doses["ran"], doses["ended"], strict=True)
            for n in [int(np.flatnonzero(rate).max()) + 1]
        ]
        self.newest_bolus, self.other_boluses = None, None
        if len(doses["bolus"]):
            assert not doses["bolus_ended"][0].any()
            place, row = np.nonzero(doses["bolus"][1:])
            self.newest_bolus = doses["bolus"][0]
            self.other_boluses = (
                row,
                doses["bolus"][1:][place, row],
                doses["bolus_ended"][1:][place, row],
            )


def main(prepare: Callable[[Posterior, Settings], Sample], packages: tuple[str, ...]) -> None:
    """Parse the command line, run, write ``OUT/record.json`` and ``OUT/draws-SEED.npz``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("posterior", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", required=True)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--cold-seed", type=int, default=1000)
    parser.add_argument("--no-cold", action="store_true", help="only the seeds")
    parser.add_argument("--launched", type=float, help="time.time() when the process was started")
    parser.add_argument("--whole", type=Path, help="netCDF file: sample once, check, save")
    args = parser.parse_args()
    seeds = tuple(int(s) for s in args.seeds.split(",") if s)
    settings = Settings(args.variant, args.chains, args.warmup, args.draws, seeds, args.cold_seed)
    sample = prepare(Posterior(args.posterior), settings)
    if args.whole is not None:
        checked_and_saved(sample(args.cold_seed).draws, args.whole)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "variant": args.variant,
        "chains": args.chains,
        "warmup": args.warmup,
        "draws": args.draws,
        "versions": {"python": platform.python_version()} | _versions(packages),
        "runs": [],
    }
    if not args.no_cold:
        sample(args.cold_seed)
    if args.launched is not None and not args.no_cold:
        record["cold_s"] = time.time() - args.launched
    for seed in seeds:
        load, cpu, begun = load_average(), _cpu_seconds(), time.perf_counter()
        run = sample(seed)
        total = time.perf_counter() - begun
        record["runs"].append(
            {
                "seed": seed,
                "total_s": total,
                "sampling_s": run.sampling_s,
                "cpu_s": _cpu_seconds() - cpu,
                "gradients": run.gradients,
                "warmup_gradients": run.warmup_gradients,
                "divergences": run.divergences,
                "load": load,
                "notes": run.notes,
            }
        )
        save_draws(args.out, seed, run.draws)
    (args.out / "record.json").write_text(json.dumps(record, indent=2), encoding="utf-8")


def checked_and_saved(draws: dict[str, np.ndarray], file: Path) -> None:
    """R-hat and ESS of every quantity by ArviZ, and the draws as netCDF."""
    import arviz

    posterior = arviz.from_dict(posterior={name: draws[name] for name in POPULATION + INDIVIDUAL})
    table: Any = arviz.summary(posterior, round_to="none")
    posterior.to_netcdf(str(file))
    print(table[["mean", "sd", "ess_bulk", "ess_tail", "r_hat"]].head(len(POPULATION)).to_string())


def save_draws(out: Path, seed: int, draws: dict[str, np.ndarray]) -> None:
    """``draws-SEED.npz`` with the common names only."""
    kept: dict[str, Any] = {
        name: np.asarray(draws[name], dtype=float) for name in POPULATION + INDIVIDUAL
    }
    np.savez(out / f"draws-{seed}.npz", **kept)


def load_average() -> float:
    """What else runs on the machine: the 1-minute average before the run."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _cpu_seconds() -> float:
    """Of this process and of its children: those it has waited for, and on Linux the living."""
    waited = sum(
        use.ru_utime + use.ru_stime
        for use in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            ticks += int(fields[11]) + int(fields[12])
    return waited + ticks / os.sysconf("SC_CLK_TCK")


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "?"
    return found
