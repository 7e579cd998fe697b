"""Css and CL of a sample, from concentrations at steady state, by hand."""

import numpy as np
import pytest

from popk.analysis.checking.paper_check import paper_check, two_sided
from popk.analysis.checking.replicates import replicates
from tests.analysis.conftest import BSA, RATES

VALUES = {"TVCL": 1.0, "TVV": 3.0, "omega_CL": 0.3, "omega_V": 0.1, "sigma": 0.1}


@pytest.fixture
def fitted(read, infants, columns, drawn, model):
    def of(dose="15 ug/m^2/day", text=infants):
        data = read(text, columns=columns)
        draws = {name: np.full((2, 40), value) for name, value in VALUES.items()}
        return drawn(model(), data, dose=dose, draws=draws)

    return of


def test_by_hand(fitted):
    """Samples at 48 and 90 h (started at 24 h) are at steady state, those at 97 and 100 h not."""
    fit = fitted()
    reps = replicates(fit, count=400)
    found = paper_check(fit, reps)
    assert (found.subjects, found.rows) == (3, 6)
    dv = np.array([[600.0 + 50 * i - 48, 600.0 + 50 * i - 90] for i in range(3)])
    css = np.exp(np.log(dv).mean(axis=1))  # pg/mL is ug/m3
    cl = RATES * 1000 / css / BSA
    nominal = 15 / 24 * 1000 / cl
    expected = {
        "Css mean": nominal.mean(),
        "Css SD": nominal.std(ddof=1),
        "CL median": np.median(cl),
        "CL minimum": cl.min(),
        "CL maximum": cl.max(),
    }
    for name, value in expected.items():
        assert found.table.loc[name, "observed"] == pytest.approx(value)
        own = found.replicates[name]
        assert found.table.loc[name, "p"] == two_sided(value, own)
    assert found.table.loc["CL median", "unit"] == "L/h/m²"
    assert found.table.loc["Css mean", "unit"] == "pg/mL"
    # CL is log-normal around 1 L/h/m2: so is the sample's median
    log_cl = np.log(found.replicates["CL median"])
    assert abs(np.median(log_cl)) < 4.5 * 1.25 * log_cl.std() / np.sqrt(400)


def test_without_a_nominal_dose_there_is_no_css(fitted):
    fit = fitted(dose=None)
    found = paper_check(fit, replicates(fit, count=50))
    assert list(found.table.index) == ["CL median", "CL minimum", "CL maximum"]


@pytest.mark.slow
def test_too_few_at_steady_state_are_no_sample(fitted, infants):
    first, *rest = infants.splitlines()
    early = [row.replace(",48,0,0", ",25,0,0").replace(",90,0,0", ",26,0,0") for row in rest]
    fit = fitted(text="\n".join([first, *early, ""]))
    assert paper_check(fit, replicates(fit, count=20)) is None


def test_two_sided_counts_both_tails():
    values = np.arange(1.0, 100.0)
    assert two_sided(50.0, values) == 1.0
    assert two_sided(0.0, values) == pytest.approx(0.02)
    assert two_sided(1000.0, values) == pytest.approx(0.02)
    assert two_sided(3.0, values) == pytest.approx(0.08)
