import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from popk.spec.fit import FitSpec
from popk.spec.model import ModelSpec
from popk.spec.problem import PopkError, Problem
from popk.spec.record import Record, read_record

MODEL = """
name = "one compartment"
structure = "one_compartment"
[units]
time = "h"
amount = "ug"
concentration = "pg/mL"
[parameters.CL]
unit = "L/h"
scale = {covariate = "BSA", reference = "1 m^2", exponent = 1.0}
typical = {prior = "lognormal", median = 1.0, sigma = 1.0}
variability = {distribution = "lognormal", sd = {prior = "halfnormal", scale = 0.5}}
[parameters.V]
unit = "L"
typical = {prior = "lognormal", median = 3.2, sigma = 0.4}
variability = {distribution = "lognormal", sd = {prior = "halfnormal", scale = 0.5}}
[[covariates]]
parameter = "CL"
covariate = "AGE"
relation = "below"
cut = "6 month"
effect = {prior = "normal", loc = 0.0, scale = 0.5}
[residual]
error = "lognormal"
sd = {prior = "halfnormal", scale = 0.5}
"""
FIT = """
model = "../../models/infusion_1cpt_bsa.toml"
data = "data.csv"
[columns]
AGE = {covariate = true, unit = "month"}
WT = {covariate = true, unit = "kg"}
HT = {covariate = true, unit = "cm"}
[derived]
BSA = {formula = "haycock"}
[sampler]
method = "nuts"
draws = 1000
seed = 1
"""


def edited(text: str, *edits: tuple[str, str]) -> str:
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def reader(kind: type[Record], text: str, path: Path) -> Callable[..., Record]:
    def read(*edits: tuple[str, str]) -> Record:
        content = edited(text, *edits)
        tomllib.loads(content)
        path.write_text(content)
        return read_record(kind, path)

    return read


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., ModelSpec]:
    """Read the model above after some (old text, new text) edits."""
    return reader(ModelSpec, MODEL, tmp_path / "model.toml")


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., FitSpec]:
    """Read the fit file above after some edits."""
    return reader(FitSpec, FIT, tmp_path / "fit.toml")


@pytest.fixture
def fault() -> Callable[..., Problem]:
    """The one problem that a call reports."""

    def of(read: Callable[..., Record], *edits: tuple[str, str]) -> Problem:
        with pytest.raises(PopkError) as caught:
            read(*edits)
        assert len(caught.value.problems) == 1, str(caught.value)
        (problem,) = caught.value.problems
        assert problem.file.endswith(".toml")
        assert problem.severity == "error"
        return problem

    return of
