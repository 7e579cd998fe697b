"""popk export: the tables, read back, are popk.observations."""

import shutil

import numpy as np
import pandas as pd
import pytest

import popk
from popk.data.examples import example
from tests.cli.conftest import CLEAN, PROBLEMS, command, strict_json

pytestmark = pytest.mark.slow  # tests/cli/test_cli.py has a short one


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Phenobarb by FOCEI: the fit that takes least."""
    place = tmp_path_factory.mktemp("export") / "neonates"
    place.mkdir()
    for name, content in example("phenobarb-neonates").items():
        (place / name).write_bytes(content)
    fit = (place / "fit.toml").read_text("utf-8").replace('"ensemble"', '"focei"')
    (place / "fit.toml").write_text(fit, "utf-8")
    assert command("fit", place).code == CLEAN
    return place


def read(path):
    return pd.read_csv(path, sep=r"\s+", skiprows=1)


def test_tables_read_back(folder):
    result = command("export", folder, "--format", "s1PE18.11")
    assert result.code == CLEAN
    place = folder / "results" / "nonmem"
    sdtab, patab, cotab = (read(place / f"{name}1") for name in ("sdtab", "patab", "cotab"))
    fit = popk.load_fit(folder)
    found = popk.observations(fit)
    assert len(sdtab) == len(patab) == len(cotab) == 744
    own = sdtab[sdtab["MDV"] == 0].reset_index(drop=True)
    assert len(own) == 155
    for name in ("TIME", "DV", "PRED", "IPRED", "IWRES", "NPDE"):
        np.testing.assert_allclose(own[name], found[name], rtol=1e-10, atol=1e-10)
    assert list(own["ID"].astype(int).astype(str)) == list(found["ID"])
    assert (sdtab["EVID"] == sdtab["MDV"]).all()
    assert sdtab["AMT"].sum() == pytest.approx(np.nansum(fit.data.amount))
    np.testing.assert_allclose(
        patab["CL"].iloc[0], fit.estimate["TVCL"] * 1.4 * np.exp(patab["ETA1"].iloc[0])
    )
    assert list(cotab) == ["ID", "WT", "APGR"]
    assert "ETA1 is that of CL, ETA2 is that of V" in result.out


def test_only_what_is_asked_for(folder, tmp_path):
    result = command("export", folder, "--sdtab", "--run", 12, "--no-title", "--out", tmp_path)
    assert result.code == CLEAN
    assert [path.name for path in tmp_path.iterdir()] == ["sdtab12"]
    text = (tmp_path / "sdtab12").read_text("utf-8")
    assert text.startswith(" ID          TIME")


def test_as_json(folder, tmp_path):
    record = strict_json(command("export", folder, "--patab", "--out", tmp_path, "--json").out)
    assert record["columns"] == {"patab": ["ID", "CL", "V", "ETA1", "ETA2"]}
    assert record["etas"] == {"ETA1": "CL", "ETA2": "V"}
    assert (record["rows"], record["ids"]) == (744, None)


def test_bad_format_and_old_results(folder, tmp_path):
    assert command("export", folder, "--format", "F8.3").code == PROBLEMS
    old = shutil.copytree(folder, tmp_path / "old")
    data = (old / "data.csv").read_text("utf-8").replace("1,2,0,0,17.3", "1,2,0,0,17.4")
    (old / "data.csv").write_text(data, "utf-8")
    result = command("export", old)
    assert result.code == PROBLEMS
    assert f"popk fit {old}" in result.err.replace("\n", "")
