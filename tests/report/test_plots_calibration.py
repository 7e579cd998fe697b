"""Figures of a calibration: all parameters and subjects are there, no labels overlap."""

import numpy as np
import pandas as pd
import pytest

from popk.analysis.calibration.uniform import GRID, band
from popk.report.plots.calibration import coverage_plot, rank_plot
from popk.report.plots.style import svg
from tests.report.drawn import overlapping

REPLICATES = 1000
NAMES = ("TVCL", "TVV", "CL_AGE_maturation_half", "omega_CL", "omega_V", "sigma")


def curves(names):
    half = band(REPLICATES) * np.sqrt(GRID * (1 - GRID) / REPLICATES)
    columns = {"band": half} | dict.fromkeys(names, 0.3 * half)
    columns[names[0]] = np.where(GRID > 0.5, 1.5, 0.2) * half
    return pd.DataFrame(columns, index=pd.Index(GRID, name="z"))


@pytest.mark.parametrize("count", [1, 2, 6])
def test_every_parameter_has_a_panel(count):
    names = NAMES[:count]
    figure = rank_plot(curves(names), dict.fromkeys(names, 0.0123))
    shown = [axes for axes in figure.axes if axes.get_visible()]
    titles = [axes.get_title(loc="left") for axes in shown]
    assert titles == [f"{name}  (p 0.012)" for name in names]
    # What leaves the band is drawn a second time: thick
    thick = [axes.lines[-1] for axes in shown]
    assert [np.isfinite(line.get_ydata()).any() for line in thick] == [True] + [False] * (count - 1)
    assert not overlapping(figure)
    again = rank_plot(curves(names), dict.fromkeys(names, 0.0123))
    once = rank_plot(curves(names), dict.fromkeys(names, 0.0123))
    assert svg(again) == svg(once)


@pytest.mark.parametrize("subjects", [2, 26, 120])
def test_coverage_of_every_subject_without_overlapping_labels(subjects):
    rng = np.random.default_rng(1)
    ids = [f"site-{i // 10}/{i}" if subjects > 100 else str(i + 1) for i in range(subjects)]
    own = rng.binomial(REPLICATES, 0.9, (2, subjects)) / REPLICATES
    own[1, 0] = 0.8
    coverage = {"CL": own[0], "Css": own[0], "V": own[1]}
    figure = coverage_plot(ids, coverage, REPLICATES)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["CL and Css", "V"]
    inside, outside = figure.axes[1].lines[1:]
    assert list(outside.get_ydata()) == [0.8]
    assert len(inside.get_ydata()) == subjects - 1
    assert not overlapping(figure)
