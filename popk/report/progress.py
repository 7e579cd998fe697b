"""Progress of long work: a bar in a terminal and in a notebook, now and then a line in a log.

A log gets lines ever further apart, so that hours of work leave some dozens, and no control
characters: it is a log wherever nobody looks at a terminal, whatever colours the environment asks
for.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from popk.inference.posterior import Progress as Reached

SECONDS_BETWEEN_LINES = 5.0
LONGER_EACH_TIME = 0.1
"""The next line of a log waits at least for this share of the time that has gone by."""
SECONDS_BETWEEN_VIEWS = 0.25
"""In a notebook, where every view is sent to the browser."""


class Show(Protocol):
    """Takes the progress reached."""

    def __call__(self, reached: "Reached", /) -> None: ...


@contextmanager
def shown(console: Console) -> Iterator[Show]:
    """Show the progress of a fit while the block runs."""
    with _bar(console, "compiling", TextColumn("{task.fields[done]}"), TimeElapsedColumn()) as bar:
        if bar is not None:

            def update(reached: "Reached", /) -> None:
                bar(
                    description=reached.phase,
                    completed=reached.done,
                    total=reached.total if reached.chains else None,
                    done=_done(reached),
                )

            yield update
            return
    begun: tuple[float, int] | None = None
    log = _Log(console)

    def write(reached: "Reached", /) -> None:
        nonlocal begun
        now = time.monotonic()
        # What went before the first draws was mostly compilation
        start, before = begun = begun or (now, reached.done)
        if log.due() or reached.done == reached.total:
            done = reached.done - before
            left = (now - start) / done * (reached.total - reached.done) if done else None
            time_left = "" if left is None else f", at most {left:.0f} s left"
            log.line(f"{reached.phase}: {_done(reached)}{time_left if reached.chains else ''}")

    yield write


@contextmanager
def counted(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of a known number are done, and the time left, while the block runs."""
    with _bar(console, what, TextColumn("{task.completed:.0f}/{task.total:.0f}")) as bar:
        if bar is not None:
            bar(total=total)
            yield lambda done: bar(completed=done)
            return
    begun = time.monotonic()
    log = _Log(console)

    def write(done: int) -> None:
        if done < total and log.due():
            left = (time.monotonic() - begun) / max(done, 1) * (total - done)
            log.line(f"{done}/{total} {what}, about {left:.0f} s left")

    yield write


@contextmanager
def told(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Show in words what is being done, while the block runs."""
    with _bar(console, what, TimeElapsedColumn()) as bar:
        if bar is not None:
            yield lambda text: bar(description=text)
            return
    log = _Log(console)

    def write(text: str) -> None:
        if log.due():
            log.line(text)

    yield write


@contextmanager
def _bar(
    console: Console, what: str, *columns: ProgressColumn
) -> Iterator[Callable[..., None] | None]:
    """A function that updates a bar, or None where only lines can be written."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        disable=console.is_jupyter,  # its own display needs a package of widgets
    )
    task = bar.add_task(what, total=None, done="")
    if console.is_jupyter:
        view, last = _notebook_view(bar), 0.0

        def update(**fields: Any) -> None:
            nonlocal last
            bar.update(task, **fields)
            if time.monotonic() - last > SECONDS_BETWEEN_VIEWS:
                last = time.monotonic()
                view.update(bar)

        yield update
        view.update(bar)
    elif _is_watched(console):
        with bar:
            yield lambda **fields: bar.update(task, **fields)
    else:
        yield None


def _is_watched(console: Console) -> bool:
    """Whether lines may be overwritten: colours may be forced on for a log, eyes may not."""
    is_a_terminal = getattr(console.file, "isatty", lambda: False)()
    return is_a_terminal and console.is_terminal and console.is_interactive


def _notebook_view(bar: Progress) -> Any:
    from IPython.display import display

    return display(bar, display_id=True)


class _Log:
    """When a log gets its next line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = self._last = time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        wait = max(SECONDS_BETWEEN_LINES, LONGER_EACH_TIME * (now - self._begun))
        return now - self._last > wait

    def line(self, text: str) -> None:
        self._last = time.monotonic()
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _done(reached: "Reached") -> str:
    """What has been done so far, in words."""
    if not reached.chains:
        return f"{reached.done} evaluations of the likelihood"
    return (
        f"{reached.done}/{reached.total} draws x {reached.chains} chains, "
        f"{reached.divergences} divergences"
    )
