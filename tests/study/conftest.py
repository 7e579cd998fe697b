from collections.abc import Callable
from pathlib import Path

import pytest

from popk.study.fit import Fit
from popk.study.folder import Study, open_study, run

MODEL = """
name = "tiny"
structure = "one_compartment"
[units]
time = "h"
amount = "ug"
concentration = "ug/L"
[parameters.CL]
unit = "L/h"
scale = {covariate = "WT", reference = "1 kg"}
typical = {prior = "lognormal", median = 1.0, sigma = 1.0}
variability = {distribution = "lognormal", sd = {prior = "halfnormal", scale = 0.5}}
[parameters.V]
unit = "L"
typical = {prior = "lognormal", median = 8.0, sigma = 0.5}
[residual]
error = "lognormal"
sd = {prior = "halfnormal", scale = 0.5}
"""
FIT = """
name = "tiny fit"
synthetic = true
model = "model.toml"
data = "data.csv"
[columns]
TIME = {unit = "h"}
AMT = {unit = "ug"}
DV = {unit = "ug/L"}
WT = {covariate = true, unit = "kg"}
[dose]
nominal = "1 ug/kg/h"
[sampler]
method = "nuts"
draws = 100
warmup = 50
chains = 2
seed = 3
"""
DATA = """ID,TIME,AMT,RATE,DV,EVID,MDV,CENS,WT
[a],0,96,4,.,1,1,0,5
[a],6,0,0,0.6,0,0,0,5
[a],24,0,0,0.8,0,0,0,5
[a],27,0,0,0.2,0,0,1,5
b,0,144,6,.,1,1,0,7
b,12,0,0,0.7,0,0,0,7
b,26,0,0,0.2,0,0,0,7
c,0,120,5,.,1,1,0,4
c,5,0,0,0.9,0,0,0,4
c,22,0,0,1.4,0,0,0,4
"""


@pytest.fixture(scope="session")
def make_folder() -> Callable[[Path], Path]:
    """Write a fit folder with three subjects."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("model.toml", MODEL), ("fit.toml", FIT), ("data.csv", DATA)):
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    return make


@pytest.fixture
def folder(make_folder: Callable[[Path], Path], tmp_path: Path) -> Path:
    """A fresh fit folder."""
    return make_folder(tmp_path / "tiny")


@pytest.fixture
def study(folder: Path) -> Study:
    return open_study(folder)


def no_tables(_: Fit) -> dict[str, str]:
    return {}


@pytest.fixture(scope="session")
def fitted(make_folder: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A fit of such a folder, run once."""
    return run(open_study(make_folder(tmp_path_factory.mktemp("fitted") / "tiny")), no_tables)


@pytest.fixture
def replace_in() -> Callable[[Path, str, str], None]:
    """Replace a text that a file holds exactly once."""

    def replace(path: Path, old: str, new: str) -> None:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")

    return replace
