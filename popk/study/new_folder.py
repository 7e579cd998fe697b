"""A new fit folder: written whole, never over something that is there."""

import os
import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from popk.spec.problem import PopkError, Problem


def create(folder: str | Path, files: Mapping[str, bytes]) -> Path:
    """Write a folder with these files.

    Raises
    ------
    popk.PopkError
        If there is a file of this name or a folder that is not empty, or it cannot be written.
    """
    folder = Path(folder)
    _require_new(folder)
    place = folder.resolve()
    part = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        part.mkdir(parents=True)
        for name, content in files.items():
            (part / name).write_bytes(content)
        if place.is_dir():  # an empty one, which may be the current folder: it stays
            for name in files:
                (part / name).rename(place / name)
        else:
            part.rename(place)
    except OSError as error:
        raise PopkError(
            Problem(
                file=str(folder),
                found=f"a folder that cannot be written ({error})",
                expected="a place that may be written, with space left",
                cure="give another place, e.g. popk init ~/my-study",
            ),
            unreadable=True,
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _require_new(folder: Path) -> None:
    try:
        there = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except NotADirectoryError:
        there = None
    if there == []:
        return
    some = "" if there is None else f": {', '.join(there[:5])}" + (", ..." * (len(there) > 5))
    raise PopkError(
        Problem(
            file=str(folder),
            found="a file of this name" if there is None else f"a folder that is not empty{some}",
            expected="a new folder, or an empty one: nothing is ever overwritten",
            cure=f"give another name, e.g. popk init {_free(folder)}",
        )
    )


def _free(folder: Path) -> Path:
    """The first name like this one that is not taken."""
    named = folder if folder.name else folder.resolve()
    names = (named.with_name(f"{named.name}-{n}") for n in count(2))
    return next(path for path in names if not path.exists())
