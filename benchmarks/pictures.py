"""The pictures and the sample figures of README.md, from the two studies in fits/.

    python -m benchmarks.pictures        (or: make pictures; some minutes)

Every picture and every figure is what a command of popk writes, in a copy of fits/ and models/: the
results that are there are used, and where there are none the study is fitted first. Writes
benchmarks/pictures/*.svg, benchmarks/power.svg (drawn again from power.json, without simulating
trials again) and benchmarks/readme.json, with which a test compares README.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from popk.report.plots.power import power
from popk.report.plots.style import svg

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
INFANTS = "fits/blinatumomab-infants"
SHOWN = ("median", "q5", "q95", "cv_percent", "shrinkage", "rhat", "ess_bulk", "ess_tail")
"""Columns of the parameter table that README.md shows."""
CHECKS = ("outlying subjects", "shrinkage", "Css and CL of the sample", "kind of variability")
TESTS = (
    "ratio", "q2_5", "q5", "q95", "q97_5", "inside", "verdict", "BF01", "BF01_error", "loso",
    "loso_error", "dOFV", "p", "classical_p", "classical_value", "classical_q2_5",
    "classical_q97_5",
)  # fmt: skip
WINDOW = ("--window", "500 to 900 pg/mL", "--age-groups", "6 month")


def main() -> None:
    """Run the commands and keep what README.md shows of them."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        project = Path(place)
        for name in ("fits", "models"):
            shutil.copytree(HERE.parent / name, project / name)
        for study in sorted((project / "fits").iterdir()):
            if not (study / "results").exists():
                popk(project, "fit", f"fits/{study.name}")
        figures = project / "figures"
        popk(project, "plot", INFANTS, "--what", "vpc,forest", "--out", str(figures))
        popk(project, "simulate", INFANTS, "--regimen", "standard", "--regimen", "interruption",
             "--subjects", "1000", "--out", str(figures))  # fmt: skip
        for name in ("vpc", "forest", "profiles"):
            shutil.copy(figures / f"{name}.svg", PICTURES / f"{name}.svg")
        told = readme(project)
    (HERE / "readme.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    (HERE / "power.svg").write_text(svg(power(of_grid(json.loads(read("power.json"))))))


def readme(project: Path) -> dict[str, Any]:
    """The figures that README.md shows, as the commands give them."""
    summary = as_json(project, "summary", INFANTS)
    checks = as_json(project, "diagnose", INFANTS)
    tests = as_json(project, "covariates", INFANTS)
    target = as_json(project, "target", INFANTS, *WINDOW)
    (effect,) = tests["single"].values()
    return {
        "synthetic": summary["synthetic"],
        "parameters": {
            name: {"unit": row["unit"], **{key: row[key] for key in SHOWN}}
            for name, row in summary["parameters"].items()
        },
        "paper_line": summary["paper_line"],
        "checks": {v["check"]: v for v in checks["verdicts"] if v["check"] in CHECKS},
        "other_outcomes": sorted(
            {v["outcome"] for v in checks["verdicts"] if v["check"] not in CHECKS}
        ),
        "covariates": {key: effect[key] for key in TESTS},
        "target": target["best"],
    }


def popk(project: Path, *arguments: str) -> str:
    """What the command prints; a check that failed (exit code 3) is no fault of the command."""
    command = [sys.executable, "-c", "from popk.cli import main; main()", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        sys.exit(f"popk {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


def as_json(project: Path, *arguments: str) -> dict[str, Any]:
    """The same as JSON."""
    return json.loads(popk(project, *arguments, "--json"))


def read(name: str) -> str:
    """A result that is kept beside this file."""
    return (HERE / name).read_text(encoding="utf-8")


def of_grid(kept: dict[str, Any]) -> Any:
    """What the figure of a grid looks at, from what `popk power` has written of it."""
    cells = pd.DataFrame(kept["cells"]).set_index(["infants", "ratio"])
    if "lr" not in cells:
        cells["lr"] = float("nan")  # a grid without --likelihood-ratio
    return SimpleNamespace(
        power=SimpleNamespace(
            cells=cells,
            effect=kept["effect"],
            label=kept["compares"],
            infants=tuple(cells.index.unique("infants")),
            ratios=tuple(cells.index.unique("ratio")),
            no_effect=tuple(kept["no_effect"]),
        )
    )


if __name__ == "__main__":
    main()
