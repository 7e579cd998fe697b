"""Options of the commands whose work is done in pieces, by Dask's workers if there are any."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

Dask = Annotated[int | None, typer.Option(help="Workers of a local Dask cluster.")]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:port.")
]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and the seconds that it took."""
    import time

    begun = time.perf_counter()
    return work(), time.perf_counter() - begun
