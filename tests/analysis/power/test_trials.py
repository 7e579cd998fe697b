"""Pieces: what they simulate, that each is the same whoever computes it, what is compiled."""

import logging
import pickle
from dataclasses import replace

import jax
import numpy as np
import pytest

from popk.analysis.layout import layout
from popk.analysis.power.power import planned
from popk.analysis.power.trials import METHODS, done, events_of, fingerprint, simulated
from popk.population.events import arrange
from tests.analysis.power.conftest import OMEGA, SIGMA, TRUTH, TVCL

INFANTS = 8


def grid_of(model, plan, ratios=(0.6, 1.0), trials=16, **options):
    return planned(
        model, plan, ratios, [INFANTS], trials, values=TRUTH, likelihood_ratio=False, **options
    )


@pytest.fixture(scope="module")
def pieces(steady, plan):
    return grid_of(steady, plan).pieces


@pytest.fixture(scope="module")
def first(pieces):
    return done(pieces[0])


def test_a_result_has_every_trial(first):
    assert {len(values) for values in first.values()} == {16}
    assert first["passed"].all()
    assert (first["rhat"] < 1.01).all()
    assert (first["q2_5"] < first["q5"]).all()
    assert (first["q5"] < first["ratio"]).all()
    assert (first["ratio"] < first["q95"]).all()
    assert (first["method"] == METHODS.index("ensemble")).all()
    assert ((first["wilcoxon"] > 0) & (first["wilcoxon"] <= 1)).all()
    assert (first["BF01"] > 0).all()


def test_a_piece_that_was_sent_gives_the_same_bit_for_bit(pieces, first):
    again = done(pickle.loads(pickle.dumps(pieces[0])))
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name], err_msg=name)


def test_another_ratio_compiles_no_program(pieces, first, caplog):
    """What a piece runs is compiled once for a design: the pace of a grid rests on it."""
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        done(pieces[1])
    compiled = [r.getMessage() for r in caplog.records if "XLA compilation" in r.getMessage()]
    programs = ("jit(run)", "jit(table)", "jit(one)", "jit(all_of)")
    assert not [text for text in compiled if any(name in text for name in programs)]


def test_a_trial_is_that_of_its_cell_and_number(steady, plan, pieces):
    few = grid_of(steady, plan, ratios=(0.6,), trials=8).pieces[0]
    more = simulated(pieces[0])
    np.testing.assert_allclose(simulated(few), more[:8], rtol=1e-12)
    late = replace(few, first=8)
    np.testing.assert_allclose(simulated(late), more[8:], rtol=1e-12)
    assert (simulated(pieces[1]) != more).any()


@pytest.mark.parametrize("ratio", [0.6, 1.0])
def test_trials_are_those_of_the_closed_form(steady, plan, ratio):
    """At steady state log C = log(rate/CL): normal, with omega between and sigma within."""
    piece = replace(grid_of(steady, plan, ratios=(ratio,)).pieces[0], trials=2000, wave=2000)
    log_c = np.log(simulated(piece)).reshape(2000, INFANTS, 3)
    young = piece.data.covariates["AGE"][:, 0] < 6.0
    expected = np.log(625.0 / (TVCL * np.where(young, ratio, 1.0)))  # 15 ug/m2/day, pg/mL
    error = np.sqrt((OMEGA**2 + SIGMA**2 / 3) / 2000)
    assert (np.abs(log_c.mean(axis=(0, 2)) - expected) < 5 * error).all()
    between = log_c.mean(axis=2).var(axis=0, ddof=1).mean()
    within = log_c.var(axis=2, ddof=1).mean()
    assert between == pytest.approx(OMEGA**2 + SIGMA**2 / 3, rel=5 * np.sqrt(2 / 16000))
    assert within == pytest.approx(SIGMA**2, rel=5 * np.sqrt(2 / 32000))


def test_rows_of_a_layout_are_the_observations_of_the_file(steady, plan):
    """The prediction at each observation is the same in every layout."""
    (piece,) = grid_of(steady, plan, ratios=(0.6,)).pieces
    censorable = np.arange(3 * INFANTS) % 4 == 1
    rng = np.random.default_rng(1)
    values = {name: np.array(value) for name, value in (TRUTH | {piece.effect: -0.5}).items()}
    values["eta_CL"] = 0.3 * rng.standard_normal(INFANTS)
    arranged, _ = arrange(steady.spec, piece.data)
    expected = np.asarray(steady.predict(values, arranged).log_concentration)[arranged.observed]
    for mask in (None, censorable):
        own = layout(piece.model, piece.data, mask)
        log_c = np.asarray(steady.predict(values, own.events).log_concentration)
        np.testing.assert_allclose(log_c[own.row], expected, rtol=1e-12)
    assert own.events.slots is not None
    assert own.events.slots.count >= censorable.sum()
    assert (own.row[censorable] >= own.row[~censorable].max()).all()


def test_what_lies_below_the_limit_is_censored(steady, plan):
    limited = plan.model_copy(update={"below": "450 pg/mL"})
    pieces = grid_of(steady, limited).pieces
    below = [simulated(piece) < 450.0 for piece in pieces]
    ever = np.any([own.any(axis=0) for own in below], axis=0)
    assert ever.any()
    for piece, low in zip(pieces, below, strict=True):
        np.testing.assert_array_equal(piece.censorable, ever)
        events = events_of(piece)
        row = layout(piece.model, piece.data, piece.censorable).row
        np.testing.assert_array_equal(events.censored[:, row], low)
        assert (events.upper[events.censored] == 450.0).all()
        np.testing.assert_array_equal(events.dv[:, row][~low], simulated(piece)[~low])
    shapes = {tuple(np.shape(a) for a in jax.tree.leaves(events_of(piece))) for piece in pieces}
    assert len(shapes) == 1  # one program for all


def test_the_fingerprint_is_of_what_results_depend_on(pieces):
    same = fingerprint(pickle.loads(pickle.dumps(pieces)))
    assert fingerprint(pieces) == same
    assert fingerprint(pieces[::-1]) != same
    assert fingerprint([replace(pieces[0], seed=2), *pieces[1:]]) != same
