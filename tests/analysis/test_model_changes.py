"""What is different between two models, in words and line by line."""

import tomllib

import pytest

from popk.analysis.model_changes import canonical, changes, difference
from popk.spec.model import ModelSpec


@pytest.fixture
def spec(model):
    def of(**sections):
        return ModelSpec.model_validate(model(**sections))

    return of


EFFECT = {"parameter": "CL", "covariate": "AGE", "relation": "below", "cut": "6 month",
          "effect": {"prior": "normal", "loc": 0.0, "scale": 0.5}}  # fmt: skip
SPREAD = {"prior": "halfnormal", "scale": 0.5}


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({}, ()),
        ({"name": "other", "description": "words", "based_on": "test"}, ()),
        (
            {"v": {"variability": {"distribution": "normal", "sd": SPREAD}}},
            ("parameter V: variability lognormal → normal",),
        ),
        ({"v": {"variability": None}},
         ("parameter V: variability lognormal(sd halfnormal(scale 0.5)) only in the first",)),
        (
            {"cl": {"typical": {"prior": "lognormal", "median": 2.0, "sigma": 1.0}}},
            ("parameter CL: typical median 1 → 2",),
        ),
        (
            {"cl": {"typical": {"prior": "fixed", "value": 2.0}}},
            ("parameter CL: typical lognormal(median 1, sigma 1) → fixed(value 2)",),
        ),
        (
            {"residual": {"error": "additive", "sd": SPREAD}},
            ("residual lognormal → additive",),
        ),
        ({"cl": {"unit": "mL/min"}}, ("parameter CL: unit L/h → mL/min",)),
    ],
)  # fmt: skip
def test_each_change_has_a_line(spec, sections, said):
    assert changes(spec(), spec(**sections)) == said


def test_an_effect_is_only_in_one_of_both(spec):
    with_effect = spec(covariates=[EFFECT])
    (line,) = changes(spec(), with_effect)
    assert line.startswith("covariate effect CL_AGE_below: below(")
    assert line.endswith("only in the second")
    (line,) = changes(with_effect, spec())
    assert line.endswith("only in the first")
    other = spec(covariates=[{**EFFECT, "cut": "3 month"}])
    assert changes(with_effect, other) == ("covariate effect CL_AGE_below: cut 6 month → 3 month",)


def test_the_canonical_text_says_the_whole_model(spec):
    own = spec(covariates=[EFFECT])
    assert ModelSpec.model_validate(tomllib.loads(canonical(own))) == own


def test_the_diff_has_both_names_and_only_what_changed(spec):
    own = spec(residual={"error": "additive", "sd": SPREAD})
    lines = difference(spec(), own, ("a", "b")).splitlines()
    assert lines[0].startswith("--- a")
    assert lines[1].startswith("+++ b")
    changed = {line for line in lines[2:] if line[0] in "+-"}
    assert changed == {'-error = "lognormal"', '+error = "additive"'}
    assert difference(spec(), spec(), ("a", "b")) == ""
