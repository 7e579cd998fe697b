"""popk's sampler beside others, on the same three posteriors, in the same run.

``python -m benchmarks.samplers --pymc-python PATH --stan-python PATH`` writes samplers.json and
samplers.md. Each sampler runs in a process and an interpreter of its own (benchmarks/peers) and is
judged here: effective sample size of every population value and of every subject's CL and V by
arviz-stats, per second and per gradient, and its means and quantiles beside a long reference run
of NumPyro's NUTS in float64.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from arviz_stats.base.array import array_stats

from benchmarks.machine import processor
from benchmarks.peers.common import POPULATION
from benchmarks.posteriors import POSTERIORS, ROOT, write

OUTPUT = Path(__file__).with_name("samplers.json")
SCRIPTS = Path(__file__).with_name("peers")
LEAST_ESS, LARGEST_RHAT, FAR = 400.0, 1.01, 4.0
REFERENCE = ("threads-noncentred-0.95", 77, 2000, 10_000)
"""Variant of NumPyro, seed, warm-up and draws of each of four chains."""


class Entry(NamedTuple):
    """One sampler in one of its forms.

    Attributes
    ----------
    label
        As in the tables.
    family
        What ratios are given for; its script is run_FAMILY.py.
    variant
        As the script calls it.
    python
        Which interpreter: the name of an option.
    warmup, draws
        Of each chain, where they are not those of the command line; warm-up 0 is the sampler's
        default.
    """

    label: str
    family: str
    variant: str
    python: str
    warmup: int | None = None
    draws: int | None = None


ENTRIES = (
    Entry("popk, ess = 400", "popk", "ess-400", "popk", 0, 1000),
    Entry("popk, ess = 4000", "popk", "ess-4000", "popk", 0, 4000),
    *(
        Entry(f"nutpie, {label}", "nutpie", variant, "pymc", 0)
        for label, variant in (
            ("non-centred", "noncentred"),
            ("centred", "centred"),
            ("non-centred, low rank", "noncentred-lowrank"),
            ("centred, low rank", "centred-lowrank"),
        )
    ),
    *(
        Entry(f"Stan, {label}", "stan", variant, "stan")
        for label, variant in (("non-centred", "noncentred"), ("centred", "centred"))
    ),
    *(
        Entry(f"NumPyro, {method}, {label}", "numpyro", f"{method}-{form}", "numpyro")
        for label, form in (("non-centred", "noncentred"), ("centred", "centred"))
        for method in ("parallel", "threads", "vectorized")
    ),
    *(
        Entry(f"BlackJAX, {label}", "blackjax", variant, "pymc")
        for label, variant in (("non-centred", "noncentred"), ("centred", "centred"))
    ),
)
QUICK = ("popk, ess = 400", "nutpie, non-centred", "NumPyro, threads, non-centred")
WHOLE = (
    Entry("nutpie, non-centred", "nutpie", "noncentred", "pymc", 0),
    Entry("Stan, non-centred", "stan", "noncentred", "stan"),
    Entry("NumPyro, threads, non-centred", "numpyro", "threads-noncentred", "numpyro"),
)
FAMILIES = {"nutpie": "nutpie", "stan": "Stan", "numpyro": "NumPyro", "blackjax": "BlackJAX"}


class Options(NamedTuple):
    """The command line."""

    work: Path
    python: dict[str, str]
    seeds: tuple[int, ...]
    chains: int
    warmup: int
    draws: int
    reference_draws: int
    limit: float


class Unmeasured(Exception):
    """A process that gave no result, and why."""


def say(text: str) -> None:
    """Progress, to stderr."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def started(
    command: Sequence[str], caches: Path, options: Options, log: Path, *, jax_cache: bool = False
) -> float:
    """Run a process to its end; seconds of wall clock.

    Compiled programs go to `caches`, where the process also runs, since setuptools builds in the
    working directory; JAX is asked to keep its own only with `jax_cache`. No limit is set on
    threads.

    Raises
    ------
    Unmeasured
        If it fails or takes too long.
    """
    environment = dict(os.environ) | {
        "XDG_CACHE_HOME": str(caches),
        "PYTENSOR_FLAGS": f"base_compiledir={caches / 'pytensor'}",
        "NUMBA_CACHE_DIR": str(caches / "numba"),
        # Matplotlib's list of fonts is no part of this: always there
        "MPLCONFIGDIR": str(options.work / "matplotlib"),
    }
    if jax_cache:
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": str(caches / "jax"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    if command[0] == options.python["popk"]:
        environment["PYTHONPATH"] = str(ROOT)
    caches.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                list(command), stdout=file, stderr=subprocess.STDOUT, env=environment,
                cwd=caches, timeout=options.limit, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Unmeasured(f"no end within {options.limit:g} s") from None
        except OSError as error:
            raise Unmeasured(str(error)) from None
    seconds = time.perf_counter() - begun
    if done.returncode not in (0, 3):  # 3: popk's gate does not hold
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise Unmeasured(lines[-1][:200] if lines else f"exit code {done.returncode}")
    return seconds


