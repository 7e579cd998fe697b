"""Work in pieces: computed here or by the workers of a Dask cluster, kept as they finish.

A piece says all that its result depends on, its random key included; so it matters neither who
computes it, nor when, nor how many others there are. Here every piece is one task, and what is
finished is in a folder: an interrupted command goes on from there.
"""

import hashlib
import os
import pickle
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import numpy as np
from threadpoolctl import threadpool_limits

from popk.inference.threads import as_finished
from popk.spec.problem import PopkError, Problem
from popk.study.compiled import keep_compiled
from popk.study.folder import add_to

if TYPE_CHECKING:
    from distributed import Client

Piece = TypeVar("Piece")

Watch = Callable[[int, int, float], None]
"""Told of each finished piece: pieces done, pieces in all, seconds left."""

_ONE_AT_A_TIME = Lock()
"""A worker that has several threads would set those of the linear algebra for all of them."""


def run(
    function: Callable[[Piece], Any],
    pieces: Sequence[Piece],
    *,
    store: Path | None = None,
    key: str = "",
    client: "Client | None" = None,
    watch: Watch | None = None,
) -> list[Any]:
    """The function's result for every piece.

    Parameters
    ----------
    function
        At the top of a module, so that workers find it. It sets its own precision
        (``jax.enable_x64``), and may run in several threads at once.
    pieces
        Picklable values, each with all that its result depends on.
    store
        Folder where each finished piece is kept, in a file of its own. None: nothing is kept.
    key
        Whatever the results depend on, beside the number of a piece, as text: model, data,
        settings, versions. Results of another key are left alone.
    client
        From `popk.study.cluster.connected`, or any Dask client. None: in this process, as many
        pieces at once as there are cores.
    watch
        Told after each piece that is computed, by whomever.

    Returns
    -------
    list
        Results in the order of the pieces; JAX arrays have become NumPy arrays.

    Raises
    ------
    popk.PopkError
        If the folder cannot be written, the scheduler goes away, or a piece has cost too many
        workers their lives.

    Notes
    -----
    A piece whose worker dies is computed by another. What the function raises is raised here. In
    any case, also on an interrupt, the pieces that are finished stay in the folder.
    """
    results = {} if store is None else _kept(_opened(store), key, len(pieces))
    before, begun = len(results), time.monotonic()
    missing = {n: piece for n, piece in enumerate(pieces) if n not in results}
    work = _here(function, missing) if client is None else _by_workers(function, missing, client)
    with closing(work):  # what has not begun is called off, whatever happens
        for number, result in work:
            if store is not None:
                add_to(store, {_name(key, number): pickle.dumps((key, result))})
            results[number] = result
            if watch is not None:
                done = len(results)
                pace = (time.monotonic() - begun) / (done - before)
                watch(done, len(pieces), pace * (len(pieces) - done))
    return [results[n] for n in range(len(pieces))]


def forget(store: Path, key: str) -> None:
    """Remove the finished pieces of a key, and their folder if nothing else is in it."""
    for path in store.glob(_name(key, "*")):
        path.unlink(missing_ok=True)
    if store.is_dir() and not any(store.iterdir()):
        store.rmdir()


def computed_by_worker(function: Callable[[Piece], Any], piece: Piece) -> Any:
    """One piece in a worker's process, whose JAX may not have started."""
    # One worker a core: threads of JAX's own would be in the way of the next worker's
    os.environ.setdefault("PJRT_NPROC", "1")
    keep_compiled()
    with _ONE_AT_A_TIME, _one_thread_each():
        return _plain(function(piece))


def _here(
    function: Callable[[Piece], Any], pieces: Mapping[int, Piece]
) -> Generator[tuple[int, Any], None, None]:
    """Number and result of each piece as it is finished."""
    numbers = list(pieces)
    with _one_thread_each():
        for place, result in as_finished(function, list(pieces.values())):
            yield numbers[place], _plain(result)


def _by_workers(
    function: Callable[[Piece], Any], pieces: Mapping[int, Piece], client: "Client"
) -> Generator[tuple[int, Any], None, None]:
    """The same, by the workers of a cluster."""
    futures: dict[int, Any] = {}
    numbers: dict[Any, int] = {}
    finished: SimpleQueue[Any] = SimpleQueue()
    try:
        for number, piece in pieces.items():
            # Not pure: Dask would look for equal pieces by their content
            future = client.submit(computed_by_worker, function, piece, pure=False)
            futures[number], numbers[future.key] = future, number
            future.add_done_callback(finished.put)
        while futures:
            future = finished.get()
            number = numbers[future.key]
            yield number, _result(future, number)
            del futures[number]  # the cluster may forget the result
    finally:
        if client.status == "running":
            client.cancel(list(futures.values()))


def _result(future: Any, number: int) -> Any:
    """What a finished future holds; what was raised there is raised here."""
    try:
        return future.result()
    except (CancelledError, OSError):
        if not future.cancelled():
            raise
        raise _problem(
            "a scheduler that went away",
            "one that stays until the work is done",
            "start it and its workers",
        ) from None
    except Exception as error:
        # By name: Dask is no requirement of popk, and not imported here
        if type(error).__name__ != "KilledWorker":
            raise
        raise _problem(
            f"piece {number + 1}, whose workers died one after the other",
            "workers that live until a piece is done",
            "give each more memory: start fewer on a machine (--dask 1)",
        ) from None


def _problem(found: str, expected: str, cure: str) -> PopkError:
    kept = "give the command again, which goes on from the pieces that are finished"
    return PopkError(Problem(found=found, expected=expected, cure=f"{cure}, and {kept}"))


def _one_thread_each() -> threadpool_limits:
    """Linear algebra in one thread: its sums would depend on how many share them."""
    return threadpool_limits(1, user_api="blas")


def _plain(result: Any) -> Any:
    return jax.tree.map(lambda a: np.asarray(a) if isinstance(a, jax.Array) else a, result)


def _name(key: str, number: int | str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()[:16]}-{number}.pickle"


def _opened(store: Path) -> Path:
    """The folder, made before anything is computed for it."""
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PopkError(
            Problem(
                file=str(store),
                found=f"a folder that cannot be made ({error})",
                expected="a folder for finished pieces",
                cure="choose another, or mend that, and give the command again",
            ),
            unreadable=True,
        ) from None
    return store


def _kept(store: Path, key: str, pieces: int) -> dict[int, Any]:
    """The results that are there, by number."""
    found: dict[int, Any] = {}
    for number in range(pieces):
        try:
            saved_key, result = pickle.loads((store / _name(key, number)).read_bytes())
        except Exception:  # none, or not whole, or of another version: computed again
            continue
        if saved_key == key:
            found[number] = result
    return found
