"""What takes long to make and is always the same, kept in the user's cache directory."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import platformdirs


def kept_text(name: str, make: Callable[[], str]) -> str:
    """A text that was made before, or `make` now; with POPK_CACHE=off it is always made.

    Parameters
    ----------
    name
        Of its file; it must say everything that the text depends on, e.g. a library's version.
    """
    if os.environ.get("POPK_CACHE") == "off":
        return make()
    path = Path(platformdirs.user_cache_dir("popk")) / name
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        pass
    text = make()
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError:  # a read-only home: made every time
        with suppress(OSError):
            part.unlink()
    return text