def script(entry: Entry, posterior: Path, out: Path, options: Options, *more: str) -> list[str]:
    """The command of a peer's script."""
    return [
        options.python[entry.python],
        str(SCRIPTS / f"run_{entry.family}.py"),
        str(posterior),
        *("--out", str(out), "--variant", entry.variant, "--chains", str(options.chains)),
        *("--warmup", str(options.warmup if entry.warmup is None else entry.warmup)),
        *("--draws", str(options.draws if entry.draws is None else entry.draws)),
        *more,
    ]


class Judged(NamedTuple):
    """Statistics of every quantity, [quantity]; the means and quantiles with their errors."""

    names: list[str]
    rhat: np.ndarray
    ess: np.ndarray
    values: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]


def judge(file: Path) -> Judged:
    """R-hat, the smaller of bulk and tail ESS, and mean, 5 % and 95 % quantile of each quantity."""
    names, columns = [], []
    with np.load(file) as draws:
        for name in draws.files:
            flat = draws[name].reshape(*draws[name].shape[:2], -1)
            columns.append(np.moveaxis(flat, 2, 0))
            count = flat.shape[2]
            names += [name] if name in POPULATION else [f"{name}[{i + 1}]" for i in range(count)]
    table = np.concatenate(columns)
    tail = array_stats.ess(table, method="tail", prob=(0.05, 0.95))
    values = {"mean": table.mean(axis=(1, 2))}
    errors: dict[str, Any] = {"mean": array_stats.mcse(table, method="mean")}
    for label, probability in (("q5", 0.05), ("q95", 0.95)):
        values[label] = np.quantile(table, probability, axis=(1, 2))
        errors[label] = array_stats.mcse(table, method="quantile", prob=probability)
    return Judged(
        names,
        np.asarray(array_stats.rhat(table)),
        np.minimum(array_stats.ess(table, method="bulk"), tail),
        values,
        errors,
    )


def reference(posterior: Path, options: Options) -> dict[str, Any]:
    """The long run, from the work folder if it is there for the same numbers."""
    variant, seed, warmup, _ = REFERENCE
    entry = Entry("reference", "numpyro", variant, "numpyro", warmup, options.reference_draws)
    key = hashlib.sha256(posterior.read_bytes() + repr(entry).encode()).hexdigest()
    cached = options.work / f"reference-{posterior.stem}.json"
    if cached.exists():
        found = json.loads(cached.read_text(encoding="utf-8"))
        if found["key"] == key:
            return found
    say(f"{posterior.stem}: reference")
    out = options.work / f"reference-{posterior.stem}"
    command = script(entry, posterior, out, options, "--seeds", str(seed), "--no-cold")
    seconds = started(command, options.work / "caches", options, _log(options, out.name))
    judged = judge(out / f"draws-{seed}.npz")
    found = {
        "key": key,
        "sampler": f"NumPyro {variant}, 4 x {options.reference_draws}",
        "seconds": seconds,
        "least_ess": float(judged.ess.min()),
        "rhat": float(judged.rhat.max()),
        "names": judged.names,
        "values": {k: v.tolist() for k, v in judged.values.items()},
        "errors": {k: v.tolist() for k, v in judged.errors.items()},
    }
    cached.write_text(json.dumps(found), encoding="utf-8")
    return found


