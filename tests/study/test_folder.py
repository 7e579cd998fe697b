import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import arviz
import numpy as np
import pytest

import popk.study.folder
from popk.inference.posterior import Posterior
from popk.spec.problem import PopkError
from popk.study.folder import load, open_study, run, save, stale

TABLES = {"parameters.csv": "parameter,median\nTVCL,1.5 µg\n"}
FILES = {"run.json", "posterior.nc", "parameters.csv"}


def no_tables(_: Any) -> dict[str, str]:
    return {}


def equal(a: Posterior, b: Posterior) -> bool:
    assert a.draws.keys() == b.draws.keys()
    assert a.stats.keys() == b.stats.keys()
    pairs = [(a.draws[k], b.draws[k]) for k in a.draws] + [(a.log_likelihood, b.log_likelihood)]
    pairs += [(a.stats[k], b.stats[k]) for k in a.stats]
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in pairs)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "results").iterdir()}


def left_over(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} - {"model.toml", "fit.toml", "data.csv", "results"}


@pytest.fixture
def saved(study, fitted):
    """A study whose folder holds the results of `fitted`."""
    save(fitted, study.folder, TABLES)
    return study


# --- saving and loading ---------------------------------------------------------------------


def test_round_trip(saved, fitted):
    again = load(saved)
    assert equal(again.samples, fitted.samples)
    assert again.samples.method == fitted.samples.method
    assert again.checks == fitted.checks
    assert again.provenance == fitted.provenance
    assert (again.name, again.synthetic, again.dose) == ("tiny fit", True, saved.spec.dose)
    assert set(again.diagnostics.names) == set(fitted.diagnostics.names)
    for name in fitted.diagnostics.names:
        assert again.diagnostics.of(name) == fitted.diagnostics.of(name)
    assert {p.name for p in (saved.folder / "results").iterdir()} == FILES
    assert (saved.folder / "results" / "parameters.csv").read_text("utf-8").endswith("1.5 µg\n")
    assert not left_over(saved.folder)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_posterior_opens_in_plain_arviz(saved, fitted):
    idata: Any = arviz.from_netcdf(str(saved.folder / "results" / "posterior.nc"))
    assert set(idata.groups()) >= {
        "posterior",
        "sample_stats",
        "observed_data",
        "constant_data",
        "log_likelihood",
    }
    assert list(idata.posterior["subject"].values) == ["[a]", "b", "c"]
    assert list(idata.posterior["parameter"].values) == ["CL", "V"]
    assert idata.log_likelihood["DV"].shape == (2, 100, 7)
    summary: Any = arviz.summary(idata, var_names=["TVCL"], round_to="none")
    assert summary.loc["TVCL", "mean"] == pytest.approx(fitted.samples.draws["TVCL"].mean())
    assert np.isfinite(arviz.loo(idata).elpd_loo)


def test_run_record_is_plain_json(saved, fitted):
    text = (saved.folder / "results" / "run.json").read_text("utf-8")
    record = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON
    assert record["converged"] is False
    assert record["synthetic"] is True
    assert [check["name"] for check in record["checks"]] == [c.name for c in fitted.checks]
    assert record["provenance"]["hashes"] == fitted.provenance.hashes
    assert set(record["provenance"]) == {
        "hashes", "versions", "device", "precision", "seed", "finished", "seconds", "method",
    }  # fmt: skip


def test_a_value_that_is_no_number_is_null_in_json_and_still_a_failure(study, fitted):
    stuck = dataclasses.replace(fitted.checks[0], value=math.inf, passed=False)
    save(dataclasses.replace(fitted, checks=(stuck, *fitted.checks[1:])), study.folder, {})
    text = (study.folder / "results" / "run.json").read_text("utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["checks"][0]["value"] is None
    again = load(study)
    assert math.isnan(again.checks[0].value)
    assert not again.converged


# --- replaced whole or not at all -----------------------------------------------------------


def test_new_results_replace_old_ones_whole(saved, fitted):
    (saved.folder / "results" / "of_an_older_version.csv").write_text("x", "utf-8")
    save(fitted, saved.folder, {"individuals.csv": "y"})
    names = {p.name for p in (saved.folder / "results").iterdir()}
    assert names == {"run.json", "posterior.nc", "individuals.csv"}
    assert not left_over(saved.folder)


def test_failure_while_writing_leaves_the_old_results(saved, fitted):
    before = snapshot(saved.folder)
    with pytest.raises(UnicodeEncodeError):
        save(fitted, saved.folder, {"parameters.csv": "new", "individuals.csv": "\ud800"})
    assert snapshot(saved.folder) == before
    assert not left_over(saved.folder)


def test_failure_between_the_two_renames_is_recovered(saved, fitted, monkeypatch):
    before, rename = snapshot(saved.folder), Path.rename

    def fail_on_results(self: Path, target: Any) -> Path:
        if Path(target).name == "results":
            raise OSError("the power went out")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail_on_results)
        with pytest.raises(PopkError, match="power"):
            save(fitted, saved.folder, {})
    load(saved)
    assert snapshot(saved.folder) == before
    assert not left_over(saved.folder)


