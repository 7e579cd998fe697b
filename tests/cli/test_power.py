"""``popk power`` and ``popk design``: small grids, resumed, with workers, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import CLEAN, FIT, MODEL, PROBLEMS, command, strict_json, write

EFFECT = """
[[covariates]]
parameter = "CL"
covariate = "AGE"
relation = "below"
cut = "6 month"
effect = {prior = "normal", loc = 0.0, scale = 0.5}
"""
WITH_EFFECT = MODEL.replace("[residual]", EFFECT + "[residual]")
GRID = ("--ratios", "0.3, 1", "--infants", "8", "--trials", "8", "--regimen", "half_course",
        "--times", "2 day, 5 day", "--young", "0.5", "--value", "sigma=0.1",
        "--value", "omega_CL=0.2", "--value", "TVCL=0.05", "--no-likelihood-ratio")  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("power") / "model.toml"
    path.write_text(WITH_EFFECT)
    return path


@pytest.fixture(scope="module")
def computed(model):
    out = model.parent / "here"
    return out, command("power", model, *GRID, "--out", out)


def test_a_small_grid(computed):
    out, found = computed
    assert found.code == CLEAN, found.complaint
    said = ("SYNTHETIC TRIALS", "8 (4 + 4)", "relevant effect", "missed gate", "assurance")
    assert [words for words in said if words not in found.words] == []
    assert {"cells.csv", "assurance.csv", "precision.csv", "power.json", "power.svg",
            "trials.parquet"} == {p.name for p in out.iterdir()}  # fmt: skip
    cells = pd.read_csv(out / "cells.csv", comment="#").set_index(["infants", "ratio"])
    # A ratio of 0.3 in eight infants whose CL varies by 20 %: all trials see it
    assert cells.loc[(8, 0.3), "excludes_90"] == 1.0
    assert cells.loc[(8, 1.0), "excludes_90"] < 0.8
    trials = pd.read_parquet(out / "trials.parquet")
    assert len(trials) == 16
    assert not (out.parent / ".power").exists()


@pytest.mark.slow
def test_workers_give_the_same_table(model, computed):
    out = model.parent / "workers"
    assert command("power", model, *GRID, "--out", out, "--dask", 2).code == CLEAN
    here, there = (pd.read_parquet(p / "trials.parquet") for p in (computed[0], out))
    pd.testing.assert_frame_equal(here, there, check_exact=True)


def test_an_interrupted_grid_goes_on(model, computed, monkeypatch):
    from popk.analysis.power import trials

    real, calls = trials.done, []

    def interrupted(piece):
        calls.append(piece)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return real(piece)

    out = model.parent / "again"
    with monkeypatch.context() as patch:
        patch.setattr("popk.inference.threads.cores", lambda: 1)
        patch.setattr(trials, "done", interrupted)
        assert command("power", model, *GRID, "--out", out).code == 130
    kept = list((out.parent / ".power").iterdir())
    assert len(kept) == 1
    found = strict_json(command("power", model, *GRID, "--out", out, "--json").out)
    here = json.loads((computed[0] / "power.json").read_text())
    assert found["cells"] == here["cells"]


def test_design(model, tmp_path):
    found = command("design", model, "--infants", 12, "--times", "2 h, 2 day", "--times", "3 day",
                    "--choose", 2, "--regimen", "half_course", "--out", tmp_path,
                    "--width", 2, "--power", 0.8, "--ratio", 0.5)  # fmt: skip
    assert found.code == CLEAN, found.complaint
    assert "best:" in found.words
    table = pd.read_csv(tmp_path / "plans.csv")
    assert len(table) == 3
    assert table["efficiency"].max() == 1.0
    assert np.isfinite(table["se_log_ratio"]).all()
    assert "expected smallest number of infants" in found.words
    needed = pd.read_csv(tmp_path / "needed.csv", index_col="plan")
    assert list(needed.index) == list(table["plan"])
    assert (needed.to_numpy() >= 2).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--width", "0.9"), "a number above 1"),
        (("--width", "1.00001"), "1,000,000 infants"),
        (("--power", "0.8"), "--power 0.8 --ratio 0.7"),
        (("--power", "0.8", "--ratio", "1"), "other than 1"),
        (("--power", "0.8", "--ratio", "-1"), "a number above 0"),
        (("--power", "2", "--ratio", "0.5"), "below 1"),
    ],
)
def test_goals_that_no_number_of_infants_reaches(model, tmp_path, arguments, words):
    found = command("design", model, "--times", "2 day", "--regimen", "half_course", "--out",
                    tmp_path, *arguments)  # fmt: skip
    assert found.code == PROBLEMS
    assert words in found.complaint
    assert "cure" in found.complaint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ratios", "a, b"), "write for example 0.5, 0.8, 1"),
        (("--ratios", "-1"), "a number above 0"),
        (("--infants", "1"), "zero infants in a group"),
        (("--infants", "4", "--age", "7 month to 12 month"), "infants"),
        (("--times", "90 day"), "drug is looked for"),
        (("--times", "2 day, 1 day"), "times that run back"),
        (("--trials", "1"), "8 or more"),
        (("--value", "omega_X=1"), "omega_X"),
        (("--value", "omega_CL"), "NAME=NUMBER"),
        (("--effect", "nothing"), "one of CL_AGE_below"),
        (("--scheduler", "tcp://127.0.0.1:9"), "no answer"),
        (("--dask", "0"), "1 or more"),
        (("--criterion", "luck", "--trials", "8", "--infants", "4, 8"), "one of"),
    ],
)
def test_bad_input(model, tmp_path, arguments, words, monkeypatch):
    monkeypatch.setattr("popk.study.cluster.SECONDS_TO_ANSWER", 1.0)
    found = command("power", model, "--out", tmp_path, *arguments)
    assert found.code == PROBLEMS
    assert words in found.complaint
    assert "cure" in found.complaint
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_an_effect(tmp_path):
    folder = write(tmp_path / "fit", fit=FIT)
    found = command("power", folder / "model.toml", "--out", tmp_path / "out")
    assert found.code == PROBLEMS
    assert "[[covariates]]" in found.complaint
