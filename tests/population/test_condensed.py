"""Condensed events say what all events say."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from popk.population import gathering
from popk.population.condensed import (
    Rows,
    censored_last,
    condense,
    trial_axes,
    with_slots,
)
from popk.population.events import arrange
from popk.population.flat import flatten
from popk.population.model import Model

HALFNORMAL = {"prior": "halfnormal", "scale": 0.5}
COMBINED = {"error": "combined", "additive": HALFNORMAL, "proportional": HALFNORMAL}
HEADER = "ID,TIME,AMT,RATE,ADDL,II,SS,DV,EVID,MDV,CENS,LIMIT"


def dose(who, time, amount, rate=0, addl=0, interval=0, ss=0):
    return f"{who},{time},{amount},{rate},{addl},{interval},{ss},.,1,1,0,."


def sample(who, time, dv, cens=0, limit="."):
    return f"{who},{time},0,0,0,0,0,{dv},0,0,{cens},{limit}"


INFUSIONS = [
    dose("A", 0, 20, 10),
    sample("A", 1, 2.1),
    sample("A", 5, 2.6),
    dose("A", 6, 30, 10),
    dose("A", 9, 30, 10),  # goes on at the same rate
    sample("A", 11, 7.1),
    sample("A", 40, 0.5, 1, 0.25),
    dose("B", 0, 40, 5),
    dose("B", 3, 40, 8),
    sample("B", 4, 6),
    "B,10,0,0,0,0,0,.,3,1,0,.",
    sample("B", 11, 0.5, 1),
    dose("B", 12, 30),
    sample("B", 12, 5.5),
    sample("B", 30, 2.0, 1, 1.0),
]
BOLUSES = [
    sample("A", 0, 1, 1),
    dose("A", 0, 30, addl=5, interval=6),
    sample("A", 18, 8),
    sample("A", 70, 1, 1),
    dose("B", 0, 40),
    sample("B", 2, 7),
    sample("B", 9, 4),
]
STEADY = [
    dose("A", 0, 30, ss=1, interval=8),
    sample("A", 0, 9),
    sample("A", 7, 4),
    dose("B", 0, 30, 10, ss=1, interval=12, addl=1),
    sample("B", 2, 5),
    sample("B", 20, 3),
    dose("C", 0, 0, 3, ss=1),
    sample("C", 0, 6),
    sample("C", 30, 0.5, 1),
]


def many(rows, others=4):
    """Rows of a subject that had one dose, and some of one that had twenty."""
    lines = [dose("A", 0, 60), *(sample("A", 0.5 * (i + 1), 9 - 0.1 * i) for i in range(rows))]
    lines += [dose("B", 0, 5, addl=19, interval=1)]
    return lines + [sample("B", 19.5 + i, 7 - 0.2 * i) for i in range(others)]


CASES = {
    "small, proportional": (None, {}),
    "small with covariates, lognormal": (
        None,
        {
            "CL": {"scale": {"covariate": "WT", "reference": "1 kg", "exponent": 0.75}},
            "covariates": [
                {"parameter": "V", "covariate": "AGE", "relation": "below", "cut": 6,
                 "effect": {"prior": "normal", "loc": 0.0, "scale": 0.5}}
            ],
            "residual": {"error": "lognormal", "sd": HALFNORMAL},
        },
    ),
    "infusions and resets, combined": (INFUSIONS, {"residual": COMBINED}),
    "boluses, additive": (
        BOLUSES,
        {"residual": {"error": "additive", "sd": HALFNORMAL},
         "correlation": {"parameters": ["CL", "V"]}},
    ),
    "steady states, proportional": (STEADY, {}),
    "many and few doses, proportional": (many(21, 10), {}),
}  # fmt: skip


@pytest.fixture(scope="session")
def arranged(spec, read):
    """The model and all events of a case, or of lines and sections of the model."""

    def of(case, **sections):
        lines, sections = CASES[case] if isinstance(case, str) else (case, sections)
        model = spec(**sections)
        data = read() if lines is None else read("\n".join([HEADER, *lines, ""]))
        return Model(model), arrange(model, data)[0]

    return of


SHORT = ("infusions and resets, combined", "small with covariates, lognormal")
"""The other cases are for `make validate`."""
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiled in half the time: each program runs a few times only."""


