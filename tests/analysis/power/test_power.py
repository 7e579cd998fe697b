"""A small grid from end to end; power and error rates against those of a normal test."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from popk.analysis.covariates.candidates import without_effects
from popk.analysis.power.power import planned, power
from popk.analysis.power.trials import done
from popk.population.model import Model
from popk.spec.plan import Plan
from popk.spec.problem import PopkError
from popk.spec.virtual import Virtual
from popk.study.work import run
from tests.analysis.power.conftest import OMEGA, SIGMA, TRUTH

TRIALS = 12


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def found(steady, plan, told):
    return power(
        steady, plan, [1.0, 0.5], [8], TRIALS, values=TRUTH, likelihood_ratio=False,
        watch=lambda *news: told.append(news),
    )  # fmt: skip


@pytest.mark.slow
def test_each_cell_has_its_rates(found, told):
    assert list(found.cells.index) == [(8, 0.5), (8, 1.0)]
    assert (found.ratios, found.infants) == ((0.5, 1.0), (8,))
    assert (found.cells["trials"] == TRIALS).all()
    assert found.trials.shape[0] == 2 * TRIALS
    verdicts = found.cells[["relevant", "not_relevant", "unknown"]].sum(axis=1)
    np.testing.assert_allclose(verdicts, 1.0)
    sides = found.cells["below_90"] + found.cells["above_90"]
    np.testing.assert_allclose(sides, found.cells["excludes_90"])
    assert found.cells.loc[(8, 0.5), "below_90"] > found.cells.loc[(8, 1.0), "below_90"]
    assert found.missed == 0
    assert [news[:2] for news in told] == [(1, 2), (2, 2)]


@pytest.mark.slow
def test_it_says_what_it_is_about(found):
    assert found.effect == "CL_AGE_below"
    assert found.label == "AGE < 6 month against not"
    assert found.groups == {8: (4, 4)}
    assert found.truth == TRUTH
    assert not found.synthetic
    assert len(found.notes) == 1
    assert "One number of infants" in found.notes[0]


@pytest.mark.slow
def test_error_rates_are_those_at_one(found):
    pd.testing.assert_series_equal(
        found.type_one.loc[8], found.cells.loc[(8, 1.0)], check_names=False
    )


@pytest.mark.slow
def test_who_computes_makes_no_difference(steady, plan, found):
    def one_by_one(function, pieces, *, key, watch):
        assert key == found.key
        return [function(piece) for piece in reversed(pieces)][::-1]

    again = power(steady, plan, [0.5, 1.0], [8], TRIALS, values=TRUTH, run=one_by_one,
                  likelihood_ratio=False)  # fmt: skip
    pd.testing.assert_frame_equal(again.trials, found.trials, check_exact=True)


@pytest.mark.slow
def test_a_cell_does_not_depend_on_the_grid(steady, plan, found):
    alone = power(steady, plan, [0.5], [8], TRIALS, values=TRUTH, likelihood_ratio=False)
    pd.testing.assert_frame_equal(
        alone.trials, found.trials.xs(0.5, level="ratio", drop_level=False), check_exact=True
    )
    assert "grid of one cell" in alone.notes[0]
    assert "No true ratio of 1" in alone.notes[1]
    assert alone.type_one.empty


def test_all_pieces_of_a_grid_have_one_size(steady, plan):
    grid = planned(steady, plan, [0.5, 1.0], [8, 12], 100, values=TRUTH)
    assert [piece.trials for piece in grid.pieces] == [64, 36] * 4
    assert {piece.wave for piece in grid.pieces} == {64}
    assert grid.cells[0] == (8, 0.5)
    assert grid.cells[-1] == (12, 1.0)
    assert len({piece.cell for piece in grid.pieces}) == 4


FAULTS = {
    "no ratio": ({"ratios": []}, "no true ratio"),
    "a ratio of zero": ({"ratios": [0.0, 1.0]}, "a true ratio of 0"),
    "no size": ({"infants": []}, "no number of infants"),
    "one infant": ({"infants": [1]}, "zero infants in a group"),
    "half an infant": ({"infants": [10.5]}, "a trial of 10.5 infants"),
    "no trials": ({"trials": 2}, "2 trials"),
    "no such effect": ({"effect": "CL_WT_power"}, "'CL_WT_power'"),
    "no such value": ({"values": {"TVKA": 1.0}}, "'TVKA'"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults(steady, plan, case):
    said, found = FAULTS[case]
    grid = {"ratios": [0.5], "infants": [8], "trials": 20} | said
    with pytest.raises(PopkError) as caught:
        planned(steady, plan, **grid)
    (problem,) = caught.value.problems
    assert found in problem.found
    assert problem.expected
    assert problem.cure


def test_a_model_without_effects(steady, plan):
    bare = Model(without_effects(steady.spec, steady.spec.covariates))
    with pytest.raises(PopkError, match=r"a model without covariate effects.*\[\[covariates\]\]"):
        planned(bare, plan, [0.5], [8], 20)


def test_a_group_without_infants(steady):
    old = Plan(virtual=Virtual(age=("7 month", "12 month")))
    with pytest.raises(PopkError, match="zero infants in the group"):
        planned(steady, old, [0.5], [8], 20)


@pytest.mark.slow
def test_power_and_error_rates_are_those_of_a_normal_test(steady, plan):
    """Steady state, log-normal: a linear mixed model, whose estimate of the effect is normal."""
    trials, infants = 400, 40
    found = power(steady, plan, [0.75, 1.0], [infants], trials, values=TRUTH)
    error = math.sqrt(4.0 * (OMEGA**2 + SIGMA**2 / 3) / infants)
    shrunk = 0.5**2 / (0.5**2 + error**2)  # by the prior's SD of 0.5
    for ratio in (0.75, 1.0):
        row = found.cells.loc[(infants, ratio)]
        shift = math.log(ratio) * math.sqrt(shrunk) / error
        expected = norm.cdf(-shift - 1.645) + norm.cdf(shift - 1.645)
        # Four Monte Carlo errors; variances are estimated from 40 infants
        assert abs(row["excludes_90"] - expected) < 4 * row["excludes_90_error"] + 0.03
        assert abs(row["coverage"] - 0.9) < 4 * row["coverage_error"] + 0.02
        assert row["width"] == pytest.approx(2 * 1.645 * error * math.sqrt(shrunk), rel=0.05)
    # The likelihood ratio knows no prior; Wilks' 5 % at 40 infants are a little more
    shift = math.log(0.75) / error
    expected = norm.cdf(-shift - 1.96) + norm.cdf(shift - 1.96)
    row = found.cells.loc[(infants, 0.75)]
    assert abs(row["lr"] - expected) < 4 * row["lr_error"] + 0.03
    row = found.type_one.loc[infants]
    assert -4 * row["lr_error"] < row["lr"] - 0.05 < 4 * row["lr_error"] + 0.03
    assert row["lr_left"] == 0
    wilcoxon = found.type_one.loc[infants]
    assert abs(wilcoxon["wilcoxon"] - 0.05) < 4 * wilcoxon["wilcoxon_error"] + 0.01
    assert found.missed == 0


@pytest.mark.slow
def test_rank_tests_do_not_find_what_the_effect_has_drawn_apart(steady, plan):
    """One sample an infant: estimates are half drawn to their group, which a rank test must not."""
    sparse = plan.model_copy(update={"times": ("2 day",)})
    found = power(steady, sparse, [1.0], [24], 200, values=TRUTH | {"sigma": 0.3})
    row = found.type_one.loc[24]
    assert abs(row["wilcoxon"] - 0.05) < 4 * row["wilcoxon_error"] + 0.01


def test_pieces_in_threads_are_in_order(steady, plan):
    grid = planned(steady, plan, [0.5, 1.0], [8], 8, values=TRUTH)
    assert run(lambda piece: {"ratio": np.array([piece.ratio])}, grid.pieces) == [
        {"ratio": np.array([0.5])},
        {"ratio": np.array([1.0])},
    ]
    assert done.__module__ == "popk.analysis.power.trials"
