"""Curves over time: through the closed form, and with the population's spread."""

import numpy as np
import pytest

from popk.analysis.checking.profiles import profiles
from tests.analysis.conftest import BSA, RATES

VALUES = {"TVCL": 1.0, "TVV": 3.0, "omega_CL": 0.3, "omega_V": 1e-6, "sigma": 0.1}


@pytest.fixture
def curves(read, infants, columns, drawn, model):
    data = read(infants, columns=columns)
    draws = {name: np.full((2, 40), value) for name, value in VALUES.items()}
    draws |= {"eta_CL": np.broadcast_to([0.2, -0.1, 0.0], (2, 40, 3)).copy(),
              "eta_V": np.zeros((2, 40, 3))}  # fmt: skip
    return profiles(drawn(model(), data, draws=draws), seed=1)


def test_individual_curves_are_the_closed_form(curves):
    """One infusion from 24 h on for 72 h, then a fall; in the first and third subject."""
    for i, eta in ((0, 0.2), (2, 0.0)):
        own = curves[curves["ID"] == f"s{i}"]
        t = own["TIME"].to_numpy()
        cl, v = BSA[i] * np.exp(eta), 3.0 * BSA[i]
        k, on = cl / v, np.clip(t - 24, 0, 72)
        expected = (
            1000 * RATES[i] / cl * (1 - np.exp(-k * on)) * np.exp(-k * np.clip(t - 96, 0, None))
        )
        np.testing.assert_allclose(own["individual"], expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(own["individual_low"], own["individual_high"])
        assert (np.diff(t) >= 0).all()
        assert t.min() == 24
        assert t.max() == 100


def test_the_population_band_has_the_variability(curves):
    """At steady state log Css is normal with SD omega_CL around the typical value."""
    own = curves[(curves["ID"] == "s0") & curves["TIME"].between(90, 95)]
    low, middle, high = (
        np.log(own[f"population{end}"].to_numpy()) for end in ("_low", "", "_high")
    )
    typical = np.log(1000 * RATES[0] / BSA[0])
    # Quantiles of a hundred draws: standard errors 0.3 * (1.25, 2.1)/10
    assert np.abs(middle - typical).max() < 4.5 * 0.3 * 0.125
    for end, sign in ((low, -1), (high, 1)):
        assert np.abs(end - typical - sign * 1.645 * 0.3).max() < 4.5 * 0.3 * 0.21
