"""Body size at a time, also where subjects have records of their own."""

import numpy as np
import pytest

from popk.data.cohort import cohort
from popk.data.dose_covariates import covariate_at
from popk.data.regimens import scheduled
from popk.spec.regimen import bolus

ROWS = """
    ID,TIME,AMT,DV,WT
    a,0,5,.,4.0
    a,10,.,1,5.0
    a,10,5,.,5.5
    a,20,.,1,6.0
    b,5,5,.,7.0
    b,12,.,1,8.0
    """


@pytest.mark.parametrize(
    ("time", "expected"),
    [(-1.0, [4, 7]), (0.0, [4, 7]), (9.0, [4, 7]), (10.0, [5.5, 7]), (12.0, [5.5, 8]),
     (1e3, [6, 8])],
)  # fmt: skip
def test_the_last_record_at_or_before_a_time(read, time, expected):
    data = read(ROWS, columns={"WT": {"covariate": True, "unit": "kg"}})
    np.testing.assert_array_equal(covariate_at(data, "WT", time), expected)
    found = scheduled(bolus("1 ug/kg"), data, start=time)
    np.testing.assert_array_equal(found.size[:, 0], expected)


def test_a_time_but_for_rounding():
    people = cohort({"WT": np.array([[4.0, 5.0]])}, {"WT": "kg"}, time=[0.0, 3 * 0.1])
    assert covariate_at(people, "WT", 0.3)[0] == 5.0  # 0.30000000000000004 has been reached
    assert covariate_at(people, "WT", 0.3 - 1e-6)[0] == 4.0


def test_units_of_popk():
    people = cohort({"AGE": np.array([[0.5]])}, {"AGE": "year"})
    np.testing.assert_allclose(covariate_at(people, "AGE", 0.0), [6.0], rtol=1e-14)
