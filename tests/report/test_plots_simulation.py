"""Figures of simulations and of doses: labelled, with units, without overlapping text."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from popk.analysis.dosing.attainment import Attainment
from popk.analysis.simulation.simulation import Simulation, summarised
from popk.report.plots import dosing, simulation
from tests.report.drawn import overlapping, texts

UNITS = {"Css": "pg/mL", "AUC": "pg/mL*h", "t90": "h", "above 500 pg/mL": "h", "AGE": "month"}
QUANTILES = ("q5", "q25", "median", "q75", "q95")


def simulated(names, groups, residual=True, subjects=40):
    """A simulation of numbers of the right kind."""
    rng = np.random.default_rng(len(names))
    parts, bands = {}, []
    for i, name in enumerate(names):
        css = 700.0 * np.exp(0.3 * rng.standard_normal(subjects)) / (i + 1)
        kind = pd.Categorical.from_codes(np.arange(subjects) % len(groups), groups, ordered=True)
        parts[name] = pd.DataFrame(
            {"group": kind, "AGE": 6.0, "Css": css, "AUC": 672.0 * css, "t90": 8.0,
             "above 500 pg/mL": np.where(css > 500, 660.0, 0.0)},
            index=[str(n) for n in range(subjects)],
        )  # fmt: skip
        time = np.linspace(0, 700, 30)
        curve = {"regimen": name, "TIME": time, "subjects": subjects}
        for k, q in enumerate(QUANTILES):
            curve[q] = (500.0 + 100.0 * k) * (1 - np.exp(-time / 20))
            if residual:
                curve[f"measured_{q}"] = (450.0 + 130.0 * k) * (1 - np.exp(-time / 20))
        bands.append(pd.DataFrame(curve))
    table = pd.concat(parts, names=["regimen", "ID"])
    if len(groups) == 1:
        table["group"] = "all"
    switches = {"uncertainty": True, "variability": True, "residual": residual}
    return Simulation(table, pd.concat(bands), summarised(table, UNITS), UNITS, switches,
                      "posterior", "virtual infants", True, "a fit")  # fmt: skip


AGES = ["0 to 3 months", "3 to 6 months", "6 months and over"]
MANY = tuple(f"regimen number {i}" for i in range(7))


@pytest.mark.parametrize(
    ("names", "groups", "residual"),
    [(("one",), ["all"], True), (("one",), AGES, False), (("one", "two"), AGES, True),
     (MANY, ["all"], False), (MANY, AGES, True)],
)  # fmt: skip
def test_figures_of_a_simulation(names, groups, residual):
    found = simulated(names, groups, residual)
    figures = [simulation.profiles(found), simulation.css_by_age(found)]
    if len(names) > 1:
        figures += [simulation.medians(found), simulation.exposure(found)]
    else:
        assert simulation.medians(found) is simulation.exposure(found) is None
    for figure in figures:
        assert figure is not None
        assert overlapping(figure) == []
        said = " ".join(words for words, _ in texts(figure))
        assert "SYNTHETIC" in said
        assert "(pg/mL" in said
    assert set(simulation.of_simulation(found)) >= {"profiles.svg", "css_by_age.svg"}


def test_without_css_there_is_no_figure_of_it():
    found = simulated(("one",), ["all"])
    found.subjects["Css"] = np.nan
    bare = summarised(found.subjects, UNITS)
    assert "css_by_age.svg" not in simulation.of_simulation(replace(found, summary=bare))


def test_names_are_shown_as_they_are_written():
    """Mathematics and markup in a regimen's name are text."""
    figure = simulation.profiles(simulated(("<b>$x_1$</b>",), ["all"]))
    assert "<b>$x_1$</b>" in [words for words, _ in texts(figure)]
    assert (
        "&lt;b&gt;$x_1$"
        in simulation.of_simulation(simulated(("<b>$x_1$</b>",), ["all"]))["profiles.svg"]
    )


@pytest.mark.parametrize("groups", [["all"], ["all", "0 to 6 months", "6 months and over"]])
@pytest.mark.parametrize("bases", [["ug/m^2/day"], ["ug/m^2/day", "ug/kg/day", "ug/day"]])
def test_figure_of_attainment(groups, bases):
    dose = np.geomspace(1.0, 60.0, 50)
    curves, best = [], []
    for basis in bases:
        for group in groups:
            p = np.exp(-0.5 * (np.log(dose / 15.0) / 0.5) ** 2)
            own = {"dose": dose, "probability": p, "q5": 0.8 * p, "q95": 0.5 * (1 + p)}
            curves.append(pd.DataFrame({"basis": basis, "group": group, **own}))
            best.append({"basis": basis, "group": group, "dose": 15.0})
    found = Attainment(pd.DataFrame(best).set_index(["basis", "group"]), pd.concat(curves),
                       pd.DataFrame(), (500.0, 900.0), "pg/mL", "posterior", "virtual infants",
                       True, "a fit")  # fmt: skip
    figure = dosing.attainment(found)
    assert overlapping(figure) == []
    said = " ".join(words for words, _ in texts(figure))
    for words in ("500 to 900 pg/mL", "not advice", "SYNTHETIC", "probability", "dose (µg/m²/day)"):
        assert words in said
