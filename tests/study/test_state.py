"""The state of a fit folder at a glance, and new folders."""

import json

import pytest

from popk.spec.problem import PopkError
from popk.study.fit import hashes
from popk.study.folder import CHECKPOINT, open_study
from popk.study.new_folder import create
from popk.study.state import fit_folders, state_of


def finish(folder, **more):
    """Results as they look from afar, of what the folder's files say now."""
    study = open_study(folder)
    record = {
        "converged": True,
        "provenance": {"hashes": now(folder), "finished": "2026-01-02T03:04:05+00:00"},
        "written": dict(study.written),
    }
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / "run.json").write_text(json.dumps(record | more), encoding="utf-8")


def now(folder):
    """What tells a stale result once everything is read."""
    study = open_study(folder)
    return hashes(study.model, study.data, study.spec.sampler)


@pytest.fixture
def saved(folder):
    finish(folder)
    return folder


def test_from_nothing_to_converged(folder):
    assert state_of(folder).word == "never fitted"
    (folder / CHECKPOINT).write_bytes(b"")
    assert state_of(folder).word == "interrupted"
    (folder / CHECKPOINT).unlink()
    finish(folder)
    found = state_of(folder)
    assert (found.word, found.detail) == ("converged", "2026-01-02")
    assert (found.name, found.synthetic) == ("tiny fit", True)
    assert found.made == {"run.json"}
    finish(folder, converged=False)
    assert state_of(folder).word == "NOT CONVERGED"


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("data.csv", "24,0,0,0.8", "24,0,0,0.9", "data"),
        ("model.toml", "median = 8.0", "median = 9.0", "model"),
        ("fit.toml", "seed = 3", "seed = 4", "fit.toml"),
        ("fit.toml", 'unit = "kg"', 'unit = "g"', "fit.toml"),
    ],
)
def test_a_change_is_seen_as_the_whole_reading_sees_it(saved, replace_in, file, old, new, changed):
    before = now(saved)
    replace_in(saved / file, old, new)
    found = state_of(saved)
    assert (found.word, found.detail) == ("STALE", f"changed since: {changed}")
    assert now(saved) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.toml", 'name = "tiny"', '# why\nname    = "tiny"'),
        ("fit.toml", 'name = "tiny fit"', 'name = "another"\ndescription = "words"'),
        ("fit.toml", "1 ug/kg/h", "2 ug/kg/h"),
    ],
)
def test_what_changes_no_estimate_is_no_change(saved, replace_in, file, old, new):
    before = now(saved)
    replace_in(saved / file, old, new)
    assert state_of(saved).word == "converged"
    assert now(saved) == before


def test_results_of_before_such_hashes_were_kept(folder, replace_in):
    finish(folder, written={})
    replace_in(folder / "fit.toml", "seed = 3", "seed = 4")
    assert state_of(folder).word == "converged"
    replace_in(folder / "data.csv", "24,0,0,0.8", "24,0,0,0.9")
    assert state_of(folder).word == "STALE"


def test_files_that_cannot_be_read(saved):
    (saved / "results" / "run.json").write_text("{", encoding="utf-8")
    assert state_of(saved).word == "unreadable"
    (saved / "fit.toml").write_text("= 3", encoding="utf-8")
    assert (state_of(saved).word, state_of(saved).detail) == ("unreadable", "fit.toml")


def test_where_fit_folders_are(tmp_path, make_folder):
    assert fit_folders(tmp_path) == []
    make_folder(tmp_path / "one")
    make_folder(tmp_path / "fits" / "two")
    make_folder(tmp_path / "deep" / "er" / "three")
    assert fit_folders(tmp_path) == [tmp_path / "fits" / "two", tmp_path / "one"]
    assert fit_folders(tmp_path / "one") == [tmp_path / "one"]


# --- new folders ----------------------------------------------------------------------------


def test_a_new_folder_is_written_whole(tmp_path):
    folder = create(tmp_path / "deep" / "new", {"a": b"1", "b": b"2"})
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
    assert [path.name for path in folder.parent.iterdir()] == ["new"]


def test_an_empty_folder_is_filled_even_from_within(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    create(".", {"a": b"1"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_is_overwritten_and_the_cure_works(tmp_path):
    create(tmp_path / "one", {"a": b"1"})
    with pytest.raises(PopkError, match="not empty: a") as caught:
        create(tmp_path / "one", {"a": b"2"})
    (problem,) = caught.value.problems
    create(problem.cure.split()[-1], {"a": b"2"})
    assert (tmp_path / "one" / "a").read_bytes() == b"1"
    assert (tmp_path / "one-2" / "a").read_bytes() == b"2"
    with pytest.raises(PopkError, match="one-3"):
        create(tmp_path / "one", {"a": b"3"})


def test_a_file_is_in_the_way(tmp_path):
    (tmp_path / "one").write_text("x")
    with pytest.raises(PopkError, match="a file of this name"):
        create(tmp_path / "one", {"a": b"1"})
