"""Pieces of work: the same results by whomever, and nothing computed twice.

Those by a cluster are in test_cluster.py.
"""

import pickle
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from popk.spec.problem import PopkError
from popk.study.work import forget, run


def squared(piece):
    """Notes each call in a file."""
    number, log = piece
    with log.open("a") as file:
        file.write(f"{number} ")
    return {"square": jnp.arange(number + 1) ** 2, "name": f"piece {number}", "none": None}


def half_precision_by_default(number):
    return jnp.full(2, number / 3)


def broken(piece):
    """The third fails once the first two are kept."""
    number, store = piece
    if number < 2:
        return number
    while len(list(store.glob("*.pickle"))) < 2:
        time.sleep(0.01)
    raise ZeroDivisionError(f"piece {number}")


def big_dot(_):
    """A sum that is another one by two threads of OpenBLAS."""
    values = np.random.default_rng(1).normal(size=500_000)
    return values @ values


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "deep" / "store"


def calls(log: Path) -> list[int]:
    """The pieces that were computed since this was last asked."""
    numbers = sorted(int(number) for number in log.read_text().split())
    log.write_text("")
    return numbers


def content(results: list) -> list:
    """All bits of the results."""
    return [(r["square"].dtype, r["square"].tobytes(), r["name"], r["none"]) for r in results]


def interrupt_after(done):
    def watch(now, total, left):
        if now == done:
            raise KeyboardInterrupt

    return watch


def test_results_are_in_order_and_plain(log):
    results = run(squared, [(n, log) for n in (3, 1, 2)])
    assert [r["name"] for r in results] == ["piece 3", "piece 1", "piece 2"]
    assert all(type(r["square"]) is np.ndarray and r["none"] is None for r in results)
    np.testing.assert_array_equal(results[0]["square"], [0, 1, 4, 9])
    assert calls(log) == [1, 2, 3]


def test_no_pieces():
    assert run(squared, []) == []


def test_interrupted_work_goes_on(log, store):
    pieces = [(n, log) for n in range(5)]
    with pytest.raises(KeyboardInterrupt):
        run(squared, pieces, store=store, key="k", watch=interrupt_after(3))
    kept = {int(path.stem.split("-")[1]) for path in store.iterdir()}
    assert len(kept) == 3
    assert kept <= set(calls(log))
    told = []
    results = run(squared, pieces, store=store, key="k", watch=lambda *now: told.append(now))
    assert calls(log) == sorted(set(range(5)) - kept)
    assert [now[:2] for now in told] == [(4, 5), (5, 5)]
    assert told[0][2] > 0 == told[1][2]
    again = run(squared, pieces, store=store, key="k")
    assert calls(log) == []
    assert content(results) == content(again) == content(run(squared, pieces))


def test_another_key_has_pieces_of_its_own(log, store):
    run(squared, [(1, log)], store=store, key="seed 1")
    (other,) = run(squared, [(2, log)], store=store, key="seed 2")
    assert other["name"] == "piece 2"
    (first,) = run(squared, [(9, log)], store=store, key="seed 1")
    assert first["name"] == "piece 1"
    forget(store, "seed 1")
    assert len(list(store.iterdir())) == 1
    forget(store, "seed 2")
    assert not store.exists()
    forget(store, "seed 2")


@pytest.mark.parametrize("content", [b"", b"\x80\x05", pickle.dumps(("another key", 1)), b"junk"])
def test_a_file_that_is_not_whole_is_computed_again(log, store, content):
    run(squared, [(n, log) for n in range(2)], store=store, key="k")
    assert calls(log) == [0, 1]
    sorted(store.iterdir())[1].write_bytes(content)
    results = run(squared, [(n, log) for n in range(2)], store=store, key="k")
    assert calls(log) == [1]
    assert results[1]["name"] == "piece 1"


def test_a_fault_of_the_function_is_raised_and_what_is_finished_stays(store):
    with pytest.raises(ZeroDivisionError):
        run(broken, [(number, store) for number in range(4)], store=store, key="k")
    assert len(list(store.iterdir())) == 2


def test_a_store_that_cannot_be_made(log, tmp_path):
    (tmp_path / "file").write_text("")
    store = tmp_path / "file" / "store"
    with pytest.raises(PopkError, match="found a folder that cannot be made") as error:
        run(squared, [(1, log)], store=store, key="k")
    assert error.value.problems[0].file == str(store)
    assert not log.exists()


def test_the_precision_is_the_callers_in_this_process():
    assert run(half_precision_by_default, [1])[0].dtype == np.float64
    with jax.enable_x64(False):
        assert run(half_precision_by_default, [1])[0].dtype == np.float32


def test_linear_algebra_is_by_one_thread():
    """Whatever the number of cores: the sum is that of one thread, not of as many as there are."""
    before = [pool["num_threads"] for pool in threadpool_info()]
    with threadpool_limits(4, user_api="blas"):
        many = run(big_dot, range(4))
    with threadpool_limits(1, user_api="blas"):
        one = big_dot(None)
    assert many == [one] * 4
    assert [pool["num_threads"] for pool in threadpool_info()] == before
