"""Which sample tells of what, and the best times against every possible choice."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from popk.analysis.power.candidates import at_candidates
from popk.analysis.power.fisher import estimated, information, variance
from popk.analysis.power.information import expected, log_volume
from popk.analysis.power.sampling_times import optimal_times, per_time
from popk.analysis.priors.information import best_times
from popk.data.grid import at_times
from popk.population.model import Model
from popk.spec.model import ModelSpec
from popk.spec.problem import PopkError
from tests.analysis.power.infusions import END, TIMES, TRUE, data_of, model_of

VALUES = TRUE | {"sigma": 0.15}
CANDIDATES = np.array([0.5, 2.0, 6.0, 12.0, 20.0, 24.0, 26.0, 30.0])


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    return data_of(tmp_path_factory.mktemp("design") / "data.csv", [3, 9, 2, 10])


@pytest.fixture(scope="module")
def bare(sampled):
    """The same doses without samples."""
    return replace(sampled, observed=np.zeros_like(sampled.observed))


def test_early_samples_tell_of_v_and_late_ones_of_cl(bare):
    table = per_time(model_of(), bare, CANDIDATES, VALUES).set_index(np.arange(CANDIDATES.size))
    assert table["reference"].tolist() == ["start"] * 5 + ["end"] * 3
    np.testing.assert_allclose(table["time"], [0.5, 2, 6, 12, 20, 0, 2, 6])
    v, cl = table["information_V"], table["information_CL"]
    assert v.iloc[0] > 100 * cl.iloc[0]
    assert cl.iloc[4] > 5 * v.iloc[4]
    assert (table["sd_CL"] <= table.attrs["sd"]["CL"]).all()
    assert table.attrs["sd"] == {
        "CL": pytest.approx(1.0), "V": pytest.approx(1.0), "log_ratio": pytest.approx(0.5)
    }  # fmt: skip
    assert table.attrs["unit"] == "h"
    assert table.attrs["concentration_unit"] == "mg/L"
    assert table.attrs["infusion"]


@pytest.mark.slow
def test_one_sample_is_that_of_a_design_with_it(sampled):
    """A row against the expected errors of the design with one more sample."""
    model, time = model_of(), 10.0
    table = per_time(model, sampled, np.array([time]), VALUES)
    more, records = at_times(sampled, np.full((sampled.subjects, 1), time))
    taken = np.zeros(more.mask.shape, bool)
    np.put_along_axis(taken, records, True, axis=1)
    more = replace(
        more,
        observed=more.observed | taken,
        evid=np.where(taken, 0, more.evid),
        dv=np.where(taken, 1.0, more.dv),
    )
    before, after = expected(model, sampled, VALUES), expected(model, more, VALUES)
    (row,) = table.to_dict("records")
    assert row["sd_CL"] == pytest.approx(after.se("TVCL", prior=True) / VALUES["TVCL"], rel=1e-8)
    assert row["sd_V"] == pytest.approx(after.se("TVV", prior=True) / VALUES["TVV"], rel=1e-8)
    assert row["sd_log_ratio"] == pytest.approx(after.log_ratio_sd(prior=True), rel=1e-8)
    assert table.attrs["sd"]["V"] == pytest.approx(before.se("TVV", prior=True) / VALUES["TVV"])
    gain = (after.information() - before.information())[1, 1] * VALUES["TVV"] ** 2
    assert row["information_V"] == pytest.approx(gain, rel=1e-6, abs=1e-9)


def test_the_times_by_default_can_be_put_into_words(bare):
    table = per_time(model_of(), bare, None, VALUES)
    half_life = np.log(2) * VALUES["TVV"] / VALUES["TVCL"]
    start, end = (table.loc[table["reference"] == word, "time"] for word in ("start", "end"))
    assert start.iloc[0] == end.iloc[0] == 0.0
    assert start.max() < END
    assert end.max() == pytest.approx(5 * half_life, rel=0.05)
    assert table["sd_V"].iloc[0] == table.attrs["sd"]["V"]  # without drug nothing is learnt
    words = best_times(table, "V")
    assert "after the start of dosing" in words
    assert "right at" not in words


def test_what_the_assay_cannot_measure_tells_nothing(bare):
    free, limited = (per_time(model_of(), bare, None, VALUES, below=b) for b in (None, 1.0))
    last = limited.iloc[-1]
    assert last["measurable"] < 0.2 < free.iloc[-1]["measurable"]
    assert last["information_V"] < 0.2 * free.iloc[-1]["information_V"]
    assert (limited["information_V"] <= free["information_V"] + 1e-9).all()


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["determinant", "log_ratio"])
@pytest.mark.parametrize("n", [3, 4])
def test_no_other_choice_is_better(bare, criterion, n):
    model = model_of()
    found, places = at_candidates(model, bare, CANDIDATES, VALUES)
    best = optimal_times(model, bare, CANDIDATES[::-1], n, VALUES, criterion=criterion)
    place = estimated(model).index("CL_AGE_below")

    def measure(chosen):
        matrix = information(found, places[list(chosen)]).sum(axis=0)
        if criterion == "determinant":
            return log_volume(matrix)
        return -np.log(variance(matrix, np.eye(len(matrix))[place]))

    choices = {c: measure(c) for c in itertools.combinations(range(CANDIDATES.size), n)}
    highest = max(choices.values())
    chosen = tuple(np.flatnonzero(np.isin(CANDIDATES, best.times)).tolist())
    assert best.times.tolist() == sorted(best.times.tolist())
    assert choices[chosen] == pytest.approx(highest, abs=1e-7)
    matrix = information(found, places[list(chosen)]).sum(axis=0)
    np.testing.assert_allclose(best.expected.information(), matrix, rtol=1e-9)


def test_samples_that_the_design_has_stay(sampled, bare):
    model = model_of()
    best = optimal_times(model, sampled, CANDIDATES, 1, VALUES)
    rows = [0, *range(1, TIMES.size)]
    found, places = at_candidates(model, sampled, CANDIDATES, VALUES)
    volumes = [
        log_volume(information(found, np.append(rows, place)).sum(axis=0)) for place in places
    ]
    assert best.times.tolist() == [CANDIDATES[int(np.argmax(volumes))]]


def test_a_steady_state_is_sampled_for_cl_alone(bare):
    """With V known the latest times of the infusion tell most of CL."""
    spec = model_of().spec.model_dump()
    spec["parameters"]["V"] |= {"typical": {"prior": "fixed", "value": 2.0}, "variability": None}
    values = {"TVCL": 0.8, "omega_CL": 0.3, "sigma": 0.15, "CL_AGE_below": 0.0}
    model = Model(ModelSpec.model_validate(spec))
    times = np.array([0.5, 1.0, 22.0, 23.0, 24.0])
    best = optimal_times(model, bare, times, 3, values, criterion="log_ratio")
    assert best.times.tolist() == [22.0, 23.0, 24.0]


def test_too_few_times_need_the_priors(bare):
    model = model_of()
    with pytest.raises(PopkError) as error:
        optimal_times(model, bare, CANDIDATES, 1, VALUES)
    (problem,) = error.value.problems
    assert "too few to estimate all parameters" in problem.found
    assert "prior=True" in problem.cure
    assert optimal_times(model, bare, CANDIDATES, 1, VALUES, prior=True).times.size == 1


@pytest.mark.parametrize("n", [0, 9])
def test_more_times_than_candidates(bare, n):
    with pytest.raises(PopkError) as error:
        optimal_times(model_of(), bare, CANDIDATES, n, VALUES)
    (problem,) = error.value.problems
    assert problem.key == "n"
    assert f"{n} sampling times to be chosen among 8" in problem.found
    assert problem.cure


def test_the_ratio_of_a_model_without_an_effect(bare):
    with pytest.raises(PopkError) as error:
        optimal_times(model_of(covariates=[]), bare, CANDIDATES, 4, criterion="log_ratio")
    (problem,) = error.value.problems
    assert problem.key == "criterion"
    assert 'criterion="determinant"' in problem.cure


def test_the_same_seed_gives_the_same_times(bare):
    model = model_of("proportional")
    one, two = (optimal_times(model, bare, CANDIDATES, 3, VALUES, seed=4) for _ in range(2))
    assert one.times.tolist() == two.times.tolist()
    assert one.exchanges == two.exchanges
