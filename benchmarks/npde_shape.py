"""Is the shape of phenobarb's NPDE a matter of the model's other parts?

``python -m benchmarks.npde_shape`` fits the weight-scaled model of fits/phenobarb-neonates with
other residual errors and other kinds of variability, and prints for each the tests of its NPDE,
with the replicates of two seeds. About two minutes.
"""

import copy
from typing import Any

import numpy as np

from benchmarks.batch import ROOT
from popk.analysis.checking.residuals import npde_tests
from popk.analysis.npde import normality
from popk.analysis.observations import observations
from popk.population.model import Model
from popk.spec.fit import Sampler
from popk.spec.model import ModelSpec
from popk.study.compiled import keep_compiled
from popk.study.fit import fit
from popk.study.folder import open_study

SEEDS = (1, 2)
LOWEST = 2
HALFNORMAL = {"prior": "halfnormal", "scale": 0.5}


def variants(base: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The model as it is, and with one part changed."""
    found = {"as it is": base}
    found["correlated etas"] = base | {
        "correlation": {"parameters": ["CL", "V"], "concentration": 2.0}
    }
    additive = {"prior": "halfnormal", "scale": 5.0}
    found["additive error"] = base | {"residual": {"error": "additive", "sd": additive}}
    found["log-normal error"] = base | {"residual": {"error": "lognormal", "sd": HALFNORMAL}}
    found["combined error"] = base | {
        "residual": {"error": "combined", "additive": {"prior": "halfnormal", "scale": 2.0},
                     "proportional": HALFNORMAL}
    }  # fmt: skip
    heavy = copy.deepcopy(base)
    for parameter in heavy["parameters"].values():
        parameter["variability"] |= {"distribution": "student_t", "df": 4.0}
    found["Student-t variability"] = heavy
    return found


def main() -> None:
    """Fit each variant and print its tests."""
    keep_compiled()
    study = open_study(ROOT / "fits" / "phenobarb-neonates")
    print(
        "| model | converged | seed | mean | SD | shape, p x 3 | trends, p |\n" + "|---" * 7 + "|"
    )
    for name, content in variants(study.model.spec.model_dump()).items():
        own = fit(Model(ModelSpec.model_validate(content)), study.data, Sampler(seed=1))
        for seed in SEEDS:
            table = observations(own, seed=seed)
            found = npde_tests(table)
            print(
                f"| {name} | {own.converged} | {seed} | {found.mean:+.2f} | {found.sd:.2f} | "
                f"{min(1.0, 3 * found.whole.shape):.4f} | {found.trend_p:.2f} |",
                flush=True,
            )
            if name == "as it is":
                values = np.sort(table["NPDE"].to_numpy(float))[LOWEST:]
                p = min(1.0, 3 * normality(values).shape)
                print(f"| without its {LOWEST} lowest values | | {seed} | | | {p:.4f} | |")


if __name__ == "__main__":
    main()
