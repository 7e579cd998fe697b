"""nutpie's NUTS on a PyMC model, Numba. Variants: ``noncentred``, ``centred``, ``-lowrank`` added.

``-lowrank`` has nutpie's low-rank modified mass matrix. Zero as the number of warm-up draws stands
for nutpie's default.
"""

# pyright: reportMissingImports=false

from typing import Any

import numpy as np
import nutpie
import pymc as pm
import pytensor.tensor as pt
from common import (
    INDIVIDUAL,
    LEAST_LOG_CONCENTRATION,
    POPULATION,
    Posterior,
    Run,
    Sample,
    Settings,
    main,
)


def log_concentration(posterior: Posterior, log_cl: Any, log_v: Any) -> Any:
    """[row] log concentration for [subject] log CL and log V."""
    k = pt.exp(log_cl - log_v)[posterior.subject]
    amount = pt.zeros(posterior.rows)
    for count, rate, ran, ended in posterior.infusions:
        some = k[:count]
        left = -rate * pt.expm1(-some * ran)
        if ended.any():
            left = left * pt.exp(-some * ended)
        amount = (
            amount + left if count == posterior.rows else pt.inc_subtensor(amount[:count], left)
        )
    if posterior.infusions:
        amount = amount / k
    if posterior.newest_bolus is not None and posterior.other_boluses is not None:
        row, bolus, ended = posterior.other_boluses
        others = bolus * pt.exp(-k[row] * ended)
        amount = pt.inc_subtensor((amount + posterior.newest_bolus)[row], others)
    scale = np.log(posterior.per_liter)
    return pt.log(amount) - k * posterior.since - log_v[posterior.subject] + scale


def build(posterior: Posterior, centred: bool) -> pm.Model:
    """The population model."""
    priors = posterior.priors
    with pm.Model() as model:
        typical = {
            name: pm.LogNormal(f"TV{name}", np.log(median), sigma)
            for name in INDIVIDUAL
            for median, sigma in [priors[f"TV{name}"]]
        }
        effect = pm.Normal("effect", 0.0, priors["effect"])
        sigma = pm.HalfNormal("sigma", priors["sigma"])
        logs = {}
        for name in INDIVIDUAL:
            omega = pm.HalfNormal(f"omega_{name}", priors[f"omega_{name}"])
            location = pt.log(typical[name])
            if posterior.effect_on == name:
                location = location + effect * posterior.indicator
            if centred:
                theta = pm.Normal(f"theta_{name}", location, omega, shape=posterior.subjects)
            else:
                z = pm.Normal(f"z_{name}", 0.0, 1.0, shape=posterior.subjects)
                theta = location + omega * z
            logs[name] = theta + posterior.log_size[name]
            pm.Deterministic(name, pt.exp(logs[name]))
        log_c = log_concentration(posterior, logs["CL"], logs["V"])
        rows = posterior.measured
        if posterior.error == "lognormal":
            observed = np.log(posterior.dv[rows])
            mean = log_c[rows] if posterior.censored.size else log_c
            pm.Normal("log_DV", mean, sigma, observed=observed)
            if posterior.censored.size:
                some = posterior.censored
                z = posterior.sign[some] * (np.log(posterior.bound[some]) - log_c[some]) / sigma
                pm.Potential("censored", pm.logcdf(pm.Normal.dist(), z).sum())
        else:
            c = pt.exp(pt.maximum(log_c, LEAST_LOG_CONCENTRATION))
            pm.Normal("DV", c, sigma * c, observed=posterior.dv)
    return model


def prepare(posterior: Posterior, settings: Settings) -> Sample:
    """Compile once for all seeds."""
    form, *low_rank = settings.variant.split("-")
    compiled = nutpie.compile_pymc_model(build(posterior, form == "centred"), backend="numba")

    def sample(seed: int) -> Run:
        found: Any = nutpie.sample(
            compiled,
            draws=settings.draws,
            tune=settings.warmup or None,
            chains=settings.chains,
            seed=seed,
            progress_bar=False,
            low_rank_modified_mass_matrix=bool(low_rank),
        )
        stats, before = found.sample_stats, found.warmup_sample_stats
        return Run(
            {name: found.posterior[name].values for name in POPULATION + INDIVIDUAL},
            gradients=int(stats["n_steps"].sum()),
            warmup_gradients=int(before["n_steps"].sum()),
            divergences=int(stats["diverging"].sum()),
            notes={"warmup": before.sizes["draw"]},
        )

    return sample


if __name__ == "__main__":
    main(prepare, ("pymc", "nutpie", "pytensor", "numba", "numpy"))