def density(model, like):
    """Log density and gradient at a point off the centre, for the same subjects' events."""
    weights = np.linspace(0.0, 1.0, like.subjects)
    flat = flatten(model, like, {"CL": weights, "V": 1.0 - weights})
    noise = np.random.default_rng(5).standard_normal(flat.start.shape)
    both = jax.jit(jax.value_and_grad(flat.log_density), compiler_options=QUICKLY)
    return partial(both, flat.start + 0.3 * noise)


def assert_same(found, wanted, rtol=1e-10):
    assert np.isfinite(wanted[0])
    scale = float(jnp.abs(wanted[1]).max())
    np.testing.assert_allclose(found[0], wanted[0], rtol=rtol)
    np.testing.assert_allclose(found[1], wanted[1], rtol=rtol, atol=rtol * scale)


def pointwise(model, events):
    """Log-likelihoods of the observed rows."""
    values = {"TVCL": 0.6, "TVV": 6.0, "sigma": 0.2, "sigma_additive": 0.3,
              "sigma_proportional": 0.2, "V_AGE_below": 0.2}  # fmt: skip

    @partial(jax.jit, compiler_options=QUICKLY)
    def log_p(values, events):
        etas = {f"eta_{name}": 0.2 * jnp.arange(events.subjects) for name in ("CL", "V")}
        log_c = model.predict(values | etas, events).log_concentration
        return model.observation(log_c, values, events).log_prob(events.dv)

    return np.asarray(log_p(values, events))[events.observed]


