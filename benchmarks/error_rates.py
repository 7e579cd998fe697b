"""How often the tests of a covariate effect err, and find what is there: simulated studies.

``python -m benchmarks.error_rates [--trials 1000]`` simulates studies (SYNTHETIC) on the design of
fits/blinatumomab-infants, without an effect of age below 6 months on CL and with a ratio of 0.5,
puts every test of `popk covariates` to each, and writes error_rates.json and error_rates.md.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import jax

from benchmarks.batch import LIMIT, ROOT, TRUTH
from benchmarks.machine import processor, versions
from popk.analysis.covariates.criteria import judge, rates
from popk.spec.fit import Sampler
from popk.study.compiled import keep_compiled
from popk.study.folder import open_study

OUTPUT = Path(__file__).with_name("error_rates.json")
RATIOS = (1.0, 0.5)
"""True ratios of CL below 6 months to CL above."""


def watch(what: str, done: int, of: int) -> None:
    """One line a step, on standard error."""
    if done == of or done % 64 == 0:
        print(f"{what}: {done}/{of}", file=sys.stderr, flush=True)


def report(result: dict[str, Any]) -> str:
    """The rates as a table."""
    criteria = list(result["rates"]["1.0"])
    lines = [
        "# Error rates of the tests of a covariate effect (SYNTHETIC studies)",
        "",
        f"`{result['command']}`, {result['machine']}; {result['versions']}.",
        f"{result['trials']} studies for each true ratio of CL, age below 6 months against above, "
        "on the design of fits/blinatumomab-infants "
        f"({result['infants'][0]} infants below, {result['infants'][1]} above); "
        f"other values: {', '.join(f'{k} {v:g}' for k, v in result['values'].items())}; "
        f"prior of the effect normal(0, 0.5); {result['seconds'] / 60:.0f} minutes in all.",
        "",
        "| criterion | no effect, ratio 1 | ratio 0.5 |",
        "|---|---|---|",
    ]
    for name in criteria:
        cells = []
        for ratio in result["rates"]:
            own = result["rates"][ratio][name]
            of = "" if own["trials"] == result["trials"] else f" of {own['trials']}"
            cells.append(f"{100 * own['rate']:.1f} ± {100 * own['error']:.1f} %{of}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Simulate, fit, and write the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--predicted", type=int, default=200, help="with leave-one-subject-out")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    keep_compiled()
    study = open_study(ROOT / "fits" / "blinatumomab-infants")
    (effect,) = study.model.spec.covariates
    begun = time.perf_counter()
    found = {}
    for place, ratio in enumerate(RATIOS):
        judged = judge(
            jax.random.fold_in(jax.random.key(options.seed), place),
            study.model,
            study.data,
            effect,
            TRUTH | {effect.name: math.log(ratio)},
            options.trials,
            settings=Sampler(seed=options.seed, precision="float32"),
            below=LIMIT,
            predicted=min(options.predicted, options.trials),
            watch=watch,
        )
        found[str(ratio)] = rates(judged).to_dict("index")
    ages = study.data.covariates["AGE"][:, 0]
    result = {
        "command": " ".join(["python -m benchmarks.error_rates", *sys.argv[1:]]),
        "machine": processor(),
        "versions": versions("popk", "jax", "jaxlib", "numpyro", "numpy"),
        "seconds": round(time.perf_counter() - begun, 1),
        "trials": options.trials,
        "infants": [int((ages < 6.0).sum()), int((ages >= 6.0).sum())],
        "values": {k: v for k, v in TRUTH.items() if k != effect.name},
        "rates": found,
    }
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
    OUTPUT.with_suffix(".md").write_text(report(result))
    print(report(result))


if __name__ == "__main__":
    main()
