"""What the tests of the command `popk` share: a small study, and how a command is run."""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from popk.cli import main

CLEAN, PROBLEMS, UNREADABLE, NOT_CONVERGED, INTERRUPTED = 0, 1, 2, 3, 130

MODEL = """
name = "steady [b]"
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
typical = {prior = "fixed", value = 3.0}
[residual]
error = "lognormal"
sd = {prior = "halfnormal", scale = 0.5}
"""
FIT = """
name = "little [bold] fit"
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
seed = 1
"""
HEAD = "ID,TIME,EVID,MDV,AMT,RATE,SS,II,DV,WT"
SAMPLES = {
    "[red]": (5, [0.9, 1.1, 1.0]),
    "[/x]": (6, [0.6, 0.7, 0.8]),
    "c": (4, [1.4, 1.5, 1.2]),
    "d": (5, [0.8, 0.9, 1.1]),
    "e": (7, [1.3, 1.0, 1.2]),
    "f": (6, [0.7, 0.6, 0.6]),
}
DATA = "\n".join(
    [
        HEAD,
        *(
            f"{who},{t},1,1,0,{weight},1,0,.,{weight}\n{who},{t},0,0,0,0,0,0,{dv},{weight}"
            for who, (weight, values) in SAMPLES.items()
            for t, dv in zip((24, 48, 72), values, strict=True)
        ),
        "",
    ]
)


class Result(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Standard output with all white space folded."""
        return " ".join(self.out.split())

    @property
    def complaint(self) -> str:
        """Standard error with all white space and frames folded."""
        return " ".join(self.err.replace("│", " ").split())


def command(*arguments: object) -> Result:
    """Run the command in this process; an exception that it lets through fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["popk", *map(str, arguments)])
        patch.setenv("POPK_CACHE", "off")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return Result(code, out.getvalue(), err.getvalue())


def write(folder: Path, model: str = MODEL, fit: str = FIT, data: str = DATA) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("model.toml", model), ("fit.toml", fit), ("data.csv", data)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def results(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in (folder / "results").iterdir() if path.is_file()
    }


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A fit folder after `popk fit`, and what the command said. Not to be changed."""
    folder = write(tmp_path_factory.mktemp("cli") / "little")
    return folder, command("fit", folder, "--no-report")


@pytest.fixture
def folder(fitted: tuple[Path, Result], tmp_path: Path) -> Path:
    """A copy of it."""
    copy = write(tmp_path / "little")
    (copy / "results").mkdir()
    for name, content in results(fitted[0]).items():
        (copy / "results" / name).write_bytes(content)
    return copy


def strict_json(text: str) -> dict:
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
