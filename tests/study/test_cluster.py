"""Dask: the same results bit for bit by any number of workers, also if one of them dies."""

import os
import signal
import socket
import time
from multiprocessing import parent_process
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import popk.study.cluster
from popk.inference.batch import Batch
from popk.population.condensed import condense
from popk.population.events import arrange
from popk.population.simulated import simulate
from popk.spec.fit import Sampler
from popk.spec.problem import PopkError, Problem
from popk.study.cluster import connected
from popk.study.folder import open_study
from popk.study.work import run

PIECES = 6
ONE_AT_A_TIME = Lock()
"""To simulate is not for several threads."""


class Draws(NamedTuple):
    """A piece: draws with the key of its number; `killing` names a file that spares the worker."""

    number: int
    folder: Path
    killing: bool = False


def worked(piece: Draws):
    """Random numbers and linear algebra of a size that several threads would share."""
    flag = piece.folder / f"killed {piece.number}"
    if piece.killing and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (piece.folder / f"{piece.number} by {os.getpid()} at {time.time_ns()}").touch()
    with jax.enable_x64(True):
        key = jax.random.fold_in(jax.random.key(1), piece.number)
        normal = jax.random.normal(key, (300, 300))
        factor = jnp.linalg.cholesky(normal @ normal.T + 300 * jnp.eye(300))
        curve = jax.jit(lambda x: jnp.cumsum(jnp.exp(-(x**2))))(normal.ravel())
        return {
            "factor": factor,
            "curve": curve,
            "dot": np.asarray(normal).ravel() @ np.asarray(normal).ravel(),
        }


def fitted(piece):
    """Four simulated trials of three subjects, fitted; `piece` is a fit folder and a number."""
    folder, number = piece
    study = open_study(folder)
    with ONE_AT_A_TIME, jax.enable_x64(True):
        design, _ = condense(arrange(study.model.spec, study.data)[0])
        key = jax.random.fold_in(jax.random.key(1), number)
        given = {"TVCL": 1.0, "TVV": 8.0, "omega_CL": 0.3, "sigma": 0.1}
        simulated = simulate(key, study.model, design, 4, given=given)
        trials = Batch(study.model, simulated.events, Sampler(seed=number)).run()
    quantities = ("individual", "rhat", "ess_bulk", "passed")
    medians = np.array([np.median(draws, axis=(0, 1)) for draws in trials.draws])
    return {name: getattr(trials, name) for name in quantities} | {"medians": medians}


def refused(piece):
    raise PopkError(Problem(found="this", expected="that", cure="so", key=str(piece)))


def deadly(_):
    os.kill(os.getpid(), signal.SIGKILL)


def bits(results: list[dict]) -> list:
    return [{k: (v.dtype, v.shape, v.tobytes()) for k, v in one.items()} for one in results]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> list:
    """The bits of the results without a cluster."""
    folder = tmp_path_factory.mktemp("here")
    return bits(run(worked, [Draws(n, folder) for n in range(PIECES)]))


@pytest.fixture(scope="module")
def two():
    with connected(dask=2) as client:
        yield client


def computed_by(folder: Path) -> dict[int, list[str]]:
    """The processes that computed each piece."""
    words = [path.name.split() for path in folder.iterdir() if " by " in path.name]
    return {n: [w[2] for w in words if int(w[0]) == n] for n in sorted({int(w[0]) for w in words})}


def test_none_gives_none():
    with connected() as client:
        assert client is None


def test_two_workers_give_the_results_of_none(two, here, tmp_path):
    told = []
    results = run(
        worked,
        [Draws(n, tmp_path) for n in range(PIECES)],
        client=two,
        watch=lambda *now: told.append(now),
    )
    assert bits(results) == here
    assert [now[:2] for now in told] == [(n + 1, PIECES) for n in range(PIECES)]
    assert len({pid for pids in computed_by(tmp_path).values() for pid in pids}) == 2
    assert str(os.getpid()) not in str(computed_by(tmp_path))


@pytest.mark.slow
def test_fits_by_two_workers_are_those_of_none(two, make_folder, tmp_path):
    pieces = [(make_folder(tmp_path / "tiny"), number) for number in range(4)]
    by_two = run(fitted, pieces, client=two)
    # Three subjects say little of V: some trials go on to a fit of their own and to NUTS, and the
    # draws of these are compared too
    assert np.mean([one["passed"] for one in by_two]) > 0.5
    assert bits(by_two) == bits(run(fitted, pieces))


