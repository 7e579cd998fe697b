import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygrowup import Observation

from popk.data.growth import body_size, draw_body_size, draw_scores, lms, value, zscore

# WHO Child Growth Standards 2006: L, M (kg or cm), S as printed.
CHECK_POINTS = [
    ("weight_for_age", "male", 30, (0.2303, 4.4525, 0.13413)),
    ("length_for_age", "male", 30, (1.0, 54.6645, 0.03559)),
    ("weight_for_age", "male", 183, (0.1256, 7.9389, 0.10957)),
    ("length_for_age", "male", 183, (1.0, 67.6435, 0.03165)),
    ("weight_for_age", "female", 183, (-0.0759, 7.3016, 0.12204)),
    ("length_for_age", "female", 183, (1.0, 65.751, 0.03448)),
]


@pytest.mark.parametrize(("measure", "sex", "day", "expected"), CHECK_POINTS)
def test_printed_check_points(
    measure: str, sex: str, day: int, expected: tuple[float, float, float]
):
    np.testing.assert_allclose(np.array(lms(measure, sex, day)), expected, rtol=0, atol=1e-9)


def test_linear_between_rows():
    between = np.array(lms("weight_for_age", "female", 100.25))
    rows = np.array([lms("weight_for_age", "female", day) for day in (100, 101)])
    np.testing.assert_allclose(between, 0.75 * rows[0] + 0.25 * rows[1], rtol=1e-12)


def test_array_of_ages_equals_single_ages():
    days = np.array([0.0, 61.5, 730.0])
    together = np.array(lms("length_for_age", "male", days))
    alone = np.array([lms("length_for_age", "male", day) for day in days]).T
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("measure", "at", "message"),
    [
        ("weight_for_age", -1.0, r"age -1 day; expected 0 to 1856 day"),
        ("length_for_age", 731.0, r"age 731 day; expected 0 to 730 day"),
        ("weight_for_length", 44.9, r"length 44.9 cm; expected 45 to 110 cm"),
        ("weight_for_length", float("nan"), r"length nan cm; expected 45 to 110 cm"),
    ],
)
def test_outside_the_table(measure: str, at: float, message: str):
    with pytest.raises(ValueError, match=message):
        lms(measure, "female", np.array([60.0, at]))


def test_unknown_words():
    with pytest.raises(ValueError, match=r"height.*weight_for_age, length_for_age"):
        lms("height", "male", 30)
    with pytest.raises(ValueError, match=r"boy.*male, female"):
        lms("weight_for_age", "boy", 30)


@given(z=st.floats(-3, 3), L=st.floats(-1, 1), M=st.floats(2.0, 100.0), S=st.floats(0.03, 0.15))
def test_zscore_is_the_inverse_of_value(z: float, L: float, M: float, S: float):
    assert zscore(value(z, L, M, S), L, M, S) == pytest.approx(z, abs=1e-10)


@pytest.mark.parametrize("L", [5e-324, 1e-300, -1e-13, 1.01e-12, -1e-9])
def test_zscore_is_the_inverse_of_value_near_the_limit(L: float):
    assert zscore(value(1.0, L, 2.0, 0.125), L, 2.0, 0.125) == pytest.approx(1.0, abs=1e-12)


def test_small_power_meets_the_log_normal_limit():
    limit = value(1.5, 0.0, 7.0, 0.1)
    assert limit == pytest.approx(7.0 * np.exp(0.15), rel=1e-15)
    assert value(1.5, 1e-13, 7.0, 0.1) == pytest.approx(limit, rel=1e-12)
    assert zscore(8.0, 1e-13, 7.0, 0.1) == pytest.approx(zscore(8.0, 0.0, 7.0, 0.1), rel=1e-12)


def test_zscore_beyond_the_distribution():
    with pytest.raises(ValueError, match=r"1 \+ L S z must be positive"):
        value(-20.0, 1.0, 7.0, 0.1)


def test_zscore_agrees_with_the_package_that_holds_the_tables():
    child = Observation("female", age_in_days=183)
    ours = zscore(6.2, *lms("weight_for_age", "female", 183))
    assert ours == pytest.approx(float(child.weight_for_age(6.2)), abs=0.0051)


@pytest.mark.parametrize("sex", ["male", "female"])
def test_drawn_sizes_follow_the_standard_and_are_correlated(sex: str):
    number = 4000
    length, weight = draw_body_size(np.random.default_rng(5), np.full(number, 183.0), sex)
    z_length = np.asarray(zscore(length, *lms("length_for_age", sex, 183)))
    z_weight = np.asarray(zscore(weight, *lms("weight_for_length", sex, length)))
    for z in (z_length, z_weight):
        assert abs(z.mean()) < 4 / np.sqrt(number)
        assert abs(z.std() - 1) < 4 / np.sqrt(2 * number)
    # weight for age must come out too, although only weight for length was drawn
    median_weight = lms("weight_for_age", sex, 183)[1]
    assert np.median(weight) == pytest.approx(median_weight, rel=0.02)
    assert 0.5 < np.corrcoef(length, weight)[0, 1] < 0.9


def test_draws_of_one_infant_are_numbers_and_repeat():
    first, again = (draw_body_size(np.random.default_rng(1), 90.0, "male") for _ in range(2))
    assert first == again
    assert all(np.ndim(number) == 0 for number in first)


def test_short_newborns_are_drawn_again():
    length, _ = draw_body_size(np.random.default_rng(2), np.zeros(2000), "female")
    assert np.min(length) >= 45.0


def test_body_size_at_given_scores():
    """At score 0 the medians; along the curves the scores stay."""
    length, weight = body_size(0.0, 0.0, 183, "male")
    assert length == pytest.approx(67.6435, abs=1e-9)
    assert weight == pytest.approx(lms("weight_for_length", "male", 67.6435)[1], abs=1e-9)
    days = np.array([30.0, 183.0, 365.0])
    length, weight = body_size(np.array([[-1.5], [2.0]]), np.array([[0.7], [-2.5]]), days, "female")
    z_length = zscore(length, *lms("length_for_age", "female", days))
    z_weight = zscore(weight, *lms("weight_for_length", "female", length))
    np.testing.assert_allclose(z_length, np.array([[-1.5], [2.0]]) * np.ones(3), atol=1e-10)
    np.testing.assert_allclose(z_weight, np.array([[0.7], [-2.5]]) * np.ones(3), atol=1e-10)


def test_scores_of_newborns_stay_inside_the_table_while_they_grow():
    birth = np.zeros(2000)
    scores = draw_scores(np.random.default_rng(3), birth, "female", birth + 28.0)
    for day in (0.0, 1.0, 28.0):
        length, _ = body_size(*scores, day, "female")
        assert np.min(length) >= 45.0
