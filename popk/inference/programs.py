"""Compiled programs: kept in the process, and in files beside those that JAX keeps itself.

JAX's own files spare a process the compiling, but not the tracing and lowering before it, which
take longer than a fit. Here a file is found by what the program depends on: the key (model, shapes,
precision), popk's source, the libraries and the processor.
"""

import hashlib
import os
import pickle
import platform
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from jax.experimental.serialize_executable import deserialize_and_load, serialize

from popk.inference.threads import on_gpu

A = TypeVar("A")

_KEPT: OrderedDict[Hashable, Any] = OrderedDict()
_ONE_AT_A_TIME = RLock()
"""NumPyro's handlers are not for several threads that trace at once."""
MOST_KEPT = 64
SOURCES = ("data", "inference", "pk", "population", "spec")
LIBRARIES = ("jax", "jaxlib", "numpy", "numpyro")


def kept(key: Hashable, make: Callable[[], A]) -> A:
    """What was made for this key before in this process, else made now.

    Programs take data as arguments: a second fit of a model to data of the same shape neither
    traces nor compiles anything. What is there is found without waiting for a thread that
    compiles something else.
    """
    with suppress(KeyError):
        _KEPT.move_to_end(key)
        return _KEPT[key]
    with _ONE_AT_A_TIME:
        if key not in _KEPT:
            _KEPT[key] = make()
            if len(_KEPT) > MOST_KEPT:
                _KEPT.popitem(last=False)
        _KEPT.move_to_end(key)
        return _KEPT[key]


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """For work that traces models, as samplers of one fit do: one thread at a time."""
    with _ONE_AT_A_TIME:
        yield


def compiled(
    key: Hashable,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    *,
    quickly: bool = False,
) -> Callable[..., Any]:
    """The function compiled for arguments like these, from its file if there is one.

    Parameters
    ----------
    key
        What the program depends on besides popk, the libraries and the processor.
    function
        To be compiled; it is neither called nor traced where there is a file.
    arguments
        Arrays, or pytrees of them; no typed random keys.
    quickly
        Compile in half of the time a program that takes twice as long: for what runs rarely.
    """

    def make() -> Any:
        on_cpu = quickly and not on_gpu()
        options: Any = {"xla_backend_optimization_level": 0} if on_cpu else None
        return jax.jit(function).lower(*arguments).compile(compiler_options=options)

    file = None if on_gpu() else _file((key, "program"))
    if file is None:
        return make()
    read = _read(file)
    if read is not None:
        try:
            payload, example = read  # also of a file that holds something else
            inward = jax.tree.structure((tuple(arguments), {}))
            return deserialize_and_load(payload, inward, jax.tree.structure(example))
        except Exception:
            file.unlink(missing_ok=True)
    with _without_jax_cache():
        program = make()
    try:
        payload, _, outward = serialize(program)
    except Exception:
        return program  # not every backend can: the next process compiles again
    example = jax.tree.unflatten(outward, [0] * outward.num_leaves)
    _write(file, (payload, example))
    return program


@contextmanager
def _without_jax_cache() -> Iterator[None]:
    """Compile anew: what JAX has read from its own files cannot be stored a second time.

    XLA stores such a program without its machine code, and the next process fails when it runs.
    """
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    reset_cache()  # JAX asks once whether the cache is used
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        reset_cache()


def recalled(key: Hashable, make: Callable[[], A]) -> A:
    """Numbers (a pytree of NumPy arrays) that depend on the key alone, from their file."""
    file = _file((key, "numbers"))
    if file is None:
        return make()
    read = _read(file)
    if read is None:
        read = make()
        _write(file, read)
    return read


def _directory() -> Path | None:
    directory = jax.config.values["jax_compilation_cache_dir"]
    return Path(directory) / "popk" if directory else None


def _file(key: Hashable) -> Path | None:
    directory = _directory()
    if directory is None:
        return None
    return directory / hashlib.sha256(repr((key, _surroundings())).encode()).hexdigest()


def _read(file: Path) -> Any:
    try:
        return pickle.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except Exception:
        return None


def _write(file: Path, content: Any) -> None:
    """Whole or not at all: another process may read, or write, at the same time."""
    part = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(pickle.dumps(content))
        part.replace(file)
    except OSError:  # a full or read-only disk: compile every time
        with suppress(OSError):
            part.unlink()


@cache
def _surroundings() -> str:
    """What else a program depends on: popk's source, the libraries, the processor."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for folder in SOURCES:
        for source in sorted((package / folder).rglob("*.py")):
            digest.update(source.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library} {version(library)} ".encode())
    digest.update(os.environ.get("XLA_FLAGS", "").encode())
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text().splitlines() if processor.exists() else []
    flags = [line for line in lines if line.startswith(("model name", "flags", "Features"))][:2]
    digest.update(f"{platform.machine()} {platform.processor()} {flags}".encode())
    return digest.hexdigest()