def measure(
    entry: Entry, posterior: Path, truth: dict[str, Any], options: Options
) -> dict[str, Any]:
    """Run one sampler, cold and for every seed, and judge every run.

    Raises
    ------
    Unmeasured
        If its process fails.
    """
    name = f"{posterior.stem}-{entry.family}-{entry.variant}"
    out, caches = options.work / name, options.work / f"caches-{name}"
    for folder in (out, caches):
        shutil.rmtree(folder, ignore_errors=True)
    seeds = ",".join(map(str, options.seeds))
    command = script(entry, posterior, out, options, "--seeds", seeds)
    command += ["--launched", repr(time.time())]
    started(command, caches, options, _log(options, name))
    record = json.loads((out / "record.json").read_text(encoding="utf-8"))
    for run in record["runs"]:
        judged = judge(out / f"draws-{run['seed']}.npz")
        assert judged.names == truth["names"]
        run |= _judgement(judged, truth)
        run |= _rates(run)
    shutil.rmtree(caches, ignore_errors=True)
    return {"label": entry.label, "family": entry.family, **record}


def _judgement(judged: Judged, truth: dict[str, Any]) -> dict[str, Any]:
    worst = int(np.argmin(np.nan_to_num(judged.ess, nan=-np.inf)))
    z = np.concatenate(
        [
            (judged.values[k] - truth["values"][k]) / np.hypot(judged.errors[k], truth["errors"][k])
            for k in judged.values
        ]
    )
    rhat, ess = float(np.max(judged.rhat)), float(judged.ess[worst])
    furthest = int(np.argmax(np.abs(z)))
    return {
        "rhat": rhat,
        "ess": ess,
        "ess_of": judged.names[worst],
        "passed": bool(rhat < LARGEST_RHAT and ess >= LEAST_ESS),
        "z": float(np.abs(z[furthest])),
        "z_of": judged.names[furthest % len(judged.names)],
        "far": int((np.abs(z) > FAR).sum()),
        "compared": int(z.size),
    }


def _rates(run: dict[str, Any]) -> dict[str, float | None]:
    """Least ESS per second and per gradient."""
    gradients, before = run["gradients"], run["warmup_gradients"]
    sampling = run["sampling_s"]
    if sampling is None and gradients and before:
        sampling = run["total_s"] * gradients / (gradients + before)
    return {
        "ess_per_s": run["ess"] / run["total_s"],
        "ess_per_sampling_s": run["ess"] / sampling if sampling else None,
        "ess_per_gradient": run["ess"] / gradients if gradients else None,
    }


def by_own_clock(record: dict[str, Any]) -> dict[str, Any]:
    """Stan without PyStan: the seconds that its chains report, shared among the cores."""
    runs = []
    for run in record["runs"]:
        chains = run["notes"]["chain_s"]
        total = max(max(chains), sum(chains) / _cores())
        own = {**run, "total_s": total}
        runs.append(own | _rates(own))
    label = f"{record['label']}, chains' own seconds"
    return {**record, "label": label, "family": "stan, own", "cold_s": None, "runs": runs}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _log(options: Options, name: str) -> Path:
    folder = options.work / "logs"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.log"


def whole_processes(
    posterior: Path, repeats: int, options: Options
) -> tuple[list[dict[str, Any]], list[str]]:
    """A user's whole process, with caches of compiled programs empty and then filled.

    popk: `popk fit FOLDER`. A peer: import, compile, sample 4 chains, R-hat and ESS, save.
    """
    found, missing = [], []
    commands: list[tuple[str, str, Callable[[], list[str]]]] = [
        ("popk fit, ess = 400", "popk", lambda: _popk_fit(posterior, options, None)),
        ("popk fit, ess = 4000", "popk", lambda: _popk_fit(posterior, options, 4000)),
        *(
            (entry.label, entry.family, lambda entry=entry: _peer_whole(entry, posterior, options))
            for entry in WHOLE
        ),
    ]
    for number, (label, family, command) in enumerate(commands):
        say(f"{posterior.stem}: whole process: {label}")
        seconds: dict[str, list[float]] = {"empty": [], "filled": []}
        caches = options.work / "caches-whole"
        try:
            for _ in range(repeats):
                shutil.rmtree(caches, ignore_errors=True)
                for state in seconds:
                    log = _log(options, f"whole-{posterior.stem}-{number}-{state}")
                    jax_cache = family == "numpyro"
                    once = started(command(), caches, options, log, jax_cache=jax_cache)
                    seconds[state].append(once)
            found.append({"label": label, **seconds})
        except Unmeasured as reason:
            missing.append(f"{label}, whole process: not measured: {reason}")
        shutil.rmtree(caches, ignore_errors=True)
    return found, missing


