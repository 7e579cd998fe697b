"""Who lies far out: probabilities from known draws, and the bound of Chaloner and Brant."""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student_t

from popk.analysis.checking.outliers import bound_of, outliers


@pytest.mark.parametrize("count", [1, 26, 155])
def test_the_largest_of_so_many_exceeds_the_bound_in_one_study_of_twenty(count):
    inside = (2 * norm.cdf(bound_of(count)) - 1) ** count
    assert inside == pytest.approx(0.95)


@pytest.mark.slow
def test_probabilities_are_shares_of_the_draws(steady_state, drawn):
    model, data = steady_state.problem
    subjects = data.subjects
    bound = bound_of(subjects)
    eta = np.zeros((2, 40, subjects))
    eta[0, :, 3] = 0.5 * (bound + 0.1)  # beyond it in half of the draws
    eta[:, :, 7] = -0.5 * (bound + 0.1)  # in all
    fit = drawn(
        model.spec.model_dump(), data, draws={"eta_CL": eta, "omega_CL": np.full((2, 40), 0.5)}
    )
    found = outliers(fit, leave_out=False)
    assert found.subjects["probability_CL"].iloc[3] == 0.5
    assert found.subjects["z_CL"].iloc[7] == pytest.approx(-(bound + 0.1))
    assert found.named_subjects == {data.ids[7]: ["CL"]}
    assert found.subjects["pareto_k"].isna().all()


def test_points_are_judged_by_their_residuals(steady_state, drawn):
    model, data = steady_state.problem
    values = {"TVCL": 0.8, "CL_AGE_below": -0.3, "omega_CL": 0.3, "sigma": 0.02}
    draws = {name: np.full((2, 40), v) for name, v in values.items()}
    draws["eta_CL"] = np.zeros((2, 40, data.subjects))
    found = outliers(drawn(model.spec.model_dump(), data, draws=draws), leave_out=False)
    log_cl = np.log(0.8) - 0.3 * steady_state.young + steady_state.log_size
    z = (steady_state.log_dv - (steady_state.log_rate - log_cl[steady_state.subject])) / 0.02
    np.testing.assert_allclose(found.points["z"], z, rtol=1e-6, atol=1e-6)
    far = np.abs(z) > bound_of(data.observations)
    np.testing.assert_array_equal(found.points["probability"] == 1.0, far)
    assert len(found.named_points) == far.sum() > 0


@pytest.mark.slow
def test_a_heavy_tailed_eta_is_measured_on_its_own_scale(model, read, infants, columns, drawn):
    spread = {"distribution": "student_t", "df": 4.0, "sd": {"prior": "halfnormal", "scale": 0.5}}
    data = read(infants, columns=columns)
    draws = {"eta_CL": np.broadcast_to([1.5, -0.2, 0.0], (2, 40, 3)).copy(),
             "omega_CL": np.full((2, 40), 0.3)}  # fmt: skip
    fit = drawn(model(cl={"variability": spread}), data, draws=draws)
    found = outliers(fit, leave_out=False)
    expected = norm.isf(student_t.sf(5.0, 4.0))
    assert found.subjects["z_CL"].iloc[0] == pytest.approx(expected)
    assert found.subjects["z_CL"].iloc[1] < 0
