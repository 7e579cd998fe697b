import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from popk.population.covariates import log_factor
from popk.spec.relations import CovariateEffect
from popk.spec.units import UnitError

PRIOR = {"prior": "normal", "loc": 0.0, "scale": 1.0}
POSITIVE = {"prior": "lognormal", "median": 1.0, "sigma": 1.0}
ages = st.floats(0.1, 100.0)
effects = st.floats(-2.0, 2.0)


def effect_of(relation, **items):
    prior = {"half": POSITIVE, "hill": POSITIVE} if relation == "maturation" else {"effect": PRIOR}
    content = {"parameter": "CL", "covariate": "AGE", "relation": relation} | prior | items
    return TypeAdapter(CovariateEffect).validate_python(content)


def factor(effect, x, unit, *coefficients, levels=()):
    term = effect.term(np.array([[x]]), unit, levels)
    assert term.shape == (1, 1)
    values = dict(zip(effect.coefficients, map(jnp.asarray, coefficients), strict=True))
    return float(jnp.exp(log_factor(effect, jnp.asarray(term), values))[0, 0])


@settings(max_examples=25)
@given(x=ages, b=effects)
def test_each_relation_is_its_formula(x, b):
    def close(found, wanted):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)

    below = effect_of("below", cut="6 month")
    close(factor(below, x, "month", b), np.exp(b) if x < 6 else 1.0)
    power = effect_of("power", reference="70 kg")
    close(factor(power, x, "kg", b), (x / 70) ** b)
    exponential = effect_of("exponential", center="2 month", per="12 month")
    close(factor(exponential, x, "month", b), np.exp(b * (x - 2) / 12))
    linear = effect_of("linear", center="2 month", per="1 month")
    close(factor(linear, x, "month", abs(b) / 3), 1 + abs(b) / 3 * (x - 2))
    maturation = effect_of("maturation")
    half, hill = 47.7, 1.0 + abs(b)
    close(factor(maturation, x, "week", half, hill), x**hill / (half**hill + x**hill))


def test_the_cut_itself_is_not_below():
    below = effect_of("below", cut=5)
    assert factor(below, 5.0, None, 1.0) == 1.0
    assert factor(below, np.nextafter(5.0, 0.0), None, 1.0) == pytest.approx(np.e)


def test_categories_by_word_and_by_number():
    word = effect_of("category", level="female")
    levels = ("male", "female")
    assert factor(word, 1.0, None, 0.5, levels=levels) == pytest.approx(np.exp(0.5))
    assert factor(word, 0.0, None, 0.5, levels=levels) == 1.0
    number = effect_of("category", level=2)
    assert factor(number, 2.0, None, 0.5) == pytest.approx(np.exp(0.5))
    assert factor(number, 1.0, None, 0.5) == 1.0


@pytest.mark.parametrize(("levels", "told"), [(("m", "f"), "m, f"), ((), "not declared")])
def test_an_unknown_level_is_refused(levels, told):
    with pytest.raises(ValueError, match=f"'female' is not among .*{told}"):
        effect_of("category", level="female").term(np.zeros((1, 1)), None, levels)


@pytest.mark.parametrize(
    ("effect", "coefficients"),
    [
        (effect_of("below", cut="6 month"), (0.3,)),
        (effect_of("power", reference="6 month"), (0.3,)),
        (effect_of("linear", center="1 month", per="1 month"), (0.3,)),
        (effect_of("exponential", center="1 month", per="1 month"), (0.3,)),
        (effect_of("maturation", unit="month"), (6.0, 2.0)),
        (effect_of("maturation", unit="week"), (6.0 * 365.25 / 84, 2.0)),
    ],
)
@pytest.mark.parametrize("months", [0.5, 3.0, 20.0])
def test_the_unit_of_the_data_does_not_matter(effect, coefficients, months):
    in_month = factor(effect, months, "month", *coefficients)
    in_day = factor(effect, months * 365.25 / 12, "day", *coefficients)
    in_year = factor(effect, months / 12, "year", *coefficients)
    np.testing.assert_allclose([in_day, in_year], in_month, rtol=1e-12)


def test_a_plain_number_is_in_the_unit_of_the_data():
    assert factor(effect_of("power", reference=70), 140.0, "kg", 1.0) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("relation", "items"),
    [
        ("below", {"cut": "6 month"}),
        ("power", {"reference": "6 month"}),
        ("linear", {"center": "6 month"}),
        ("exponential", {"center": "6 month"}),
        ("maturation", {}),
    ],
)
def test_units_that_do_not_convert_are_refused(relation, items):
    effect = effect_of(relation, **items)
    with pytest.raises(UnitError, match=r"kg"):
        effect.term(np.ones((1, 1)), "kg", ())
    with pytest.raises(ValueError, match=r"unit"):
        effect.term(np.ones((1, 1)), None, ())


@pytest.mark.parametrize(("relation", "items"), [("power", {"reference": 70}), ("maturation", {})])
def test_a_covariate_of_zero_is_refused_where_its_logarithm_is_taken(relation, items):
    with pytest.raises(ValueError, match="above 0"):
        effect_of(relation, **items).term(np.array([[1.0, 0.0]]), "week", ())


def test_maturation_does_not_overflow():
    effect = effect_of("maturation")
    assert factor(effect, 300.0, "week", 10.0, 300.0) == 1.0
    tiny = log_factor(
        effect, jnp.asarray(1.0), {"CL_AGE_maturation_half": jnp.asarray(100.0),
                                   "CL_AGE_maturation_hill": jnp.asarray(300.0)}
    )  # fmt: skip
    np.testing.assert_allclose(tiny, -300.0 * np.log(100.0))
