"""A subject's concentrations over time, in draws of its posterior."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from popk.analysis.dosing.posterior import OnePosterior
from popk.data.dataset import Dataset
from popk.data.grid import at_times
from popk.inference.one_subject import padded
from popk.inference.programs import kept
from popk.population.events import Events, arrange
from popk.population.model import Model
from popk.population.subjects import varied

EVENLY, MOST = 120, 600
"""Times that are evenly spaced over the whole course, and most times beside them."""
COMPUTED = 2_000_000
"""Draws times steps that are computed: fewer draws where a history is very long."""
HALF_LIVES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
"""Further times after each change of what is given, in half-lives."""


def course(
    model: Model, data: Dataset, posterior: OnePosterior, half_life: float, seed: int
) -> pd.DataFrame:
    """Concentrations at times that show every rise and fall, and at the samples.

    Parameters
    ----------
    model, data
        The model, and one subject.
    posterior
        Of that subject.
    half_life
        A typical one, in the data's unit of time.
    seed
        Of the residual errors.

    Returns
    -------
    DataFrame
        ``TIME`` in the data's unit, rising; ``median``, ``q5``, ``q95`` of the concentration,
        without residual error; ``measured_q5``, ``measured_q95``: 90 % prediction interval of a
        measured value. In the model's unit of concentration. Units stand in ``attrs["units"]``.
    """
    times = course_times(data, half_life)
    concentration, measured = concentrations(model, data, posterior, times, seed)
    low, middle, high = np.quantile(concentration, [0.05, 0.5, 0.95], axis=0)
    below, above = np.quantile(measured, [0.05, 0.95], axis=0)
    table = pd.DataFrame(
        {
            "TIME": times,
            "median": middle,
            "q5": low,
            "q95": high,
            "measured_q5": below,
            "measured_q95": above,
        }
    )
    units = model.spec.units
    table.attrs["units"] = {
        "TIME": data.units.time or units.time,
        "concentration": units.concentration,
    }
    return table


def course_times(data: Dataset, half_life: float) -> Float[np.ndarray, " time"]:
    """From the first record until the last dose has all but gone, and all samples are seen."""
    dosed = data.evid[0] == 1
    start = data.time[0, dosed]
    rate = data.rate[0, dosed]
    ends = start + np.where(rate > 0, data.amount[0, dosed] / np.where(rate > 0, rate, 1.0), 0.0)
    changes = np.unique(np.concatenate([start, ends]))
    samples = data.time[data.observed]
    # Of very many changes not each one's rise or fall is shown
    shown = changes[np.linspace(0, changes.size - 1, min(changes.size, MOST)).astype(int)]
    after = np.array((0.0, *HALF_LIVES)) if len(shown) * len(HALF_LIVES) < MOST else np.zeros(1)
    fine = (shown[:, None] + half_life * after).ravel()
    last = max(changes.max() + HALF_LIVES[-1] * half_life, samples.max(initial=0.0))
    first = min(0.0, samples.min(initial=0.0))
    times = np.unique(np.concatenate([np.linspace(first, last, EVENLY), fine, samples]))
    return times[times <= last]


def concentrations(
    model: Model,
    data: Dataset,
    posterior: OnePosterior,
    times: Float[np.ndarray, " time"],
    seed: int,
) -> tuple[Float[np.ndarray, "draw time"], Float[np.ndarray, "draw time"]]:
    """Concentrations in draws of the posterior, without and with residual error.

    In the model's unit; `times` in the data's, rising. A draw has the same residual error, in SDs,
    at all times.
    """
    extended, records = at_times(data, times[None])
    with jax.enable_x64(True):
        events, layout = arrange(model.spec, extended)
        events = padded(events)
        count = len(next(iter(posterior.parameters.values())))
        most = max(COMPUTED // events.observed.shape[1], 1)
        own = np.linspace(0, count - 1, min(most, count)).astype(int)
        values = {name: value[own] for name, value in posterior.values.items()}
        values |= {f"eta_{name}": values[f"eta_{name}"][:, None] for name in varied(model)}
        keys = jax.random.split(jax.random.key(seed), len(own))
        run = kept((model.spec.model_dump_json(), "course"), lambda: jax.jit(_mapped(model)))
        log_c, measured = run(keys, values, events)
    steps = layout.step[0, records[0]]
    return np.exp(np.asarray(log_c)[:, steps]), np.asarray(measured)[:, steps]


def _mapped(model: Model) -> Callable[..., tuple[Array, Array]]:
    def one(
        key: Array, values: Mapping[str, Array], events: Events
    ) -> tuple[Float[Array, " step"], Float[Array, " step"]]:
        def measured(log_c: Array) -> Array:
            # One error for all times of a draw: quantiles over draws are then smooth in time
            return model.observation(log_c, values, events).sample(key)

        log_c = jnp.squeeze(model.predict(values, events).log_concentration, 0)
        return log_c, jax.vmap(measured)(log_c)

    return jax.vmap(one, (0, 0, None))
