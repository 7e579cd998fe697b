"""`popk calibrate` on a small study: every part, an interrupt, a broken sampler, bad input."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import popk.inference.batch
import popk.study.work
from tests.cli.conftest import (
    CLEAN,
    DATA,
    FIT,
    INTERRUPTED,
    NOT_CONVERGED,
    PROBLEMS,
    UNREADABLE,
    command,
    strict_json,
    write,
)

REPLICATES = 62  # one piece
# Wide half-normal priors leave some trials next to empty: those take long
MODEL = """
name = "narrow [b]"
structure = "one_compartment"
[units]
time = "h"
amount = "ug"
concentration = "ug/L"
[parameters.CL]
unit = "L/h"
scale = {covariate = "WT", reference = "1 kg"}
typical = {prior = "lognormal", median = 1.0, sigma = 0.3}
variability = {distribution = "lognormal", sd = {prior = "gamma", shape = 6.0, rate = 15.0}}
[parameters.V]
unit = "L"
typical = {prior = "fixed", value = 3.0}
[residual]
error = "lognormal"
sd = {prior = "gamma", shape = 6.0, rate = 30.0}
"""


def calibrate(folder: Path, *options: object, model: str = MODEL, replicates: int = REPLICATES):
    file = folder.parent / "calibrated.toml"
    file.write_text(model, encoding="utf-8")
    return command("calibrate", file, "--design", folder, "--replicates", replicates, *options)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A design after `popk calibrate` of a model that is not its own. Not to be changed."""
    folder = write(tmp_path_factory.mktemp("calibrating") / "little")
    return folder, calibrate(folder)


