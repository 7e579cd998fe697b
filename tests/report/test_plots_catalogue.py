"""Figures by name: each asks for what it shows, nothing overlaps, files are whole."""

import re
import zlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from popk.report.plots.catalogue import ALL, CATALOGUE, listed, named, pages
from popk.report.plots.style import DOUBLE, MM, SINGLE, encoded, wide
from popk.spec.problem import PopkError
from tests.report.drawn import overlapping, texts
from tests.report.test_plots_checks import made
from tests.report.test_plots_sensitivity import row


class Asked:
    """Checks, and the tables beside them, that note what a figure asks for."""

    def __init__(self, count: int, **more) -> None:
        self.known = {**vars(made(count)), **beside(count), **more}
        self.asked: set[str] = set()

    def __getattr__(self, name: str):
        self.asked.add(name)
        return self.known[name]


def beside(count: int) -> dict:
    rng = np.random.default_rng(count)
    ids = [f"<{i + 1}>" for i in range(count)]
    columns = {}
    units = {"CL": "L/h", "CL_scaled": "L/h/m²", "V": "L", "Css_nominal": "pg/mL"}
    for name in units:
        values = rng.lognormal(0, 0.3, count)
        columns |= {name: values, f"{name}_q5": 0.8 * values, f"{name}_q95": 1.3 * values}
    individuals = pd.DataFrame(columns, index=pd.Index(ids, name="ID"))
    individuals.attrs["units"] = units
    value = np.linspace(0.0, 2.0, 50)
    curves = pd.concat(
        pd.DataFrame({"parameter": name, "unit": "log scale (SD)", "value": value,
                      "prior": np.exp(-value), "posterior": np.exp(-50 * (value - 1) ** 2)})
        for name in ("TVCL", "TVV", "CL_AGE_below", "omega_CL", "omega_V", "sigma")
    )  # fmt: skip
    ratio = {"parameter": "CL", "contrast": "AGE < 6 month against others", "ratio": 1.02,
             "q2_5": 0.7, "q5": 0.8, "q95": 1.3, "q97_5": 1.45,
             "verdict": "the data cannot tell"}  # fmt: skip
    single = pd.DataFrame([ratio, ratio], index=["CL_AGE_below", "CL_SEX"])
    tests = SimpleNamespace(table=single, joint=single, no_effect=(0.8, 1.25))
    sensitivity = pd.DataFrame.from_dict(
        {"TVCL": row(0.9), "CL_AGE_below": row(400.0, 1e-9, "prior-data conflict")}, orient="index"
    )
    time = np.linspace(0.0, 10.0, 21)
    times = pd.DataFrame({"reference": ["start"] * 21 + ["end"] * 21, "time": np.tile(time, 2),
                          "concentration": 1.0, "sd_CL": 0.1, "sd_V": 0.2})  # fmt: skip
    times.attrs = {"sd": {"CL": 0.1, "V": 0.45}, "unit": "h", "concentration_unit": "pg/mL",
                   "infusion": True}  # fmt: skip
    return {"individuals": individuals, "densities": curves, "covariate_tests": tests,
            "sensitivity": sensitivity, "information": times}  # fmt: skip


NEEDS = {
    "predictions": {"observations"}, "residuals": {"observations", "npde"},
    "npde": {"observations", "npde"}, "vpc": {"vpc"}, "pcvpc": {"pcvpc"}, "limits": {"limits"},
    "individuals": {"observations", "profiles"}, "exposure": {"individuals"}, "etas": {"etas"},
    "outliers": {"outliers"}, "sample": {"paper"}, "forest": {"covariate_tests"},
    "priors": {"densities"}, "sensitivity": {"sensitivity"}, "times": {"information"},
}  # fmt: skip
ABOUT = {"synthetic", "time_unit", "concentration_unit", "name"}


QUICK = ("exposure", "priors", "vpc")
"""Drawn at one width in every run of the tests; all of them, at both widths, in the long one."""


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_asks_for_what_it_shows(name):
    own = Asked(5)
    drawn = pages(name, own, DOUBLE)
    assert own.asked - ABOUT == NEEDS[name]
    assert drawn or name == "limits"
    for figure in drawn:
        assert "SYNTHETIC DATA" in figure.get_suptitle().replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "width", "count"),
    [
        pytest.param(name, width, count, marks=() if quick else pytest.mark.slow)
        for name in CATALOGUE
        for width in (SINGLE, DOUBLE)
        for count in (1, 18, 70)
        for quick in [name in QUICK and width == SINGLE and count == 18]
    ],
)
def test_nothing_covers_another_or_is_cut_off(name, width, count):
    for figure in pages(name, Asked(count), width)[:1]:
        assert overlapping(figure) == []
        assert figure.get_figwidth() == width
        inside = figure.bbox.padded(1.0)
        for words, box in texts(figure):
            assert inside.x0 <= box.x0 <= box.x1 <= inside.x1, words
            assert inside.y0 <= box.y0 <= box.y1 <= inside.y1, words


def test_what_a_fit_has_not_gives_no_figure():
    nothing = pd.DataFrame()
    own = Asked(1, covariate_tests=None, sensitivity=nothing, information=nothing,
                densities=nothing, paper=None)  # fmt: skip
    for name in ("forest", "sensitivity", "times", "priors", "sample"):
        assert pages(name, own, DOUBLE) == []
        assert CATALOGUE[name].needs


def test_names_are_checked_all_at_once_with_the_nearest():
    assert named(["vpc", "npde", "vpc"]) == ["vpc", "npde"]
    assert named(["npde", ALL]) == ["npde", *(n for n in CATALOGUE if n != "npde")]
    with pytest.raises(PopkError) as error:
        named(["vcp", "vpc", "xyzzy"])
    first, second = error.value.problems
    assert first.cure == "did you mean 'vpc'?"
    assert "sensitivity" in second.expected
    with pytest.raises(PopkError, match="no figure"):
        named([])
    assert [line.split()[0] for line in listed().splitlines()] == list(CATALOGUE)


def test_widths():
    assert wide("single") == pytest.approx(85 * MM)
    assert wide("180") == pytest.approx(DOUBLE)
    assert wide("120 mm") == pytest.approx(120 * MM)
    for word in ("wide", "12", "-5", "nan"):
        with pytest.raises(PopkError, match="single, double"):
            wide(word)


def test_files_for_print_are_whole_and_the_same_each_time():
    (figure,) = pages("exposure", Asked(3), SINGLE)
    files = {kind: encoded(figure, kind) for kind in ("svg", "pdf", "png")}
    assert files == {kind: encoded(figure, kind) for kind in files}
    # A TrueType font within, no Type 3 outlines
    pdf = files["pdf"]
    parts = [zlib.decompress(m) for m in re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", pdf, re.S)]
    whole = pdf + b"".join(parts)
    assert b"/FontFile2" in whole
    assert b"/Type3" not in whole
    # Letters of an SVG are outlines: they look the same everywhere
    assert b"<text" not in files["svg"]
    assert b"&lt;script" not in files["svg"]
    width = int.from_bytes(files["png"][16:20], "big")
    assert width == pytest.approx(85 / 25.4 * 300, abs=1)
