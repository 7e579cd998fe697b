"""Many data sets at once: each trial's result is its own, and says what became of it."""

import jax
import numpy as np
import pytest

from popk.analysis.trials import table
from popk.inference import programs
from popk.inference.batch import Batch
from popk.inference.ensemble import Ensemble
from popk.inference.trials import Trials
from popk.population.condensed import condense
from popk.population.events import arrange
from popk.population.simulated import simulate
from popk.spec.fit import Sampler

GIVEN = {"TVCL": 1.0, "TVV": 8.0, "omega_CL": 0.3, "omega_V": 0.3, "sigma": 0.1}
TRIALS = 5


@pytest.fixture(scope="module")
def trials(course):
    """A model without correlation, and synthetic trials on the design of `course`."""
    model = type(course.problem.model)(
        course.problem.model.spec.model_copy(update={"correlation": None})
    )
    with jax.enable_x64(True):
        design, _ = condense(arrange(model.spec, course.problem.data)[0])
        return model, simulate(jax.random.key(0), model, design, TRIALS, given=GIVEN, below=0.5)


@pytest.fixture(scope="module")
def batch(trials):
    model, sim = trials
    return Batch(model, sim.events, Sampler(seed=3))


@pytest.fixture(scope="module")
def fitted(batch):
    with jax.enable_x64(True):
        return batch.run()


def test_every_trial_passes_its_gate(fitted):
    assert fitted.passed.all()
    assert fitted.method == ("ensemble",) * TRIALS
    assert fitted.rhat.max() < 1.01
    assert min(fitted.ess_bulk.min(), fitted.ess_tail.min()) >= 400
    assert fitted.names == ("TVCL", "TVV", "omega_CL", "omega_V", "sigma")
    assert fitted.parameters == ("CL", "V")
    assert fitted.individual.shape == (TRIALS, 2, 10, 4)
    mean, low, middle, high = np.moveaxis(fitted.individual, -1, 0)
    assert ((low < middle) & (middle < high) & (low < mean) & (mean < high)).all()


def test_a_trial_does_not_depend_on_those_beside_it(trials, batch, fitted):
    """The pilot aside, which is the first trial, a smaller batch gives the same draws."""
    model, _ = trials
    some = Batch(model, batch.events_of([0, 1]), Sampler(seed=3)).run()
    for one, other in zip(some.draws, fitted.draws[:2], strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one[:, :5], other[:, :5], rtol=1e-6)


@pytest.mark.slow
def test_a_trial_agrees_with_a_fit_of_its_own(trials, batch, fitted):
    model, _ = trials
    leaves, tree = jax.tree.flatten(batch.events_of([2]))
    one = jax.tree.unflatten(
        tree, [a[0] if own else a for a, own in zip(leaves, batch._own, strict=True)]
    )
    sampler = Ensemble(model, one, Sampler(seed=9, ess=2000.0))
    state = sampler.start()
    while not state.finished:
        state = sampler.advance(state)
    assert not state.failed
    draws = sampler.posterior(state).draws
    for j, name in enumerate(fitted.names):
        own, alone = fitted.draws[2][..., j].ravel(), draws[name].ravel()
        error = own.std() * np.sqrt(1 / fitted.ess_bulk[2, j] + 1 / 2000.0)
        # Six standard errors: five parameters, one seed
        assert abs(own.mean() - alone.mean()) < 6 * error, name


@pytest.mark.slow
def test_a_trial_that_fails_is_refitted_by_nuts_and_says_so(trials, batch):
    model, _ = trials
    hopeless = Sampler(seed=3, draws=100, ess=1e5)
    found = Batch(model, batch.events_of([0]), hopeless).run()
    assert found.method == ("nuts",)
    assert not found.passed[0]  # NUTS cannot reach this ESS either
    ensemble, alone, nuts = found.why[0].replace("; alone:", "|").replace("; NUTS:", "|").split("|")
    for why in (ensemble, alone, nuts):
        assert "ESS bulk" in why
    assert found.draws[0].shape == (4, 1000, 5)


def test_waves_that_are_done_can_be_skipped(monkeypatch, trials, batch):
    """A batch that goes on later gives what it would have given."""
    model, _ = trials
    monkeypatch.setattr("popk.inference.batch.WAVE", 2)
    whole = dict(Batch(model, batch.events, Sampler(seed=3)).waves())
    assert sorted(whole) == [0, 1, 2]
    rest = dict(Batch(model, batch.events, Sampler(seed=3)).waves(skip=[0, 1]))
    assert list(rest) == [2]
    joined = Trials.joined([whole[0], whole[1], rest[2]])
    assert len(joined.draws) == TRIALS
    np.testing.assert_array_equal(joined.draws[4], whole[2].draws[0])


@pytest.mark.slow
def test_batches_of_one_wave_share_programs_and_give_the_same_draws(trials, batch, fitted):
    """A wave with places to spare, smaller blocks for its last trials; then another batch."""
    model, _ = trials
    with_room = Batch(model, batch.events, Sampler(seed=3), wave=8)
    assert (with_room._size, with_room._block) == (8, 8)
    assert with_room._last is not None
    assert with_room._last.block == 2
    for one, other in zip(with_room.run().draws, fitted.draws, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    before = set(programs._KEPT)
    Batch(model, batch.events_of([1, 2, 3]), Sampler(seed=4), wave=8).run()
    assert set(programs._KEPT) == before


def test_the_table_has_a_row_for_each_trial_and_parameter(fitted):
    rows = table(fitted)
    assert len(rows) == TRIALS * len(fitted.names)
    first = rows.loc[(0, "TVCL")]
    assert first["q5"] < first["median"] < first["q95"]
    assert first["draws"] == fitted.draws[0].shape[0] * fitted.draws[0].shape[1]
    assert rows["passed"].all()


def test_the_way_of_a_gpu_leads_to_the_same_draws(trials, fitted, monkeypatch):
    """All trials of a wave in one block, all chains in one group; here on a CPU."""
    model, sim = trials
    monkeypatch.setattr("popk.inference.batch.on_gpu", lambda: True)
    monkeypatch.setattr("popk.inference.ensemble.on_gpu", lambda: True)
    whole = Batch(model, sim.events, Sampler(seed=3))
    assert whole._block == whole._size == TRIALS
    for one, other in zip(whole.run().draws, fitted.draws, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    single = Ensemble(model, whole.events_of([0]), Sampler(seed=3))
    assert single._groups == 1
