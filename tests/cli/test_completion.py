"""What the shell proposes."""

import os
import subprocess
import sys

import pytest

from popk.cli import completion
from popk.data.examples import EXAMPLES
from popk.report.plots.catalogue import CATALOGUE
from popk.spec.regimen import READY
from tests.cli.conftest import MODEL, write


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "fits" / "one")
    write(tmp_path / "fits" / "two")
    write(tmp_path / "alone")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m.toml").write_text(MODEL, encoding="utf-8")
    (tmp_path / "patient.toml").write_text('id = "x"', encoding="utf-8")
    (tmp_path / "data.csv").write_text("ID", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("of", "incomplete", "proposed"),
    [
        ("fit_folders", "", ["alone", "fits/one", "fits/two"]),
        ("fit_folders", "fi", ["fits/one", "fits/two"]),
        ("fit_folders", "fits/t", ["fits/two"]),
        ("fit_folders", "nowhere/", []),
        ("model_files", "mod", ["models/m.toml"]),
        ("model_files", "fits/one/", ["fits/one/model.toml"]),
        ("patient_files", "p", ["patient.toml"]),
        ("files_to_check", "da", ["data.csv"]),
        ("fits_and_models", "alone", ["alone", "alone/model.toml"]),
        ("example_names", "p", ["phenobarb-neonates"]),
        ("figures", "vpc,fo", ["vpc,forest"]),
        ("figures", "vpc,vp", []),
    ],
)
def test_names(here, of, incomplete, proposed):
    assert getattr(completion, of)(incomplete) == proposed


def test_the_names_are_those_of_the_package():
    """They stand here a second time, so that proposing them loads nothing."""
    assert completion.example_names("") == sorted(EXAMPLES)
    assert set(completion.FIGURES) == set(CATALOGUE)
    assert completion.ready_regimens("") == sorted(READY)


@pytest.mark.parametrize(
    ("line", "proposed"),
    [
        ("popk fit fits/", ["fits/one", "fits/two"]),
        ("popk init x --example b", ["blinatumomab-infants"]),
    ],
)
def test_in_bash(here, line, proposed):
    words = line.split(" ")
    environment = {
        **os.environ,
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_POPK_COMPLETE": "complete_bash",
    }
    code = "import sys; sys.argv = ['popk']; from popk.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
        env=environment,
    )  # fmt: skip
    assert done.stdout.split() == proposed
