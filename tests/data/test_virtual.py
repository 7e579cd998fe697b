"""Virtual infants against numerical integrals of the WHO standards; units, codes and faults.

Tolerances are 4.5 standard errors of the number of infants drawn, at a fixed seed.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from popk.data.body_size import FORMULAS
from popk.data.growth import SEXES, lms
from popk.data.virtual import resampled, virtual_infants
from popk.spec.problem import PopkError
from popk.spec.virtual import Virtual

COUNT = 40_000
FAR = 4.5
DAYS_PER_MONTH = 365.25 / 12
SCORES = np.linspace(-8, 8, 4001)


def rng(seed=1):
    return np.random.default_rng(seed)


def at_age(day, sex, count=COUNT, **said):
    spec = Virtual(age=(f"{day} day", f"{day} day"), female=float(sex == "female"), **said)
    return virtual_infants(rng(day), count, spec)


def column(data, name):
    return data.covariates[name][:, 0]


def score(x, L, M, S):
    """Cole's LMS score, written out once more."""
    return ((x / M) ** L - 1.0) / (L * S)


class Standard:
    """Length and weight at one age by integrals over the two standards."""

    def __init__(self, day, sex):
        _, self.M, self.S = (float(x) for x in lms("length_for_age", sex, day))
        length = self.M * (1.0 + self.S * SCORES)
        inside = (length >= 45.0) & (length <= 110.0)
        self.length = length[inside]
        self.chance = stats.norm.pdf(SCORES[inside])
        self.chance /= self.chance.sum()
        L, M, S = (np.asarray(x) for x in lms("weight_for_length", sex, self.length))
        self.weight_lms = (L, M, S)
        # log weight given length, by 61 nodes of Gauss and Hermite
        nodes, shares = np.polynomial.hermite_e.hermegauss(61)
        self.shares = shares / shares.sum()
        self.log_weight = np.log(M)[:, None] + np.log1p((L * S)[:, None] * nodes) / L[:, None]

    def mean(self, of_length):
        return float(self.chance @ of_length)

    @property
    def length_sd(self):
        return np.sqrt(self.mean(self.length**2) - self.mean(self.length) ** 2)

    @property
    def log_weight_sd(self):
        first, second = (self.mean(self.log_weight**n @ self.shares) for n in (1, 2))
        return np.sqrt(second - first**2)

    @property
    def correlation(self):
        own = self.log_weight @ self.shares
        covariance = self.mean(self.length * own) - self.mean(self.length) * self.mean(own)
        return covariance / (self.length_sd * self.log_weight_sd)

    def share_below(self, weight):
        return self.mean(stats.norm.cdf(score(weight, *self.weight_lms)))

    def weight_at(self, share):
        return optimize.brentq(lambda w: self.share_below(w) - share, 0.5, 40.0, full_output=False)


@pytest.mark.parametrize("sex", SEXES)
@pytest.mark.parametrize("day", [0, 30, 183, 365, 702])
def test_length_weight_and_their_correlation_are_the_standards(day, sex):
    data, standard = at_age(day, sex), Standard(day, sex)
    length, weight = column(data, "HT"), column(data, "WT")
    # Length: median, mean and SD; a newborn's below 45 cm are left out of the integral as well
    median = stats.norm.ppf(0.5 + stats.norm.cdf((45.0 / standard.M - 1) / standard.S) / 2)
    below = np.mean(length < standard.M * (1 + standard.S * median))
    assert abs(below - 0.5) < FAR * 0.5 / np.sqrt(COUNT)
    assert length.mean() == pytest.approx(
        standard.mean(standard.length), abs=FAR * standard.length_sd / np.sqrt(COUNT)
    )
    assert length.std() == pytest.approx(standard.length_sd, rel=FAR / np.sqrt(2 * COUNT))
    # Weight given length: its scores are standard normal, and tell nothing of length
    own = score(weight, *lms("weight_for_length", sex, length))
    assert stats.kstest(own, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(own, length)[0, 1]) < FAR / np.sqrt(COUNT)
    # Weight: centiles, SD of its logarithm, correlation with length
    for share in (0.023, 0.25, 0.5, 0.75, 0.977):
        below = np.mean(weight < standard.weight_at(share))
        assert abs(below - share) < FAR * np.sqrt(share * (1 - share) / COUNT)
    log_weight = np.log(weight)
    kurtosis = stats.kurtosis(log_weight)
    error = np.sqrt((2 + kurtosis) / (4 * COUNT))
    assert log_weight.std() == pytest.approx(standard.log_weight_sd, rel=FAR * error)
    rho = np.corrcoef(log_weight, length)[0, 1]
    assert rho == pytest.approx(
        standard.correlation, abs=FAR * (1 - standard.correlation**2) / np.sqrt(COUNT)
    )


