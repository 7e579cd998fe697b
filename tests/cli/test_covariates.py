"""`popk covariates` and `popk search` on a small study: no results, stale ones, every part."""

import pytest

import popk.study.folder
from tests.cli.conftest import (
    CLEAN,
    FIT,
    INTERRUPTED,
    PROBLEMS,
    UNREADABLE,
    command,
    results,
    strict_json,
    write,
)

CANDIDATE = """
[[candidates]]
parameter = "CL"
covariate = "WT"
relation = "power"
reference = "5 kg"
effect = {prior = "normal", loc = 0.0, scale = 0.5}
"""


def test_covariates_of_no_results_and_of_stale_ones(folder, tmp_path):
    result = command("covariates", write(tmp_path / "new", fit=FIT + CANDIDATE))
    assert result.code == UNREADABLE
    assert "popk fit" in result.err
    # Settings for which the results are not: nothing is tested, nothing is lost
    (folder / "fit.toml").write_text(FIT + 'method = "focei"\n' + CANDIDATE, encoding="utf-8")
    before = results(folder)
    result = command("covariates", folder)
    assert result.code == PROBLEMS
    assert "results from before sampler changed" in result.complaint
    assert f"popk fit {folder}" in result.complaint
    assert results(folder) == before


@pytest.mark.parametrize("name", ["covariates", "search"])
def test_without_a_candidate_there_is_nothing_to_test(folder, name):
    result = command(name, folder)
    assert result.code == PROBLEMS
    assert "no candidate effect" in result.err
    assert "[[candidates]]" in result.err


def test_search_prints_and_writes_every_part(tmp_path):
    folder = write(tmp_path / "little", fit=FIT + CANDIDATE)
    result = command("search", folder, "--forward", "0.9999", "--backward", "1e-9")
    assert result.code == CLEAN, result
    for words in ("SYNTHETIC", "CL_WT_power", "enters", "leaves", "full model", "taken out"):
        assert words in result.words
    found = folder / "results"
    assert (found / "search.csv").read_text().startswith("# SYNTHETIC DATA")
    assert "CL_WT_power" in (found / "search_effects.csv").read_text()
    for name, effects in (("final", 0), ("full", 1)):
        child = popk.study.folder.open_study(found / "search" / name)
        assert len(child.model.spec.covariates) == effects
        assert child.spec.synthetic
    record = strict_json(command("search", folder, "--json").out)
    assert [row["direction"] for row in record["tried"]] == ["start", "forward"]
    assert record["effects"]["CL_WT_power"]["full_ratio"] > 0


@pytest.mark.parametrize("name", ["covariates", "search"])
def test_interrupted_they_write_nothing(folder, monkeypatch, name):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    module = {
        "covariates": "covariates.covariate_tests.covariate_tests",
        "search": "covariates.search.search",
    }[name]
    monkeypatch.setattr(f"popk.analysis.{module}", interrupted)
    before = results(folder)
    result = command(name, folder)
    assert result.code == INTERRUPTED
    assert "interrupted; nothing was written" in result.complaint
    assert results(folder) == before


def test_search_by_a_sampler_is_refused(tmp_path):
    result = command("search", write(tmp_path / "x", fit=FIT + CANDIDATE), "--method", "nuts")
    assert result.code == 2
    assert "is not focei" in result.complaint
