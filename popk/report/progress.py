"""Progress of sampling: a bar in a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from popk.inference.posterior import Progress as Reached

SECONDS_BETWEEN_LINES = 5.0


class Show(Protocol):
    """Takes the progress reached."""

    def __call__(self, reached: "Reached", /) -> None: ...


@contextmanager
def shown(console: Console) -> Iterator[Show]:
    """Show progress while the block runs."""
    if console.is_terminal:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as bar:
            task = bar.add_task("compiling", total=None, done="")

            def update(reached: "Reached", /) -> None:
                bar.update(
                    task,
                    description=reached.phase,
                    completed=reached.done,
                    total=reached.total if reached.chains else None,
                    done=_done(reached),
                )

            yield update
    else:
        begun: tuple[float, int] | None = None
        last = time.monotonic()

        def write(reached: "Reached", /) -> None:
            nonlocal begun, last
            now = time.monotonic()
            # What went before the first draws was mostly compilation
            start, before = begun = begun or (now, reached.done)
            if now - last > SECONDS_BETWEEN_LINES or reached.done == reached.total:
                last = now
                done = reached.done - before
                left = (now - start) / done * (reached.total - reached.done) if done else None
                time_left = "" if left is None else f", at most {left:.0f} s left"
                console.print(
                    f"{reached.phase}: {_done(reached)}{time_left if reached.chains else ''}",
                    highlight=False,
                    soft_wrap=True,
                )

        yield write


@contextmanager
def counted(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of a known number are done, and the time left, while the block runs."""
    if console.is_terminal:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    begun = last = time.monotonic()

    def write(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last > SECONDS_BETWEEN_LINES:
            last = now
            left = (now - begun) / done * (total - done)
            console.print(f"{done}/{total} {what}, about {left:.0f} s left", highlight=False)

    yield write


def _done(reached: "Reached") -> str:
    """What has been done so far, in words."""
    if not reached.chains:
        return f"{reached.done} evaluations of the likelihood"
    return (
        f"{reached.done}/{reached.total} draws x {reached.chains} chains, "
        f"{reached.divergences} divergences"
    )
