"""NumPyro's NUTS. Variants: ``parallel``, ``threads`` or ``vectorized``, ``-[non]centred``.

``parallel`` maps the chains over host devices, as NumPyro's own chain method does; XLA runs a small
program of several devices one after the other, so ``threads`` has one thread for each core. A
target acceptance other than 0.8 may follow: ``threads-noncentred-0.95``.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpyro

numpyro.set_host_device_count(4)  # before JAX is used

# ruff: noqa: E402
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
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
from jax_likelihood import log_censored, log_concentration
from numpyro.infer import MCMC, NUTS, init_to_median

numpyro.enable_x64()


def model(posterior: Posterior, centred: bool) -> None:
    """The population model."""
    priors = posterior.priors
    typical = {
        name: numpyro.sample(f"TV{name}", dist.LogNormal(np.log(median), sigma))
        for name in INDIVIDUAL
        for median, sigma in [priors[f"TV{name}"]]
    }
    effect = numpyro.sample("effect", dist.Normal(0.0, priors["effect"]))
    sigma = numpyro.sample("sigma", dist.HalfNormal(priors["sigma"]))
    logs = {}
    for name in INDIVIDUAL:
        omega = numpyro.sample(f"omega_{name}", dist.HalfNormal(priors[f"omega_{name}"]))
        location = jnp.log(typical[name])
        if posterior.effect_on == name:
            location = location + effect * posterior.indicator
        with numpyro.plate("subject", posterior.subjects):
            if centred:
                theta = numpyro.sample(f"theta_{name}", dist.Normal(location, omega))
            else:
                z = numpyro.sample(f"z_{name}", dist.Normal(0.0, 1.0))
                theta = location + omega * z
        logs[name] = theta + posterior.log_size[name]
        numpyro.deterministic(name, jnp.exp(logs[name]))
    log_c = log_concentration(posterior, logs["CL"], logs["V"])
    rows = posterior.measured
    if posterior.error == "lognormal":
        observed = np.log(posterior.dv[rows])
        numpyro.sample("log_DV", dist.Normal(log_c[rows], sigma), obs=observed)
        if posterior.censored.size:
            numpyro.factor("censored", log_censored(posterior, log_c, sigma))
    else:
        c = jnp.exp(jnp.maximum(log_c, LEAST_LOG_CONCENTRATION))
        numpyro.sample("DV", dist.Normal(c, sigma * c), obs=posterior.dv)


def prepare(posterior: Posterior, settings: Settings) -> Sample:
    """The whole run as one compiled function of the random keys, so that warm runs do not compile.

    ``MCMC.run`` by itself compiles again at every call.
    """
    method, form, *accept = settings.variant.split("-")
    together = method == "vectorized"

    def run(key: jax.Array) -> dict[str, jax.Array]:
        mcmc = MCMC(
            NUTS(
                model,
                init_strategy=init_to_median,
                target_accept_prob=float(accept[0]) if accept else 0.8,
            ),
            num_warmup=settings.warmup,
            num_samples=settings.draws,
            num_chains=settings.chains if together else 1,
            chain_method="vectorized" if together else "sequential",
            progress_bar=False,
        )
        mcmc.run(key, posterior, form == "centred", extra_fields=("num_steps",))
        found = mcmc.get_samples(group_by_chain=True)
        kept = {name: found[name] for name in POPULATION + INDIVIDUAL}
        return kept | mcmc.get_extra_fields(group_by_chain=True)

    one_by_one = jax.jit(run)
    side_by_side = jax.pmap(run)

    def chains(key: jax.Array) -> dict[str, np.ndarray]:
        if method == "vectorized":
            return {name: np.asarray(a) for name, a in one_by_one(key).items()}
        keys = jax.random.split(key, settings.chains)
        if method == "parallel":
            return {name: np.asarray(a)[:, 0] for name, a in side_by_side(keys).items()}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(lambda key: jax.block_until_ready(one_by_one(key)), keys))
        return {name: np.concatenate([np.asarray(f[name]) for f in found]) for name in found[0]}

    def sample(seed: int) -> Run:
        found = chains(jax.random.key(seed))
        return Run(
            {name: found[name] for name in POPULATION + INDIVIDUAL},
            gradients=int(found["num_steps"].sum()),
            divergences=int(found["diverging"].sum()),
        )

    return sample


if __name__ == "__main__":
    main(prepare, ("numpyro", "jax", "jaxlib", "numpy"))
