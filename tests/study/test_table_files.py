"""Tables written piece by piece: whole or not at all, with a note in them."""

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from popk.spec.problem import PopkError
from popk.study.table_files import table_file

PIECES = [{"ID": ["a", "b"], "x": np.array([1.0, 2.5])}, {"ID": ["c"], "x": np.array([0.1])}]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_pieces_become_one_table(tmp_path, kind):
    path = tmp_path / "new" / f"table.{kind}"
    with table_file(path, kind, "SYNTHETIC") as table:
        for piece in PIECES:
            table.write(piece)
        assert not path.exists()
    read = pd.read_csv(path, comment="#") if kind == "csv" else pd.read_parquet(path)
    assert list(read["ID"]) == ["a", "b", "c"]
    np.testing.assert_array_equal(read["x"], [1.0, 2.5, 0.1])
    if kind == "csv":
        assert path.read_text().startswith("# SYNTHETIC\n")
    else:
        assert pyarrow.parquet.read_schema(path).metadata[b"note"] == b"SYNTHETIC"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_interrupt_leaves_the_old_table(tmp_path, kind):
    path = tmp_path / f"table.{kind}"
    path.write_bytes(b"old")

    def interrupted():
        with table_file(path, kind) as table:
            table.write(PIECES[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PopkError) as raised, table_file(tmp_path / "file" / "t.csv", "csv"):
        pass
    assert "cannot be written" in str(raised.value)
    assert raised.value.unreadable
