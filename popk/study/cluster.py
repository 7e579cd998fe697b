"""Workers for pieces of work: a local Dask cluster, or an existing one that is joined.

On a cluster of machines, every worker is one process with one thread, with the same versions of
popk and its libraries; then ``--scheduler tcp://...`` names the scheduler. With Slurm,
dask-jobqueue starts the workers as jobs (any time limit will do: a worker that is stopped loses
nothing but the piece that it had begun)::

    from dask_jobqueue import SLURMCluster

    cluster = SLURMCluster(cores=1, processes=1, memory="3GB", walltime="02:00:00",
                           job_extra_directives=["--hint=nomultithread"])
    cluster.scale(jobs=64)                # or cluster.adapt(maximum_jobs=64)
    print(cluster.scheduler_address)      # popk power ... --scheduler tcp://10.0.0.5:34567
    input("Enter ends the cluster")

By hand: ``dask scheduler`` on one machine, and on each
``dask worker tcp://HOST:8786 --nworkers 16 --nthreads 1``.

The same seeds give the same results, bit for bit, on processors of one kind. On another kind the
compiler chooses other instructions, and last digits differ.
"""

import asyncio
import logging
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import jax

from popk.spec.problem import PopkError, Problem
from popk.study.fit import versions

if TYPE_CHECKING:
    from distributed import Client

DASK: Any
try:
    import distributed as DASK
except ImportError:
    DASK = None

SECONDS_TO_ANSWER = 10.0
"""How long a scheduler may take to answer, and to have a first worker."""
DEATHS = 10
"""Workers that a piece may outlive. Dask's own 3 are few where jobs end by their time limit."""
LOGGERS = ("distributed", "distributed.client")
OF_JAX = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
"""What this process has set for programs that are kept, local workers take over."""


@contextmanager
def connected(dask: int | None = None, scheduler: str | None = None) -> "Iterator[Client | None]":
    """Workers while the block runs.

    Parameters
    ----------
    dask
        Number of workers of a local cluster, each a process with one thread.
    scheduler
        Address of an existing scheduler, as ``tcp://host:port``.

    Yields
    ------
    Client or None
        For `popk.study.work.run`; None where neither is given: work is done in this process.

    Raises
    ------
    popk.PopkError
        If Dask is not installed, both are given, the number is not positive, or the scheduler does
        not answer, has no worker, or has workers of other versions.
    """
    if dask is None and scheduler is None:
        yield None
        return
    if dask is not None and scheduler is not None:
        raise _problem(
            "--dask", "both --dask and --scheduler", "one of them",
            "leave out --dask to use the existing cluster, or --scheduler to start one here",
        )  # fmt: skip
    if DASK is None:
        raise _problem(
            "--dask" if scheduler is None else "--scheduler", "no Dask in this environment",
            "the package distributed", 'pip install "popk[dask]"',
        )  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        if scheduler is not None:
            yield stack.enter_context(_joined(scheduler))
        else:
            yield stack.enter_context(_local(dask or 0))


@contextmanager
def _local(workers: int) -> "Iterator[Client]":
    if workers < 1:
        raise _problem("--dask", f"{workers} workers", "1 or more", "--dask 2, for two cores")
    settings = {name.upper(): jax.config.values[name] for name in OF_JAX}
    environment = {name: str(value) for name, value in settings.items() if value is not None}
    # Workers on the CPU leave the memory of a GPU alone
    environment |= {"PJRT_NPROC": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    with (
        DASK.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=None,
            dashboard_address="127.0.0.1:0",  # any free port
            silence_logs=logging.CRITICAL,
            preload=[__name__],
            env=environment,
            scheduler_kwargs={"allowed_failures": DEATHS},
        ) as cluster,
        DASK.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def dask_setup(_: Any) -> None:
    """Dask calls this in each new worker of a local cluster.

    A worker leaves Ctrl-C to the process that gives it work, and stops when that closes; what goes
    wrong is told there too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Dask's own log: what a user must know is raised as an error."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _joined(address: str) -> "Iterator[Client]":
    try:
        with ThreadPoolExecutor(1) as thread:  # a notebook's own thread has an event loop already
            thread.submit(asyncio.run, _answer(address)).result()
        client = DASK.Client(address, timeout=SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        raise _problem(
            "--scheduler",
            f"no answer from {address!r} ({str(error) or 'in time'})",
            "the address of a running Dask scheduler, as tcp://host:port",
            "start one with `dask scheduler`, which shows its address, or use --dask 2 for two "
            "workers on this machine",
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=SECONDS_TO_ANSWER)
        except TimeoutError:
            raise _problem(
                "--scheduler",
                f"no worker at {address} after {SECONDS_TO_ANSWER:.0f} s",
                "a scheduler with workers",
                f"start some: dask worker {address} --nworkers 4 --nthreads 1",
            ) from None
        _require_same_versions(client)
        yield client


async def _answer(address: str) -> None:
    """Greet what is at the address: Dask's client would wait forever for something else's answer.

    Raises
    ------
    OSError
        If nothing answers in time (TimeoutError is one), or in another language.
    """
    async with asyncio.timeout(SECONDS_TO_ANSWER):
        own = DASK.Security().get_connection_args("client")
        comm = await DASK.comm.connect(address, timeout=SECONDS_TO_ANSWER, **own)
        await comm.close()


def _require_same_versions(client: "Client") -> None:
    """Refuse workers that would compute something else."""
    here = versions()
    cure = "pip install the same versions there (here, `pip freeze` lists them), and popk[dask]"
    try:
        there: Any = client.run(versions)
    except Exception as error:
        raise _problem(
            "--scheduler",
            f"workers without popk ({type(error).__name__}: {error})",
            "workers in an environment with popk and its libraries",
            cure,
        ) from None
    for worker, own in there.items():
        other = [f"{name} {own.get(name)}" for name in here if own.get(name) != here[name]]
        if other:
            raise _problem(
                "--scheduler",
                f"{', '.join(other)} at the worker {worker}",
                ", ".join(f"{name} {here[name]}" for name in here if own.get(name) != here[name]),
                cure,
            )


def _problem(key: str, found: str, expected: str, cure: str) -> PopkError:
    return PopkError(Problem(key=key, found=found, expected=expected, cure=cure))
