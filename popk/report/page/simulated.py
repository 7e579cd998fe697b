"""Simulated regimens, doses for a target, single patients. For research."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from popk.report.dosed import WORDS
from popk.report.numbers import number, unit
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
    interval,
    ranged,
    rows_of,
    word,
)
from popk.report.page.drawn import Drawn
from popk.report.page.words import capital, sentence
from popk.report.simulated import FOR_RESEARCH, SHOWN

if TYPE_CHECKING:
    from popk.analysis.gathered import Gathered, Patient, Regimens, Target


def dosing(of: "Gathered", figures: Drawn) -> Section:
    """Everything about doses; what was not asked says how to ask."""
    research = Prose((sentence(capital(FOR_RESEARCH)),), "look")
    return Section("dosing", "Simulation and dosing", (research,), tuple(_parts(of, figures)))


def _parts(of: "Gathered", figures: Drawn) -> Iterator[Part]:
    if of.simulation is not None:
        block = figures.block(
            "Simulated concentrations by regimen", charts=figures.of("simulation", "simulation"),
            statics=figures.named("simulation/"),
        )  # fmt: skip
        about = capital(sentence(of.simulation.about))
        yield Part("simulation", "Regimens", (*block, _regimens(of.simulation)), about)
    if of.target is not None:
        block = figures.block(
            "Probability of a Css in the window, by dose",
            charts=figures.of("simulation", "target"), statics=figures.named("target/"),
        )  # fmt: skip
        yield Part("target", f"Doses for a Css of {of.target.window}",
                   (*block, *_target(of.target)), capital(sentence(of.target.about)))  # fmt: skip
    for place, patient in enumerate(of.patients, start=1):
        charts = [c for c in figures.of("dose") if c.name == f"dose-{place}"]
        block = figures.block(f"ID {patient.id}: course and samples", charts=charts)
        yield Part(f"patient-{place}", f"A dose for ID {patient.id}", (*block, _patient(patient)),
                   " ".join(capital(sentence(line)) for line in patient.how))  # fmt: skip
    window = f'--window "... to ... {of.concentration_unit}"'
    absent = {
        "Concentrations under a regimen": ("simulate", "--regimen NAME", of.simulation is None),
        "Doses for a target": ("target", window, of.target is None),
        "A dose for one new infant": ("dose", "--patient FILE", not of.patients),
    }
    lines = tuple(
        Missing(what, f"popk {command} {of.folder} {rest}")
        for what, (command, rest, open_) in absent.items()
        if open_
    )
    if lines:
        yield Part("dosing-more", "Not asked yet", lines)


def _regimens(of: "Regimens") -> Shown:
    table = of.summary
    quantities = [
        q for q in dict.fromkeys(table["quantity"])
        if q in ("CL", *SHOWN) or str(q).startswith(("above ", "below "))
    ]  # fmt: skip
    units = dict(zip(table["quantity"], table["unit"], strict=True))
    columns = (
        Column("Regimen", numeric=False), Column("Age", numeric=False), Column("n"),
        *(Column(str(q), unit(str(units[q])), told="median (90 % range)") for q in quantities),
    )  # fmt: skip
    rows = []
    for key, own in table.groupby(["regimen", "group"], sort=False):
        regimen, group = tuple(key) if isinstance(key, tuple) else (key, "")
        by = {str(row["quantity"]): row for _, row in rows_of(own)}
        first = next(iter(by.values()))
        rows.append(
            (word(regimen, "strong"), word(group), fixed(first["n"], 0),
             *(_range(by.get(q)) for q in quantities))
        )  # fmt: skip
    return Shown("By regimen and age: median (90 % range)", columns, tuple(rows))


def _range(row: dict[str, Any] | None) -> Cell:
    return word("") if row is None else ranged(row["median"], row["q5"], row["q95"], 4)


def _target(of: "Target") -> Iterator[Block]:
    columns = (
        Column("Dose in", numeric=False), Column("Age", numeric=False), Column("Best dose"),
        Column("90 % interval"), Column("Probability"), Column("90 % interval"), Column("Below"),
        Column("Above"),
    )  # fmt: skip
    rows = tuple(
        (
            word(unit(row["basis"]), "strong"), word(row["group"]), figure(row["dose"], 3),
            interval(row["dose_q5"], row["dose_q95"], 3), fixed(row["probability"], 2),
            interval(row["probability_q5"], row["probability_q95"], 2), fixed(row["below"], 2),
            fixed(row["above"], 2),
        )
        for row in of.best.to_dict("records")
    )  # fmt: skip
    yield Shown("The dose that most probably gives it", columns, rows)
    if of.asked is None:
        return
    columns = (
        Column("Dose", numeric=False), Column("Age", numeric=False), Column("Probability"),
        Column("90 % interval"), Column("Below"), Column("Above"),
    )  # fmt: skip
    rows = tuple(
        (
            word(unit(str(row["dose"])), "strong"), word(row["group"]),
            fixed(row["probability"], 2), interval(row["q5"], row["q95"], 2),
            fixed(row["below"], 2), fixed(row["above"], 2),
        )
        for row in of.asked.to_dict("records")
    )  # fmt: skip
    yield Shown("The doses that were asked for", columns, rows)


def _patient(of: "Patient") -> Shown:
    columns = (
        Column("Quantity", numeric=False), Column("Unit", numeric=False), Column("Median"),
        Column("90 % interval"), Column("P(Css in the window)"),
    )  # fmt: skip
    rows = tuple(
        (
            word(capital(WORDS.get(str(name), str(name)).removeprefix("... ")), "strong"),
            word(unit(row["unit"])),
            figure(row["median"]),
            word("" if row["q5"] == row["q95"] else f"{number(row['q5'])} to {number(row['q95'])}"),
            word("" if row["probability"] != row["probability"] else f"{row['probability']:.2f}"),
        )
        for name, row in rows_of(of.summary)
    )
    return Shown("What is known of this patient", columns, rows)