def _popk_fit(posterior: Path, options: Options, ess: int | None) -> list[str]:
    """``popk fit`` of a copy of the folder, with its own settings or another ESS."""
    folder = options.work / "fits" / f"{posterior.stem}-whole"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(options.work / "fits" / posterior.stem, folder)
    if ess is not None:
        settings = (folder / "fit.toml").read_text(encoding="utf-8").partition("[sampler]")[0]
        settings += f"\n[sampler]\ness = {ess}\ndraws = 4000\n"
        (folder / "fit.toml").write_text(settings, encoding="utf-8")
    program = "import sys; from popk.cli import main; sys.argv[0] = 'popk'; main()"
    return [options.python["popk"], "-c", program, "fit", str(folder)]


def _peer_whole(entry: Entry, posterior: Path, options: Options) -> list[str]:
    file = options.work / "whole.nc"
    file.unlink(missing_ok=True)
    return script(entry, posterior, options.work, options, "--whole", str(file))


def spread(values: Sequence[float | None], digits: int = 3) -> str:
    """Median and range."""
    known = [v for v in values if v is not None]
    if not known:
        return "-"
    middle, low, high = (
        f"{_rounded(v, digits)}" for v in (statistics.median(known), min(known), max(known))
    )
    return middle if len(known) == 1 else f"{middle} ({low}-{high})"


def _rounded(value: float, digits: int) -> str:
    return f"{float(f'{value:.{digits}g}'):.10g}"


