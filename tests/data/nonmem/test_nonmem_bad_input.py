"""Bad files: each fault alone is found where it stands, and all faults together in one go."""

import pytest

from popk.data.nonmem.read import read_data
from popk.spec.problem import PopkError

HEADER = "ID,TIME,AMT,RATE,DUR,DV,EVID,MDV,CMT,SS,II,ADDL,WT"
DOSE = "7,0,100,0,0,.,1,1,1,0,0,0,5"
SAMPLE = "7,1,0,0,0,3,0,0,1,0,0,0,5"
WEIGHT = {"WT": {"covariate": True, "unit": "kg"}}


def row(template: str, **cells: str | float) -> str:
    values = dict(zip(HEADER.split(","), template.split(","), strict=True))
    return ",".join(str(value) for value in (values | cells).values())


def file(*rows: str) -> str:
    return "\n".join([HEADER, *rows]) + "\n"


@pytest.mark.parametrize(
    ("cells", "key", "found", "cure"),
    [
        ({"TIME": "."}, "TIME", "nothing", "fill in"),
        ({"TIME": "abc"}, "TIME", "'abc'", "correct"),
        ({"TIME": "NaN"}, "TIME", "'NaN'", "missing"),
        ({"AMT": "."}, "AMT", "no AMT", "write 0"),
        ({"AMT": -5}, "AMT", "AMT = -5", "sign"),
        ({"AMT": "inf"}, "AMT", "'inf'", "correct"),
        ({"AMT": "1e999"}, "AMT", "'1e999'", "correct"),
        ({"AMT": "1_000"}, "AMT", "'1_000'", "correct"),
        ({"AMT": "NA"}, "AMT", "'NA'", "'.'"),
        ({"AMT": 0}, "AMT", "neither amount nor rate", "EVID to 2"),
        ({"AMT": 0, "EVID": 4}, "AMT", "neither amount nor rate", "EVID to 3"),
        ({"AMT": 0, "RATE": 5}, "AMT", "a dose without end", "SS to 1"),
        ({"RATE": "."}, "RATE", "no RATE", "bolus"),
        ({"RATE": -1}, "RATE", "RATE = -1", "a rate that the model estimates"),
        ({"RATE": -2}, "RATE", "RATE = -2", "a duration that the model estimates"),
        ({"RATE": -3}, "RATE", "RATE = -3", "sign"),
        ({"AMT": 1e300, "RATE": 1e-300, "DUR": "."}, "RATE", "infinite duration", "rate"),
        ({"RATE": 10, "DUR": 10.001}, "DUR", "DUR = 10.001", "one of the three"),
        ({"RATE": 0, "DUR": 10}, "DUR", "DUR = 10", "one of the three"),
        ({"RATE": 10, "DUR": 0}, "DUR", "DUR = 0", "one of the three"),
        ({"DUR": -1}, "DUR", "DUR = -1", "sign"),
        ({"EVID": 5}, "EVID", "EVID = 5", "delete the column"),
        ({"EVID": "."}, "EVID", "EVID = .", "delete the column"),
        ({"MDV": 0}, "MDV", "MDV = 0 with EVID = 1", "set MDV to 1"),
        ({"MDV": 2}, "MDV", "MDV = 2", "correct"),
        ({"DV": 3}, "DV", "DV = 3 on a row with EVID = 1", "row of its own"),
        ({"CMT": 2}, "CMT", "CMT = 2", "set CMT to 1"),
        ({"SS": 3, "II": 4}, "SS", "SS = 3", "correct"),
        ({"SS": "."}, "SS", "no SS", "write 0"),
        ({"SS": 1}, "II", "no dosing interval (II) with SS = 1", "interval"),
        ({"SS": 2, "RATE": 10, "DUR": 10}, "II", "no dosing interval", "interval"),
        ({"SS": 2, "AMT": 0, "RATE": 1, "II": 6}, "II", "II = 6 with SS = 2", "set II to 0"),
        ({"SS": 1, "AMT": 0, "RATE": 10, "II": 6}, "II", "II = 6 with SS = 1", "set II to 0"),
        ({"SS": 1, "AMT": 0, "RATE": 1, "ADDL": 1}, "ADDL", "ADDL = 1 with SS = 1", "set ADDL"),
        ({"ADDL": 2}, "II", "no dosing interval (II) with ADDL = 2", "interval"),
        ({"ADDL": 1.5, "II": 3}, "ADDL", "ADDL = 1.5", "count"),
        ({"ADDL": -1, "II": 3}, "ADDL", "ADDL = -1", "count"),
        ({"ADDL": 1e300, "II": 3}, "ADDL", "ADDL = 1e+300", "count"),
        ({"II": -3}, "II", "II = -3", "sign"),
        ({"WT": "."}, "WT", "no value of WT", "baseline"),
        ({"WT": "5,5"}, None, "14 fields", "decimal comma"),
        ({"WT": '"5,5"'}, "WT", "'5,5'", "decimal points"),
        ({"WT": "heavy"}, "WT", "'heavy'", "levels"),
        ({"ID": "."}, "ID", "nothing", "fill in"),
    ],
)
def test_one_fault_on_a_dose_row(faults, cells, key, found, cure):
    text = file(DOSE, SAMPLE, row(DOSE, **{"ID": 8, "TIME": 2, **cells}), row(SAMPLE, ID=8, TIME=3))
    problems = [p for p in faults(text, columns=WEIGHT) if p.severity == "error"]
    (problem,) = problems
    assert (problem.line, problem.subject) == (4, str(cells.get("ID", 8)))
    assert problem.key == key
    assert found in problem.found
    assert cure in problem.cure


