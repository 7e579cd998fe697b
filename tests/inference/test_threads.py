"""Work in several threads, taken in order."""

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from popk.inference.threads import cores, in_order, unshared


def test_results_come_in_the_order_of_the_items():
    def slow_first(item):
        time.sleep(0.02 if item == 0 else 0.0)
        return item * item

    assert list(in_order(slow_first, range(20))) == [i * i for i in range(20)]


def test_items_are_not_taken_before_there_is_room():
    """An endless supply is no matter: memory is bounded."""
    taken = itertools.count()
    found = in_order(lambda item: item, taken)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    found.close()
    assert next(taken) <= 5 + cores() + 1


def test_an_error_reaches_the_caller():
    def fails(item):
        if item == 3:
            raise ValueError("three")
        return item

    found = in_order(fails, range(10))
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(found)


def test_arrays_of_a_precision_of_their_own():
    """What a program of another precision took for a constant is what it was."""
    whole = {"a": np.arange(3.0), "b": jnp.arange(2)}
    with jax.enable_x64(False):
        own = unshared(whole)
        taken = jax.make_jaxpr(lambda x: x + own["a"])(np.float32(1.0))
    assert taken.consts[0].dtype == np.float32
    assert own["b"] is whole["b"]
    with jax.enable_x64(True):
        assert jnp.asarray(whole["a"]).dtype == np.float64