@pytest.mark.parametrize(
    "case", [c if c in SHORT else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
)
def test_the_density_stays_the_same(case, arranged):
    """With its gradient, and each observation's part in the order of the file."""
    model, events = arranged(case)
    found, order = condense(events)
    assert isinstance(found.steps, Rows)
    assert found.observed.sum() == events.observed.sum()
    at = density(model, found)
    assert_same(at(found), at(events))
    wanted = pointwise(model, events)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(wanted)))
    np.testing.assert_allclose(pointwise(model, found)[order], wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
def test_several_tiles(arranged, monkeypatch):
    """Some of them without any row of a block."""
    lines = [line.replace("A,", f"{who},", 1) for who in range(5) for line in
             (dose("A", 0, 60), *(sample("A", 3 + i, 5.0 - i) for i in range(who % 3)),
              *[sample("A", 40, 0.5, 1)][: who // 3 + (who == 0)])]  # fmt: skip
    model, events = arranged(lines)
    at = density(model, events)
    wanted = at(events)
    monkeypatch.setattr(gathering, "TILE", 2)
    found, order = condense(events)
    assert all(places.matrix.shape[0] == 3 for places in found.steps.subject)
    assert_same(at(found), wanted)
    np.testing.assert_allclose(pointwise(model, found)[order], pointwise(model, events), rtol=1e-11)


def test_no_scatter_in_the_compiled_gradient(arranged):
    model, events = arranged(INFUSIONS, residual={"error": "lognormal", "sd": HALFNORMAL})
    found = condense(events).events
    flat = flatten(model, found)
    lowered = jax.jit(jax.value_and_grad(flat.log_density)).lower(flat.start, found)
    assert "scatter(" not in lowered.compile().as_text()


def test_sums_over_subjects(arranged, monkeypatch):
    monkeypatch.setattr(gathering, "TILE", 2)
    _, events = arranged("small, proportional")
    found, order = condense(events)
    rows = np.zeros(found.observed.size)
    rows[np.flatnonzero(found.observed)[order]] = np.arange(1, 8)
    summed = found.steps.per_subject(jnp.asarray(rows), found.subjects)
    np.testing.assert_array_equal(summed, [1 + 2 + 3, 4 + 5, 6 + 7])


def test_rows_with_many_doses_stand_apart(arranged):
    _, events = arranged("many and few doses, proportional")
    found = condense(events).events
    widths = [(past.rate.shape[0], past.bolus.shape[0]) for past in found.steps.blocks]
    assert widths == [(0, 20), (0, 1)]
    assert found.steps.blocks[1].since.shape == (22,)  # of 21 rows
    np.testing.assert_array_equal(found.observed, [True] * 31 + [False])


def test_censored_rows_come_last(arranged):
    _, events = arranged("infusions and resets, combined")
    found = condense(events).events
    count = int(events.censored.sum())
    assert found.slots.count == count == 3
    np.testing.assert_array_equal(found.censored, [False] * 5 + [True] * 3)
    np.testing.assert_array_equal(found.slots.upper, found.upper[-3:])
    _, one_sided = arranged("boluses, additive")
    assert condense(one_sided).events.slots.lower is None


def test_rows_that_may_be_censored_come_last_too(arranged):
    """Some, all, or none."""
    model, events = arranged("small, proportional")
    at = density(model, events)
    wanted = at(events)
    for censorable, count in ((events.observed & (events.dv > 12), 5), (events.observed, 7)):
        found = condense(events, censorable).events
        assert found.slots.count == count
        assert found.censored.sum() == 2
        assert_same(at(found), wanted)
    assert condense(arranged(many(3))[1]).events.slots.count == 0


VARYING = """
ID,TIME,AMT,RATE,DV,EVID,MDV,WT
A,0,100,0,.,1,1,5
A,4,0,0,9,0,0,5
A,10,0,0,5,0,0,8
"""


def test_events_stay_as_they_are_where_a_covariate_changes(spec, read):
    scaled = spec(CL={"scale": {"covariate": "WT", "reference": "1 kg"}})
    events, _ = arrange(scaled, read(VARYING))
    found, order = condense(events)
    assert found is events
    np.testing.assert_array_equal(order, [0, 1])
    # Where the model does not use it, it does not count
    assert isinstance(condense(arrange(spec(), read(VARYING))[0]).events.steps, Rows)


@pytest.mark.parametrize(("addl", "condensed"), [(23, True), (24, False)])
def test_events_stay_as_they_are_where_sums_are_long(addl, condensed, arranged):
    lines = [dose("A", 0, 5, addl=addl, interval=2), sample("A", 49, 9.0)]
    _, events = arranged(lines)
    found = condense(events).events
    assert isinstance(found.steps, Rows) == condensed
    assert (found is events) != condensed


@pytest.mark.slow
def test_rows_that_fill_up_do_not_matter(arranged):
    """Whatever they hold: data, bounds, doses."""
    censored = [sample("A", 30 + i, 1.0, 1, 0.1 * (i % 2)) for i in range(17)]
    lines = many(21)
    model, events = arranged([*lines[:22], *censored, *lines[22:]])
    found = condense(events).events
    spare = ~found.observed
    assert spare.sum() == 2
    assert spare[-1]
    rng = np.random.default_rng(2)

    def changed(past, first):
        own = spare[first : first + past.since.size]
        return jax.tree.map(lambda a: np.where(own, rng.uniform(0.1, 3.0, a.shape), a), past)

    firsts = np.cumsum([0, *(past.since.size for past in found.steps.blocks)])
    blocks = tuple(map(changed, found.steps.blocks, firsts[:-1]))
    other = replace(
        found,
        steps=replace(found.steps, blocks=blocks),
        dv=np.where(spare, 7.0, found.dv),
        censored=found.censored | spare,
        lower=np.where(spare, 0.3, found.lower),
        upper=np.where(spare, 0.4, found.upper),
    )
    at = density(model, found)
    wanted = at(events)
    assert_same(at(found), wanted)
    assert_same(at(with_slots(other, found.slots.count)), wanted)


def shapes(events):
    leaves, tree = jax.tree.flatten(events)
    return [np.shape(leaf) for leaf in leaves], tree


def test_similar_data_have_the_same_shapes(arranged):
    """27 and 28 rows are one program, 26 and 29 others."""
    found = {n: shapes(condense(arranged(many(n))[1]).events) for n in (26, 27, 28, 29)}
    assert found[27] == found[28]
    assert found[26] != found[27]
    assert found[28] != found[29]


@pytest.fixture(scope="module")
def trials(arranged):
    """All events of three trials on one design, and the condensed events of the three."""
    model, events = arranged(INFUSIONS, residual={"error": "lognormal", "sd": HALFNORMAL})
    plain = replace(
        events,
        censored=np.zeros_like(events.censored),
        lower=np.full(events.dv.shape, -np.inf),
        upper=np.full(events.dv.shape, np.inf),
    )
    rng = np.random.default_rng(8)
    single = [events]
    for limit in (3.0, 5.0):
        dv = np.where(events.observed, rng.uniform(0.5, 9.0, events.dv.shape), 1.0)
        low = events.observed & (dv < limit)
        # Without drug only a censored value is possible
        low |= events.censored & (events.lower < 0)
        single.append(
            replace(
                plain,
                dv=np.where(low, 1.0, dv),
                censored=low,
                upper=np.where(low, limit, np.inf),
            )
        )
    design, order = condense(plain)
    place = np.flatnonzero(design.observed)[order]

    def stacked(name):
        rest = np.asarray(getattr(design, name))
        out = np.repeat(rest[None], len(single), axis=0)
        for row, one in zip(out, single, strict=True):
            row[place] = getattr(one, name)[one.observed]
        return out

    data = {name: stacked(name) for name in ("observed", "dv", "censored", "lower", "upper")}
    return model, single, censored_last(replace(design, slots=None, **data))


def of_trial(events, number):
    """One of several trials' events."""
    leaves, tree = jax.tree.flatten(events)
    own = trial_axes(events)
    one = [leaf[number] if axis else leaf for leaf, axis in zip(leaves, own, strict=True)]
    return tree.unflatten(one)


def test_each_of_several_trials_has_its_own_density(trials):
    model, single, together = trials
    ever = together.censored.any(axis=0)
    np.testing.assert_array_equal(ever, np.sort(ever))
    assert together.slots.count == ever.sum() < ever.size
    at = density(model, single[0])
    for number, one in enumerate(single):
        assert_same(at(of_trial(together, number)), at(one))


def test_trials_are_batched_along_their_axes(trials):
    model, single, together = trials
    flat = flatten(model, of_trial(together, 0))
    leaves, tree = jax.tree.flatten(together)
    axes = tuple(0 if own else None for own in trial_axes(together))

    def log_density(*leaves):
        return flat.log_density(flat.start, tree.unflatten(leaves))

    found = jax.jit(jax.vmap(log_density, axes), compiler_options=QUICKLY)(
        *map(jnp.asarray, leaves)
    )
    alone = jax.jit(flat.log_density, compiler_options=QUICKLY)
    wanted = [alone(flat.start, one) for one in single]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_trial_axes_are_those_of_observations(trials):
    _, _, together = trials
    own = jax.tree.unflatten(jax.tree.structure(together), trial_axes(together))
    for name in ("observed", "dv", "censored", "lower", "upper", "slots"):
        assert all(jax.tree.leaves(getattr(own, name)))
    for name in ("steps", "log_scale", "terms"):
        assert not any(jax.tree.leaves(getattr(own, name)))


def test_no_row_moves_where_no_trial_has_a_censored_one(arranged):
    _, events = arranged(many(5))
    design = condense(events).events
    data = {name: getattr(design, name)[None] for name in ("observed", "dv", "censored", "lower",
                                                           "upper")}  # fmt: skip
    found = censored_last(replace(design, slots=None, **data))
    assert found.slots.count == 0
    np.testing.assert_array_equal(found.dv[0], design.dv)
    jax.tree.map(np.testing.assert_array_equal, found.steps.blocks, design.steps.blocks)


def test_trials_that_cannot_be_condensed_stay_as_they_are(spec, read):
    scaled = spec(CL={"scale": {"covariate": "WT", "reference": "1 kg"}})
    events, _ = arrange(scaled, read(VARYING))
    assert censored_last(events) is events
