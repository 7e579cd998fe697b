"""The infusion rate that runs at each record, by hand."""

import numpy as np
import pytest

from popk.analysis.exposure import current_rate

HEAD = "ID,TIME,AMT,RATE,DV,EVID,MDV,ADDL,II,SS\n"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # 10 ug at 2 ug/h runs for 5 h; its end counts, its start does not
        ("1,0,10,2,.,1,1,0,0,0\n1,1,0,0,2,0,0,0,0,0\n1,5,0,0,2,0,0,0,0,0\n1,6,0,0,2,0,0,0,0,0\n",
         [0.0, 2.0, 2.0, 0.0]),
        # Two at once
        ("1,0,10,2,.,1,1,0,0,0\n1,1,10,5,.,1,1,0,0,0\n1,2,0,0,2,0,0,0,0,0\n1,4,0,0,2,0,0,0,0,0\n",
         [0.0, 2.0, 7.0, 2.0]),
        # Additional infusions at 12 and 24 h; a bolus has no rate
        ("1,0,10,2,.,1,1,2,12,0\n1,1,9,0,.,1,1,0,0,0\n1,14,0,0,2,0,0,0,0,0\n"
         "1,20,0,0,2,0,0,0,0,0\n1,28,0,0,2,0,0,0,0,0\n", [0.0, 2.0, 2.0, 0.0, 2.0]),
        # A reset stops it
        ("1,0,100,2,.,1,1,0,0,0\n1,5,0,0,.,3,1,0,0,0\n1,6,0,0,2,0,0,0,0,0\n", [0.0, 0.0, 0.0]),
        # The steady state of a constant infusion, up to its record
        ("1,24,0,3,.,1,1,0,0,1\n1,24,0,0,2,0,0,0,0,0\n1,30,0,0,1,0,0,0,0,0\n", [3.0, 3.0, 0.0]),
    ],
)  # fmt: skip
def test_by_hand(read, rows, expected):
    data = read(HEAD + rows)
    np.testing.assert_allclose(current_rate(data)[data.mask], expected)
