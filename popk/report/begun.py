"""What the first commands print: where fits stand, and what a new folder holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from popk.data.draft import Draft
    from popk.study.state import State

STYLES = {
    "converged": "green",
    "never fitted": "",
    "interrupted": "yellow",
    "STALE": "bold yellow",
    "NOT CONVERGED": "bold red",
    "unreadable": "bold red",
}


def states(found: Sequence[tuple["State", str]]) -> list[RenderableType]:
    """Each fit folder, its state, and the next command; or how to begin."""
    if not found:
        return [
            "No fit folder here. Begin with one that fits as it stands:",
            "  popk init my-study                                 a commented template",
            "  popk init infants --example blinatumomab-infants   SYNTHETIC infants, infusions",
            "  popk init neonates --example phenobarb-neonates    real neonates, bolus doses",
            "  popk init my-study --data FILE.csv                 around your own NONMEM file",
        ]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("fit", "state", "", "next"):
        table.add_column(column, no_wrap=True)
    for state, command in found:
        table.add_row(
            escape(str(state.folder)) + (" (SYNTHETIC)" if state.synthetic else ""),
            Text(state.word, style=STYLES[state.word]),
            escape(state.detail),
            escape(command),
        )
    return [table]


def created(folder: Path, files: Sequence[str], example: str | None) -> list[RenderableType]:
    """A folder that fits as it stands."""
    what = "a commented template with SYNTHETIC data" if example is None else example
    return [
        f"{folder}: {what}: {', '.join(files)}",
        f"next: popk fit {folder}",
    ]


def drafted(folder: Path, data: Path, around: "Draft") -> list[RenderableType]:
    """A folder around a user's file, and what is to be filled in."""
    taken = ", ".join(
        item if item == name else f"{item} (column {name})" for item, name in around.taken.items()
    )
    fill = []
    if around.missing:
        fill.append(f"fit.toml: which columns hold {', '.join(around.missing)}")
    if "?" in around.units:
        fill.append("fit.toml: the units of TIME, AMT and DV")
    if around.covariates:
        names = ", ".join(around.covariates)
        fill.append(f"fit.toml: of the columns not read, those that are covariates: {names}")
    units = "units, " if "?" in around.units else ""
    fill.append(f"model.toml: {units}the median of the priors of CL and V, covariates")
    return [
        f"{folder}: around {data} (copied): {around.subjects} subjects, {around.rows} rows",
        f"read by their names: {taken or 'none'}",
        "to fill in:",
        *(f"  {i}. {line}" for i, line in enumerate(fill, start=1)),
        f"next: popk check {folder}, until it finds nothing; then popk fit {folder}",
    ]
