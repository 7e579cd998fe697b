"""fit.toml and model.toml around a user's own file: every column listed, nothing guessed.

What only the user knows stands there as ``"?"``, which no reader accepts: `popk check` names each
place that is still to be filled in.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from popk.data.nonmem.cells import MISSING, read_numbers
from popk.data.nonmem.columns import ITEMS, REQUIRED, toml_key, toml_text
from popk.data.nonmem.table import DELIMITERS, Table, read_table
from popk.spec.problem import PopkError, Problem
from popk.spec.units import UnitError, conversion_factor

UNKNOWN = "?"
LEADING = ("TIME", "AMT", "DV")
"""Items that have a unit of their own; the others' follow from them."""
MOST_WORDS = 6
"""Different words up to which a column of words is shown as the levels of a category."""


class Draft(NamedTuple):
    """A fit folder around a file.

    Attributes
    ----------
    files
        Name to content: fit.toml, model.toml and the data.
    subjects, rows
        How many the file has.
    taken
        Data item to the column that is read as it.
    missing
        Items without which no row can be read and that no column is named after.
    covariates
        The other columns, each a commented line of fit.toml.
    units
        Units of time, amount and concentration, "?" where they are to be filled in.
    """

    files: dict[str, bytes]
    subjects: int
    rows: int
    taken: dict[str, str]
    missing: tuple[str, ...]
    covariates: tuple[str, ...]
    units: tuple[str, str, str]


def draft(path: str | Path, units: Sequence[str] = ()) -> Draft:
    """Draft a fit folder around a NONMEM-style file.

    Parameters
    ----------
    path
        The file; its delimiter is the one that its header has most of.
    units
        Units of time, amount and concentration, where they are known.

    Raises
    ------
    PopkError
        If the file cannot be read as a table, or a unit is none or measures something else.
    """
    path = Path(path)
    known = _units(units)
    delimiter = _delimiter(path)
    table = read_table(path, delimiter)
    taken = _taken(table)
    others = tuple(name for name in table.columns if name and name not in taken.values())
    missing = tuple(item for item in REQUIRED if item not in taken)
    ids = table.columns.get(taken.get("ID", ""), ())
    fit = _fit(path.name, table, delimiter, taken, missing, others, known)
    files = {
        "fit.toml": fit.encode(),
        "model.toml": _model(known, others).encode(),
        path.name: path.read_bytes(),
    }
    return Draft(files, len(set(ids)), table.rows, taken, missing, others, known)


def _units(given: Sequence[str]) -> tuple[str, str, str]:
    if not given:
        return (UNKNOWN, UNKNOWN, UNKNOWN)
    try:
        time, amount, concentration = (unit.strip() for unit in given)
        conversion_factor(time, "h")
        conversion_factor(amount, "mg")
        conversion_factor(concentration, "mg/L")
    except (ValueError, UnitError) as error:
        said = "" if not isinstance(error, UnitError) else f" ({error})"
        raise PopkError(
            Problem(
                file="command line",
                key="--units",
                found=f"{', '.join(given)!r}{said}",
                expected="three units: of time, of amount (a mass) and of concentration",
                cure='write for example --units "h, mg, mg/L", or leave --units out and fill the '
                "units in by hand",
            )
        ) from None
    return time, amount, concentration


