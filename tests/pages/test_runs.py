"""Every command and every Python block of the pages runs as written, in a copy of the project.

What takes long is made small by an option behind it: `SMALLER` is the whole list.
"""

import os
import shutil
import subprocess
import sys

import pytest

from tests.pages import blocks as shown

ROOT = shown.ROOT
SMALLER = {
    "popk calibrate models/infusion_1cpt_bsa.toml --design fits/blinatumomab-infants "
    "--replicates 1000": "--replicates 16",
    "popk bootstrap fits/blinatumomab-infants": "--replicates 64",
    'popk power fits/blinatumomab-infants --young 0.5 --below "50 pg/mL" --no-likelihood-ratio':
        '--ratios "0.5, 1" --infants "8, 12" --trials 16',
}  # fmt: skip
"""Command to options that come after its own and win."""
SIZES = {"--ratios", "--infants", "--trials", "--replicates"}
ELSEWHERE = {
    "make fit": "its commands are the two below",
    "make test": "this is it",
    "make validate": "this is it",
    "make setup": "CI begins with it",
    "make check": "CI runs it",
    "make reference": "tests/pages/test_reference.py makes the same pages",
    "make pictures": "runs `python -m benchmarks.pictures`: test_pictures",
    "python -m benchmarks.validation": "tests/validation requires the same agreements",
}
"""Commands that are not run here, and what stands in for them."""
EXIT = {0, 3}
"""3: a check failed, as some do in data so small; it is said."""
PAGES = [page for page in shown.pages() if page.suffix == ".md"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project's folders, with results made by the two commands of `make fit`."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("fits", "models", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("results", ".*"))
    for name in ("phenobarb-neonates", "blinatumomab-infants"):
        run(folder, f"popk fit fits/{name}")
    return folder


def run(folder, line):
    """One line of a page, by a shell, `popk` and `python` being those of this interpreter."""
    here = os.path.dirname(sys.executable)
    told = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        line, shell=True, cwd=folder, env=told, capture_output=True, text=True, timeout=1800
    )
    said = done.stdout + done.stderr
    assert done.returncode in EXIT, f"{line}\n{said}"
    assert "Traceback" not in said, f"{line}\n{said}"
    return done.stdout


def shell_lines():
    return [
        (page.relative_to(ROOT).as_posix(), line)
        for page in PAGES
        for block in shown.blocks(page)
        if block.language == "sh"
        for line in shown.lines(block)
    ]


def test_the_tables_of_this_test_name_lines_that_are_there():
    lines = {line for _, line in shell_lines()}
    assert {*SMALLER, *ELSEWHERE} <= lines
    for options in SMALLER.values():
        assert {word for word in shown.words(options) if word.startswith("--")} <= SIZES


def test_make_fit_is_the_two_commands():
    said = subprocess.run(
        ["make", "--no-print-directory", "-n", "-o", ".venv/.ready", "fit"],
        cwd=ROOT, capture_output=True, text=True,
    ).stdout  # fmt: skip
    wanted = [f"popk fit fits/{n}" for n in ("phenobarb-neonates", "blinatumomab-infants")]
    assert [line.split("/bin/")[-1] for line in said.splitlines()] == wanted


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_shell_blocks_run_in_order(project, page):
    for name, line in shell_lines():
        if name == page.relative_to(ROOT).as_posix() and line not in ELSEWHERE:
            run(project, f"{line} {SMALLER.get(line, '')}".strip())


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_python_blocks_run_in_order(project, page):
    if page.name == "CONTRIBUTING.md":
        return  # its blocks are edits: tests/pages/test_recipes.py
    code = "\n".join(b.text for b in shown.blocks(page) if b.language == "python")
    (project / "page.py").write_text(code, encoding="utf-8")
    run(project, "python page.py")
