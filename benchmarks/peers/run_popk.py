"""popk itself, run as its peers are. Variants: ``ess-400``, ``ess-4000``, or another size.

The seconds of a run are those of `popk.fit`: mode search, warm-up, the gate each time it is asked,
sampling, log likelihoods, diagnostics.
"""

import numpy as np
from common import INDIVIDUAL, POPULATION, Posterior, Run, Sample, Settings, main

import popk
from popk.study.folder import open_study


def prepare(posterior: Posterior, settings: Settings) -> Sample:
    """The fit folder lies beside the file of numbers. `settings.draws` is the most per chain."""
    study = open_study(posterior.file.parent / "fits" / posterior.file.stem)
    ess = float(settings.variant.removeprefix("ess-"))
    effect = posterior.numbers["effect_name"]

    def sample(seed: int) -> Run:
        fit = popk.fit(
            study.model, study.data, ess=ess, draws=settings.draws, seed=seed, synthetic=True
        )
        draws = {**fit.samples.draws, "effect": fit.samples.draws[effect]}
        seconds, method, stats = fit.provenance.seconds, fit.samples.method, fit.samples.stats
        return Run(
            {name: np.asarray(draws[name]) for name in POPULATION + INDIVIDUAL},
            gradients=int(np.sum(stats["steps"])),
            divergences=int(np.sum(stats["diverging"])),
            sampling_s=seconds.get("sampling"),
            notes={
                "seconds": dict(seconds),
                "sampler": method["name"],
                "because": method.get("instead of ensemble because"),
                "converged": fit.converged,
                "precision": fit.provenance.precision,
            },
        )

    return sample


if __name__ == "__main__":
    main(prepare, ("popk", "jax", "jaxlib", "numpy"))