@pytest.mark.parametrize("sex", SEXES)
def test_how_far_weight_for_age_is_from_its_own_standard(sex):
    """What the module says, of the medians and of the centiles at 2 SD."""
    for day in (0, 3, 7, 14, 21, 30, 31, 45, 61, 91, 183, 274, 365, 548, 730):
        standard = Standard(day, sex)
        L, M, S = (float(x) for x in lms("weight_for_age", sex, day))
        median, other = (0.009, 0.04) if day > 30 else (0.032, 0.052)
        for z, most in ((0.0, median), (-2.0, other), (2.0, other)):
            weight = standard.weight_at(stats.norm.cdf(z))
            assert weight == pytest.approx(M * (1 + L * S * z) ** (1 / L), rel=most), (day, z)


def test_ages_and_sexes():
    data = virtual_infants(rng(), COUNT, Virtual(age=("2 month", "9 month"), female=0.3))
    assert stats.kstest(column(data, "AGE"), stats.uniform(2, 7).cdf).pvalue > 1e-3
    sex = column(data, "SEX")
    assert set(sex) == {0.0, 1.0}
    assert abs(np.mean(sex == 0.0) - 0.3) < FAR * np.sqrt(0.21 / COUNT)
    assert (data.covariate_units["AGE"], data.covariate_units["SEX"]) == ("month", None)
    # each sex by its own standard
    for code, name in ((0.0, "female"), (1.0, "male")):
        day = column(data, "AGE")[sex == code] * DAYS_PER_MONTH
        own = score(column(data, "HT")[sex == code], *lms("length_for_age", name, day))
        assert abs(own.mean()) < FAR / np.sqrt(own.size)
        assert own.std() == pytest.approx(1.0, abs=FAR / np.sqrt(2 * own.size))


@pytest.mark.parametrize("formula", FORMULAS)
def test_body_surface_area_by_any_formula(formula):
    data = virtual_infants(rng(), 50, Virtual(formula=formula))
    weight, length = data.covariates["WT"], data.covariates["HT"]
    np.testing.assert_allclose(data.covariates["BSA"], FORMULAS[formula](weight, length))
    assert data.derived == {"BSA": f"{formula}(WT, HT)"}


def test_the_same_seed_gives_the_same_infants():
    first, again, other = (virtual_infants(rng(seed), 20, Virtual()) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.covariates["WT"], again.covariates["WT"])
    assert (first.covariates["WT"] != other.covariates["WT"]).all()


@settings(max_examples=25)
@given(
    youngest=st.integers(0, 500),
    duration=st.sampled_from([1.0, 28.0, 30.0, 100.5]),
    every=st.sampled_from([1.0, 7.0, 10.0, 300.0]),
    seed=st.integers(0, 1000),
)
def test_growing_infants_keep_their_scores(youngest, duration, every, seed):
    spec = Virtual(age=(f"{youngest} day", f"{youngest + 60} day"), grow=True)
    data = virtual_infants(rng(seed), 30, spec, duration_day=duration, every_day=every)
    day = data.time[0] / 24.0
    assert day[0] == 0.0
    assert day[-1] == pytest.approx(duration)
    np.testing.assert_allclose(day[:-1], every * np.arange(len(day) - 1))
    assert 0.0 < day[-1] - day[-2] <= every
    age = data.covariates["AGE"] * DAYS_PER_MONTH
    np.testing.assert_allclose(age - age[:, :1], data.time / 24.0, atol=1e-9)
    length, weight = data.covariates["HT"], data.covariates["WT"]
    assert (np.diff(length, axis=1) > 0).all()
    girls = data.covariates["SEX"][:, 0] == 0.0
    for sex, own in zip(SEXES, (~girls, girls), strict=True):
        for x, measure, at in (
            (length, "length_for_age", age),
            (weight, "weight_for_length", length),
        ):
            scores = score(x[own], *lms(measure, sex, np.clip(at[own], 0.0, 730.0)))
            np.testing.assert_allclose(scores, scores[:, :1] * np.ones(day.size), atol=1e-8)


