"""BlackJAX: window adaptation, then NUTS, chains vectorised. Variants: ``noncentred``, ``centred``.

The posterior is a function of unconstrained values: logs of what is positive.
"""

# pyright: reportMissingImports=false

from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from common import INDIVIDUAL, LEAST_LOG_CONCENTRATION, Posterior, Run, Sample, Settings, main
from jax.scipy.stats import norm
from jax_likelihood import log_censored, log_concentration

jax.config.update("jax_enable_x64", True)
POSITIVE = ("TVCL", "TVV", "omega_CL", "omega_V", "sigma")


def constrained(posterior: Posterior, centred: bool, values: dict[str, Any]) -> dict[str, Any]:
    """The quantities that are reported, from the unconstrained values."""
    found = {name: jnp.exp(values[name]) for name in POSITIVE} | {"effect": values["effect"]}
    for name in INDIVIDUAL:
        theta = values[name]
        if not centred:
            theta = _location(posterior, values, name) + found[f"omega_{name}"] * theta
        found[name] = jnp.exp(theta + posterior.log_size[name])
    return found


def _location(posterior: Posterior, values: dict[str, Any], name: str) -> Any:
    if posterior.effect_on == name:
        return values[f"TV{name}"] + values["effect"] * posterior.indicator
    return values[f"TV{name}"]


def log_density(posterior: Posterior, centred: bool, values: dict[str, Any]) -> Any:
    """Log posterior density of the unconstrained values, up to a constant."""
    priors, logs = posterior.priors, {}
    total = norm.logpdf(values["effect"], 0.0, priors["effect"])
    for name in ("omega_CL", "omega_V", "sigma"):
        total += norm.logpdf(jnp.exp(values[name]), 0.0, priors[name]) + values[name]
    for name in INDIVIDUAL:
        median, sigma = priors[f"TV{name}"]
        total += norm.logpdf(values[f"TV{name}"], np.log(median), sigma)
        omega, theta = jnp.exp(values[f"omega_{name}"]), values[name]
        location = _location(posterior, values, name)
        if centred:
            total += norm.logpdf(theta, location, omega).sum()
        else:
            total += norm.logpdf(theta).sum()
            theta = location + omega * theta
        logs[name] = theta + posterior.log_size[name]
    log_c, sigma = log_concentration(posterior, logs["CL"], logs["V"]), jnp.exp(values["sigma"])
    if posterior.error == "lognormal":
        rows = posterior.measured
        total += norm.logpdf(np.log(posterior.dv[rows]), log_c[rows], sigma).sum()
        if posterior.censored.size:
            total += log_censored(posterior, log_c, sigma)
    else:
        c = jnp.exp(jnp.maximum(log_c, LEAST_LOG_CONCENTRATION))
        total += norm.logpdf(posterior.dv, c, sigma * c).sum()
    return total


def start(posterior: Posterior, centred: bool, key: jax.Array) -> dict[str, jax.Array]:
    """Prior medians, each within a factor of e^0.5; etas likewise around 0."""
    medians = {name: 0.6745 * posterior.priors[name] for name in ("omega_CL", "omega_V", "sigma")}
    medians |= {name: posterior.priors[name][0] for name in ("TVCL", "TVV")}
    middle = {name: jnp.log(value) for name, value in medians.items()} | {"effect": jnp.zeros(())}
    for name in INDIVIDUAL:
        centre = middle[f"TV{name}"] if centred else 0.0
        middle[name] = jnp.full(posterior.subjects, centre)
    keys = jax.random.split(key, len(middle))
    return {
        name: value + jax.random.uniform(k, jnp.shape(value), minval=-0.5, maxval=0.5)
        for k, (name, value) in zip(keys, sorted(middle.items()), strict=True)
    }


def prepare(posterior: Posterior, settings: Settings) -> Sample:
    """The whole run as one compiled function of the random key."""
    centred = settings.variant == "centred"

    def density(values: dict[str, Any]) -> Any:
        return log_density(posterior, centred, values)

    def chain(key: jax.Array) -> tuple[dict[str, Any], Any, Any, Any]:
        begin, adapt, draw = jax.random.split(key, 3)
        warmup = blackjax.window_adaptation(
            blackjax.nuts,
            density,
            adaptation_info_fn=lambda state, info, adaptation: info.num_integration_steps,
        )
        (state, parameters), before = warmup.run(
            adapt, start(posterior, centred, begin), num_steps=settings.warmup
        )
        kernel = blackjax.nuts(density, **parameters).step

        def step(state: Any, key: jax.Array) -> tuple[Any, Any]:
            state, info = kernel(key, state)
            kept = constrained(posterior, centred, state.position)
            return state, (kept, info.num_integration_steps, info.is_divergent)

        _, (draws, steps, diverging) = jax.lax.scan(
            step, state, jax.random.split(draw, settings.draws)
        )
        return draws, steps, diverging, before

    chains = jax.jit(jax.vmap(chain))

    def sample(seed: int) -> Run:
        keys = jax.random.split(jax.random.key(seed), settings.chains)
        draws, steps, diverging, before = jax.block_until_ready(chains(keys))
        return Run(
            {name: np.asarray(values) for name, values in draws.items()},
            gradients=int(steps.sum()),
            warmup_gradients=int(before.sum()),
            divergences=int(diverging.sum()),
        )

    return sample


if __name__ == "__main__":
    main(prepare, ("blackjax", "jax", "jaxlib", "numpy"))