@pytest.mark.parametrize(
    ("cells", "key", "found"),
    [
        ({"DV": "."}, "DV", "no DV"),
        ({"DV": ""}, "DV", "no DV"),
        ({"DV": "<50"}, "DV", "'<50'"),
        ({"DV": "BLQ"}, "DV", "'BLQ'"),
        ({"AMT": 5}, "AMT", "AMT = 5 on a row with EVID = 0"),
        ({"RATE": 5}, "RATE", "RATE = 5 on a row with EVID = 0"),
        ({"DUR": 5}, "DUR", "DUR = 5 on a row with EVID = 0"),
        ({"SS": 1}, "SS", "SS = 1 on a row with EVID = 0"),
        ({"II": 12}, "II", "II = 12 on a row with EVID = 0"),
        ({"ADDL": 1}, "ADDL", "ADDL = 1 on a row with EVID = 0"),
        ({"TIME": -1}, "TIME", "TIME = -1 after TIME = 1"),
        ({"EVID": 2}, "MDV", "MDV = 0 with EVID = 2"),
        ({"EVID": 3, "MDV": 1}, "DV", "DV = 3 on a row with EVID = 3"),
        ({"EVID": 3, "MDV": 1, "DV": ".", "AMT": 9}, "AMT", "AMT = 9 on a row with EVID = 3"),
    ],
)
def test_one_fault_on_another_row(faults, cells, key, found):
    (problem,) = faults(file(DOSE, SAMPLE, row(SAMPLE, **{"TIME": 2, **cells})))
    assert (problem.line, problem.subject, problem.key) == (4, "7", key)
    assert found in problem.found


def test_every_fault_is_reported_in_file_order(faults):
    problems = faults(
        file(
            row(DOSE, AMT=-1, RATE="x"),
            row(SAMPLE, TIME=5, WT="."),
            "7,8",
            row(SAMPLE, TIME=4, DV="."),
            row(SAMPLE, EVID=9, MDV=3),
        ),
        columns={**WEIGHT, "HT": {"covariate": True}, "II": {"unit": "day"}},
    )
    assert [(p.line, p.key) for p in problems] == [
        (None, "columns.HT"),
        (None, "columns.II.unit"),
        (2, "RATE"),
        (2, "AMT"),
        (3, "WT"),
        (4, None),
        (5, "TIME"),
        (5, "DV"),
        (6, "EVID"),
        (6, "MDV"),
        (6, "TIME"),
    ]


# --- the file -------------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(PopkError, match="No such file") as caught:
        read_data(tmp_path / "nowhere.csv")
    assert caught.value.unreadable


def test_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(PopkError, match="no readable file"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "an empty file"),
        ("\n\n# nothing but a comment\n", "an empty file"),
        (",,,\n,,,\n", "an empty file"),
        ("ID,TIME,AMT,DV\n", "no rows"),
        ("ID,TIME,AMT,DV\n#1,0,5,.\n", "no rows"),
        ("#ID,TIME,AMT,DV\n1,0,5,0\n", "numbers in the first line"),
    ],
)
def test_file_without_content(faults, content, found):
    (problem,) = faults(content)
    assert found in problem.found


