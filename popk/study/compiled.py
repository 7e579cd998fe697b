"""Compiled programs kept between runs, in the user's cache directory."""

import os
from importlib.metadata import version
from pathlib import Path

import jax
import platformdirs


def keep_compiled() -> Path | None:
    """Let JAX keep what it compiles, so that a second fit of a model does not compile again.

    The directory is keyed to jaxlib's version, since programs of one build do not run in another.
    Left alone where the user has set a directory of their own, or POPK_CACHE=off.

    Returns
    -------
    Path or None
        The directory; None where programs are not kept by popk.
    """
    if os.environ.get("POPK_CACHE") == "off" or jax.config.values["jax_compilation_cache_dir"]:
        return None
    directory = Path(platformdirs.user_cache_dir("popk")) / f"jaxlib-{version('jaxlib')}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None  # a read-only home: compile every time
    jax.config.update("jax_compilation_cache_dir", str(directory))
    # By default only programs that took long or are large are kept: a fit has many small ones
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return directory
