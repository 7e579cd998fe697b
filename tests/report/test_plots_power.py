"""Figures of power and of sampling times: labelled, without overlapping text."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from popk.analysis.power.overview import Overview
from popk.analysis.power.plans import Plans
from popk.analysis.power.power import Power
from popk.report import powered
from popk.report.plots import power as plots
from popk.spec.plan import Plan
from tests.report.drawn import overlapping, texts

SHARES = ("excludes_90", "excludes_95", "relevant", "not_relevant", "unknown", "bayes_factor",
          "wilcoxon", "coverage", "lr", "spearman")  # fmt: skip


def made(sizes, ratios, unknown=("lr", "spearman")):
    rows = {}
    for infants in sizes:
        for ratio in ratios:
            power = 1 - np.exp(-infants * np.log(ratio) ** 2)
            row: dict[str, Any] = dict.fromkeys(SHARES, power)
            row |= {f"{name}_error": 0.02 for name in SHARES}
            row |= {"width": 2.0 / np.sqrt(infants), "width_error": 0.01, "missed": 0,
                    "refitted": 1, "trials": 500, "lr_left": 3}  # fmt: skip
            row |= dict.fromkeys(unknown, np.nan)
            rows[(infants, ratio)] = row
    cells = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["infants", "ratio"])
    precision = pd.DataFrame(
        {"width": cells["width"], "width_error": 0.01, "expected_width": 1.1 * cells["width"],
         "power": cells["excludes_90"], "power_error": 0.02, "expected_power": 0.5}
    )  # fmt: skip
    own = Power(cells, pd.DataFrame(), "a model", "CL_AGE_below", "AGE < 6 month against not",
                Plan(), {"TVCL": 0.9}, (0.8, 1.25), {n: (n // 2, n - n // 2) for n in sizes}, 1,
                "key", True, 12.0, ("A note.",))  # fmt: skip
    needed = pd.DataFrame({"infants": 20.0, "low": 18.0, "high": np.nan, "words": "20"},
                          index=pd.Index(ratios, name="ratio"))  # fmt: skip
    averaged = pd.DataFrame({"prior": 0.5, "prior_error": 0.01},
                            index=pd.Index(sizes, name="infants"))  # fmt: skip
    return Overview(own, "excludes_90", 0.8, needed, averaged, precision, "It says this.")


EIGHT = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5)


@pytest.mark.parametrize("sizes", [(26,), (10, 16, 26, 40, 60, 90)])
@pytest.mark.parametrize("ratios", [(1.0,), (0.6, 1.0), EIGHT])
@pytest.mark.parametrize("unknown", [("lr", "spearman"), ("spearman",)])
def test_figures_of_power(sizes, ratios, unknown):
    found = made(sizes, ratios, unknown)
    figures = [plots.power(found), plots.width(found)]
    assert (figures[1] is None) == (len(sizes) == 1)
    for figure in figures:
        if figure is not None:
            assert overlapping(figure) == []
            assert "SYNTHETIC TRIALS" in " ".join(words for words, _ in texts(figure))
    assert "power.svg" in plots.of_power(found)


def test_tables_of_power():
    found = made((10, 26), EIGHT)
    files = powered.of_power(found)
    assert set(files) == {"cells.csv", "smallest.csv", "assurance.csv", "precision.csv",
                          "power.json"}  # fmt: skip
    assert all(files[n].startswith("# SYNTHETIC TRIALS") for n in files if n.endswith(".csv"))
    record = powered.record(found)
    assert record["cells"][0]["infants"] == 10
    assert record["conclusion"] == "It says this."
    assert len(powered.power(found)) > 5


@pytest.mark.parametrize("references", [("start",), ("start", "end")])
def test_figure_of_sampling_times(references):
    time = np.geomspace(0.1, 500, 20)
    about = {"time": time, "information_CL": 5.0, "information_V": 100 * np.exp(-time / 5)}
    parts = [pd.DataFrame({"reference": r, **about}) for r in references]
    table = pd.concat(parts, ignore_index=True)
    table.attrs["unit"] = "h"
    compared = pd.DataFrame({"samples": 52.0, "se_log_ratio": 0.14, "sd_log_ratio": 0.13,
                             "fold_width": 1.5, "efficiency": 1.0}, index=["34 h"])  # fmt: skip
    errors = pd.DataFrame({"value": [0.9, 3.0, 0.0], "se": [0.1, np.inf, 0.1],
                           "rse_percent": [10.0, np.inf, np.nan], "posterior_sd": 0.1},
                          index=["TVCL", "TVV", "log ratio"])  # fmt: skip
    found = Plans("a model", compared, errors, table, (), {"CL": "", "V": "1 to 2 h"})
    figure = plots.times(found)
    assert overlapping(figure) == []
    said = " ".join(words for words, _ in texts(figure))
    assert "(h)" in said
    assert len(powered.plans(found)) > 4
    assert set(powered.of_plans(found)) == {"plans.csv", "errors.csv", "times.csv"}
