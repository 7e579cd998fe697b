"""Commands whose work is done in pieces, by Dask's workers if there are any."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from popk.cli.output import interruptible

Dask = Annotated[int | None, typer.Option(help="Workers of a local Dask cluster.")]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:port.")
]


def by_pieces(
    done: Callable[[Any], Any],
    pieces: Sequence[Any],
    store: Path,
    key: str,
    dask: int | None,
    scheduler: str | None,
) -> tuple[Any, float, Callable[[], None]]:
    """Results of the pieces, the seconds they took, and what removes them once they are written."""
    import json
    import time
    from functools import partial

    from rich.console import Console

    from popk.report.progress import counted
    from popk.study.cluster import connected
    from popk.study.fit import versions
    from popk.study.work import forget, run

    # Other versions may give other last digits: their pieces are not gone on with
    key = json.dumps([key, versions()])
    console = Console(stderr=True, highlight=False)
    with (
        interruptible("the same command goes on from here"),
        connected(dask, scheduler) as client,
        counted(console, "pieces", len(pieces)) as watch,
    ):
        begun = time.perf_counter()
        results = run(done, pieces, store=store, key=key, client=client,
                      watch=lambda finished, *_: watch(finished))  # fmt: skip
    return results, time.perf_counter() - begun, partial(forget, store, key)
