from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.data.body_size import FORMULAS, body_surface_area
from popk.spec.fit import BodySizeFormula

# Six formulas worked out by hand for an infant of 7.20 kg and 65.0 cm (m²).
PRINTED = {
    "mosteller": "0.361",
    "haycock": "0.367",
    "gehan_george": "0.379",
    "dubois": "0.343",
    "boyd": "0.380",
    "current": "0.379",
}


def test_table_has_exactly_the_printed_formulas():
    assert list(FORMULAS) == list(PRINTED)


def test_the_words_of_a_fit_file_are_those_of_the_table():
    assert get_args(BodySizeFormula) == tuple(FORMULAS)


@pytest.mark.parametrize("formula", PRINTED)
def test_printed_value(formula: str):
    assert f"{body_surface_area(7.20, 65.0, formula):.3f}" == PRINTED[formula]


def test_haycock_is_the_default():
    assert body_surface_area(7.2, 65.0) == FORMULAS["haycock"](7.2, 65.0)


@pytest.mark.parametrize("formula", FORMULAS)
def test_arrays_equal_numbers(formula: str):
    weight, height = np.array([4.0, 7.2, 12.0]), np.array([54.0, 65.0, 85.0])
    alone = [body_surface_area(w, h, formula) for w, h in zip(weight, height, strict=True)]
    np.testing.assert_allclose(
        body_surface_area(weight, height, formula), np.array(alone), rtol=1e-14
    )


# "current" is for children of 3 to 30 kg only
@pytest.mark.parametrize("formula", sorted(set(FORMULAS) - {"current"}))
def test_adult_is_near_the_conventional_1_73(formula: str):
    assert body_surface_area(63.0, 170.0, formula) == pytest.approx(1.73, abs=0.05)


@given(st.floats(3.0, 29.0), st.floats(45.0, 130.0), st.sampled_from(sorted(FORMULAS)))
def test_heavier_has_more_surface(weight: float, height: float, formula: str):
    lighter, heavier = (body_surface_area(w, height, formula) for w in (weight, weight * 1.01))
    assert heavier > lighter > 0.0


def test_unknown_formula_names_the_valid_ones():
    with pytest.raises(
        ValueError, match=r"du_bois.*mosteller, haycock, gehan_george, dubois, boyd"
    ):
        body_surface_area(7.2, 65.0, "du_bois")
