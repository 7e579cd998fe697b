"""What a figure was measured on."""

import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np


def processor() -> str:
    """The processor's name and the number of cores this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def versions(*libraries: str) -> str:
    """Versions of Python and of libraries, in one line."""
    found = [f"Python {platform.python_version()}"]
    for library in libraries:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def cores_worth(seconds: float = 0.5) -> float:
    """How many times the arithmetic of one core all cores do together.

    Cores that a machine shares, or that are two threads of one, are worth less than their number.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    values = np.linspace(0.0, 1.0, 65_536)

    def rounds(_: int) -> int:
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            np.exp(values)
            done += 1
        return done

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(rounds, [0]))
        one = rounds(0)
        return sum(pool.map(rounds, range(count or 1))) / one