def test_newborns_that_grow_start_inside_the_table():
    spec = Virtual(age=("0 day", "3 day"), grow=True)
    length = virtual_infants(rng(), 5000, spec, duration_day=28.0).covariates["HT"]
    assert length.min() >= 45.0
    # and follow the same law as those that do not
    still = column(virtual_infants(rng(9), 5000, Virtual(age=("0 day", "3 day"))), "HT")
    assert stats.ks_2samp(length[:, 0], still).pvalue > 1e-3


@pytest.mark.parametrize("sex", SEXES)
def test_length_rises_along_every_curve(sex):
    """So that of an infant that grows the first length decides whether the table holds it."""
    days = np.arange(731.0)
    _, M, S = (np.asarray(x) for x in lms("length_for_age", sex, days))
    for z in np.linspace(-4, 8, 25):
        assert (np.diff(M * (1 + S * z)) > 0).all()


def test_infants_that_do_not_grow_have_one_record():
    data = virtual_infants(rng(), 3, Virtual(), duration_day=28.0)
    assert data.time.shape == (3, 1)
    grown = virtual_infants(rng(), 3, Virtual(grow=True))
    assert grown.time.shape == (3, 1)


HEAD = "ID,TIME,AMT,DV,EVID,MDV,AGE,WT,HT,SEX,APGR\n"
TEXT = f"{HEAD}1,0,5,.,1,1,10,4000,0.5,girl,7\n1,2,0,9,0,0,11,4100,0.51,girl,7\n"
COLUMNS = {
    "TIME": {"unit": "day"},
    "AMT": {"unit": "mg"},
    "AGE": {"covariate": True, "unit": "week"},
    "WT": {"covariate": True, "unit": "g"},
    "HT": {"covariate": True, "unit": "m"},
    "SEX": {"covariate": True, "levels": ["boy", "girl"]},
    "APGR": {"covariate": True},
}
DERIVED = {"BSA": {"formula": "mosteller"}, "PMA": {"formula": "postmenstrual_age"}}


@pytest.fixture
def like(read):
    return read(TEXT, columns=COLUMNS, derived=DERIVED, interpolation="locf")


def test_units_and_codes_of_a_data_set(like):
    spec = Virtual(formula="mosteller", grow=True)
    own = virtual_infants(rng(), 400, spec, duration_day=28.0, like=like)
    plain = virtual_infants(rng(), 400, spec, duration_day=28.0)
    assert set(own.covariates) == {"AGE", "WT", "HT", "BSA", "SEX", "PMA"}
    for name, factor in (("AGE", DAYS_PER_MONTH / 7), ("WT", 1000.0), ("HT", 0.01), ("BSA", 1.0)):
        np.testing.assert_allclose(
            own.covariates[name], plain.covariates[name] * factor, rtol=1e-12
        )
        assert own.covariate_units[name] == like.covariate_units[name]
    np.testing.assert_array_equal(own.covariates["SEX"], 1.0 - plain.covariates["SEX"])
    assert own.levels == {"SEX": ("boy", "girl")}
    np.testing.assert_allclose(own.covariates["PMA"], own.covariates["AGE"] + 40.0, rtol=1e-12)
    assert own.derived == {"BSA": "mosteller(WT, HT)", "PMA": "AGE + 40 week"}
    assert (own.units, own.interpolation) == (like.units, "locf")
    np.testing.assert_allclose(own.time[0], [0.0, 7.0, 14.0, 21.0, 28.0])
    assert own.warnings == ()


