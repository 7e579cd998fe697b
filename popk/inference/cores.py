"""How many cores this process may use."""

import os


def cores() -> int:
    """Number of cores that the process may run on (not those of the machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
