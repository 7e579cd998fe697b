"""Stepwise search against the exact likelihood of log-normal steady states, subset by subset."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

from popk.analysis.covariates.search import search
from popk.spec.problem import PopkError
from popk.spec.relations import Below, Power

PRIOR = {"prior": "normal", "loc": 0.0, "scale": 0.5}
OF_WEIGHT = {"parameter": "CL", "covariate": "WT", "effect": PRIOR}
WEIGHT = Power.model_validate({**OF_WEIGHT, "relation": "power", "reference": "6 kg"})
HEAVY = Below.model_validate({**OF_WEIGHT, "relation": "below", "cut": "6 kg"})


def exact_ofv(case, names):
    """-2 log L but for a constant, with the coefficients by generalised least squares."""
    z = case.log_rate - case.log_dv - case.log_size[case.subject]
    columns = {
        "CL_AGE_below": case.young,
        "CL_WT_power": case.log_size - math.log(6.0),
        "CL_WT_below": (case.log_size < math.log(6.0)).astype(float),
    }
    design = np.stack([np.ones(len(z)), *(columns[n][case.subject] for n in sorted(names))], axis=1)
    of_subject = np.eye(case.young.size)[case.subject]
    same = of_subject @ of_subject.T

    def value(log_sd):
        omega, sigma = np.exp(log_sd)
        lower = np.linalg.cholesky(omega**2 * same + sigma**2 * np.eye(len(z)))
        x, y = np.linalg.solve(lower, design), np.linalg.solve(lower, z)
        rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        return rest @ rest + 2.0 * np.log(np.diag(lower)).sum()

    found = minimize(value, np.log([0.3, 0.2]), method="Nelder-Mead", options={"xatol": 1e-6})
    return float(found.fun)


def exact_path(case, candidates, forward, backward):
    """The effects after every step, by brute force."""
    chosen, path = frozenset(), [frozenset()]

    def p(larger, smaller):
        return chi2.sf(exact_ofv(case, smaller) - exact_ofv(case, larger), 1)

    while rest := [c for c in candidates if c not in chosen]:
        best = min(rest, key=lambda c: p(chosen | {c}, chosen))
        if p(chosen | {best}, chosen) >= forward:
            break
        chosen |= {best}
        path.append(chosen)
    while chosen:
        worst = max(chosen, key=lambda c: p(chosen, chosen - {c}))
        if p(chosen, chosen - {worst}) < backward:
            break
        chosen -= {worst}
        path.append(chosen)
    return path


@pytest.fixture(scope="module")
def candidates(steady_state):
    model, _ = steady_state.problem
    return [*model.spec.covariates, WEIGHT]


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        pytest.param(0.9999, 0.05, marks=pytest.mark.slow),
        pytest.param(0.9999, 1e-6, marks=pytest.mark.slow),
        pytest.param(1e-6, 1e-9, marks=pytest.mark.slow),
    ],
)
def test_every_step_is_that_of_the_exact_likelihood(steady_state, candidates, forward, backward):
    model, data = steady_state.problem
    found = search(model, data, candidates, forward=forward, backward=backward)
    assert found.ended
    taken = found.tried[found.tried["taken"]]
    names = ["CL_AGE_below", "CL_WT_power"]
    expected = exact_path(steady_state, names, forward, backward)
    assert [frozenset(effects.split()) for effects in taken["effects"]] == expected
    for _, row in found.tried[found.tried["step"] > 0].iterrows():
        own = frozenset(row["effects"].split())
        # A row of the way up has the candidate, one of the way down has it no more
        larger, smaller = own | {row["candidate"]}, own - {row["candidate"]}
        change = exact_ofv(steady_state, larger) - exact_ofv(steady_state, smaller)
        assert row["dOFV"] == pytest.approx(change, abs=1e-4)
        assert row["p"] == pytest.approx(chi2.sf(-change, 1), abs=1e-4)
        assert row["q5"] < row["ratio"] < row["q95"]
    assert {e.name for e in found.final.covariates} == expected[-1]
    assert list(found.effects["selected"]) == [name in expected[-1] for name in names]
    # The full model stands beside it whatever was selected
    assert {e.name for e in found.full.covariates} == set(names)
    joint = exact_ofv(steady_state, set(names)) - exact_ofv(steady_state, ())
    assert found.joint.change == pytest.approx(joint, abs=1e-4)
    assert found.effects["full_ratio"].notna().all()
    empty = not expected[-1]
    assert any("ends with the model without effects" in note for note in found.notes) == empty
    assert any("looked large" in note for note in found.notes) != empty


@pytest.mark.slow
def test_one_relation_of_a_parameter_to_a_covariate_enters(steady_state):
    model, data = steady_state.problem
    found = search(model, data, [WEIGHT, HEAVY], forward=0.9999, backward=0.9998)
    up = found.tried[found.tried["direction"] == "forward"]
    assert set(up["step"]) == {1}
    # The model's own effect is no candidate here and stays
    kept = [e.name for e in model.spec.covariates]
    assert len(found.final.covariates) == len(kept) + 1
    assert [e.name for e in found.full.covariates] == [*kept, "CL_WT_power"]
    assert any("first relation" in note for note in found.notes)


@pytest.mark.parametrize(
    ("levels", "key"),
    [({"forward": 0.0}, "forward"), ({"backward": 1.5}, "backward"),
     ({"forward": 0.01, "backward": 0.05}, "backward")],
)  # fmt: skip
def test_levels_that_are_none_are_refused(steady_state, candidates, levels, key):
    model, data = steady_state.problem
    with pytest.raises(PopkError) as error:
        search(model, data, candidates, **levels)
    (problem,) = error.value.problems
    assert problem.key == key
    assert f"--{key}" in problem.cure