@pytest.mark.parametrize(
    ("levels", "girl", "boy"),
    [
        (("male", "female"), 1.0, 0.0),
        (("F", "M"), 0.0, 1.0),
        (("unknown", "Male", "Female"), 2.0, 1.0),
    ],
)
def test_words_of_sex(like, levels, girl, boy):
    spec = Virtual(female=1.0)
    girls = virtual_infants(rng(), 5, spec, like=replace(like, levels={"SEX": levels}))
    assert (girls.covariates["SEX"] == girl).all()
    assert girls.levels == {"SEX": levels}
    boys = virtual_infants(
        rng(), 5, Virtual(female=0.0), like=replace(like, levels={"SEX": levels})
    )
    assert (boys.covariates["SEX"] == boy).all()


def only_warning(data):
    (problem,) = data.warnings
    assert problem.severity == "warning"
    assert problem.file.endswith("data.csv")
    return problem


def test_sex_in_unknown_words_is_left_out(like):
    strange = replace(like, levels={"SEX": ("1", "2")})
    data = virtual_infants(rng(), 5, Virtual(formula="mosteller"), like=strange)
    assert "SEX" not in data.covariates
    assert data.levels == {}
    problem = only_warning(data)
    assert problem.key == "columns.SEX.levels"
    assert "the levels 1, 2" in problem.found
    assert 'levels = ["male", "female"]' in problem.cure


def test_sex_in_numbers_is_told(like):
    data = virtual_infants(rng(), 5, Virtual(formula="mosteller"), like=replace(like, levels={}))
    assert data.covariate_units["SEX"] is None
    assert "0 (female) and 1 (male)" in only_warning(data).found


def test_a_unit_that_the_data_do_not_declare_is_told(like):
    without = replace(like, covariate_units={**like.covariate_units, "WT": None})
    data = virtual_infants(rng(), 5, Virtual(formula="mosteller"), like=without)
    assert data.covariate_units["WT"] == "kg"
    problem = only_warning(data)
    assert problem.key == "columns.WT.unit"
    assert "in kg" in problem.found
    assert 'unit = "kg"' in problem.cure


def test_another_formula_than_that_of_the_data_is_told(like):
    problem = only_warning(virtual_infants(rng(), 5, Virtual(), like=like))
    assert problem.key == "derived.BSA"
    assert "mosteller" in problem.found
    assert "haycock" in problem.found


def test_ages_in_classes_are_left_out(like):
    classes = replace(like, levels={**like.levels, "AGE": ("young", "old")})
    data = virtual_infants(rng(), 5, Virtual(formula="mosteller"), like=classes)
    assert "AGE" not in data.covariates
    assert "WT" in data.covariates


def test_body_surface_area_under_other_names(like):
    more = replace(
        like,
        derived={**like.derived, "BSA_B": "boyd(WT, HT)", "GA": "AGE + GEST", "X": "boyd(W, H)"},
        covariate_units={**like.covariate_units, "BSA_B": "m^2", "GA": "week", "X": "m^2"},
    )
    data = virtual_infants(rng(), 5, Virtual(formula="boyd"), like=more)
    np.testing.assert_allclose(data.covariates["BSA_B"], data.covariates["BSA"], rtol=1e-15)
    assert not {"GA", "X"} & set(data.covariates)


def one_fault(call):
    with pytest.raises(PopkError) as caught:
        call()
    (problem,) = caught.value.problems
    assert problem.severity == "error"
    return problem


def test_a_unit_of_another_kind(like):
    wrong = replace(like, covariate_units={**like.covariate_units, "AGE": "kg"})
    problem = one_fault(lambda: virtual_infants(rng(), 5, Virtual(), like=wrong))
    assert problem.file.endswith("data.csv")
    assert problem.key == "columns.AGE.unit"
    assert "'kg'" in problem.found
    assert "month converts to" in problem.expected
    assert 'unit = "month"' in problem.cure


