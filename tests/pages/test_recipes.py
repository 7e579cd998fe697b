"""CONTRIBUTING.md's recipes, followed to the letter in a copy of the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import blocks as shown

ROOT = shown.ROOT
COPIED = ("popk", "tests", "models", "fits/blinatumomab-infants", "pyproject.toml")
LEFT = shutil.ignore_patterns("__pycache__", "results", ".*")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=LEFT)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def recipe(heading: str) -> list[str]:
    found = [b.text for b in shown.blocks(ROOT / "CONTRIBUTING.md") if b.heading == heading]
    assert found, f"no recipe {heading!r}"
    return found


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name}: {old!r} stands there {text.count(old)} times"
    path.write_text(text.replace(old, new), encoding="utf-8")


def in_copy(copy: Path, *arguments: str, good: tuple[int, ...] = (0,)) -> str:
    """Run Python there; the copy's package comes before the installed one."""
    told = {**os.environ, "PYTHONPATH": str(copy), "POPK_CACHE": "off"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=told,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode in good, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def followed(copy):
    relations = copy / "popk/spec/relations.py"
    record, union, test, _ = recipe("Adding a covariate relation")
    edit(relations, union.replace(" | Saturating", ""), f"{record}\n\n{union}")
    with (copy / "tests/population/test_covariates.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\n{test}")
    residual = copy / "popk/spec/residual.py"
    entry, word, case = recipe("Adding a residual error")
    before = '        "combined": ErrorKind('
    edit(residual, before, entry + before)
    edit(residual, word.replace(', "root"', ""), word)
    before = '        case "combined":\n'
    edit(copy / "tests/population/test_residual.py", before, case + before)
    return copy


@pytest.mark.slow
def test_the_style_is_the_house_s(followed):
    in_copy(followed, "-m", "ruff", "check", "popk", "tests/population")
    in_copy(followed, "-m", "ruff", "format", "--check", "popk", "tests/population")


@pytest.mark.slow
def test_the_recipes_tests_pass(followed):
    said = in_copy(
        followed, "-m", "pytest", "-n", "0", "-v", "tests/population/test_covariates.py",
        "tests/population/test_residual.py", "-k", "saturating or root",
    )  # fmt: skip
    assert int(said.split(" passed")[0].split()[-1]) >= 6


@pytest.mark.slow
def test_a_fit_with_the_new_words(followed):
    """The infants, with the new relation in place of the cut and the new error."""
    *_, relation = recipe("Adding a covariate relation")
    model = followed / "models/infusion_1cpt_bsa.toml"
    head, rest = model.read_text(encoding="utf-8").split("[[covariates]]")
    tail = "[residual]" + rest.split("[residual]")[1]
    model.write_text(head + relation + "\n" + tail.replace('"lognormal"', '"root"'))
    said = in_copy(
        followed, "-c", "import sys; from popk.cli import main; sys.argv[0] = 'popk'; main()",
        "fit", "fits/blinatumomab-infants",
    )  # fmt: skip
    assert "CL_AGE_saturating" in said
    assert "(pg/mL)^0.5 (SD)" in said