def _quotient(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Ratio of medians, and the range from the worst for us to the best."""
    middle = statistics.median(ours) / statistics.median(theirs)
    low, high = min(ours) / max(theirs), max(ours) / min(theirs)
    alone = len(ours) == len(theirs) == 1
    return f"{middle:.3g}" if alone else f"{middle:.3g} ({low:.3g}-{high:.3g})"


def ratios(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Least ESS per second of a whole warm fit: of popk, over the fastest form of each family.

    Where that form missed the gate, over the fastest one that never did as well.
    """
    found = []
    families = {**FAMILIES, "stan, own": "Stan by its chains' own seconds"}
    for ours in (r for r in records if r["family"] == "popk"):
        for family, name in families.items():
            peers = [r for r in records if r["family"] == family]
            peers.sort(key=lambda r: -statistics.median(_of(r, "ess_per_s")))
            missed = [sum(not passed for passed in _of(r, "passed")) for r in peers]
            places = [0] if peers else []
            if 0 in missed[1:] and missed[0]:
                places.append(missed.index(0))
            found += [
                {
                    "popk": ours["label"],
                    "peer": name,
                    "form": peers[i]["label"],
                    "missed": missed[i],
                    "ratio": _quotient(_of(ours, "ess_per_s"), _of(peers[i], "ess_per_s")),
                }
                for i in places
            ]
    return found


def _of(record: dict[str, Any], key: str) -> list[Any]:
    return [run[key] for run in record["runs"]]


def section(name: str, found: dict[str, Any]) -> str:
    """One posterior's part of samplers.md."""
    truth = found["reference"]
    lines = [
        f"### {name}: {POSTERIORS[name]}\n",
        "| sampler | cold s | warm s | ESS | ESS/s | ESS/s of sampling | ESS/1000 gradients "
        "| R-hat | gate missed | divergences | largest abs z (beyond 4) |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for record in found["records"]:
        runs = record["runs"]
        per_thousand = [None if g is None else 1000 * g for g in _of(record, "ess_per_gradient")]
        divergences = [d for d in _of(record, "divergences") if d is not None]
        lines.append(
            f"| {record['label']} | {spread([record['cold_s']])} "
            f"| {spread(_of(record, 'total_s'))} | {spread(_of(record, 'ess'))} "
            f"| {spread(_of(record, 'ess_per_s'))} | {spread(_of(record, 'ess_per_sampling_s'))} "
            f"| {spread(per_thousand)} | {max(_of(record, 'rhat')):.4f} "
            f"| {sum(not run['passed'] for run in runs)} of {len(runs)} "
            f"| {sum(divergences) if divergences else '-'} "
            f"| {max(_of(record, 'z')):.1f} "
            f"({sum(_of(record, 'far'))} of {sum(_of(record, 'compared'))}) |"
        )
    lines += ["", *found["missing"]]
    lines.append(
        f"\nReference: {truth['sampler']}, least ESS {truth['least_ess']:.0f}, largest R-hat "
        f"{truth['rhat']:.4f}.\n"
    )
    if found["ratios"]:
        lines.append(
            "Ratios of ESS/s, a whole warm fit, medians and extremes; over the fastest form of "
            "each peer, and where that missed the gate over the fastest that did not:\n"
        )
        lines += ["| | over | form | ratio |", "|---|---|---|---|"]
    lines += [
        f"| {r['popk']} | {r['peer']} | {r['form']}"
        + (f" (gate missed: {r['missed']})" if r["missed"] else "")
        + f" | {r['ratio']} |"
        for r in found["ratios"]
    ]
    if found["whole"]:
        lines += ["", *_whole_table(found["whole"])]
    lines += ["", *found["whole_missing"]]
    return "\n".join(lines).rstrip() + "\n"


def _whole_table(whole: list[dict[str, Any]]) -> list[str]:
    ours = next((w for w in whole if w["label"] == "popk fit, ess = 400"), None)
    lines = [
        "| whole process | caches empty, s | over popk fit | caches filled, s | over popk fit |",
        "|---|---|---|---|---|",
    ]
    for w in whole:
        over = {
            state: "-" if ours is None or ours is w else _quotient(w[state], ours[state])
            for state in ("empty", "filled")
        }
        lines.append(
            f"| {w['label']} | {spread(w['empty'])} | {over['empty']} "
            f"| {spread(w['filled'])} | {over['filled']} |"
        )
    return lines


def markdown(result: dict[str, Any]) -> str:
    """The text of samplers.md."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    head = f"""\
## One fit: popk beside other samplers

Written by `{result["command"]}`.

{result["date"]}; {result["machine"]}; {versions}. Arithmetic in float64 everywhere. No limit on
threads: every sampler may use all cores. Medians and ranges over the seeds ({result["seeds"]}).

- Peers: {result["chains"]} chains x {result["draws"]} draws after {result["warmup"]} of warm-up
  (nutpie: its default, 400, with low rank 800), target acceptance 0.8, diagonal mass matrix but
  for low rank, start near the prior medians. popk: its default sampler, until its gate holds at
  the ESS given.
- ESS: the least of bulk and tail ESS over all population values and every subject's CL and V.
- Cold s: from the start of the process to the first draws, caches of compiled programs empty.
- Warm s: a later call in the same process, warm-up included, nothing compiled; for popk also the
  search for the mode, the gate and the diagnostics.
- Sampling: for popk its own clock, for Stan the longest chain's, for nutpie and BlackJAX by the
  share of gradients, for NumPyro unknown. Gradients: those of the draws, not of warm-up.
- Stan's chains' own seconds leave out what PyStan takes to hand the draws over: the longest
  chain's, or all chains' over the number of cores if that is more.
- Gate: R-hat < {LARGEST_RHAT} and ESS >= {LEAST_ESS:.0f}; R-hat is the largest of all runs.
- z: means, 5 % and 95 % quantiles of all quantities against the reference run, over their
  combined Monte Carlo error.
- Whole process: `popk fit FOLDER`; a peer's script imports, compiles, samples, computes R-hat and
  ESS with ArviZ and saves netCDF. Caches: popk's, those of PyTensor and Numba, PyStan's; for
  NumPyro JAX's, which a user has to ask for.
"""
    parts = [section(name, found) for name, found in result["posteriors"].items()]
    return "\n".join([head, *parts])


def main() -> None:
    """Measure everything and write samplers.json and samplers.md."""
    parser = argparse.ArgumentParser(description="popk beside other samplers")
    add = parser.add_argument
    add("--numpyro-python", default=sys.executable, help="interpreter with numpyro")
    add("--pymc-python", default=sys.executable, help="... with pymc, nutpie, numba, blackjax")
    add("--stan-python", default=sys.executable, help="... with pystan; arviz<1 for --whole")
    add("--seeds", type=int, default=5, help="number of seeds")
    add("--chains", type=int, default=4)
    add("--warmup", type=int, default=1000)
    add("--draws", type=int, default=1000)
    add("--reference-draws", type=int, default=REFERENCE[3])
    add("--posteriors", nargs="+", choices=tuple(POSTERIORS), default=list(POSTERIORS))
    add("--only", nargs="+", default=[], metavar="WORD", help="samplers with one of these words")
    add("--whole", type=int, default=3, help="repeats of the whole processes; 0 for none")
    add("--work", type=Path, default=Path(tempfile.gettempdir()) / "popk-samplers")
    add("--limit", type=float, default=1800.0, help="seconds that a process may take")
    add("--output", type=Path, default=OUTPUT)
    add("--quick", action="store_true", help="a smoke test: one seed, three samplers, short runs")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.warmup, args.draws, args.whole = 1, 300, 300, 0
        args.reference_draws = 1000
    options = Options(
        args.work.resolve(),
        {
            "popk": sys.executable,
            "numpyro": args.numpyro_python,
            "pymc": args.pymc_python,
            "stan": args.stan_python,
        },
        tuple(range(1, args.seeds + 1)),
        args.chains,
        args.warmup,
        args.draws,
        args.reference_draws,
        args.limit,
    )
    options.work.mkdir(parents=True, exist_ok=True)
    entries = [
        entry
        for entry in ENTRIES
        if (not args.quick or entry.label in QUICK)
        and (not args.only or any(word.lower() in entry.label.lower() for word in args.only))
    ]
    result: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": " ".join(["python -m benchmarks.samplers", *_shown(sys.argv[1:])]),
        "machine": processor(),
        "chains": options.chains,
        "warmup": options.warmup,
        "draws": options.draws,
        "seeds": args.seeds,
        "versions": {},
        "posteriors": {},
    }

    def keep() -> None:
        args.output.write_text(json.dumps(result, indent=1), encoding="utf-8")
        args.output.with_suffix(".md").write_text(markdown(result), encoding="utf-8")

    for name in args.posteriors:
        for found in posterior(name, entries, args.whole, options):
            result["posteriors"][name] = found
            result["versions"] |= _versions(found["records"], result["versions"])
            keep()
    say(f"written: {args.output}, {args.output.with_suffix('.md')}")


def _shown(arguments: list[str]) -> list[str]:
    """Arguments without the paths of this machine."""
    return [Path(a).name if "/" in a else a for a in arguments]


def _versions(records: list[dict[str, Any]], known: dict[str, str]) -> dict[str, str]:
    """Of all packages; where two interpreters have different ones, the second with its family."""
    found = dict(known)
    for record in records:
        for package, version in record["versions"].items():
            if found.setdefault(package, version) != version:
                found[f"{package} ({record['family']})"] = version
    return found


def posterior(
    name: str, entries: list[Entry], whole: int, options: Options
) -> Iterator[dict[str, Any]]:
    """Everything about one posterior, after each sampler what there is by then."""
    write(name, options.work)
    file = options.work / f"{name}.json"
    truth = reference(file, options)
    found: dict[str, Any] = {
        "reference": {k: truth[k] for k in ("sampler", "seconds", "least_ess", "rhat")},
        "records": [],
        "missing": [],
        "ratios": [],
        "whole": [],
        "whole_missing": [],
    }
    for entry in entries:
        say(f"{name}: {entry.label}")
        try:
            record = measure(entry, file, truth, options)
        except Unmeasured as reason:
            found["missing"].append(f"{entry.label}: not measured: {reason}")
            say(found["missing"][-1])
            continue
        say(f"  ESS/s {spread(_of(record, 'ess_per_s'))}, warm s {spread(_of(record, 'total_s'))}")
        found["records"].append(record)
        if entry.family == "stan":
            found["records"].append(by_own_clock(record))
        found["ratios"] = ratios(found["records"])
        yield found
    if whole:
        found["whole"], found["whole_missing"] = whole_processes(file, whole, options)
    yield found


if __name__ == "__main__":
    main()