@pytest.mark.parametrize(
    ("age", "grow", "duration", "found", "cure"),
    [
        (("0 day", "731 day"), False, 28.0, "0 to 731 day", "'0 day' to '730 day'"),
        (("-1 day", "30 day"), False, 0.0, "-1 to 30 day", "'0 day' to '730 day'"),
        (("0 day", "24 month"), False, 0.0, "(0 to 730.5 day)", "'0 day' to '730 day'"),
        (("0 day", "703 day"), True, 28.0, "that grow for 28 day", "'0 day' to '702 day'"),
        (("0 day", "1 day"), True, 731.0, "that grow for 731 day", "grow for 730 day at the most"),
    ],
)
def test_ages_beyond_the_standards(age, grow, duration, found, cure):
    spec = Virtual(age=age, grow=grow)
    problem = one_fault(lambda: virtual_infants(rng(), 5, spec, duration_day=duration))
    assert problem.key == "age"
    assert found in problem.found
    assert "0 to 730 day" in problem.expected
    assert cure in problem.cure


def test_the_oldest_that_the_standards_cover():
    data = virtual_infants(
        rng(), 500, Virtual(age=("0 day", "702 day"), grow=True), duration_day=28
    )
    assert column(data, "AGE").max() > 690 / DAYS_PER_MONTH
    virtual_infants(rng(), 5, Virtual(age=("730 day", "730 day")))


@pytest.mark.parametrize(
    ("said", "key", "found"),
    [
        ({"duration_day": -1.0}, "duration_day", "for -1 day"),
        ({"duration_day": np.inf}, "duration_day", "for inf day"),
        ({"every_day": 0.0}, "every_day", "every 0 day"),
        ({"every_day": np.nan}, "every_day", "every nan day"),
        ({"count": 0}, "subjects", "0 subjects"),
    ],
)
def test_times_and_numbers_that_make_no_sense(said, key, found):
    said = {"count": 5} | said
    problem = one_fault(lambda: virtual_infants(rng(), said.pop("count"), Virtual(), **said))
    assert problem.key == key
    assert found in problem.found
    assert problem.expected
    assert problem.cure.startswith("write")


THREE = (
    HEAD + "a,0,5,.,1,1,10,4000,0.5,girl,7\na,2,0,9,0,0,12,4100,0.51,girl,7\n"
    "b,1,5,.,1,1,20,5000,0.6,boy,8\nc,0,5,.,1,1,30,6000,0.7,boy,9\nc,1,0,9,0,0,30,6000,0.7,boy,9\n"
    "b,2,0,9,0,0,21,5000,0.6,boy,8\n"
)


def test_resampled_subjects_keep_what_belongs_together(read):
    rows = THREE.splitlines()
    rows[4:] = [rows[6], rows[4], rows[5]]
    data = read("\n".join([*rows, ""]), columns=COLUMNS, derived=DERIVED, interpolation="locf")
    drawn = resampled(rng(), 6000, data)
    assert drawn.time.shape == (6000, 1)
    assert not drawn.time.any()
    assert drawn.ids[:2] == ("1", "2")
    assert (drawn.evid == 2).all()
    for name in ("units", "levels", "derived", "interpolation", "covariate_units"):
        assert getattr(drawn, name) == getattr(data, name)
    assert "data.csv" in drawn.source
    names = list(data.covariates)
    first = np.stack([data.covariates[name][:, 0] for name in names], axis=1)
    values = np.stack([column(drawn, name) for name in names], axis=1)
    found, counts = np.unique(values, axis=0, return_counts=True)
    np.testing.assert_array_equal(found, np.unique(first, axis=0))
    assert abs(counts / 6000 - 1 / 3).max() < FAR * np.sqrt(2 / 9 / 6000)


def test_resampling_from_nobody(read):
    bare = read("ID,TIME,AMT,DV,EVID,MDV\n1,0,5,.,1,1\n1,2,0,9,0,0\n")
    problem = one_fault(lambda: resampled(rng(), 5, bare))
    assert problem.file.endswith("data.csv")
    assert (problem.key, problem.found) == ("columns", "no covariates")
    assert "virtual infants" in problem.cure


def test_resampling_no_subjects(like):
    problem = one_fault(lambda: resampled(rng(), 0, like))
    assert (problem.key, problem.found) == ("subjects", "0 subjects")