def test_replacement_cut_off_between_the_two_renames_is_recovered(saved, fitted):
    before = snapshot(saved.folder)
    (saved.folder / "results").rename(saved.folder / ".results-old")
    assert equal(load(saved).samples, fitted.samples)
    assert snapshot(saved.folder) == before


def test_replacement_cut_off_before_the_old_results_are_removed(saved, fitted):
    new = snapshot(saved.folder)
    (saved.folder / ".results-old").mkdir()
    (saved.folder / ".results-old" / "run.json").write_text("{}", "utf-8")
    load(saved)
    assert snapshot(saved.folder) == new
    save(fitted, saved.folder, TABLES)
    assert not left_over(saved.folder)


def test_folder_that_cannot_be_written_is_a_problem_with_a_cure(saved, fitted, monkeypatch):
    before = snapshot(saved.folder)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(PopkError, match="read-only file system") as caught:
            save(fitted, saved.folder, {})
    assert caught.value.problems[0].cure
    assert snapshot(saved.folder) == before


# --- broken results -------------------------------------------------------------------------


def remove_group(results: Path) -> None:
    idata: Any = arviz.from_netcdf(str(results / "posterior.nc"))
    del idata.log_likelihood
    (results / "posterior.nc").unlink()
    idata.to_netcdf(str(results / "posterior.nc"))


def cut_in_half(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


BREAK: dict[str, Callable[[Path], Any]] = {
    "no run.json": lambda r: (r / "run.json").unlink(),
    "no posterior": lambda r: (r / "posterior.nc").unlink(),
    "empty run.json": lambda r: (r / "run.json").write_bytes(b""),
    "half of run.json": lambda r: cut_in_half(r / "run.json"),
    "run.json without provenance": lambda r: (r / "run.json").write_text("{}", "utf-8"),
    "run.json a list": lambda r: (r / "run.json").write_text("[1]", "utf-8"),
    "run.json in another encoding": lambda r: (r / "run.json").write_bytes(b"\xff\xfe"),
    "empty posterior": lambda r: (r / "posterior.nc").write_bytes(b""),
    "text for a posterior": lambda r: (r / "posterior.nc").write_bytes(b"ID,TIME\n1,2\n"),
    "half a posterior": lambda r: cut_in_half(r / "posterior.nc"),
    "posterior without a group": remove_group,
}


@pytest.mark.parametrize("how", BREAK)
def test_broken_results_are_a_problem_with_a_cure(saved, how):
    BREAK[how](saved.folder / "results")
    with pytest.raises(PopkError) as caught:
        load(saved)
    (problem,) = caught.value.problems
    assert caught.value.unreadable
    assert problem.file == str(saved.folder / "results")
    assert f"popk fit {saved.folder}" in problem.cure


def test_no_results(study):
    with pytest.raises(PopkError, match="no complete results"):
        load(study)


# --- stale ----------------------------------------------------------------------------------


def test_fresh_results_are_not_stale(saved, fitted):
    assert stale(saved, fitted) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("data.csv", "b,12,0,0,0.7", "b,12,0,0,0.8", ["data", "data as read"]),
        ("data.csv", "ID,TIME", "# a comment\nID,TIME", ["data", "data as read"]),
        ("model.toml", "median = 1.0", "median = 1.1", ["model"]),
        ("fit.toml", "seed = 3", "seed = 4", ["sampler"]),
        ("fit.toml", "draws = 100", "draws = 101", ["sampler"]),
        # The same bytes of data, read with another meaning
        ("fit.toml", 'AMT = {unit = "ug"}', 'AMT = {unit = "mg"}', ["data as read"]),
        ("fit.toml", "[dose]", "[rows]\nignore = {WT = [0]}\n[dose]", []),
        ("model.toml", 'structure = "one', '# a comment\nstructure   = "one', []),
    ],
)
def test_stale(saved, fitted, replace_in, file, old, new, expected):
    replace_in(saved.folder / file, old, new)
    changed = stale(open_study(saved.folder), fitted)
    assert changed == expected


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.toml", "[residual]", "[[covariates]]\nparameter = 'CL'\ncovariate = 'WT'\n"
         "relation = 'power'\nreference = '5 kg'\n"
         "effect = {prior = 'normal', loc = 0.0, scale = 1.0}\n[residual]"),
        ("data.csv", "c,22,0,0,1.4,0,0,0,4\n", "c,22,0,0,1.4,0,0,0,4\n"
         "d,0,24,1,.,1,1,0,3\nd,5,0,0,1.4,0,0,0,3\n"),
    ],
)  # fmt: skip
def test_results_of_another_model_or_other_subjects_are_refused(saved, replace_in, file, old, new):
    """Their numbers have no place in the tables of this model and these data."""
    replace_in(saved.folder / file, old, new)
    with pytest.raises(PopkError, match="popk fit"):
        load(open_study(saved.folder))


