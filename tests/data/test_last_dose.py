"""Time after dose, by hand."""

from pathlib import Path

import numpy as np
import pytest

from popk.data.last_dose import time_after_dose
from popk.data.nonmem.read import read_data
from popk.spec.fit import DataSpec


def read(tmp_path: Path, rows: str):
    path = tmp_path / "data.csv"
    path.write_text("ID,TIME,AMT,RATE,DV,EVID,MDV,ADDL,II,SS\n" + rows, encoding="utf-8")
    return read_data(path, DataSpec())


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Before any dose there is none; a row below a dose of the same time is after it
        ("1,0,0,0,.,2,1,0,0,0\n1,1,5,0,.,1,1,0,0,0\n1,1,0,0,2,0,0,0,0,0\n1,4,0,0,2,0,0,0,0,0\n",
         [np.nan, 0.0, 0.0, 3.0]),
        # Additional doses at 0, 12, 24, and no further ones
        ("1,0,5,0,.,1,1,2,12,0\n1,13,0,0,2,0,0,0,0,0\n1,24,0,0,2,0,0,0,0,0\n1,60,0,0,1,0,0,0,0,0\n",
         [0.0, 1.0, 0.0, 36.0]),
        # A reset forgets the doses before
        ("1,0,5,0,.,1,1,0,0,0\n1,5,0,0,.,3,1,0,0,0\n1,6,0,0,.,2,1,0,0,0\n1,7,5,1,.,4,1,0,0,0\n"
         "1,9,0,0,2,0,0,0,0,0\n", [0.0, np.nan, np.nan, 0.0, 2.0]),
        # The steady state of a constant infusion ends at its record
        ("1,24,0,2,.,1,1,0,0,1\n1,24,0,0,2,0,0,0,0,0\n1,30,0,0,1,0,0,0,0,0\n", [0.0, 0.0, 6.0]),
    ],
)  # fmt: skip
def test_by_hand(tmp_path, rows, expected):
    data = read(tmp_path, rows)
    np.testing.assert_allclose(time_after_dose(data)[data.mask], expected)
