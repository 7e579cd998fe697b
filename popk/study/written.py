"""What a fit folder's files say, as hashes that need neither the model nor the data to be read.

They are kept beside a fit's results, so that a change is seen in milliseconds. Comments, layout
and the order of keys do not count; what only names or describes a fit does not either.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

BESIDE = ("name", "description", "synthetic", "dose", "candidates", "no_effect", "model", "data")
"""Keys of fit.toml that change no estimate; of the files that it points to, the content counts."""


def written(folder: Path) -> dict[str, str]:
    """SHA-256 of what each file says: of "fit.toml", "model" and "data"; "" where it is no file.

    Parameters
    ----------
    folder
        With a fit.toml.
    """
    fit = _content(folder / "fit.toml") or {}
    said = {key: value for key, value in fit.items() if key not in BESIDE}
    model = _content(folder / str(fit.get("model", "")))
    return {
        "fit.toml": _hash(said) if fit else "",
        "model": "" if model is None else _hash(model),
        "data": _of_bytes(folder / str(fit.get("data", ""))),
    }


def _content(path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError):
        return None


def _of_bytes(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
