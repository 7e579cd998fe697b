"""``popk diagnose``: verdicts first, then where the figures are; nothing saved is lost."""

import shutil

import pandas as pd
import pytest

from tests.cli.conftest import (
    CLEAN,
    FIT,
    INTERRUPTED,
    MODEL,
    PROBLEMS,
    UNREADABLE,
    command,
    results,
    strict_json,
    write,
)

FOCEI = FIT + 'method = "focei"\n'


@pytest.fixture(scope="module")
def estimated(tmp_path_factory):
    """A folder with maximum-likelihood results."""
    path = write(tmp_path_factory.mktemp("focei") / "fit", fit=FOCEI)
    assert command("fit", path, "--no-report").code == CLEAN
    return path


@pytest.fixture
def folder_of_estimates(estimated, tmp_path):
    return shutil.copytree(estimated, tmp_path / "copy")


@pytest.mark.parametrize("compare", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_of_a_posterior(folder, compare):
    before = results(folder)
    found = command("diagnose", folder, *(() if compare else ("--no-compare",)))
    assert found.code == CLEAN, found.complaint
    first, *_ = found.out.splitlines()
    assert first.startswith("verdicts")
    assert ("kind of variability" in found.words) == compare
    said = ("NPDE, mean and spread", "VPC", "prior-data conflict", "results/checks", "SYNTHETIC")
    assert [words for words in said if words not in found.words] == []
    checks = folder / "results" / "checks"
    names = {path.name for path in checks.iterdir()}
    assert {"verdicts.csv", "observations.csv", "vpc.csv", "npde.svg", "vpc.svg", "pcvpc.svg",
            "residuals.svg", "predictions.svg", "individuals_1.svg", "outliers.svg",
            "prior_sensitivity.svg"} <= names  # fmt: skip
    assert ("variability.csv" in names) == compare
    verdicts = pd.read_csv(checks / "verdicts.csv", comment="#")
    assert set(verdicts["outcome"]) <= {"passed", "look here", "failed", "not possible"}
    assert verdicts["source"].notna().all()
    figures = set(verdicts["figure"].dropna())
    assert all(f"{name}.svg" in names or f"{name}.csv" in names for name in figures), figures
    rest = {name: text for name, text in results(folder).items() if name in before}
    assert rest == before


def test_of_estimates_as_json(folder_of_estimates):
    found = command("diagnose", folder_of_estimates, "--json")
    assert found.code == CLEAN, found.complaint
    record = strict_json(found.out)
    assert record["synthetic"] is True
    outcomes = {own["check"]: own["outcome"] for own in record["verdicts"]}
    assert outcomes["convergence"] == "passed"
    assert "prior-data conflict" not in outcomes
    assert record["prior_sensitivity"] == {}
    assert set(record["outlying_subjects"]) == {"[red]", "[/x]", "c", "d", "e", "f"}


def test_results_of_an_older_model_file_are_refused(folder_of_estimates):
    model = folder_of_estimates / "model.toml"
    model.write_text(MODEL.replace("scale = 0.5", "scale = 0.4"), encoding="utf-8")
    before = results(folder_of_estimates)
    found = command("diagnose", folder_of_estimates)
    assert found.code == PROBLEMS
    assert "model" in found.complaint
    assert "popk fit" in found.complaint
    assert results(folder_of_estimates) == before


def test_without_results_it_says_how_to_get_them(tmp_path):
    found = command("diagnose", write(tmp_path / "x"))
    assert found.code == UNREADABLE
    assert "popk fit" in found.complaint


def test_an_interrupt_writes_nothing(folder_of_estimates, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("popk.analysis.checking.checks.checks", interrupted)
    before = results(folder_of_estimates)
    found = command("diagnose", folder_of_estimates)
    assert found.code == INTERRUPTED
    assert "nothing was written" in found.complaint
    assert results(folder_of_estimates) == before
