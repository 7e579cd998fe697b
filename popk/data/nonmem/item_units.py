"""The one unit in which the items of each dimension end: TIME's, AMT's, DV's and AMT's per TIME's.

An item without a declared unit is taken to be in that unit already.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from popk.data.dataset import ItemUnits
from popk.data.nonmem.columns import Columns, toml_key
from popk.spec.fit import Column, DataSpec
from popk.spec.problem import Problem
from popk.spec.units import UnitError, conversion_factor

TIMES = ("II", "DUR")
CONCENTRATIONS = ("LIMIT", "LLOQ", "ULOQ")
LEADING = ("TIME", "AMT", "DV")
WITH_UNIT = frozenset({*LEADING, *TIMES, *CONCENTRATIONS, "RATE"})


@dataclass(frozen=True)
class Conversion:
    """Units that the items end in, and item to the factor that takes its column there."""

    units: ItemUnits
    factors: Mapping[str, float]
    problems: tuple[Problem, ...]


def convert_items(file: str, columns: Columns, spec: DataSpec, *, datetimes: bool) -> Conversion:
    """Decide the unit of each dimension from what is declared.

    Parameters
    ----------
    file
        The data file's path, for messages.
    columns
        What the columns mean.
    spec
        Where the units are declared.
    datetimes
        True where TIME holds date-times, which are read as hours.
    """
    declared = {
        item: unit
        for item, name in columns.items.items()
        if (unit := spec.columns.get(name, Column()).unit) is not None
    }
    time = "h" if datetimes else declared.get("TIME")
    units = ItemUnits(time, declared.get("AMT"), declared.get("DV"))
    problems = [*_leading_problems(file, columns, declared, datetimes=datetimes)]
    factors: dict[str, float] = {}
    for item, unit in declared.items():
        if item in LEADING:
            continue
        key = f"columns.{columns.items[item]}.unit"
        if item not in WITH_UNIT:
            problems.append(
                Problem(
                    file=file,
                    key=key,
                    found=f"unit {unit!r} for {item}",
                    expected=f"no unit: {item} is a plain number or word",
                    cure="delete the unit",
                )
            )
            continue
        target, leading = _target(item, units)
        if target is None:
            problems.append(_no_leading_unit(file, columns, item, unit, leading))
            continue
        try:
            factors[item] = conversion_factor(unit, target)
        except UnitError as error:
            problems.append(
                Problem(
                    file=file,
                    key=key,
                    found=str(error),
                    expected=f"a unit that can be converted to {target}, in which {item} ends",
                    cure=f"{error.cure}, in [columns]",
                )
            )
    return Conversion(units, factors, tuple(problems))


def _target(item: str, units: ItemUnits) -> tuple[str | None, str]:
    """The unit that an item ends in, None if undeclared, and the item that has to declare it."""
    if item in TIMES:
        return units.time, "TIME"
    if item in CONCENTRATIONS:
        return units.concentration, "DV"
    if units.amount is None or units.time is None:
        return None, "AMT" if units.amount is None else "TIME"
    return f"({units.amount})/({units.time})", "AMT"


def _leading_problems(
    file: str, columns: Columns, declared: Mapping[str, str], *, datetimes: bool
) -> Iterator[Problem]:
    """What is wrong with the units of TIME, AMT and DV themselves."""
    if "TIME" in declared:
        key = f"columns.{columns.items['TIME']}.unit"
        try:
            factor = conversion_factor(declared["TIME"], "h")
        except UnitError as error:
            yield Problem(
                file=file,
                key=key,
                found=str(error),
                expected="a unit of time",
                cure=f"{error.cure}, in [columns]",
            )
        else:
            if datetimes and factor != 1.0:
                yield Problem(
                    file=file,
                    key=key,
                    found=f"unit {declared['TIME']!r} for date-times",
                    expected="hours, in which date-times are read",
                    cure='delete the unit or write "h"; II and DUR may have another unit',
                )
    if "AMT" in declared and "DV" in declared:
        amount, concentration = declared["AMT"], declared["DV"]
        try:
            conversion_factor(f"({concentration})*L", amount)
        except UnitError as error:
            yield Problem(
                file=file,
                key=f"columns.{columns.items['DV']}.unit",
                found=f"DV in {concentration} and AMT in {amount} ({error})",
                expected="a concentration: AMT's unit, or one convertible to it, over a volume",
                cure="correct one of the two units in [columns]; convert mol to mass in the file",
            )


def _no_leading_unit(file: str, columns: Columns, item: str, unit: str, leading: str) -> Problem:
    name = columns.items.get(leading, leading)
    return Problem(
        file=file,
        key=f"columns.{columns.items[item]}.unit",
        found=f"unit {unit!r} for {item}, and none for {leading}",
        expected=f"a unit for {leading}, without which {item} cannot be converted",
        cure=f'write [columns] {toml_key(name)} = {{unit = "..."}}, or declare neither',
    )