@pytest.mark.parametrize(
    ("delimiter", "cure"),
    [(";", 'delimiter = ";"'), ("\t", r'delimiter = "\t"'), (" ", 'delimiter = " "')],
)
def test_wrong_delimiter(faults, delimiter, cure):
    text = "ID,TIME,AMT,DV\n1,0,5,.\n".replace(",", delimiter)
    (problem,) = faults(text)
    assert cure in problem.cure
    assert problem.line == 1


def test_comma_file_read_with_another_delimiter(faults):
    (problem,) = faults(file(DOSE, SAMPLE), delimiter=";")
    assert 'delimiter = ","' in problem.cure


def test_bytes_that_are_not_utf8(faults):
    problems = faults("ID,TIME,AMT,DV,NAME\n1,0,5,.,Müller\n1,1,0,5,x\n1,2,0,5,é".encode("latin-1"))
    assert [problem.line for problem in problems] == [2, 4]
    assert "0xfc" in problems[0].found


def test_spreadsheet_text_in_utf16(faults):
    assert "UTF-8" in faults("ID,TIME,AMT,DV\n".encode("utf-16"))[0].expected


def test_ragged_rows(faults):
    problems = faults("ID,TIME,AMT,DV\n1,0,5,.\n1,1,0\n1,2,0,3,4\n1,3,0,3,\n")
    assert [(p.line, p.found) for p in problems] == [(3, "3 fields"), (4, "5 fields")]
    assert problems[0].subject == "1"


def test_open_quote_does_not_swallow_the_file(faults):
    (problem,) = faults('ID,TIME,AMT,DV\n1,0,5,.\n1,"1,0,5\n1,2,0,3\n')
    assert problem.line == 3


# --- columns --------------------------------------------------------------------------------


def test_missing_column_and_the_nearest_one(faults):
    (problem,) = faults("ID,time,AMT,DV\n1,0,5,.\n1,1,0,4\n")
    assert problem.key == "TIME"
    assert "did you mean 'time'? declare [columns] time = {item = \"TIME\"}" in problem.cure


def test_all_missing_columns_at_once(faults):
    problems = faults("SUBJ,HOURS\n1,0\n")
    assert [problem.key for problem in problems] == ["ID", "TIME", "AMT", "DV"]


def test_item_in_another_case_is_not_passed_over(faults):
    (problem,) = faults("ID,TIME,AMT,Rate,DV\n1,0,5,1,.\n1,1,0,0,4\n")
    assert problem.key == "Rate"
    assert 'Rate = {item = "RATE"}' in problem.cure


def test_item_in_another_case_may_be_ignored(read):
    text = "ID,TIME,AMT,Rate,DV,time\n1,0,5,1,.,0\n1,1,0,0,4,1\n"
    assert read(text, columns={"Rate": {"ignore": True}}).ignored == ("Rate", "time")


def test_repeated_and_empty_names(faults):
    problems = faults("ID,TIME,AMT,,DV,DV\n1,0,5,,.,.\n1,1,0,,4,4\n")
    assert [(p.line, p.key) for p in problems] == [(1, None), (1, "DV")]


def test_two_columns_for_one_item(faults):
    (problem,) = faults(
        "ID,TIME,TAFD,AMT,DV\n1,0,0,5,.\n1,1,1,0,4\n", columns={"TAFD": {"item": "TIME"}}
    )
    assert problem.key == "TAFD"


@pytest.mark.parametrize(
    ("spec", "key", "near"),
    [
        ({"columns": {"WGT": {"covariate": True}}}, "columns.WGT", "WT"),
        ({"columns": {"RATES": {"item": "RATE"}}}, "columns.RATES", "RATE"),
        ({"columns": {"duration": {"ignore": True}}}, "columns.duration", None),
        ({"rows": {"accept": {"EVD": [1]}}}, "rows.accept.EVD", "EVID"),
        ({"rows": {"ignore": {"evid": [2]}}}, "rows.ignore.evid", "EVID"),
    ],
)
def test_specification_of_a_column_that_the_file_lacks(faults, spec, key, near):
    (problem,) = faults(file(DOSE, SAMPLE), **spec)
    assert problem.key == key
    assert near is None or repr(near) in problem.cure


def test_column_of_no_meaning(faults):
    (problem,) = faults(file(DOSE, SAMPLE), columns={"WT": {"unit": "kg"}})
    assert problem.key == "columns.WT"
    assert "covariate = true" in problem.cure


def test_comment_column_must_lead(faults):
    (problem,) = faults(
        "ID,TIME,AMT,DV,NOTE\n1,0,5,.,C\n1,1,0,4,.\n", columns={"NOTE": {"item": "C"}}
    )
    assert problem.key == "columns.NOTE"