def _delimiter(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            header = next((line for line in file if line.strip() and line[0] != "#"), "")
    except OSError:
        return ","  # the reader says what is wrong
    split = {d: len(header.split(None if d == " " else d)) for d in DELIMITERS}
    return max(DELIMITERS, key=lambda d: (split[d], d != " "))


def _taken(table: Table) -> dict[str, str]:
    """Items by the columns that bear their names; in another case only where that is unique."""
    names = [name for name in table.columns if name]
    taken: dict[str, str] = {}
    for item in ITEMS:
        exact = [name for name in names if name == item]
        near = [name for name in names if name.upper() == item]
        chosen = exact or near
        first_only = item == "C" and chosen != names[:1]
        if len(chosen) == 1 and not first_only:
            taken[item] = chosen[0]
    return taken


def _fit(
    data: str,
    table: Table,
    delimiter: str,
    taken: dict[str, str],
    missing: Sequence[str],
    others: Sequence[str],
    units: tuple[str, str, str],
) -> str:
    by_item = dict(zip(LEADING, units, strict=True))
    examples = {
        "TIME": "h | day",
        "AMT": "mg | ug: the total dose, not per kg",
        "DV": "mg/L | ng/mL",
    }
    lines = [
        "# Which model, which data, what its columns mean. A ? is to be filled in.",
        'model = "model.toml"',
        f"data = {toml_text(data)}",
        *([f"delimiter = {toml_text(delimiter)}"] if delimiter != "," else []),
        "",
        "[columns]",
        f"# Read by their NONMEM names: {', '.join(taken) or 'none'}",
    ]
    for item, column in taken.items():
        meaning = [] if column == item else [f'item = "{item}"']
        if item in by_item:
            meaning.append(f'unit = "{by_item[item]}"')
        if not meaning:
            continue
        note = f" # {examples[item]}" if item in examples else ""
        lines.append(f"{toml_key(column)} = {{ {', '.join(meaning)} }}{note}")
    for item in missing:
        unit = f', unit = "{by_item[item]}"' if item in by_item else ""
        lines.append(f'# COLUMN = {{ item = "{item}"{unit} }} # which column holds {item}?')
    if others:
        lines += [
            "",
            "# Not read. For a covariate: delete the # before its line and fill in the unit",
            "# (no unit where it is a code or a score).",
            *(_covariate(name, table.columns[name]) for name in others),
        ]
    lines += [
        "",
        "# [rows] # NONMEM's ACCEPT and IGNORE, by the values of a column",
        "# ignore = { COLUMN = [1] }",
        "",
        "# [derived] # body-surface area, from WT and HT",
        '# BSA = { formula = "haycock" }',
        "",
        "# [dose] # Css is also given for this dose of an infusion",
        '# nominal = "10 mg/h"',
        "",
        "[sampler]",
        'method = "ensemble" # ensemble | nuts | focei | laplace | agq | importance',
        "seed = 1",
    ]
    return "\n".join(lines) + "\n"


def _covariate(name: str, cells: Sequence[str]) -> str:
    """A commented line that says what stands in the column."""
    column = read_numbers(name, cells)
    present = [cell for cell in cells if cell not in MISSING]
    gaps = ", some missing" if len(present) < len(cells) else ""
    if not present:
        return f"# {toml_key(name)} = {{ ignore = true }} # empty"
    if not column.unreadable.any():
        values = column.values[~column.missing]
        low, high = values.min(), values.max()
        span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        return f'# {toml_key(name)} = {{ covariate = true, unit = "?" }} # {span}{gaps}'
    words = list(dict.fromkeys(present))
    if len(words) > MOST_WORDS:
        return f"# {toml_key(name)} = {{ ignore = true }} # {len(words)} different words"
    levels = ", ".join(map(toml_text, words))
    return f"# {toml_key(name)} = {{ covariate = true, levels = [{levels}] }} # words{gaps}"


def _model(units: tuple[str, str, str], others: Sequence[str]) -> str:
    time, amount, concentration = units
    weight = next((name for name in others if name.upper() in ("WT", "WEIGHT")), "WT")
    clearance = UNKNOWN if time == UNKNOWN else f"L/{time}"
    return f"""\
# What is estimated. A ? is to be filled in. All words: popk schema model
name = "one compartment"
structure = "one_compartment"

[units]
time = "{time}"
amount = "{amount}"
concentration = "{concentration}"

[parameters.CL] # clearance
unit = "{clearance}"
# scale = {{ covariate = {toml_text(weight)}, reference = "70 kg", exponent = 0.75 }}
typical = {{ prior = "lognormal", median = "?", sigma = 1.0 }} # a number in CL's unit; wide
variability = {{ distribution = "lognormal", sd = {{ prior = "halfnormal", scale = 0.5 }} }}

[parameters.V] # volume of distribution
unit = "L"
# scale = {{ covariate = {toml_text(weight)}, reference = "70 kg", exponent = 1.0 }}
typical = {{ prior = "lognormal", median = "?", sigma = 1.0 }}
variability = {{ distribution = "lognormal", sd = {{ prior = "halfnormal", scale = 0.5 }} }}

# [[covariates]] # an effect to be tested
# parameter = "CL"
# covariate = "AGE"
# relation = "power" # below | category | power | linear | exponential | maturation
# reference = "40 year"
# effect = {{ prior = "normal", loc = 0.0, scale = 0.5 }}

[residual]
error = "proportional" # additive | proportional | combined | lognormal
sd = {{ prior = "halfnormal", scale = 0.5 }}
"""
