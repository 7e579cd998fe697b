"""Power, designs, calibration, bootstrap and influence: what trials like this one can find."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from popk.report.page.blocks import (
    Block,
    Cell,
    Column,
    Missing,
    Part,
    Prose,
    Section,
    Shown,
    figure,
    fixed,
    rows_of,
    word,
)
from popk.report.page.drawn import Drawn
from popk.report.page.resampled import bootstrap, influence, verdicts
from popk.report.page.words import capital, sentence
from popk.report.powered import OPEN, SHOWN, TRIALS

if TYPE_CHECKING:
    import pandas as pd

    from popk.analysis.gathered import Gathered


def trials(of: "Gathered", figures: Drawn) -> Section:
    """Everything that rests on many fits; what was not asked says how to ask."""
    return Section("trials", "Trials and resampling", (), tuple(_parts(of, figures)))


def _parts(of: "Gathered", figures: Drawn) -> Iterator[Part]:
    if of.power is not None:
        yield Part("power", "Power", (*_drawn(figures, "power"), *_power(of.power)),
                   capital(sentence(str(of.power.get("conclusion", "")))))  # fmt: skip
    if of.design:
        yield Part("design", "Sampling plans", (*_drawn(figures, "design"), *_design(of.design)),
                   "Expected by first-order Fisher information: an approximation.")  # fmt: skip
    if of.calibration is not None:
        told = "Simulated trials, fitted again: are intervals as wide as they should be?"
        blocks = (*_drawn(figures, "calibration"), *_calibration(of.calibration))
        yield Part("calibration", "Calibration", blocks, told)
    if of.bootstrap:
        blocks = tuple(block for own in of.bootstrap.values() for block in bootstrap(own))
        yield Part("bootstrap", "Bootstrap", (*_drawn(figures, "bootstrap"), *blocks))
    if of.influence is not None:
        blocks = (*_drawn(figures, "influence"), *influence(of.influence))
        yield Part("influence", "Influence of single subjects", blocks)
    absent = {
        "What a trial like this could find": ("power", of.power is None),
        "When to sample": ("design", not of.design),
        "Bootstrap": ("bootstrap", not of.bootstrap),
        "On whom the fit hangs": ("influence", of.influence is None),
    }
    lines = tuple(
        Missing(what, f"popk {name} {of.folder}") for what, (name, open_) in absent.items() if open_
    )
    if lines:
        yield Part("trials-more", "Not asked yet", lines)


def _drawn(figures: Drawn, folder: str) -> tuple[Block, ...]:
    return tuple(
        block
        for name in figures.named(f"{folder}/")
        for block in figures.block(figures.statics[name].told, statics=(name,))
    )


def _design(tables: "Mapping[str, pd.DataFrame]") -> Iterator[Block]:
    plans, errors = tables.get("plans"), tables.get("errors")
    if plans is not None:
        columns = (
            Column("Plan", numeric=False), Column("Samples"), Column("SE log ratio"),
            Column("Posterior SD"), Column("Interval", "fold"), Column("Efficiency"),
        )  # fmt: skip
        rows = tuple(
            (
                word(row["plan"], "strong"), fixed(row["samples"], 0),
                figure(row.get("se_log_ratio"), 3), figure(row.get("sd_log_ratio"), 3),
                figure(row.get("fold_width"), 3), fixed(row["efficiency"], 2),
            )
            for _, row in rows_of(plans)
        )  # fmt: skip
        yield Shown("Expected by plan", columns, rows)
    if errors is not None:
        columns = (
            Column("Parameter", numeric=False), Column("Value"), Column("SE"), Column("RSE %"),
            Column("Posterior SD"),
        )  # fmt: skip
        lines = []
        for _, row in rows_of(errors):
            name = str(row["name"])
            left = name.startswith(("TV", "omega_", "sigma")) and not row["rse_percent"] < OPEN
            se = (word("left open"), word("")) if left else (
                figure(row["se"], 3), figure(row["rse_percent"], 3)
            )  # fmt: skip
            lines.append(
                (word(name, "strong"), figure(row["value"]), *se, figure(row["posterior_sd"], 3))
            )
        yield Shown("Expected errors of the first plan", columns, tuple(lines))


def _power(record: Mapping[str, Any]) -> Iterator[Block]:
    columns = (
        Column("Infants"), Column("True ratio"),
        *(Column(text, told="in percent, ± Monte Carlo standard error") for text in SHOWN.values()),
        Column("Missed the gate", told="trials without a converged posterior"),
    )  # fmt: skip
    rows = tuple(
        (
            fixed(row["infants"], 0), word(f"{row['ratio']:g}", "strong"),
            *(_share(row, name) for name in SHOWN), fixed(row.get("missed"), 0),
        )
        for row in record.get("cells", ())
    )  # fmt: skip
    yield Prose((f"{TRIALS}.", *map(str, record.get("notes", ()))), "dim")
    yield Shown(f"{record['effect']}: {record['compares']}, percent of trials", columns, rows)


def _share(row: Mapping[str, Any], name: str) -> Cell:
    value, error = row.get(name), row.get(f"{name}_error")
    if value is None:
        return word("-")
    spread = "" if error is None else f" ± {100 * error:.1f}"
    return Cell(f"{100 * value:.1f}{spread}", repr(float(value)))


def _calibration(record: Mapping[str, Any]) -> Iterator[Block]:
    yield verdicts(record.get("verdicts", ()))
    table = record.get("parameters", {})
    columns = (
        Column("Parameter", numeric=False), Column("Bias"), Column("RMSE"), Column("Bias %"),
        Column("RMSE %"), Column("Coverage", told="of 90 % intervals"),
    )  # fmt: skip
    lines = tuple(
        (
            word(name, "strong"), figure(row.get("bias"), 3), figure(row.get("rmse"), 3),
            fixed(row.get("bias_percent"), 1), fixed(row.get("rmse_percent"), 1),
            Cell(f"{100 * row['coverage']:.1f} %", repr(row["coverage"])),
        )
        for name, row in table.items()
    )  # fmt: skip
    if lines:
        yield Shown("Population parameters over all trials", columns, lines)
