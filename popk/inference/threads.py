"""Chains side by side: one thread each, as many at once as there are cores."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from functools import cache
from typing import TypeVar

import jax
import numpy as np

A = TypeVar("A")
B = TypeVar("B")


def cores() -> int:
    """Number of cores that the process may run on (not those of the machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_gpu() -> bool:
    """Whether arrays of this thread go to a GPU."""
    device = jax.config.values["jax_default_device"]
    return (device.platform if device is not None else jax.default_backend()) != "cpu"


def double_precision() -> bool:
    """Whether JAX computes in float64 at present, in this thread."""
    return bool(jax.config.values["jax_enable_x64"])


def real_type() -> type[np.floating]:
    """NumPy's type of the numbers in which JAX computes at present."""
    return np.float64 if double_precision() else np.float32


def unshared(tree: A) -> A:
    """The same with NumPy arrays of its own, for what is computed in a precision of its own.

    JAX remembers by the array itself, not by the precision, what a NumPy array became when a
    program took it for a constant (0.10: `_canonicalize_ndarray_dtype`): the same array would be
    float32 in float64 computations afterwards.
    """
    return jax.tree.map(lambda a: np.array(a) if isinstance(a, np.ndarray) else a, tree)


def as_finished(work: Callable[[A], B], items: Sequence[A]) -> Iterator[tuple[int, B]]:
    """Do the work on every item, as many at once as there are cores; yield them as they finish."""
    settled = _settings()

    def one(item: A) -> B:
        with settled():
            return work(item)

    with ThreadPoolExecutor(cores()) as pool:
        futures = {pool.submit(one, item): i for i, item in enumerate(items)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


def in_order(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Do the work on every item, as many at once as there are cores; yield them in their order.

    Never more than a few results wait to be taken, however many items there are.
    """
    settled = _settings()

    def one(item: A) -> B:
        with settled():
            return work(item)

    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(cores()) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(one, item))
                if len(waiting) > cores():
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _settings() -> Callable[[], ExitStack]:
    """JAX's settings of this thread, to be taken over by another."""
    x64, device = double_precision(), jax.config.values["jax_default_device"]

    def take_over() -> ExitStack:
        stack = ExitStack()
        stack.enter_context(jax.enable_x64(x64))
        stack.enter_context(jax.default_device(device))
        return stack

    return take_over


def side_by_side(work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Do the work on every item: the first in this thread, the others in threads that stay.

    To start a thread takes longer than a gradient of all chains.
    """
    if len(items) == 1:
        return [jax.block_until_ready(work(items[0]))]
    settled = _settings()

    def one(item: A) -> B:
        with settled():
            return jax.block_until_ready(work(item))

    futures = [_helpers().submit(one, item) for item in items[1:]]
    first = jax.block_until_ready(work(items[0]))
    # What no helper has begun is done here: helpers may all wait for one another
    rest = [
        jax.block_until_ready(work(item)) if future.cancel() else future.result()
        for item, future in zip(items[1:], futures, strict=True)
    ]
    return [first, *rest]


@cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(cores() - 1, 1), thread_name_prefix="popk")
