"""Texts kept between runs: made once, again where they cannot be read, never half."""

import platformdirs
import pytest

from popk.study.kept import kept_text


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("POPK_CACHE", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    return tmp_path / "popk"


def test_made_once(cache):
    made = []

    def make():
        made.append(1)
        return "µ"

    assert [kept_text("a.js", make) for _ in range(3)] == ["µ"] * 3
    assert len(made) == 1
    assert [path.name for path in cache.iterdir()] == ["a.js"]
    assert kept_text("b.js", make) == "µ"
    assert len(made) == 2


def test_off_or_not_writable_it_is_made_every_time(cache, monkeypatch):
    cache.write_text("a file where the directory should be")
    assert [kept_text("a.js", lambda: "x") for _ in range(2)] == ["x", "x"]
    cache.unlink()
    monkeypatch.setenv("POPK_CACHE", "off")
    assert kept_text("a.js", lambda: "y") == "y"
    assert not cache.exists()


def test_what_is_no_text_is_made_again(cache):
    cache.mkdir()
    (cache / "a.js").write_bytes(b"\xff\xfe\x00")
    assert kept_text("a.js", lambda: "x") == "x"
    assert (cache / "a.js").read_text() == "x"
