"""Texts that take long to make and are always the same, kept in the user's cache directory."""

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs


def kept_text(name: str, make: Callable[[], str]) -> str:
    """A text from the cache, made and kept there the first time.

    Parameters
    ----------
    name
        Of the file; whatever the text depends on (a version) stands in it.
    make
        Makes the text.

    Notes
    -----
    Nothing is kept with POPK_CACHE=off, nor where the directory cannot be written.
    """
    if os.environ.get("POPK_CACHE") == "off":
        return make()
    path = Path(platformdirs.user_cache_dir("popk")) / name
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = make()
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
    return text
