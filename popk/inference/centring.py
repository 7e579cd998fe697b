"""How far each subject's parameter is sampled centred: as far as the data know it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from popk.population.condensed import Rows
from popk.population.events import Events
from popk.population.model import Model, Values


def information(
    model: Model, events: Events, values: Values
) -> dict[str, Float[Array, " subject"]]:
    """Fisher information of each subject's data about each log parameter.

    Computed at given `values` (population values, sigmas and etas) for a normal residual;
    a censored row counts as a measured one, which is near enough for a parametrisation.
    """

    def observed_at(shift: dict[str, Array]) -> tuple[Array, Array]:
        shifted = {**values, **{k: values[k] + shift[k] for k in shift}}
        log_c = model.predict(shifted, events).log_concentration
        scale = model.observation(log_c, values, events).scale
        mean, sd = scale.mean, scale.sd
        return mean, sd

    etas = {k: v for k, v in values.items() if k.startswith("eta_")}
    zero = jax.tree.map(jnp.zeros_like, etas)
    out = {}
    for name in etas:
        # Subjects do not share etas: one tangent of ones gives every subject's own slope
        tangent = {**zero, name: jnp.ones_like(etas[name])}
        (_, sd), (slope, _) = jax.jvp(observed_at, (zero,), (tangent,))
        weighed = jnp.where(events.observed, (slope / sd) ** 2, 0.0)
        steps = events.steps
        total = (
            steps.per_subject(weighed, events.subjects)
            if isinstance(steps, Rows)
            else weighed.sum(axis=1)
        )
        out[name.removeprefix("eta_")] = total
    return out


def centring_weights(
    model: Model, events: Events, values: Values
) -> dict[str, Float[Array, " subject"]]:
    """Weights w = I omega² / (1 + I omega²) with I the subject's information.

    They remove the prior correlation between a subject's parameter and its population value
    in the normal-normal model (Papaspiliopoulos et al., Stat Sci 2007;22:59-73, sec. 3).
    """
    known = {**model.fixed(), **values}
    return {
        name: info * known[f"omega_{name}"] ** 2 / (1.0 + info * known[f"omega_{name}"] ** 2)
        for name, info in information(model, events, values).items()
    }
