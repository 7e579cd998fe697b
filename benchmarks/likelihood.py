"""FOCEI beside R's nlme: seconds of a fit, warm and as a whole process.

``python -m benchmarks.likelihood [--repeats 5]`` fits phenobarb-neonates and, where the file is
there, the single doses of infusion_1cpt.csv, and writes likelihood.json and likelihood.md. nlme
alternates linear mixed-effects steps (Lindstrom & Bates, Biometrics 1990;46:673-87): another
approximation of the same likelihood, so that the estimates differ a little. Where Rscript or nlme
is missing its figures are "not measured".
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import cores_worth, processor, versions

ROOT = Path(__file__).parents[1]
PHENOBARB = ROOT / "fits" / "phenobarb-neonates" / "data.csv"
INFUSION = ROOT.parent / "shared" / "data" / "infusion_1cpt.csv"
SCRIPT = Path(__file__).with_name("peers") / "nlme.R"
OUTPUT = Path(__file__).with_name("likelihood.json")
QUANTITIES = ("TVCL", "TVV", "omega_CL", "omega_V", "sigma")


def fitted(name: str) -> dict[str, Any]:
    """Seconds of a first and a second FOCEI fit in this process, and the estimates."""
    from popk.population.model import Model
    from popk.spec.fit import Sampler
    from popk.study.compiled import keep_compiled
    from popk.study.folder import open_study
    from popk.study.maximum import maximum

    keep_compiled()
    if name == "phenobarb":
        study = open_study(PHENOBARB.parent)
        model, data = study.model, study.data
    else:
        import popk

        model: Model = popk.load_model(ROOT / "models" / "infusion_1cpt.toml")
        units = {"TIME": "h", "AMT": "ug", "DV": "ug/L"}
        columns: dict[str, Any] = {column: {"unit": unit} for column, unit in units.items()}
        columns |= {"SS": {"ignore": True}, "II": {"ignore": True}}
        rows = {"accept": {"SD": [1.0]}, "ignore": {"EVID": [2.0]}}
        data = popk.read_data(INFUSION, columns=columns, rows=rows)
    seconds = []
    begun = time.perf_counter()
    maximum(model, data, Sampler(method="focei"))
    seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    found = maximum(model, data, Sampler(method="focei"))
    seconds.append(time.perf_counter() - begun)
    estimates = {quantity: found.estimate[quantity] for quantity in QUANTITIES}
    ended = {"ended": found.converged, "OFV": found.estimate.ofv}
    return {"first": seconds[0], "second": seconds[1], **estimates, **ended}


def process(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """What a command printed last, as JSON, and the seconds of its whole process."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, check=False, cwd=ROOT
    )
    whole = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")
    return {**json.loads(done.stdout.strip().splitlines()[-1]), "whole": whole}


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The runs as one: medians of seconds, the rest as in the last."""
    times = {
        key: round(median(run[key] for run in runs), 3) for key in ("first", "second", "whole")
    }
    return {**runs[-1], **times}


def measured(name: str, file: Path, repeats: int) -> dict[str, Any]:
    """Whole processes with empty and with filled caches, and fits in a warm process."""
    own = [sys.executable, "-W", "ignore", "-m", "benchmarks.likelihood", "--one", name]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as cache:
        runs: dict[str, list[dict[str, Any]]] = {"empty": [], "filled": []}
        for repeat in range(repeats):
            environment = os.environ | {"XDG_CACHE_HOME": str(Path(cache) / str(repeat))}
            for state in runs:
                runs[state].append(process(own, environment))
        found |= {f"popk, {state} caches": medians(each) for state, each in runs.items()}
    rscript = shutil.which("Rscript")
    if rscript is None:
        return found
    try:
        command = [rscript, str(SCRIPT), name, str(file)]
        found["nlme"] = medians([process(command, os.environ) for _ in range(repeats)])
    except RuntimeError as error:
        found["nlme"] = {"missing": str(error)}
    return found


def report(result: Mapping[str, Any]) -> str:
    """The figures as tables."""
    lines = [
        "# FOCEI beside R's nlme",
        "",
        f"`{result['command']}`, {result['machine']} (all cores do {result['cores_worth']} times "
        f"the work of one); {result['versions']}. Medians of {result['repeats']} runs.",
    ]
    for name, found in result["data"].items():
        lines += [
            "",
            f"## {name}",
            "",
            "| | whole process, s | first fit in it, s | second fit, s | "
            + " | ".join(QUANTITIES)
            + " |",
            "|---|" + "---|" * (3 + len(QUANTITIES)),
        ]
        for who in ("popk, empty caches", "popk, filled caches", "nlme"):
            own = found.get(who, {"missing": "Rscript is not installed"})
            if "missing" in own:
                lines.append(f"| {who} | not measured: {own['missing']} |" + " |" * 7)
                continue
            seconds = [f"{own[key]:.2f}" for key in ("whole", "first", "second")]
            values = [f"{own[quantity]:.4g}" for quantity in QUANTITIES]
            title = f"{who} ({own['version']})" if "version" in own else who
            lines.append(f"| {title} | {' | '.join([*seconds, *values])} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", choices=("phenobarb", "infusion"), help="fit in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(fitted(options.one)))
        return
    files = {"phenobarb": PHENOBARB, "infusion": INFUSION}
    result = {
        "command": " ".join(["python -m benchmarks.likelihood", *sys.argv[1:]]),
        "machine": processor(),
        "cores_worth": round(cores_worth(), 2),
        "versions": versions("popk", "jax", "jaxlib", "numpyro", "numpy", "scipy"),
        "repeats": options.repeats,
        "data": {
            name: measured(name, file, options.repeats)
            for name, file in files.items()
            if file.exists()
        },
    }
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
    OUTPUT.with_suffix(".md").write_text(report(result))
    print(report(result))


if __name__ == "__main__":
    main()
