"""Progress where it is watched, and where it only leaves a log."""

import io
import re

import pytest
from rich.console import Console

from popk.inference.posterior import Progress
from popk.report import progress

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Terminal(io.StringIO):
    """A file that says that somebody looks at it."""

    def isatty(self) -> bool:
        return True


def log() -> Console:
    return Console(file=io.StringIO(), width=200, force_terminal=False)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on when it is told."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_log_ends_with_the_last_state():
    console = log()
    with progress.shown(console) as show:
        for done in (10, 60, 100):
            show(Progress("sampling", done, 100, 4, 2))
    lines = said(console).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("sampling: 100/100 draws x 4 chains, 2 divergences")
    assert lines[0].endswith("0 s left")


def test_nothing_done_yet():
    console = log()
    with progress.shown(console) as show:
        show(Progress("mode search", 0, 100, 4, 0))
    assert "nan" not in said(console)


def test_terminal():
    console = Console(file=Terminal(), width=200, force_terminal=True)
    with progress.shown(console) as show:
        for done in (0, 60, 100):
            show(Progress("sampling", done, 100, 4, 2))
    assert "100/100 draws x 4 chains" in said(console)
    assert "2 divergences" in said(console)


@pytest.mark.parametrize("forced", [False, True])
def test_hours_leave_some_dozens_of_plain_lines(clock, forced, monkeypatch):
    """Also where an environment forces colours on what nobody watches."""
    monkeypatch.setenv("TERM", "xterm-256color")
    consoles = [Console(file=io.StringIO(), width=200, force_terminal=forced) for _ in range(3)]
    with (
        progress.shown(consoles[0]) as show,
        progress.counted(consoles[1], "pieces", 36_000) as count,
        progress.told(consoles[2], "tests") as tell,
    ):
        for second in range(36_000):  # ten hours
            clock[0] += 1.0
            show(Progress("sampling", second, 40_000, 4, 0))
            count(second)
            tell(f"test {second}")
    for console in consoles:
        text = said(console)
        assert 10 <= len(text.splitlines()) <= 100
        assert not CONTROL.search(text)
        assert max(map(len, text.splitlines())) < 100


def test_words_are_no_markup(clock):
    console = log()
    with progress.told(console, "tests") as tell:
        clock[0] += 60.0
        tell("model [bold]x[/bold]")
    assert said(console) == "model [bold]x[/bold]\n"


class View:
    """A display that keeps what it was given."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, bar) -> None:
        self.shown.append(bar._repr_mimebundle_((), ())["text/html"])


def test_notebook(clock, monkeypatch):
    """Rich's own HTML, sent a few times a second at most; nothing to be installed for it."""
    view = View()
    monkeypatch.setattr(progress, "_notebook_view", lambda bar: view)
    console = Console(file=io.StringIO(), force_jupyter=True)
    with progress.shown(console) as show:
        for done in range(100):
            clock[0] += 0.01
            show(Progress("sampling", done + 1, 100, 4, 0))
    assert said(console) == ""
    assert 2 <= len(view.shown) <= 6
    assert "100/100 draws x 4 chains" in view.shown[-1]
    assert "<pre" in view.shown[-1]