# --- interrupt and resume -------------------------------------------------------------------


def test_interrupted_and_resumed_draws_are_identical(study, fitted):
    """Interrupted twice, after warm-up and amid sampling: as if never."""
    reached = []

    def interrupt(progress):
        reached.append(progress.done)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(study, no_tables, interrupt)
        assert not (study.folder / "results").exists()
    result = run(study, no_tables, lambda progress: reached.append(progress.done))
    assert reached == [50, 100, 150]  # nothing was done twice
    assert equal(result.samples, fitted.samples)
    assert equal(load(study).samples, fitted.samples)
    assert not left_over(study.folder)


@pytest.fixture
def state_given(monkeypatch):
    """What `run` hands to the sampler to go on from."""

    class Stop(Exception):
        pass

    def given(study: Any) -> Any:
        states = []

        def stub(*_: Any, state: Any, **__: Any) -> None:
            states.append(state)
            raise Stop

        with monkeypatch.context() as patch:
            patch.setattr(popk.study.folder, "fit", stub)
            with pytest.raises(Stop):
                run(study, no_tables)
        return states[0]

    return given


@pytest.fixture
def interrupted(study):
    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, no_tables, interrupt)
    return study


def test_checkpoint_of_other_work_is_not_used(interrupted, state_given, replace_in):
    folder = interrupted.folder
    assert state_given(interrupted) is not None
    for file, old, new in (
        ("fit.toml", "seed = 3", "seed = 4"),
        ("model.toml", "median = 1.0", "median = 1.1"),
        ("data.csv", "b,12,0,0,0.7", "b,12,0,0,0.8"),
        ("fit.toml", 'AMT = {unit = "ug"}', 'AMT = {unit = "mg"}'),
    ):
        replace_in(folder / file, old, new)
        assert state_given(open_study(folder)) is None, new
        replace_in(folder / file, new, old)
    assert state_given(open_study(folder)) is not None


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", None])
def test_broken_checkpoint_is_passed_over(study, state_given, content):
    path = study.folder / popk.study.folder.CHECKPOINT
    if content is None:  # cut off
        with path.open("wb") as file:
            np.savez(file, key=np.array("key"), leaf0=np.zeros(1000))
        cut_in_half(path)
    else:
        path.write_bytes(content)
    assert state_given(study) is None


# --- opening --------------------------------------------------------------------------------


def test_open_by_folder_or_by_file(folder, monkeypatch):
    by_folder, by_file = open_study(folder), open_study(folder / "fit.toml")
    assert by_folder.folder == by_file.folder == folder
    assert by_folder.spec == by_file.spec
    monkeypatch.chdir(folder)
    for here in ("fit.toml", "."):
        assert open_study(here).data.ids == ("[a]", "b", "c")


def test_open_a_folder_without_fit_file(tmp_path):
    with pytest.raises(PopkError, match=r"fit\.toml") as caught:
        open_study(tmp_path)
    assert caught.value.unreadable
