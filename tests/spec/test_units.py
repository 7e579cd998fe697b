import pytest
from hypothesis import given
from hypothesis import strategies as st

from popk.spec.units import UnitError, check_unit, conversion_factor, quantity, split_quantity


@pytest.mark.parametrize(
    ("source", "target", "factor"),
    [
        ("mg", "ug", 1000.0),
        ("mg", "ng", 1e6),
        ("ng", "mg", 1e-6),
        ("µg", "ug", 1.0),  # the micro sign
        ("μg", "ug", 1.0),  # the Greek letter
        ("mcg", "ng", 1000.0),
        ("day", "h", 24.0),
        ("h", "min", 60.0),
        ("hours", "h", 1.0),
        ("week", "day", 7.0),
        ("year", "month", 12.0),
        ("year", "day", 365.25),
        ("pg/mL", "ng/L", 1.0),
        ("pg/mL", "µg/L", 1e-3),
        ("mg/L", "pg/mL", 1e6),
        ("mg/L", "ug/mL", 1.0),
        ("L/h", "mL/min", 1000 / 60),
        ("L/day", "L/h", 1 / 24),
        ("degC", "degC", 1.0),
    ],
)
def test_conversion(source, target, factor):
    """To the last digit or two, and powers of ten exactly."""
    found = conversion_factor(source, target)
    assert found == pytest.approx(factor, rel=1e-14)
    if f"{factor:g}"[0] == "1" and set(f"{factor:g}"[1:]) <= set("0e+-6."):
        assert found == factor


def test_a_month_is_a_twelfth_of_a_julian_year():
    assert quantity("6 month", "day") == pytest.approx(6 * 365.25 / 12, rel=1e-14)
    assert quantity("1 month", "week") == pytest.approx(365.25 / 84, rel=1e-14)


units = st.sampled_from(["mg", "ug", "ng", "kg", "g", "pg"])


@given(a=units, b=units, c=units)
def test_conversions_chain_and_invert(a, b, c):
    assert conversion_factor(a, b) * conversion_factor(b, a) == pytest.approx(1.0, rel=1e-14)
    assert conversion_factor(a, b) * conversion_factor(b, c) == pytest.approx(
        conversion_factor(a, c), rel=1e-13
    )


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("mg", "h", "'mg' cannot be converted to 'h'"),
        ("mg/L", "mol/L", "cannot be converted"),
        ("m^2", "m", "cannot be converted"),
        ("mg", "furlungs", "unknown unit 'furlungs'"),
        ("L//h", "L/h", "a single '/' divides"),
        ("mg/", "mg", "'mg/'"),
        ("degC", "K", "different zeros"),
        ("degF", "degC", "different zeros"),
    ],
)
def test_what_does_not_convert(source, target, said):
    with pytest.raises(UnitError, match=said):
        conversion_factor(source, target)


def test_check_unit_returns_what_the_user_wrote():
    assert check_unit("µg/m^2/day") == "µg/m^2/day"
    with pytest.raises(UnitError, match="unknown unit 'mgg'"):
        check_unit("mgg")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("15 ug/m^2/day", (15.0, "ug/m^2/day")),
        ("6month", (6.0, "month")),
        (" -1.5e-3  kg ", (-0.0015, "kg")),
        (".5", (0.5, "")),
        ("70", (70.0, "")),
    ],
)
def test_split(text, parts):
    assert split_quantity(text) == parts


@pytest.mark.parametrize("text", ["six months", "", "kg 6", "1,5 kg", "nan kg", "6 monthss"])
def test_no_quantity(text):
    with pytest.raises(UnitError):
        split_quantity(text)


def test_plain_numbers_are_in_the_target_unit():
    assert quantity(6, "month") == 6.0
    assert quantity("6", "month") == 6.0
    assert quantity(0.5, None) == 0.5
    assert quantity("1 year", "month") == 12.0
    with pytest.raises(UnitError, match="nothing says what unit"):
        quantity("6 month", None)
    with pytest.raises(UnitError, match="cannot be converted"):
        quantity("6 month", "kg")
