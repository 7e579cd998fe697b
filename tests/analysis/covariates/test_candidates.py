"""Candidates that no data can say anything of are refused, with the cure."""

from dataclasses import replace

import numpy as np
import pytest

from popk.analysis.covariates.candidates import require_testable, with_effects, without_effects
from popk.spec.fit import FitSpec
from popk.spec.problem import PopkError
from popk.spec.record import validate
from popk.study.folder import open_study

PRIOR = {"prior": "normal", "loc": 0.0, "scale": 0.5}


def candidates(*effects):
    content = {"model": "m.toml", "data": "d.csv", "candidates": list(effects)}
    return validate(FitSpec, content, "fit.toml").candidates


def below(cut="6 month", **changed):
    return {"parameter": "CL", "covariate": "AGE", "relation": "below", "cut": cut,
            "effect": PRIOR} | changed  # fmt: skip


POWER = {"parameter": "CL", "covariate": "WT", "relation": "power", "reference": "7 kg",
         "effect": PRIOR}  # fmt: skip


@pytest.fixture(scope="module")
def study():
    return open_study("fits/blinatumomab-infants")


def refused(study, *effects):
    with pytest.raises(PopkError) as error:
        require_testable(study.model, study.data, candidates(*effects))
    return error.value.problems


def test_what_can_be_tested_passes(study):
    require_testable(study.model, study.data, candidates(below(), POWER))


@pytest.mark.parametrize(
    ("effect", "found", "cure"),
    [
        (below(covariate="CRP"), "'CRP'", "declare its column"),
        (below(parameter="KA"), "'KA'", "correct the parameter"),
        (below(cut="0.1 month"), "0 subjects in the group and 26 outside", "another cut"),
        (below(cut="99 month"), "26 subjects in the group and 0 outside", "another cut"),
        (below(cut="6 kg"), "kg", "correct it"),
        (below(effect={"prior": "fixed", "value": -0.1}), "fixed at -0.1", "give it a prior"),
        (
            {"parameter": "CL", "covariate": "AGE", "relation": "maturation",
             "half": {"prior": "lognormal", "median": 47.0, "sigma": 0.3},
             "hill": {"prior": "lognormal", "median": 3.0, "sigma": 0.3}},
            "maturation", "with and without it",
        ),
    ],
)  # fmt: skip
def test_faults_name_the_candidate_and_the_cure(study, effect, found, cure):
    (problem,) = refused(study, effect)
    assert found in problem.found
    assert cure in problem.cure
    assert problem.key.startswith("candidates.")
    assert problem.file.endswith(".csv")


def test_a_covariate_that_is_the_same_in_everyone_is_refused(study):
    weights = np.full_like(study.data.covariates["WT"], 7.0)
    data = replace(study.data, covariates={**study.data.covariates, "WT": weights})
    with pytest.raises(PopkError, match="the same in all 26 subjects"):
        require_testable(study.model, data, candidates(POWER))


def test_candidates_that_cannot_be_told_apart_are_refused(study):
    per = {"parameter": "CL", "covariate": "WT", "center": "7 kg", "per": "1 kg", "effect": PRIOR}
    exponential, linear = {**per, "relation": "exponential"}, {**per, "relation": "linear"}
    (problem,) = refused(study, exponential, linear)
    assert "correlation 1.000" in problem.found
    assert "drop CL_WT_exponential or CL_WT_linear" in problem.cure
    # On different parameters they can be told apart
    require_testable(study.model, study.data, candidates(exponential, {**linear, "parameter": "V"}))


def test_no_candidate_at_all_is_refused(study):
    with pytest.raises(PopkError, match="no candidate effect"):
        require_testable(study.model, study.data, ())


def test_a_candidate_written_twice_is_a_fault_of_the_file():
    with pytest.raises(PopkError, match="twice"):
        candidates(below(), below())


@pytest.mark.parametrize("wrong", [[1.25, 0.8], [1.1, 1.25], [0.8, 0.9], [0, 1.25]])
def test_a_range_of_no_effect_lies_around_one(wrong):
    with pytest.raises(PopkError):
        validate(FitSpec, {"model": "m", "data": "d", "no_effect": wrong}, "fit.toml")


def test_models_with_and_without_are_complete(study):
    (effect,) = study.model.spec.covariates
    base = without_effects(study.model.spec, [effect])
    assert base.covariates == ()
    assert base.based_on == study.model.spec.name
    again = with_effects(base, [effect], "again")
    assert again.covariates == (effect,)
    assert again.parameters == study.model.spec.parameters