def test_unknown_word_of_a_category(faults):
    (problem,) = faults(
        "ID,TIME,AMT,DV,SEX\n1,0,5,.,M\n1,1,0,4,male\n",
        columns={"SEX": {"covariate": True, "levels": ["M", "F"]}},
    )
    assert (problem.line, problem.found, problem.expected) == (3, "'male'", "one of M, F")


def test_filters_that_leave_nothing(faults):
    (problem,) = faults(file(DOSE, SAMPLE), rows={"accept": {"ID": [1]}})
    assert problem.key == "rows"


# --- subjects -------------------------------------------------------------------------------


def test_separated_blocks_of_one_subject(faults):
    (problem,) = faults("ID,TIME,AMT,DV\n1,0,5,.\n1,1,0,4\n2,0,5,.\n2,1,0,3\n1.0,2,0,5\n1,3,0,5\n")
    assert (problem.line, problem.subject, problem.key) == (6, "1", "ID")
    assert "line 2" in problem.found


def test_observations_without_a_dose(faults):
    (problem,) = faults("ID,TIME,AMT,DV\n1,0,5,.\n1,1,0,4\n2,1,0,3\n2,2,0,3\n")
    assert (problem.line, problem.subject, problem.key) == (4, "2", "AMT")


def test_no_observation_at_all(faults):
    (problem,) = faults("ID,TIME,AMT,DV\n1,0,5,.\n1,1,5,.\n")
    assert "no observation in the whole file" in problem.found


# --- censoring ------------------------------------------------------------------------------

FLAGGED = "ID,TIME,AMT,DV,{columns}\n1,0,100,.,{dose}\n1,1,0,60,{plain}\n1,2,0,{dv},{cells}\n"


@pytest.mark.parametrize(
    ("columns", "dv", "cells", "key", "found"),
    [
        ("CENS,LIMIT", ".", "1,2", "DV", "no DV"),
        ("CENS,LIMIT", "5", "2,2", "CENS", "CENS = 2"),
        ("CENS,LIMIT", "5", ".,.", "CENS", "CENS = ."),
        ("CENS,LIMIT", "5", "1,7", "LIMIT", "LIMIT = 7 with CENS = 1 and DV = 5"),
        ("CENS,LIMIT", "5", "-1,3", "LIMIT", "LIMIT = 3 with CENS = -1 and DV = 5"),
        ("BLQ,LLOQ", "5", "2,50", "BLQ", "BLQ = 2"),
        ("BLQ,LLOQ", ".", "1,.", "LLOQ", "BLQ = 1 and no LLOQ"),
        ("ALQ,LLOQ", ".", "1,.", "ULOQ", "ALQ = 1 and no ULOQ"),
        ("BLQ,LLOQ", "55", "1,50", "DV", "DV = 55 with BLQ = 1"),
        ("ALQ,ULOQ", "55", "1,90", "DV", "DV = 55 with ALQ = 1"),
        ("BLQ,ALQ,LLOQ,ULOQ", ".", "1,1,50,90", "BLQ", "both below and above"),
        ("LLOQ,ULOQ", "70", "90,50", "LLOQ", "a lower limit of 90"),
    ],
)
def test_faults_of_censoring(faults, columns, dv, cells, key, found):
    number = len(columns.split(","))
    plain = ",".join("0" if name in {"CENS", "BLQ", "ALQ"} else "." for name in columns.split(","))
    dose = ",".join(["."] * number)
    text = FLAGGED.format(columns=columns, dose=dose, plain=plain, dv=dv, cells=cells)
    (problem,) = [p for p in faults(text) if p.severity == "error"]
    assert (problem.line, problem.key) == (4, key)
    assert found in problem.found


def test_two_vocabularies_of_censoring(faults):
    (problem,) = faults("ID,TIME,AMT,DV,CENS,LLOQ\n1,0,5,.,0,1\n1,1,0,4,0,1\n")
    assert "CENS and LLOQ" in problem.found


def test_limit_without_cens(faults):
    (problem,) = faults("ID,TIME,AMT,DV,LIMIT\n1,0,5,.,.\n1,1,0,4,1\n")
    assert problem.key == "LIMIT"


def test_all_observations_censored(faults):
    (problem,) = faults("ID,TIME,AMT,DV,CENS\n1,0,5,.,0\n1,1,0,4,1\n1,2,0,4,1\n")
    assert "only censored observations (2)" in problem.found
    assert problem.cure
