"""Subjects drawn within strata: counts are kept, and what cannot be a stratum is refused."""

from dataclasses import replace

import numpy as np
import pytest

from popk.analysis.resampling.strata import drawn, strata
from popk.spec.problem import PopkError

LINES = ["ID,TIME,EVID,MDV,AMT,RATE,DV,AGE,SEX"] + [
    f"{i},{t},{e},{e},{10 * e},{e},{'.' if e else 1},{i + 0.5},{i % 2}"
    for i in range(10)
    for t, e in ((0, 1), (5, 0))
]
COLUMNS = {"AGE": {"covariate": True, "unit": "month"}, "SEX": {"covariate": True}}


@pytest.fixture
def data(read):
    return read("\n".join([*LINES, ""]), columns=COLUMNS)


def test_all_subjects_are_one_stratum(data):
    own = strata(data)
    assert own.sizes == {"all": 10}
    assert own.label == ""


def test_cuts_and_categories(data):
    assert strata(data, "AGE", "4 month").sizes == {"AGE < 4 month": 4, "AGE ≥ 4 month": 6}
    three = strata(data, "AGE", "91.3125 day, 7.5")
    assert list(three.sizes.values()) == [3, 4, 3]  # a value on a cut belongs above
    assert strata(data, "SEX").sizes == {"SEX = 0": 5, "SEX = 1": 5}
    words = replace(data, levels={"SEX": ("boy", "girl")})
    assert strata(words, "SEX").sizes == {"boy": 5, "girl": 5}


def test_draws_keep_the_counts_and_their_own_numbers(data):
    own = strata(data, "AGE", "4 month")
    found = drawn(own, 2000, seed=1)
    young = np.arange(10) < 4
    assert (young[found] == young).all()
    # Each subject comes once on average; binomial error of 2,000 replicates
    counts = np.stack([np.bincount(row, minlength=10) for row in found])
    error = np.sqrt(np.where(young, 3 / 4, 5 / 6) / 2000)
    assert (np.abs(counts.mean(axis=0) - 1.0) < 4 * error).all()
    # A replicate does not depend on how many there are, but on the seed
    np.testing.assert_array_equal(drawn(own, 5, seed=1), found[:5])
    assert (drawn(own, 5, seed=2) != found[:5]).any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("WT",), "no covariate WT; the data have: AGE, SEX"),
        (("AGE",), '--cut "5 month"'),
        (("AGE", "1.2 month"), "one subject, ID 0"),
        (("AGE", "20 month"), "nobody with AGE ≥ 20 month"),
        (("AGE", "6 kg"), "values of AGE in month"),
        (("AGE", "6 month, 2 month"), "do not rise"),
        ((None, "6 month"), "the covariate that it cuts"),
    ],
)
def test_what_cannot_be_a_stratum(data, arguments, words):
    with pytest.raises(PopkError) as error:
        strata(data, *arguments)
    assert words in str(error.value)


def test_one_subject_is_not_resampled(data):
    with pytest.raises(PopkError, match="one subject"):
        strata(replace(data, ids=data.ids[:1]))
