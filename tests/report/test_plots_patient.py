"""The figure of one infant's dose: labelled, with units, without overlapping text."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from popk.analysis.dosing.patient import Goal, PatientDose
from popk.analysis.dosing.rates import Rate
from popk.report.plots.patient import of_patient, patient
from tests.report.drawn import overlapping, texts

PRESENT = Rate(15.0, "ug/m^2/day", 0.22, "ug/h")
UNUSED: Any = None


def made(samples=2, censored=False):
    time = np.linspace(0.0, 700.0, 50)
    level = 600.0 * (1 - np.exp(-time / 10))
    course = pd.DataFrame({"TIME": time, "median": level, "q5": 0.8 * level, "q95": 1.2 * level,
                           "measured_q5": 0.6 * level, "measured_q95": 1.5 * level})  # fmt: skip
    course.attrs["units"] = {"TIME": "h", "concentration": "pg/mL"}
    own = pd.DataFrame({"TIME": 10.0 + 14.0 * np.arange(samples), "DV": 500.0,
                        "censored": [censored] * samples})  # fmt: skip
    draws = {"Css": 600.0 * np.exp(0.2 * np.random.default_rng(1).standard_normal(200))}
    return PatientDose("<$x_1$>", UNUSED, UNUSED, draws, {"Css": "pg/mL"}, PRESENT,
                       Goal(None, (500.0, 900.0)), PRESENT.at(0.25), pd.DataFrame(), course, own,
                       True, "a fit")  # fmt: skip


@pytest.mark.parametrize("samples", [0, 1, 12])
@pytest.mark.parametrize("censored", [True, False])
@pytest.mark.parametrize("goal", [None, Goal(700.0, None), Goal(None, (500.0, 900.0))])
def test_figure(samples, censored, goal):
    found = replace(made(samples, censored), goal=goal)
    found = found if goal is not None else replace(found, recommended=None)
    figure = patient(found)
    assert overlapping(figure) == []
    said = [words for words, _ in texts(figure)]
    for words in ("time (h)", "concentration (pg/mL)", "rate (µg/m²/day)", "Css (pg/mL)"):
        assert words in said
    assert any("SYNTHETIC" in words and "not advice" in words for words in said)
    assert ("rate for the target" in said) == (goal is not None)


def test_without_an_infusion_there_is_only_the_course():
    figure = patient(replace(made(), present=None, goal=None, recommended=None))
    assert len(figure.axes) == 1


def test_an_id_is_text():
    assert "ID &lt;$x_1$&gt;" in of_patient(made())["dose.svg"]
