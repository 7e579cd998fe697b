"""``popk compare``: finished fits side by side, a posterior and estimates of the same data."""

import shutil

import pandas as pd
import pytest

from tests.cli.conftest import (
    CLEAN,
    DATA,
    FIT,
    MODEL,
    PROBLEMS,
    command,
    results,
    strict_json,
    write,
)

FOCEI = FIT + 'method = "focei"\n'
ADDITIVE = MODEL.replace('error = "lognormal"', 'error = "additive"')


@pytest.fixture(scope="module")
def folders(tmp_path_factory, fitted):
    """A posterior, and FOCEI of the same data with additive errors and of other data."""
    place = tmp_path_factory.mktemp("compare")
    shutil.copytree(fitted[0], place / "bayes")
    write(place / "focei", ADDITIVE, FOCEI)
    write(place / "other", MODEL, FOCEI, DATA.replace(",0.9,", ",0.95,"))
    for name in ("focei", "other"):
        found = command("fit", place / name, "--no-report")
        assert found.code == CLEAN, found.complaint
    return place


def test_tables_and_files(folders):
    before = results(folders / "bayes")
    found = command("compare", folders / "bayes", folders / "focei", folders / "other")
    assert found.code == CLEAN, found.complaint
    first, *_ = found.out.splitlines()
    assert first == "SYNTHETIC DATA"
    for said in ("residual lognormal → additive", "LOO and OFV cannot be compared, parameters can",
                 "TVCL", "L/h/kg", "OFV", "credible"):  # fmt: skip
        assert said in found.words, said
    place = folders / "bayes" / "results" / "compare" / "focei_other"
    names = {path.name for path in place.iterdir()}
    assert names == {"fits.csv", "parameters.csv", "objective.csv", "changes.txt", "model_1.diff",
                     "vpc.svg"}  # fmt: skip
    table = pd.read_csv(place / "parameters.csv", comment="#", index_col=0)
    own = pd.read_csv(folders / "bayes" / "results" / "parameters.csv", comment="#", index_col=0)
    assert table.loc["TVCL", "bayes"] == pytest.approx(own.loc["TVCL", "median"])
    assert '+error = "additive"' in (place / "model_1.diff").read_text()
    assert "SYNTHETIC DATA" in (place / "vpc.svg").read_text()
    assert results(folders / "bayes") == before


def test_as_json_where_it_is_wanted(folders, tmp_path):
    found = command("compare", folders / "focei", folders / "other", "--no-vpc", "--json",
                    "--out", tmp_path / "here")  # fmt: skip
    assert found.code == CLEAN, found.complaint
    record = strict_json(found.out)
    assert record["fits"] == ["focei", "other"]
    assert record["objective"]["other"]["dOFV"] is None
    assert record["changes"]["other"] == ["residual additive → lognormal"]
    assert record["vpc_p"] == {}
    assert record["about"]["other"]["same_data"] is False
    assert set(record["files"]) == {path.name for path in (tmp_path / "here").iterdir()}


def test_one_folder_or_the_same_twice(folders):
    found = command("compare", folders / "focei")
    assert found.code == PROBLEMS
    assert "name another one" in found.complaint
    found = command("compare", folders / "focei", folders / "focei")
    assert found.code == PROBLEMS
    assert "different names" in found.complaint


def test_folders_of_one_name_are_called_by_their_places(folders, tmp_path):
    copy = shutil.copytree(folders / "focei", tmp_path / "again" / "focei")
    found = command("compare", folders / "focei", copy, "--no-vpc", "--json",
                    "--out", tmp_path / "out")  # fmt: skip
    assert found.code == CLEAN, found.complaint
    assert strict_json(found.out)["fits"] == [f"{folders.name}/focei", "again/focei"]
