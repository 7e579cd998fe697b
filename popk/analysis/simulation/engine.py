"""The simulation itself: one compiled program, mapped over subjects, block after block.

Every subject has its own draw of the population (unless parameters are certain), its own etas and
residual errors, from a random key of its own number: neither the size of blocks nor the number of
threads changes what it is given. Concentrations come from the model's `predict`; exposure is
exact (`popk.pk.exposure`), not summed over a grid of times.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from popk.analysis.simulation.source import Source
from popk.data.dataset import Dataset
from popk.data.regimens import Schedule
from popk.inference.programs import kept
from popk.inference.threads import in_order
from popk.pk.exposure import area, time_above
from popk.population.model import Model
from popk.population.planned import Given, Layout, events_of, given, planned, rounded
from popk.population.simulated import drawn_values

BLOCK = 8192
"""Subjects that are made together; part of what a seed means."""
MOST = 150_000
"""Subjects times steps that are computed at once: what fits the processor's cache. It bounds the
memory and changes no number."""


class Switches(NamedTuple):
    """What varies: subjects by their etas, measured values by residual error.

    Uncertainty of the parameters is switched where the population values come from.
    """

    variability: bool = True
    residual: bool = True


class Simulated(NamedTuple):
    """Consecutive subjects; units are the model's.

    Attributes
    ----------
    first
        Number of the first one, from 0.
    cohort
        The subjects and their covariates.
    concentration
        [subject, time] without residual error.
    measured
        [subject, time] as an assay without limits would report it; None without residual error.
    CL, V
        [subject] in the parameters' own units, at baseline.
    Css
        [subject] rate/CL of the infusion that lasts longest, at its end; NaN without one.
    AUC
        [subject] from the first to the last time that was asked for.
    t90
        [subject] time to 90 % of a new steady state after any change of rate, ln(10) V/CL, at
        baseline.
    above
        [subject, threshold] time above each threshold, from the first to the last time.
    """

    first: int
    cohort: Dataset
    concentration: Float[np.ndarray, "subject time"]
    measured: Float[np.ndarray, "subject time"] | None
    CL: Float[np.ndarray, " subject"]
    V: Float[np.ndarray, " subject"]
    Css: Float[np.ndarray, " subject"]
    AUC: Float[np.ndarray, " subject"]
    t90: Float[np.ndarray, " subject"]
    above: Float[np.ndarray, "subject threshold"]


class Task(NamedTuple):
    """What is simulated.

    Attributes
    ----------
    source, switches
        Population values, and what varies.
    cohort
        From a block's number and its size to its subjects; blocks have `BLOCK` subjects but for
        the last one.
    schedule
        From subjects to their doses; times are the same for all.
    times
        When concentrations are wanted, in the cohort's unit, rising.
    thresholds
        Concentrations, in the model's unit.
    subjects, seed
        How many subjects, and of all random numbers.
    precision
        "float32" is faster; "float64" agrees with a fit's predictions to rounding.
    """

    source: Source
    switches: Switches
    cohort: Callable[[int, int], Dataset]
    schedule: Callable[[Dataset], Schedule]
    times: Float[np.ndarray, " time"]
    thresholds: Sequence[float]
    subjects: int
    seed: int
    precision: str = "float64"


def simulated(task: Task) -> Iterator[Simulated]:
    """Simulate; subjects come in their order, a few thousand at a time.

    Raises
    ------
    popk.PopkError
        If the cohort lacks a covariate that the model or the regimen needs.
    """
    with jax.enable_x64(task.precision == "float64"):
        first = task.cohort(0, min(task.subjects, BLOCK))
        schedule = task.schedule(first)
        layout = rounded(planned(task.source.model.spec, first, schedule, task.times))
        together = _together(min(task.subjects, BLOCK), len(layout.duration))
        doses, times = layout.running.shape[1], len(task.times)
        run = _program(task.source.model, task.switches)
        dtype = jnp.zeros(0).dtype
        fixed = jax.tree.map(
            lambda a: jnp.asarray(a, dtype if np.asarray(a).dtype.kind == "f" else None),
            (task.source.sites, layout, _window(layout), _main(schedule), tuple(task.thresholds)),
        )
        key = jax.random.key(task.seed)

        def block(number: int) -> Simulated:
            begin = number * BLOCK
            count = min(BLOCK, task.subjects - begin)
            cohort = first if number == 0 else task.cohort(number, count)
            own = given(task.source.model.spec, cohort, task.schedule(cohort))
            own = own._replace(size=_widened(own.size, doses))
            found = []
            for low in range(0, count, together):
                high = min(low + together, count)
                part = jax.tree.map(lambda a, s=slice(low, high): _filled(a[s], together), own)
                index = begin + low + np.arange(together)
                arrays = [np.asarray(a) for a in run(key, index, part, *fixed)]
                found.append([a[: high - low] for a in arrays])
            curve, dv, *rest = (np.concatenate(parts) for parts in zip(*found, strict=True))
            measured = dv[:, :times] if task.switches.residual else None
            return Simulated(begin, cohort, curve[:, :times], measured, *rest)

        yield from in_order(block, range(math.ceil(task.subjects / BLOCK)))


def _together(subjects: int, steps: int) -> int:
    """Subjects that are computed at once: a power of two, so that programs serve other numbers."""
    most = max(MOST // steps, 1)
    return 2 ** min(math.ceil(math.log2(subjects)), int(math.log2(most)))


def _widened(size: np.ndarray, doses: int) -> np.ndarray:
    """Room for doses that there are none of."""
    return np.pad(size, [(0, 0), (0, doses - size.shape[1])])


def _filled(values: np.ndarray, count: int) -> np.ndarray:
    """The last part of a block is filled up with its last subject."""
    missing = count - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values


def _window(layout: Layout) -> Float[np.ndarray, " step"]:
    """1 for the steps that lie between the first and the last time."""
    step = np.arange(len(layout.duration))
    return ((step > layout.output[0]) & (step <= layout.output[-1])).astype(float)


def _main(schedule: Schedule) -> int:
    """The infusion that lasts longest, the first of several; -1 without one."""
    return int(np.argmax(schedule.duration)) if (schedule.duration > 0).any() else -1


_Program = Callable[..., tuple[Array, ...]]


def _program(model: Model, switches: Switches) -> _Program:
    """Compiled once for a model: everything else is an argument."""
    key = (model.spec.model_dump_json(), "simulation", switches)
    return kept(key, lambda: jax.jit(_mapped(model, switches)))


def _mapped(model: Model, switches: Switches) -> _Program:
    def all_of(
        key: Array,
        index: Int[Array, " subject"],
        own: Given,
        sites: Mapping[str, Array],
        layout: Layout,
        window: Float[Array, " step"],
        main: Int[Array, ""],
        thresholds: tuple[Array, ...],
    ) -> tuple[Array, ...]:
        def one(index: Array, own: Given) -> tuple[Array, ...]:
            draw, values, errors = jax.random.split(jax.random.fold_in(key, index), 3)
            held = _one_draw(draw, sites)
            return _subject(
                model, switches, (values, errors), held, layout, own, window, main, thresholds
            )

        return jax.vmap(one)(index, own)

    return all_of


def _one_draw(key: Array, sites: Mapping[str, Array]) -> dict[str, Array]:
    if not sites:
        return {}
    place = jax.random.randint(key, (), 0, len(next(iter(sites.values()))))
    return {name: values[place] for name, values in sites.items()}


def _subject(
    model: Model,
    switches: Switches,
    keys: tuple[Array, Array],
    held: Mapping[str, Array],
    layout: Layout,
    own: Given,
    window: Float[Array, " step"],
    main: Int[Array, ""],
    thresholds: tuple[Array, ...],
) -> tuple[Array, ...]:
    """One subject; in the order of the attributes of `Simulated` from `concentration` on."""
    events = events_of(layout, *own)
    values = drawn_values(model, keys[0], events, held)
    if not switches.variability:
        values = {name: value for name, value in values.items() if not name.startswith("eta_")}
    prediction = model.predict(values, events)
    log_c = prediction.log_concentration
    measured = model.observation(log_c, values, events).sample(keys[1]) if switches.residual \
        else log_c  # fmt: skip
    cl, v = (a[0] for a in model.in_liters(prediction.parameters))
    steps = jax.tree.map(lambda a: a[0], events.steps)
    concentration = jnp.exp(log_c[0])
    amount = concentration / model.per_liter  # per L
    # One value where nothing changes: the closed forms take it for all steps
    own_cl, own_v = (a[0] if a.shape[0] == 1 else a for a in (cl, v))
    under = (area(steps, own_cl, own_v, amount) * window).sum() * model.per_liter
    above = [
        (time_above(steps, own_cl, own_v, amount, limit / model.per_liter) * window).sum()
        for limit in thresholds
    ]
    runs = layout.running[:, main] > 0
    last = jnp.max(jnp.where(runs, jnp.arange(len(runs)), -1))
    cl_then = cl[0] if cl.shape[0] == 1 else cl[last]
    css = jnp.where(main >= 0, own.size[main] / cl_then * model.per_liter, jnp.nan)
    return (
        concentration[layout.output],
        measured[0, layout.output],
        prediction.parameters["CL"][0, 0],
        prediction.parameters["V"][0, 0],
        css,
        under,
        math.log(10.0) * v[0] / cl[0],
        jnp.stack(above) if above else jnp.zeros(0, log_c.dtype),
    )
