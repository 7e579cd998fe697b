"""The state of fit folders at a glance: never fitted, interrupted, stale, converged or not.

Reads run.json and hashes files; neither model nor data are read, so it takes milliseconds. What it
says of a change is what the files say: `popk.study.folder.stale` knows whether it matters.
"""

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from popk.study.written import written

CHECKPOINT = ".checkpoint.pickle"

Word = Literal["never fitted", "interrupted", "converged", "NOT CONVERGED", "STALE", "unreadable"]


class State(NamedTuple):
    """Where a fit folder stands.

    Attributes
    ----------
    folder
        Its path.
    name
        What fit.toml calls it; else the folder's name.
    word
        In one word.
    detail
        What changed, or when it was finished; may be empty.
    synthetic
        Whether its data are simulated.
    made
        Results that are there: files and folders of results/, two levels deep.
    """

    folder: Path
    name: str
    word: Word
    detail: str
    synthetic: bool
    made: frozenset[str]


def fit_folders(place: Path) -> list[Path]:
    """The place itself if it is a fit folder; else those in it and in its folder fits/."""
    if (place / "fit.toml").is_file():
        return [place]
    found: Iterable[Path] = (*place.glob("*/fit.toml"), *place.glob("fits/*/fit.toml"))
    return sorted({path.parent for path in found})


def state_of(folder: Path) -> State:
    """The state of one fit folder."""
    spec = _json_or_toml(folder / "fit.toml")
    name = str((spec or {}).get("name") or folder.resolve().name)
    synthetic = bool((spec or {}).get("synthetic"))
    results = folder / "results"
    made = frozenset(
        path.relative_to(results).as_posix()
        for pattern in ("*", "*/*")
        for path in results.glob(pattern)
    )

    def found(word: Word, detail: str = "") -> State:
        return State(folder, name, word, detail, synthetic, made)

    if spec is None:
        return found("unreadable", "fit.toml")
    if (folder / CHECKPOINT).is_file():
        return found("interrupted", "its draws so far are kept")
    if "run.json" not in made:
        return found("never fitted")
    record = _json_or_toml(results / "run.json")
    if record is None:
        return found("unreadable", "results/run.json")
    changed = changes(folder, record)
    if changed:
        return found("STALE", f"changed since: {', '.join(changed)}")
    word = "converged" if record.get("converged") else "NOT CONVERGED"
    return found(word, str(record.get("provenance", {}).get("finished", ""))[:10])


def changes(folder: Path, record: dict[str, Any]) -> list[str]:
    """Which files say something else than when the results were made."""
    then: dict[str, str] = dict(record.get("written") or {})
    then.setdefault("data", record.get("provenance", {}).get("hashes", {}).get("data", ""))
    now = written(folder)
    return [what for what, value in now.items() if then.get(what, value) != value]


def _json_or_toml(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        found = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
