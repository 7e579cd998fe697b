"""A fit folder around a user's file: every column listed, nothing guessed."""

import tomllib

import pytest

from popk.data.draft import draft
from popk.data.nonmem.read import read_data
from popk.spec.fit import DataSpec, read_fit
from popk.spec.model import read_model
from popk.spec.problem import PopkError

DATA = """\
# a comment
ID,Time,AMT,RATE,conc,EVID,WT,Sex,NOTE,"a ""b"" c"
1,0,100,10,.,1,70,M,one,1
1,1,0,0,3,0,70,M,.,1
2,0,100,10,.,1,60,F,two,2
2,1,0,0,4,0,60,F,.,.
"""


@pytest.fixture
def around(tmp_path):
    def of(text=DATA, units=()):
        path = tmp_path / "study.csv"
        path.write_text(text, encoding="utf-8")
        return draft(path, units)

    return of


def placed(folder, files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_what_is_taken_and_what_is_asked(around):
    found = around()
    assert found.taken == {"ID": "ID", "TIME": "Time", "AMT": "AMT", "RATE": "RATE", "EVID": "EVID"}
    assert found.missing == ("DV",)
    assert found.covariates == ("conc", "WT", "Sex", "NOTE", 'a "b" c')
    assert (found.subjects, found.rows, found.units) == (2, 4, ("?", "?", "?"))
    text = found.files["fit.toml"].decode()
    for line in (
        'Time = { item = "TIME", unit = "?" } # h | day',
        '# COLUMN = { item = "DV", unit = "?" } # which column holds DV?',
        '# conc = { covariate = true, unit = "?" } # 3 to 4, some missing',
        '# WT = { covariate = true, unit = "?" } # 60 to 70',
        '# Sex = { covariate = true, levels = ["M", "F"] } # words',
        '# NOTE = { covariate = true, levels = ["one", "two"] } # words, some missing',
    ):
        assert line in text.splitlines()


def test_every_commented_line_is_toml(around):
    """Deleting the # before a covariate is enough, whatever the column is called."""
    text = around().files["fit.toml"].decode()
    lines = [line.removeprefix("# ") for line in text.splitlines() if "covariate = true" in line]
    assert len(lines) == 5
    found = tomllib.loads("\n".join(lines))
    assert set(found) == {"conc", "WT", "Sex", "NOTE", 'a "b" c'}


def test_nothing_is_read_before_it_is_filled_in(around, tmp_path):
    folder = placed(tmp_path / "fit", around().files)
    with pytest.raises(PopkError, match="still to be filled in") as caught:
        read_fit(folder)
    assert [p.key for p in caught.value.problems] == ["columns.Time.unit", "columns.AMT.unit"]
    with pytest.raises(PopkError, match="still to be filled in"):
        read_model(folder / "model.toml")


def test_filled_in_it_fits(around, tmp_path):
    text = DATA.replace("Time", "TIME").replace("conc", "DV")
    files = around(text, ["h", "mg", "mg/L"]).files
    files["model.toml"] = files["model.toml"].replace(b'median = "?"', b"median = 5.0")
    files["fit.toml"] = files["fit.toml"].replace(
        b'# WT = { covariate = true, unit = "?" }', b'WT = { covariate = true, unit = "kg" }'
    )
    folder = placed(tmp_path / "fit", files)
    spec = read_fit(folder)
    data = read_data(folder / spec.data, spec)
    assert (data.subjects, data.units.concentration) == (2, "mg/L")
    assert data.covariate_units == {"WT": "kg"}
    assert read_model(folder / "model.toml").parameters["CL"].unit == "L/h"


@pytest.mark.parametrize("delimiter", [";", "\t", " "])
def test_the_delimiter_is_seen_and_said(around, tmp_path, delimiter):
    text = "ID,TIME,AMT,DV\n1,0,5,.\n1,1,0,3\n".replace(",", delimiter)
    found = around(text, ["h", "mg", "mg/L"])
    spec = read_fit(placed(tmp_path / "fit", found.files))
    assert spec.delimiter == delimiter
    assert read_data(tmp_path / "fit" / "study.csv", DataSpec(delimiter=delimiter)).observations


@pytest.mark.parametrize("units", [["h", "mg"], ["mg", "h", "mg/L"], ["h", "mg", "mg/"], ["h"] * 3])
def test_units_that_are_none(around, units):
    with pytest.raises(PopkError, match="--units"):
        around(DATA, units)


def test_no_file(tmp_path):
    with pytest.raises(PopkError, match="no readable file"):
        draft(tmp_path / "none.csv")
