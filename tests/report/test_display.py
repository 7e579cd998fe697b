"""How records look in a notebook: the verdict first, everything from files escaped."""

import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from popk.data.nonmem.read import read_data
from popk.inference.convergence import Check
from popk.population.model import Model
from popk.report.display import html
from popk.spec.fit import DataSpec
from popk.spec.model import ModelSpec
from tests.analysis.conftest import drawn as drawn
from tests.analysis.conftest import prior_draws as prior_draws
from tests.inference.conftest import course as course
from tests.inference.conftest import steady_state as steady_state

MODEL_FILE = Path(__file__).parents[2] / "models" / "bolus_1cpt_wt.toml"
EVIL = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """Tags and text of a fragment; unbalanced tags fail."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


@pytest.fixture
def evil(tmp_path):
    """Data and a model whose names are markup."""
    path = tmp_path / "data.csv"
    path.write_text(f"ID,TIME,AMT,DV,{EVIL}\n{EVIL},0,5,.,x&y\n{EVIL},1,0,2,x&y\n", "utf-8")
    column = {EVIL: {"covariate": True, "levels": ["x&y", EVIL]}}
    data = read_data(path, DataSpec.model_validate({"columns": column}))
    prior = {"prior": "lognormal", "median": 1.0, "sigma": 1.0}
    spec = {
        "name": EVIL,
        "structure": "one_compartment",
        "units": {"time": "h", "amount": "mg", "concentration": "mg/L"},
        "parameters": {
            "CL": {"unit": "L/h", "typical": prior, "scale": {"covariate": EVIL, "reference": 1.0}},
            "V": {"unit": "L", "typical": prior},
        },
        "covariates": [
            {"parameter": "V", "covariate": EVIL, "relation": "category", "level": EVIL,
             "effect": {"prior": "normal", "loc": 0.0, "scale": 1.0}}
        ],
        "residual": {"error": "proportional", "sd": {"prior": "halfnormal", "scale": 1.0}},
    }  # fmt: skip
    return data, Model(ModelSpec.model_validate(spec))


def test_names_from_files_are_text(evil):
    for record in evil:
        page = Tags(html(record))
        assert "script" not in page.tags
        assert EVIL in page.text


def test_a_dataset_says_what_it_holds(evil):
    text = Tags(html(evil[0])).text
    for part in ("subjects", "1 doses", "1 observations", "popk.fit"):
        assert part in text
    assert repr(evil[0]).startswith(f"Dataset of {evil[0].source}: 1 subjects, 1 observations")


def test_a_model_says_what_it_estimates(evil):
    text = Tags(html(evil[1])).text
    for part in ("lognormal(1, 1)", "none", "proportional", "TVCL, TVV"):
        assert part in text
    assert "TVCL, TVV" in repr(evil[1])


def fit_of(steady_state, drawn, **changes):
    model, data = steady_state.problem
    return replace(drawn(model.spec.model_dump(), data), name=EVIL, **changes)


def test_a_fit_says_its_verdict_first(steady_state, drawn):
    bad = Check("R-hat", 1.2, "< 1.01", False, EVIL, f"go on {EVIL}", "")
    fit = fit_of(steady_state, drawn, checks=(bad,), synthetic=True)
    page = Tags(html(fit))
    assert page.text.startswith("NOT CONVERGED: do not use these numbers.")
    assert "script" not in page.tags
    text = page.text
    assert text.index("R-hat 1.2") < text.index("SYNTHETIC DATA") < text.index("TVCL")
    assert "fit.checks" in text
    assert repr(fit).splitlines()[0].endswith("NOT CONVERGED (R-hat): do not use its numbers")
    assert "SYNTHETIC DATA" in repr(fit)


def test_a_fit_that_converged_says_what_to_call_next(steady_state, drawn):
    fit = fit_of(steady_state, drawn, checks=(Check("a", 1.0, "< 2", True, "", "", ""),))
    text = Tags(html(fit)).text
    assert text.startswith("converged: all 1 checks passed")
    assert "SYNTHETIC" not in text
    assert "popk.individuals(fit)" in text
    assert "converged" in repr(fit).splitlines()[0]


def test_a_running_notebook_is_told(tmp_path):
    """Importing popk is enough, and loads nothing."""
    pytest.importorskip("IPython")
    code = f"""
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import popk
print(sorted({{"jax", "pandas", "numpyro"}} & set(sys.modules)))
model = popk.load_model({str(MODEL_FILE)!r})
found, _ = shell.display_formatter.format(model)
print(found["text/html"].startswith('<div class="popk">'), found["text/plain"].splitlines()[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines() == [
        "[]", "True Model 'one compartment, bolus, weight-scaled, Apgar on V' (one_compartment)"
    ]  # fmt: skip
