"""NONMEM's table files, for the tools that read them: xpose, vpc, ggPMX, PsN.

``TABLE NO.  1``, one line of names, then numbers in a Fortran format; by default NONMEM's own,
s1PE11.4: columns of twelve characters.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from popk.spec.problem import PopkError, Problem

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "s1PE11.4"
STANDARD = ("TIME", "TAD", "EVID", "MDV", "AMT", "CENS", "DV", "PRED", "IPRED", "IWRES", "NPDE")


class Format(NamedTuple):
    """Width and decimals of s1PEw.d."""

    width: int
    decimals: int


def number_format(text: str) -> Format:
    """Read a Fortran format such as ``s1PE11.4``.

    Raises
    ------
    PopkError
        If it is another one, or has no room for its decimals.
    """
    found = re.fullmatch(r"s?1PE(\d+)\.(\d+)", text.strip(), re.IGNORECASE)
    own = Format(int(found[1]), int(found[2])) if found else Format(0, 0)
    if not 1 <= own.decimals <= 16 or own.width < own.decimals + 7:
        raise PopkError(
            Problem(
                file="command line",
                key="--format",
                found=repr(text),
                expected="s1PEw.d with 1 to 16 decimals and a width of at least decimals + 7",
                cure=f"write --format {FORMAT} (NONMEM's default) or, for more digits, "
                "--format s1PE16.9",
            )
        )
    return own


def tables(
    records: "pd.DataFrame", levels: Mapping[str, Sequence[str]], covariates: Sequence[str]
) -> dict[str, list[str]]:
    """Which columns each of NONMEM's usual tables has, by the table's name.

    Parameters
    ----------
    records
        From `popk.analysis.record_table`.
    levels
        Covariates that are categories.
    covariates
        All covariates.
    """
    named = [name if name in records else f"{name}_covariate" for name in covariates]
    parts = {
        "sdtab": [name for name in STANDARD if name in records],
        "patab": [*records.attrs["units"], *records.attrs["etas"]],
        "cotab": [name for name in named if name not in levels],
        "catab": [name for name in named if name in levels],
    }
    return {table: ["ID", *columns] for table, columns in parts.items() if columns}


def numbered(ids: Sequence[str], form: Format) -> dict[str, float] | None:
    """Numbers for IDs that are none, or that the format would round; None where all are kept."""
    try:
        if all(float(f"{float(own):.{form.decimals}E}") == float(own) for own in ids):
            return None
    except ValueError:
        pass
    return {own: float(i) for i, own in enumerate(dict.fromkeys(ids), start=1)}


def text(
    columns: Mapping[str, np.ndarray], form: Format, *, number: int = 1, title: bool = True
) -> str:
    """A table as NONMEM writes it; what is no number is NA, which R reads as missing."""
    cells = [_cells(np.asarray(values, float), form) for values in columns.values()]
    head = "".join(f" {name:<{form.width}}" for name in columns)
    lines = [f"TABLE NO.{number:3d}"] * title + [head.rstrip()]
    lines += ["".join(row) for row in zip(*cells, strict=True)]
    return "\n".join(lines) + "\n"


def _cells(values: np.ndarray, form: Format) -> list[str]:
    width, decimals = form
    return [
        f" {value:{width}.{decimals}E}" if np.isfinite(value) else f" {'NA':>{width}}"
        for value in values.tolist()
    ]


def id_list(numbers: Mapping[str, float]) -> str:
    """Which number stands for which ID, as CSV."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["number", "ID"])
    rows.writerows((f"{number:.0f}", own) for own, number in numbers.items())
    return out.getvalue()


def written(
    place: Path,
    which: Mapping[str, Sequence[str]],
    run: int,
    etas: Mapping[str, str],
    synthetic: bool,
    renumbered: bool,
) -> list[str]:
    """What was written, in words."""
    lines = ["SYNTHETIC DATA: simulated, no row describes a real patient"] * synthetic
    lines += [f"{place / name}{run}: {' '.join(columns)}" for name, columns in which.items()]
    if "patab" in which and etas:
        lines.append(", ".join(f"{eta} is that of {name}" for eta, name in etas.items()))
    if renumbered:
        lines.append("IDs that the format cannot hold were numbered: ids.csv")
    return lines