def test_one_worker_gives_the_results_of_none(here, tmp_path):
    with connected(dask=1) as one:
        results = run(worked, [Draws(n, tmp_path) for n in range(PIECES)], client=one)
    assert bits(results) == here


def test_a_worker_that_dies_half_way_loses_nothing(two, here, tmp_path):
    pieces = [Draws(n, tmp_path, killing=n == 3) for n in range(PIECES)]
    assert bits(run(worked, pieces, client=two)) == here
    assert (tmp_path / "killed 3").exists()
    assert sorted(computed_by(tmp_path)) == list(range(PIECES))


def test_interrupted_work_goes_on_without_the_cluster(two, here, tmp_path):
    pieces = [Draws(n, tmp_path) for n in range(PIECES)]

    def interrupt(done, total, left):
        if done == 2:
            raise KeyboardInterrupt

    store = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        run(worked, pieces, store=store, key="k", client=two, watch=interrupt)
    assert len(list(store.iterdir())) == 2
    kept = {int(path.stem.split("-")[1]) for path in store.iterdir()}
    before = computed_by(tmp_path)
    assert bits(run(worked, pieces, store=store, key="k")) == here
    after = computed_by(tmp_path)
    mine = str(os.getpid())
    assert all(after[n] == before[n] for n in kept)
    assert all(mine in after[n] for n in set(range(PIECES)) - kept)


def test_faults_arrive_whole(two):
    with pytest.raises(PopkError) as error:
        run(refused, ["a", "b"], client=two)
    assert error.value.problems[0].key in ("a", "b")
    assert error.value.problems[0].found == "this"


def test_a_piece_that_kills_every_worker(monkeypatch):
    monkeypatch.setattr(popk.study.cluster, "DEATHS", 0)
    with connected(dask=1) as client, pytest.raises(PopkError, match="died one after the other"):
        run(deadly, [1], client=client)


def test_an_existing_scheduler_is_joined(two, here, tmp_path):
    address = two.scheduler.address
    with connected(scheduler=address) as client:
        assert client is not two
        assert bits(run(worked, [Draws(n, tmp_path) for n in range(6)], client=client)) == here
    assert two.status == "running"


def test_workers_of_other_versions_are_refused(two, monkeypatch):
    monkeypatch.setattr(popk.study.cluster, "versions", elsewhere)
    with (
        pytest.raises(PopkError, match=r"found jax 0.1 at the worker tcp://.*expected jax 9.9"),
        connected(scheduler=two.scheduler.address),
    ):
        raise AssertionError


def elsewhere():
    """Versions that differ between this process and others."""
    return {"jax": "9.9" if parent_process() is None else "0.1", "numpy": "2"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "nowhere", "udp://127.0.0.1:{port}"])
def test_a_scheduler_that_does_not_answer(monkeypatch, address):
    monkeypatch.setattr(popk.study.cluster, "SECONDS_TO_ANSWER", 1.0)
    given = address.format(port=free_port())
    with pytest.raises(PopkError) as error, connected(scheduler=given):
        raise AssertionError
    no_answer(error.value, given)


def test_something_that_accepts_and_says_nothing(monkeypatch):
    monkeypatch.setattr(popk.study.cluster, "SECONDS_TO_ANSWER", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(PopkError) as error, connected(scheduler=given):
            raise AssertionError
    no_answer(error.value, given)


def no_answer(error: PopkError, given: str) -> None:
    (problem,) = error.problems
    assert problem.key == "--scheduler"
    assert "()" not in problem.found
    assert given in problem.found
    assert "tcp://host:port" in problem.expected
    assert "dask scheduler" in problem.cure


@pytest.mark.parametrize(
    ("given", "found"),
    [({"dask": 0}, "0 workers"), ({"dask": 2, "scheduler": "tcp://a:1"}, "both")],
)
def test_bad_requests(given, found):
    with pytest.raises(PopkError, match=found) as error, connected(**given):
        raise AssertionError
    assert error.value.problems[0].key == "--dask"
    assert error.value.problems[0].cure


@pytest.mark.parametrize("given", [{"dask": 2}, {"scheduler": "tcp://127.0.0.1:1"}])
def test_without_dask(monkeypatch, given):
    monkeypatch.setattr(popk.study.cluster, "DASK", None)
    with pytest.raises(PopkError, match=r'pip install "popk\[dask\]"') as error, connected(**given):
        raise AssertionError
    assert error.value.problems[0].key == f"--{next(iter(given))}"
