import io
from typing import Literal

import pandas as pd
import pytest
from rich.console import Console

from popk.analysis.summary import PaperLine
from popk.inference.convergence import Check
from popk.report import terminal
from popk.spec.problem import Problem


@pytest.fixture
def text():
    """What a part looks like without a terminal."""

    def of(part):
        out = io.StringIO()
        Console(file=out, width=200, highlight=False).print(part)
        return out.getvalue()

    return of


def check(name, passed, worst="TVCL"):
    return Check(name, 1.234567, "< 1.01", passed, worst, f"{name} means this", "somebody 2021")


def problem(i, severity: Literal["error", "warning"] = "error", **where):
    return Problem(f"found {i}", f"expected {i}", f"cure {i}", severity=severity, **where)


def test_verdict_of_a_failure_comes_first(text):
    lines = text(terminal.verdict([check("ESS", True), check("R-hat", False, "CL[2]")]))
    assert lines.index("NOT CONVERGED") < lines.index("R-hat means this") < lines.index("threshold")
    table = lines[lines.index("threshold") :]
    assert table.index("R-hat") < table.index("ESS")
    assert "CL[2]" in table
    assert "FAILED" in table
    assert "ESS means this" not in lines


def test_verdict_where_all_passed(text):
    lines = text(terminal.verdict([check("ESS", True), check("R-hat", True)]))
    assert "NOT CONVERGED" not in lines
    assert "FAILED" not in lines
    assert lines.count("passed") == 2
    assert "1.235" in lines


def test_problem_says_everything(text):
    place = {"file": "a[b].csv", "line": 7, "subject": "[red]", "key": "DV"}
    lines = text(terminal.problems([problem(1, **place)]))
    assert "error a[b].csv, line 7, ID [red], DV" in lines
    for part in ("found 1", "expected 1", "cure 1"):
        assert part in lines


def test_errors_stand_before_warnings_and_the_rest_is_counted(text):
    found = [problem(i, "warning") for i in range(3)] + [problem(i) for i in range(3, 60)]
    lines = text(terminal.problems(found))
    assert lines.count("error") == 50
    assert "warning" not in lines
    assert "... and 10 more; --json lists all" in lines
    lines = text(terminal.problems(found[:5]))
    assert lines.index("found 4") < lines.index("found 0")


@pytest.mark.parametrize("synthetic", [True, False])
def test_tables_say_that_data_are_synthetic(text, synthetic):
    row = dict.fromkeys(
        ["median", "mean", "sd", "q5", "q95", "rhat", "ess_bulk", "ess_tail", "contraction"], 1.0
    )
    row |= {"unit": "L/h/[m²]", "cv_percent": float("nan"), "shrinkage": 0.256, "note": ""}
    population = pd.DataFrame.from_dict({"TV[CL]": row}, orient="index")
    lines = text(terminal.parameters(population, synthetic))
    assert ("SYNTHETIC DATA" in lines) == synthetic
    for part in ("TV[CL]", " L/h/[m²]", "26 %", "1 to 1"):
        assert part in lines
    individual = pd.DataFrame({"CL": [2.0], "CL_q5": [1.0], "CL_q95": [3.0]}, index=["[red]"])
    individual.attrs["units"] = {"CL": "L/h"}
    lines = text(terminal.individuals(individual, synthetic))
    assert ("SYNTHETIC DATA" in " ".join(lines.split())) == synthetic
    assert lines.splitlines()[-1].split() == ["[red]", "2", "(1-3)"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00469555, "0.004696"),
        (705.96, "706"),
        (12345.6, "12,346"),
        (0.0, "0"),
        (-0.12345, "-0.1235"),
        (float("nan"), "-"),
        (1e-7, "1.000e-07"),
        (1.5e12, "1.500e+12"),
    ],
)
def test_numbers_have_four_digits_and_no_needless_exponent(text, value, shown):
    row = dict.fromkeys(
        ["median", "mean", "sd", "q5", "q95", "rhat", "ess_bulk", "ess_tail", "contraction"], 1.0
    )
    row |= {"median": value, "unit": "L", "cv_percent": 1.0, "shrinkage": 0.1, "note": ""}
    table = pd.DataFrame.from_dict({"TVCL": row}, orient="index")
    line = text(terminal.parameters(table, False)).splitlines()[-1]
    assert line.split()[2] == shown


def test_paper_line(text):
    names = ("css_mean", "css_sd", "cl_median", "cl_minimum", "cl_maximum")
    line = PaperLine(
        706.4, 194.2, 0.891, 0.57, 2.66,
        intervals=dict.fromkeys(names, (0.5, 1.5)),
        css_unit="pg/mL", cl_unit="L/h/m²", dose="15 µg/m²/day",
    )  # fmt: skip
    lines = text(terminal.paper_line(line)).splitlines()
    assert lines[0] == (
        "Css at 15 µg/m²/day: 706 ± 194 pg/mL (mean ± SD); CL: median 0.89 (0.57-2.66) L/h/m²"
    )
    assert "90 % intervals" in lines[1]