def test_it_prints_verdicts_first_and_writes_every_part(ranked):
    folder, result = ranked
    assert result.code == CLEAN, result
    words = result.words
    places = [words.index(w) for w in ("narrow [b]", "convergence gate", "Population", "[red]")]
    assert places == sorted(places)
    for part in ("SYNTHETIC", "62 simulated trials", "no assay limit", "TVCL", "Css", "ranks.svg"):
        assert part in words
    found = folder / "results" / "calibration"
    assert {path.name for path in found.iterdir()} == {
        "ranks.csv", "coverage.csv", "calibration.json", "ranks.svg", "coverage.svg"
    }  # fmt: skip
    lines = (found / "ranks.csv").read_text().splitlines()
    assert lines[0].startswith("# SYNTHETIC DATA")
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert len(rows) == REPLICATES
    assert all(0 <= int(row["TVCL"]) < 400 and row["passed"] == "True" for row in rows)
    lines = (found / "coverage.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert [row["ID"] for row in rows[:4]] == ["TVCL", "omega_CL", "sigma", "[red]"]
    assert {row["quantity"] for row in rows} == {"population", "CL", "Css"}
    record = strict_json((found / "calibration.json").read_text())
    assert record["replicates"] == REPLICATES
    assert record["missed_the_gate"] == 0
    assert record["verdicts"][0]["check"] == "ranks"
    assert set(record["individuals"]["CL"]) == {"[red]", "[/x]", "c", "d", "e", "f"}
    assert not (folder / ".calibration").exists()


def test_interrupted_it_goes_on_with_the_same_result(ranked, tmp_path, monkeypatch):
    folder = write(tmp_path / "little")
    keep = popk.study.work.add_to

    def interrupted(*given: Any) -> None:
        keep(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as only:
        only.setattr(popk.study.work, "add_to", interrupted)
        result = calibrate(folder)
    assert result.code == INTERRUPTED
    assert "the same command goes on from here" in result.complaint
    assert not (folder / "results").exists()
    assert len(list((folder / ".calibration").iterdir())) == 1

    def never(*_: object) -> None:
        raise AssertionError("a piece that is done is fitted again")

    monkeypatch.setattr(popk.inference.batch.Batch, "_wave", never)
    result = calibrate(folder, "--json")
    assert result.code == CLEAN
    record = strict_json(result.out)
    whole = json.loads((ranked[0] / "results/calibration/calibration.json").read_text())
    assert record["parameters"] == whole["parameters"]
    assert record["individuals"] == whole["individuals"]


def test_workers_give_the_same_tables(ranked, tmp_path):
    folder = write(tmp_path / "little")
    assert calibrate(folder, "--dask", 2).code == CLEAN
    for name in ("ranks.csv", "coverage.csv"):
        here, there = (f / "results" / "calibration" / name for f in (ranked[0], folder))
        assert here.read_text() == there.read_text()


def test_a_broken_sampler_ends_with_a_failed_verdict(tmp_path, monkeypatch):
    right = popk.inference.batch.Batch._results

    def wrong(batch: Any, columns: Any, *rest: Any) -> Any:
        shrunk = [own.mean(axis=(0, 1)) + 0.6 * (own - own.mean(axis=(0, 1))) for own in columns]
        return right(batch, shrunk, *rest)

    monkeypatch.setattr(popk.inference.batch.Batch, "_results", wrong)
    result = calibrate(write(tmp_path / "little"))
    assert result.code == NOT_CONVERGED
    outcomes = ("failed", "look here", "not possible", "passed")
    verdicts = [own for line in result.out.splitlines() for own in outcomes
                if line.startswith(own)]  # fmt: skip
    assert verdicts[0] == "failed"
    assert verdicts == sorted(verdicts, key=outcomes.index)


@pytest.mark.slow
def test_chosen_values_and_those_of_the_fit(folder, tmp_path):
    """The design's own fit gives what is not written beside it."""
    result = calibrate(folder, "--truth", "fit,sigma=0.15", "--below", "0.01", "--json")
    record = strict_json(result.out)
    fit = strict_json(command("summary", folder, "--json").out)
    medians = {name: row["median"] for name, row in fit["parameters"].items()}
    assert record["truth"] == pytest.approx(medians | {"sigma": 0.15})
    assert record["below"] == 0.01
    assert record["verdicts"][-1]["check"] == "convergence gate"
    found = {path.name for path in (folder / "results" / "calibration").iterdir()}
    assert "coverage.svg" in found
    assert "ranks.svg" not in found
    assert (folder / "results" / "posterior.nc").exists()


AGED = (
    MODEL
    + """
[[covariates]]
parameter = "CL"
covariate = "AGE"
relation = "below"
cut = "6 month"
effect = {prior = "normal", loc = 0.0, scale = 0.5}
"""
)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--truth", "TVX=1"), "TVCL, omega_CL, sigma"),
        (("--truth", "TVCL"), "NAME=NUMBER, or fit"),
        (("--truth", "TVCL=one"), "NAME=NUMBER, or fit"),
        (("--truth", "sigma=-1"), "a value that its prior allows"),
        (("--precision", "float16"), "float16"),
        (("--dask", "0"), "1 or more"),
        (("--scheduler", "nowhere"), "no answer"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, words, monkeypatch):
    monkeypatch.setattr("popk.study.cluster.SECONDS_TO_ANSWER", 1.0)
    result = calibrate(write(tmp_path / "little"), *options)
    assert result.code == PROBLEMS
    assert words in result.complaint


def test_bad_limits_are_refused(tmp_path):
    for limit in ("-1", "0", "nan", "much"):
        result = calibrate(write(tmp_path / "little"), "--below", limit)
        assert result.code != CLEAN
        assert "neither a concentration above 0 nor none" in result.complaint


def test_what_cannot_be_calibrated_is_refused(tmp_path):
    folder = write(tmp_path / "little")
    result = calibrate(folder, replicates=0)
    assert (result.code, "0 replicates" in result.complaint) == (PROBLEMS, True)
    result = calibrate(folder, model=AGED)
    assert (result.code, "AGE" in result.complaint) == (PROBLEMS, True)
    result = calibrate(folder, "--truth", "fit")
    assert (result.code, "popk fit" in result.complaint) == (UNREADABLE, True)
    missing = command("calibrate", tmp_path / "none.toml", "--design", folder)
    assert (missing.code, "none.toml" in missing.complaint) == (UNREADABLE, True)
    missing = command("calibrate", tmp_path / "calibrated.toml", "--design", tmp_path / "none")
    assert (missing.code, "none" in missing.complaint) == (UNREADABLE, True)
    assert not (folder / "results").exists()


def test_a_design_whose_covariate_changes_cannot_be_condensed(tmp_path):
    varying = DATA.replace("[red],72,0,0,0,0,0,0,1.0,5", "[red],72,0,0,0,0,0,0,1.0,6")
    assert varying != DATA
    result = calibrate(write(tmp_path / "little", fit=FIT, data=varying))
    assert result.code == PROBLEMS
    assert "condensed events" in result.complaint
