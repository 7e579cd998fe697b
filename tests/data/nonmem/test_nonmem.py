import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popk.data.dataset import Dataset
from popk.data.nonmem.read import read_data
from popk.spec.fit import DataSpec

SHARED = Path(__file__).parents[4] / "shared" / "data"

PLAIN = """
ID,TIME,AMT,RATE,DV,EVID,MDV,WT
A,0,100,10,.,1,1,5.5
A,10,0,0,7.5,0,0,5.6
A,24,0,0,2.5,0,0,5.7
B,0,50,0,.,1,1,7
B,2,.,.,3,0,0,7
"""
ARRAYS = (
    *("mask", "time", "evid", "amount", "rate", "ss", "addl", "interval"),
    *("observed", "dv", "censoring", "lower", "upper"),
)
WEIGHT = {"WT": {"covariate": True, "unit": "kg"}}


def same(one: Dataset, other: Dataset) -> None:
    """Assert that two data sets say the same, whatever file and lines they stem from."""
    assert one.ids == other.ids
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.covariates.keys() == other.covariates.keys()
    for name, values in one.covariates.items():
        np.testing.assert_array_equal(values, other.covariates[name], err_msg=name)


def test_plain_file(read):
    data = read(PLAIN, columns=WEIGHT)
    assert data.ids == ("A", "B")
    assert (data.subjects, data.observations, data.censored) == (2, 3, 0)
    np.testing.assert_array_equal(data.line, [[2, 3, 4], [5, 6, 0]])
    np.testing.assert_array_equal(data.mask, [[True] * 3, [True, True, False]])
    np.testing.assert_array_equal(data.evid, [[1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(data.amount, [[100, 0, 0], [50, 0, 0]])
    np.testing.assert_array_equal(data.rate, [[10, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(data.dv, [[np.nan, 7.5, 2.5], [np.nan, 3, np.nan]])
    np.testing.assert_array_equal(data.observed, [[False, True, True], [False, True, False]])
    assert np.isnan(data.lower).all()
    assert np.isnan(data.upper).all()
    assert data.covariate_units == {"WT": "kg"}
    assert data.interpolation == "nocb"
    assert data.ignored == ()
    assert data.warnings == ()
    assert len(data.sha256) == 64


def test_padding_repeats_time_and_covariates_of_the_last_record(read):
    data = read(PLAIN, columns=WEIGHT)
    assert data.time[1].tolist() == [0, 2, 2]
    assert data.covariates["WT"].tolist() == [[5.5, 5.6, 5.7], [7, 7, 7]]


def test_undeclared_units_are_none(read):
    units = read(PLAIN).units
    assert (units.time, units.amount, units.concentration) == (None, None, None)


def test_unknown_columns_are_ignored_and_listed(read):
    assert read(PLAIN).ignored == ("WT",)


def test_interpolation_is_recorded(read):
    assert read(PLAIN, interpolation="locf").interpolation == "locf"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.strip().replace("\n", "\r\n").encode(),
        PLAIN.strip().replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + PLAIN.strip().encode(),
        (PLAIN.strip() + "\n\n\n,,,,,,,\n").encode(),
        PLAIN.strip().replace("\n", ",\n").encode() + b",",
        PLAIN.strip().replace("\n", ",\n", 1).encode(),
        PLAIN.replace("A,", '"A",').replace("7.5", '" 7.5 "').encode(),
        PLAIN.replace(",", " , ").encode(),
    ],
    ids=["crlf", "cr", "bom", "blank", "trailing", "trailing-header", "quoted", "spaced"],
)
def test_ways_to_write_the_same_file(read, content):
    same(read(PLAIN, columns=WEIGHT), read(content, columns=WEIGHT))


@pytest.mark.parametrize("delimiter", [";", "\t", " "])
def test_delimiters(read, delimiter):
    text = PLAIN.replace(",", delimiter * 3 if delimiter == " " else delimiter)
    same(read(PLAIN), read(text, delimiter=delimiter))


def test_comments(read):
    commented = """
    # first line of all
    C,ID,TIME,AMT,DV
    .,1,0,100,.
    C,1,1,text,with,anything
    #,1,1,0,5
    ,1,2,0,4
    """
    data = read(commented)
    assert data.line.tolist() == [[3, 6]]
    assert data.ignored == ()


def test_column_c_that_does_not_lead_is_an_ordinary_column(read):
    data = read("ID,TIME,AMT,DV,C\n1,0,100,.,x\n1,1,0,5,x\n")
    assert data.ignored == ("C",)
    assert data.line.tolist() == [[2, 3]]


def test_equal_numbers_are_one_subject(read):
    assert read("ID,TIME,AMT,DV\n01,0,100,.\n1.0,1,0,5\n").ids == ("01",)


# --- events ---------------------------------------------------------------------------------


def test_events_are_inferred_from_amount_and_rate(read):
    data = read("""
    ID,TIME,AMT,RATE,SS,DV
    1,0,0,5,1,.
    1,0,100,5,0,.
    1,1,.,.,.,20
    1,2,10,0,0,0
    1,3,0,0,0,.
    """)
    assert data.evid.tolist() == [[1, 1, 0, 1, 0]]
    assert data.observed.tolist() == [[False, False, True, False, False]]
    assert [w.line for w in data.warnings] == [6]


def test_a_row_without_dose_and_with_mdv_is_another_event(read):
    data = read("ID,TIME,AMT,DV,MDV\n1,0,100,.,1\n1,1,0,5,0\n1,2,0,5,1\n")
    assert data.evid.tolist() == [[1, 0, 2]]


def test_other_events_are_kept_unobserved(read):
    data = read("ID,TIME,AMT,DV,EVID\n1,0,100,.,1\n1,1,0,7,2\n1,2,0,5,0\n1,3,0,.,2\n")
    assert data.evid.tolist() == [[1, 2, 0, 2]]
    assert data.observed.tolist() == [[False, False, True, False]]
    assert np.isnan(data.dv[0, 1])


def test_missing_dv_is_derived_without_mdv(read):
    data = read("ID,TIME,AMT,DV,EVID\n1,0,100,.,1\n1,1,0,,0\n1,2,0,5,0\n")
    assert data.observed.tolist() == [[False, False, True]]
    assert [w.line for w in data.warnings] == [3]


def test_resets_may_set_the_clock_back(read):
    data = read("""
    ID,TIME,AMT,DV,EVID
    1,0,100,.,1
    1,5,0,9,0
    1,0,50,.,4
    1,5,0,3,0
    1,-1,0,.,3
    1,0,25,.,1
    """)
    assert data.evid.tolist() == [[1, 0, 4, 0, 3, 1]]
    assert data.time.tolist() == [[0, 5, 0, 5, -1, 0]]
    assert data.amount.tolist() == [[100, 0, 50, 0, 0, 25]]


def test_row_order_at_equal_times_is_kept(read):
    data = read("ID,TIME,AMT,DV\n1,0,9,.\n1,5,0,2\n1,5,9,.\n1,5,0,4\n")
    assert data.line.tolist() == [[2, 3, 4, 5]]
    assert data.evid.tolist() == [[1, 0, 1, 0]]


def test_dose_items(read):
    data = read("""
    ID,TIME,AMT,RATE,DV,ADDL,II,SS,CMT
    1,0,100,10,.,3,24,0,1
    1,100,50,0,.,0,12,1,0
    1,110,50,0,.,2,12,2,1
    1,111,0,0,8,0,0,0,2
    """)
    assert data.addl.tolist() == [[3, 0, 2, 0]]
    assert data.interval.tolist() == [[24, 12, 12, 0]]
    assert data.ss.tolist() == [[0, 1, 2, 0]]
    assert [w.key for w in data.warnings] == ["CMT"]


def test_an_interval_that_nothing_repeats_is_warned_of(read):
    data = read("ID,TIME,AMT,DV,II\n1,0,100,.,24\n1,1,0,5,0\n")
    assert [w.key for w in data.warnings] == ["II"]


@pytest.mark.parametrize("ss", [1, 2])
@pytest.mark.parametrize(
    ("following", "warned"),
    [("1,0,100,10,.,0", False), ("1,0,100,0,.,0", True), ("1,1,100,10,.,0", True)],
)
def test_constant_infusion_that_does_not_go_on_is_warned_of(read, following, warned, ss):
    data = read(f"ID,TIME,AMT,RATE,DV,SS\n1,0,0,10,.,{ss}\n{following}\n1,2,0,0,5,0\n")
    assert data.ss.tolist() == [[ss, 0, 0]]
    assert data.amount[0, 0] == 0
    assert data.rate[0, 0] == 10
    assert [w.key for w in data.warnings] == (["SS"] if warned else [])


def test_duration_agrees_within_tolerance(read):
    data = read("ID,TIME,AMT,RATE,DUR,DV\n1,0,100,3,33.33333,.\n1,1,5,0,.,.\n1,2,0,0,0,1\n")
    assert data.rate.tolist() == [[3, 0, 0]]


def test_rate_comes_from_duration_where_there_is_no_rate(read):
    data = read("ID,TIME,AMT,DUR,DV\n1,0,100,4,.\n1,5,100,0,.\n1,6,0,.,1\n")
    assert data.rate.tolist() == [[25, 0, 0]]


# --- censoring ------------------------------------------------------------------------------


def test_cens_and_limit(read):
    data = read("""
    ID,TIME,AMT,DV,CENS,LIMIT
    1,0,100,.,.,.
    1,1,0,7,0,99
    1,2,0,5,1,.
    1,3,0,5,1,2
    1,4,0,900,-1,
    1,5,0,900,-1,1200
    """)
    assert data.censoring.tolist() == [[0, 0, 1, 1, 1, 1]]
    np.testing.assert_array_equal(data.dv, [[np.nan, 7, 5, 5, 900, 900]])
    np.testing.assert_array_equal(data.lower, [[np.nan, np.nan, -np.inf, 2, 900, 900]])
    np.testing.assert_array_equal(data.upper, [[np.nan, np.nan, 5, 5, np.inf, 1200]])
    assert data.censored == 4


def test_flags_with_limit_columns(read):
    data = read("""
    ID,TIME,AMT,DV,BLQ,ALQ,LLOQ,ULOQ
    1,0,100,.,0,0,.,.
    1,1,0,70,0,0,50,1000
    1,2,0,.,1,0,50,1000
    1,3,0,0,0,1,50,1000
    1,4,0,25,1,0,60,1000
    """)
    np.testing.assert_array_equal(data.dv, [[np.nan, 70, 50, 1000, 60]])
    np.testing.assert_array_equal(data.lower, [[np.nan, np.nan, -np.inf, 1000, -np.inf]])
    np.testing.assert_array_equal(data.upper, [[np.nan, np.nan, 50, np.inf, 60]])


def test_flags_with_limits_of_the_assay(read):
    data = read(
        "ID,TIME,AMT,DV,BLQ\n1,0,100,.,0\n1,1,0,70,0\n1,2,0,.,1\n1,3,0,20,0\n",
        columns={"DV": {"unit": "pg/mL"}},
        assay={"lloq": "0.05 ng/mL"},
    )
    assert data.upper[0, 2] == 50
    assert data.dv[0, 2] == 50
    assert [(w.key, w.line) for w in data.warnings] == [("DV", 5)]


def test_censored_sample_that_mdv_leaves_out_is_warned_of(read):
    data = read("ID,TIME,AMT,DV,MDV,CENS\n1,0,100,.,1,0\n1,1,0,5,1,1\n1,2,0,5,0,0\n")
    assert data.observations == 1
    assert data.censored == 0


# --- columns, rows, covariates --------------------------------------------------------------


def test_columns_by_other_names(read):
    text = PLAIN.replace("TIME", "Hours").replace("DV", "conc (pg/mL)").replace("RATE", "Rate")
    columns = {
        "Hours": {"item": "TIME"},
        "conc (pg/mL)": {"item": "DV"},
        "Rate": {"item": "RATE"},
        **WEIGHT,
    }
    same(read(PLAIN, columns=WEIGHT), read(text, columns=columns))


def test_filters_compare_numbers_as_numbers(read):
    text = "ID,TIME,AMT,DV,GRP,FLAG\n1,0,100,.,1,a\n1,1,0,5,1.0,a\n1,2,0,6,2,a\n1,3,0,7,1,b\n"
    data = read(text, rows={"accept": {"GRP": [1]}, "ignore": {"FLAG": ["b"]}})
    assert data.line.tolist() == [[2, 3]]
    assert data.ignored == ()


def test_rows_left_out_are_not_checked(read):
    data = read(
        "ID,TIME,AMT,DV,EVID\n1,0,100,.,1\n1,x,NaN,,9\n1,1,0,5,0\n", rows={"ignore": {"EVID": [9]}}
    )
    assert data.line.tolist() == [[2, 4]]


def test_categories_are_coded_by_their_levels(read):
    data = read(
        "ID,TIME,AMT,DV,SEX,ARM\n1,0,100,.,F,2.0\n1,1,0,5,M,1\n",
        columns={
            "SEX": {"covariate": True, "levels": ["M", "F"]},
            "ARM": {"covariate": True, "levels": ["1", "2"]},
        },
    )
    assert data.covariates["SEX"].tolist() == [[1, 0]]
    assert data.covariates["ARM"].tolist() == [[1, 0]]
    assert data.levels == {"SEX": ("M", "F"), "ARM": ("1", "2")}
    assert data.covariate_units == {"SEX": None, "ARM": None}


# --- subjects that deserve a look -----------------------------------------------------------


def test_subject_without_observation_is_kept_and_warned_of(read):
    data = read("ID,TIME,AMT,DV\n1,0,100,.\n1,1,0,5\n2,0,100,.\n")
    assert data.subjects == 2
    (warning,) = data.warnings
    assert warning.severity == "warning"
    assert (warning.line, warning.subject) == (4, "2")


def test_observation_before_the_first_dose_is_warned_of(read):
    data = read("ID,TIME,AMT,DV\n1,-1,0,0.1\n1,0,100,.\n1,1,0,5\n")
    assert [(w.line, w.key) for w in data.warnings] == [(2, "TIME")]
    assert data.time[0, 0] == -1


# --- round trips ----------------------------------------------------------------------------

positive = st.floats(0.001, 1e6)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a valid file: each subject is dosed first and then sampled."""
    header = ["ID", "TIME", "AMT", "RATE", "DV", "EVID", "MDV", "WT", "CENS", "LIMIT"]
    rows = []
    for subject in range(draw(st.integers(1, 3))):
        times = sorted(draw(st.lists(st.floats(0, 1e3), min_size=1, max_size=4)))
        weight = repr(draw(positive))
        amount, rate = repr(draw(positive)), repr(draw(st.sampled_from([0.0, 0.5, 3.0])))
        rows.append([f"S{subject}", "0", amount, rate, ".", "1", "1", weight, "0", "."])
        for number, time in enumerate(times):
            cens = 0 if number == 0 else draw(st.sampled_from([0, 1, -1]))
            value = draw(positive)
            limit = draw(st.sampled_from([".", repr(value - cens)]))
            cells = [repr(time), "0", ".", repr(value), "0", "0", weight, str(cens)]
            rows.append([f"S{subject}", *cells, limit if cens else "."])
    return header, rows


def text_of(header: list[str], rows: list[list[str]], newline: str = "\n") -> bytes:
    return newline.join(",".join(cells) for cells in [header, *rows]).encode()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_what_is_written_is_read(read, table):
    header, rows = table
    data = read(text_of(header, rows), columns=WEIGHT)
    assert data.line[data.mask].tolist() == list(range(2, len(rows) + 2))
    column = dict(zip(header, zip(*rows, strict=True), strict=True))

    def numbers(name: str, missing: float) -> list[float]:
        return [missing if cell == "." else float(cell) for cell in column[name]]

    np.testing.assert_array_equal(data.time[data.mask], numbers("TIME", math.nan))
    np.testing.assert_array_equal(data.amount[data.mask], numbers("AMT", 0))
    np.testing.assert_array_equal(data.rate[data.mask], numbers("RATE", 0))
    np.testing.assert_array_equal(data.dv[data.mask], numbers("DV", math.nan))
    np.testing.assert_array_equal(data.covariates["WT"][data.mask], numbers("WT", math.nan))
    censored = np.array(numbers("CENS", 0)) != 0
    np.testing.assert_array_equal(data.censoring[data.mask] == 1, censored)
    lower, upper = data.lower[data.mask][censored], data.upper[data.mask][censored]
    assert (lower < upper).all()
    at = data.dv[data.mask][censored]
    assert ((lower == at) | (upper == at)).all()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(), data=st.data())
def test_layout_of_the_file_does_not_matter(read, table, data):
    header, rows = table
    plain = read(text_of(header, rows), columns=WEIGHT)
    order = data.draw(st.permutations(range(len(header))))
    rearranged = [[cells[i] for i in order] for cells in rows]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(rearranged)))
        rearranged.insert(at, data.draw(st.sampled_from([["# a comment"], [""], ["#", "1,2"]])))
    newline = data.draw(st.sampled_from(["\n", "\r\n"]))
    same(plain, read(text_of([header[i] for i in order], rearranged, newline), columns=WEIGHT))


# --- published files ------------------------------------------------------------------------


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not in ../shared/data")
    return path


def test_phenobarbital():
    data = read_data(
        shared("phenobarb.csv"),
        DataSpec.model_validate(
            {
                "columns": {
                    "TIME": {"unit": "h"},
                    "AMT": {"unit": "mg"},
                    "DV": {"unit": "mg/L"},
                    "WT": {"covariate": True, "unit": "kg"},
                    "APGR": {"covariate": True},
                }
            }
        ),
    )
    assert (data.subjects, data.observations) == (59, 155)
    assert int((data.evid == 1).sum()) == 589
    assert data.ignored == ()
    assert data.warnings == ()
    assert data.covariate_units == {"WT": "kg", "APGR": None}


@pytest.mark.parametrize(("single", "observations", "doses"), [(1, 2276, 120), (0, 4677, 840)])
def test_simulated_infusions(single, observations, doses):
    data = read_data(
        shared("infusion_1cpt.csv"),
        DataSpec.model_validate(
            {
                "columns": {"SS": {"ignore": True}, "II": {"ignore": True}},
                "rows": {"accept": {"SD": [single]}, "ignore": {"EVID": [2]}},
            }
        ),
    )
    assert (data.subjects, data.observations) == (120, observations)
    assert int((data.evid == 1).sum()) == doses
    assert data.ignored == ("LNDV", "DOSE", "V", "CL", "SS", "II")
    assert data.warnings == ()


def test_rows_that_a_control_stream_would_leave_out_are_told_and_the_cure_works(read):
    text = "ID,TIME,AMT,DV\n1,0,5,.\n1,1,0,4\nC2,0,5,.\nC2,1,0,3\n"
    (warning,) = read(text).warnings
    assert (warning.line, warning.subject) == (4, "C2")
    assert 'ignore = {ID = ["C2"]}' in warning.cure
    assert read(text, rows={"ignore": {"ID": ["C2"]}}).ids == ("1",)
    assert read(text.replace("\n1,", "\nA1,")).warnings == ()
    assert read(text.replace("\nC2", "\n#2")).warnings == ()
