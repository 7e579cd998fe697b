"""NONMEM's table format: as Fortran writes it, and read back as a table."""

import io

import numpy as np
import pandas as pd
import pytest

from popk.report import nonmem_tables as tables
from popk.spec.problem import PopkError

FORM = tables.number_format("s1PE11.4")
COLUMNS = {
    "ID": np.array([1.0, 2.0]),
    "TIME": np.array([0.0, 123.456]),
    "IWRES": np.array([-1.23456e-12, np.nan]),
    "V_covariate_of": np.array([1e300, -1e-300]),
}


def test_as_nonmem_writes_it():
    lines = tables.text(COLUMNS, FORM).splitlines()
    assert lines[0] == "TABLE NO.  1"
    assert lines[1].startswith(" ID          TIME        IWRES       V_cov")
    assert lines[2].startswith("  1.0000E+00  0.0000E+00 -1.2346E-12  1.0000E+300"[:36])
    assert lines[3].split() == ["2.0000E+00", "1.2346E+02", "NA", "-1.0000E-300"]
    assert len(lines) == 4


@pytest.mark.parametrize("title", [True, False])
def test_read_back(title):
    text = tables.text(COLUMNS, tables.number_format("s1PE16.9"), number=12, title=title)
    assert text.startswith("TABLE NO. 12\n") == title
    found = pd.read_csv(io.StringIO(text), sep=r"\s+", skiprows=int(title))
    assert list(found) == list(COLUMNS)
    for name, values in COLUMNS.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9)


@pytest.mark.parametrize("text", ["F8.3", "s1PE", "s1PE11.9", "s1PE30.20", "", "1PE8.4x"])
def test_other_formats_are_refused_and_the_cure_works(text):
    with pytest.raises(PopkError) as caught:
        tables.number_format(text)
    cure = caught.value.problems[0].cure
    for proposed in (cure.split()[2], cure.split()[-1]):
        assert tables.number_format(proposed).decimals >= 4


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (["1", "20", "12345"], True),
        (["1", "123456"], False),  # 1.2346E+05: five digits
        (["1", "a"], False),
        (["[red]", "[/x]"], False),
    ],
)
def test_ids_that_the_format_would_change_are_numbered(ids, kept):
    found = tables.numbered(ids, FORM)
    assert found is None if kept else list(found.values()) == [1.0, 2.0]


def test_list_of_ids_is_csv():
    text = tables.id_list({'a"b': 1.0, "c,d": 2.0})
    found = pd.read_csv(io.StringIO(text))
    assert list(found["ID"]) == ['a"b', "c,d"]
