"""Chains side by side: one thread each, as many at once as there are cores."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from typing import TypeVar

import jax
import jax.numpy as jnp

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
    return jnp.zeros(0).dtype == jnp.float64


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
    """Do the work on every item, in as many threads as there are cores."""
    if len(items) == 1:
        return [jax.block_until_ready(work(items[0]))]
    settled = _settings()

    def one(item: A) -> B:
        with settled():
            return jax.block_until_ready(work(item))

    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(one, items))
