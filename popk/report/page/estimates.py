"""The paper's line, population parameters, individuals."""

from typing import TYPE_CHECKING

from popk.report.described import objective_parts, paper_intervals
from popk.report.numbers import unit
from popk.report.page.blocks import (
    Block,
    Cell,
    Column,
    Missing,
    Prose,
    Section,
    Shown,
    figure,
    fixed,
    interval,
    ranged,
    rows_of,
    share,
    word,
)
from popk.report.page.drawn import Drawn
from popk.report.page.words import meaning, measured, quantity

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered

MOST = 1000
"""Individuals that a page lists; the rest stand in individuals.csv."""


def paper(of: "Gathered", figures: Drawn) -> Section | None:
    """Css and CL as a paper prints them; None where there are none."""
    if of.paper is None:
        return None
    line = unit(str(of.paper)) + ("  (SYNTHETIC data)" if of.synthetic else "")
    blocks: list[Block] = [
        Prose((line,), "line"),
        Prose((unit(paper_intervals(of.paper)) + ".",), "dim"),
    ]
    blocks += figures.block("Css and CL, subject by subject", charts=figures.of("paper"))
    return Section("paper", "Css and CL", tuple(blocks))


def parameters(of: "Gathered") -> Section:
    """The population table."""
    shown = _estimates(of) if of.maximum_likelihood else _posterior(of)
    blocks: list[Block] = [shown]
    if of.objective:
        blocks.append(Prose((", ".join(objective_parts(of.objective)) + ".",), "strong"))
    return Section("parameters", "Population parameters", tuple(blocks))


def _names(of: "Gathered", name: str, unit: str) -> tuple[Cell, ...]:
    return word(name, "strong", under=meaning(name, of.model)), word(measured(unit))


def _posterior(of: "Gathered") -> Shown:
    columns = (
        Column("Parameter", numeric=False), Column("Unit", numeric=False),
        Column("Median"), Column("Mean"), Column("SD"),
        Column("90 % interval"), Column("CV %", told="between subjects, on the natural scale"),
        Column("Shrinkage", told="of the individual estimates"),
        Column("R-hat", told="agreement of the chains: below 1.01"),
        Column("ESS bulk", told="effective draws behind medians"),
        Column("ESS tail", told="effective draws behind intervals"),
        Column("Contraction", told="1 - posterior variance / prior variance: near 1 the data speak,"
               " near 0 the prior does"),
        Column("Note", numeric=False),
    )  # fmt: skip
    rows = tuple(
        (
            *_names(of, str(name), row["unit"]), figure(row["median"]), figure(row["mean"]),
            figure(row["sd"]), interval(row["q5"], row["q95"]), figure(row["cv_percent"], 3),
            share(row["shrinkage"]), fixed(row["rhat"], 4), fixed(row["ess_bulk"], 0),
            fixed(row["ess_tail"], 0), fixed(row["contraction"], 2), word(row["note"], "look"),
        )
        for name, row in rows_of(of.parameters)
    )  # fmt: skip
    return Shown(
        "Population parameters: posterior medians and 90 % intervals", _kept(columns, rows),
        _kept_rows(columns, rows), name="parameter-table",
    )  # fmt: skip


def _estimates(of: "Gathered") -> Shown:
    columns = (
        Column("Parameter", numeric=False), Column("Unit", numeric=False),
        Column("Estimate"), Column("SE"),
        Column("SE sandwich", told="robust to a wrong model"),
        Column("RSE %", told="SE in percent of the estimate"), Column("90 % confidence"),
        Column("CV %", told="between subjects, on the natural scale"),
        Column("Shrinkage", told="of the individual estimates"), Column("Note", numeric=False),
    )  # fmt: skip
    rows = tuple(
        (
            *_names(of, str(name), row["unit"]), figure(row["estimate"]), figure(row["se"]),
            figure(row["se_sandwich"]), figure(row["rse_percent"], 3),
            interval(row["q5"], row["q95"]), figure(row["cv_percent"], 3), share(row["shrinkage"]),
            word(row["note"], "look"),
        )
        for name, row in rows_of(of.parameters)
    )  # fmt: skip
    return Shown(
        "Population parameters: maximum-likelihood estimates and 90 % confidence intervals",
        _kept(columns, rows), _kept_rows(columns, rows), name="parameter-table",
    )  # fmt: skip


def _kept(columns: tuple[Column, ...], rows: tuple[tuple[Cell, ...], ...]) -> tuple[Column, ...]:
    return tuple(c for i, c in enumerate(columns) if _said(rows, i))


def _kept_rows(
    columns: tuple[Column, ...], rows: tuple[tuple[Cell, ...], ...]
) -> tuple[tuple[Cell, ...], ...]:
    """Rows without columns in which nothing is said."""
    own = [i for i in range(len(columns)) if _said(rows, i)]
    return tuple(tuple(row[i] for i in own) for row in rows)


def _said(rows: tuple[tuple[Cell, ...], ...], place: int) -> bool:
    return any(row[place].text not in ("", "-") for row in rows)


def individuals(of: "Gathered") -> Section:
    """Every subject, to sort and to search."""
    table, units = of.individuals, of.individual_units
    columns = (
        Column("ID", numeric=False),
        *(Column(quantity(name), measured(unit)) for name, unit in units.items()),
    )
    rows = tuple(
        (
            word(who, "strong"),
            *(ranged(row[n], row[f"{n}_q5"], row[f"{n}_q95"]) for n in units),
        )
        for who, row in rows_of(table.head(MOST))
    )
    blocks: list[Block] = [
        Shown(
            "Individual parameters: median (90 % interval)", columns, rows, tools=True,
            name="individual-table",
        )
    ]  # fmt: skip
    if len(table) > MOST:
        more = f"{len(table) - MOST} more individuals: individuals.csv"
        blocks.append(Missing(more, f"popk summary {of.folder}"))
    return Section("individuals", "Individuals", tuple(blocks))
