"""`popk report`, and the page that every fit leaves."""

import re
import shutil
from types import SimpleNamespace

import pytest

import popk.analysis.checking.checks
import popk.report.checked
import popk.report.plots.checks
from popk.cli.page import refresh
from tests.cli.conftest import (
    CLEAN,
    FIT,
    MODEL,
    NOT_CONVERGED,
    PROBLEMS,
    UNREADABLE,
    command,
    results,
    strict_json,
    write,
)

CHECKED = (
    "# SYNTHETIC DATA\ncheck,outcome,value,threshold,meaning,figure,source\n"
    'NPDE,{},0.5,p ≥ 0.05,"as it should be",npde,Brendel 2006\n'
)


def text_of(folder):
    return (folder / "results" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def estimated(tmp_path_factory):
    """A folder after a fit by maximum likelihood, report included. Not to be changed."""
    folder = write(tmp_path_factory.mktemp("ml") / "fit", fit=FIT + 'method = "focei"\n')
    return folder, command("fit", folder)


@pytest.fixture
def folder(estimated, tmp_path):
    """A copy of it without its report."""
    copy = shutil.copytree(estimated[0], tmp_path / "copy")
    (copy / "results" / "report.html").unlink()
    shutil.rmtree(copy / "results" / "checks")
    return copy


def test_a_fit_leaves_a_report(estimated):
    folder, found = estimated
    assert found.code == CLEAN, found.complaint
    text = text_of(folder)
    assert "little [bold] fit" in text
    assert "SYNTHETIC DATA" in text
    assert 'data-chart="predictions-pred"' in text
    assert 'data-chart="npde"' not in text
    assert f"popk report {folder}" in text
    observations = (folder / "results" / "checks" / "observations.csv").read_text()
    assert observations.startswith("# SYNTHETIC DATA\n# time h, concentrations ug/L\nID,line,")


def test_of_maximum_likelihood_it_has_what_belongs_there(estimated):
    folder, found = estimated
    text = text_of(folder)
    assert "Did the search end at a maximum?" in text
    ofv = re.search(r"OFV (-?[\d.]+)", found.out)
    assert ofv is not None
    assert f"OFV {ofv.group(1)}," in text
    for column in ("Estimate", "RSE %", "90 % confidence"):
        assert f"<span>{column}</span>" in text or f">{column}</abbr>" in text
    assert "first-order conditional estimation" in text
    assert "R-hat" not in text.split('id="specs"')[0]
    assert 'id="priors"' not in text
    assert "Priors were" not in text


def test_quick_writes_what_is_there(folder):
    before = results(folder)
    found = command("report", folder, "--quick", "--json")
    assert found.code == CLEAN, found.complaint
    record = strict_json(found.out)
    assert record["made"] == []
    assert record["failed"] == []
    assert record["converged"] is True
    assert record["synthetic"] is True
    assert record["bytes"] == len(text_of(folder).encode())
    assert results(folder).keys() - before.keys() == {"report.html"}
    assert "Not checked" in text_of(folder)


@pytest.mark.parametrize(("outcome", "code"), [("passed", CLEAN), ("failed", NOT_CONVERGED)])
def test_what_is_missing_is_made_first_and_only_once(folder, monkeypatch, outcome, code):
    made = []
    monkeypatch.setattr(
        popk.analysis.checking.checks, "checks", lambda fit, **_: made.append(fit) or fit
    )
    monkeypatch.setattr(
        popk.report.checked, "of_checks", lambda _: {"verdicts.csv": CHECKED.format(outcome)}
    )
    monkeypatch.setattr(popk.report.plots.checks, "of_checks", lambda _: {})
    found = command("report", folder, "--json")
    assert found.code == code, found.complaint
    assert strict_json(found.out)["made"] == ["checks"]
    assert strict_json(found.out)["failed"] == ["NPDE"] * (outcome == "failed")
    assert "As it should be" in text_of(folder)
    found = command("report", folder)
    assert found.code == code
    assert re.search(r"results/report\.html \(\d\.\d MB\)$", found.words)
    assert len(made) == 1


def test_of_results_from_before_it_says_so(folder):
    model = folder / "model.toml"
    model.write_text(MODEL.replace("scale = 0.5", "scale = 0.4"), encoding="utf-8")
    found = command("report", folder)
    assert found.code == PROBLEMS
    assert "popk fit" in found.complaint
    assert command("report", folder, "--quick").code == CLEAN
    assert "<strong>STALE:</strong> model changed" in text_of(folder)


def test_without_results_it_says_how_to_get_them(tmp_path):
    found = command("report", write(tmp_path / "x"), "--quick")
    assert found.code == UNREADABLE
    assert "popk fit" in found.complaint


def test_a_report_that_is_there_is_written_again_and_no_other(folder, tmp_path, capsys):
    refresh(folder)
    assert not (folder / "results" / "report.html").exists()
    refresh(tmp_path / "model.toml")
    page = folder / "results" / "report.html"
    page.write_text("old", encoding="utf-8")
    refresh(folder / "fit.toml")
    assert "little [bold] fit" in text_of(folder)
    checks = folder / "results" / "checks"
    checks.mkdir()
    (checks / "verdicts.csv").write_text("nonsense", encoding="utf-8")
    before = text_of(folder)
    refresh(folder, SimpleNamespace())
    assert text_of(folder) == before
    told = " ".join(capsys.readouterr().err.split())
    assert "verdicts.csv" in told
    assert "popk diagnose" in told
