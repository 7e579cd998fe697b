"""Chains side by side: one thread each, as many at once as there are cores."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp

A = TypeVar("A")
B = TypeVar("B")


def cores() -> int:
    """Number of cores that the process may run on (not those of the machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def double_precision() -> bool:
    """Whether JAX computes in float64 at present, in this thread."""
    return jnp.zeros(0).dtype == jnp.float64


def side_by_side(work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Do the work on every item, in as many threads as there are cores."""
    x64 = double_precision()

    def one(item: A) -> B:
        with jax.enable_x64(x64):  # the setting is the thread's own
            return jax.block_until_ready(work(item))

    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(one, items))
