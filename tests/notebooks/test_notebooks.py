"""Every notebook runs as it stands, and what it asserts holds; `make validate` runs these."""

import hashlib
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebooks.form import NOTEBOOKS, paths

pytestmark = pytest.mark.slow

ROOT = NOTEBOOKS.parent
SECONDS = 1200
"""Of one cell, beside other work; on two free cores a whole notebook takes about two minutes."""


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """What notebooks read, elsewhere: without results, since `make fit` may not have run."""
    root = tmp_path_factory.mktemp("project")
    unused = shutil.ignore_patterns("results", ".*", "__pycache__")
    for name in ("fits", "models", "notebooks"):
        shutil.copytree(ROOT / name, root / name, ignore=unused)
    (root / "benchmarks").mkdir()
    for file in (ROOT / "benchmarks").glob("*.json"):
        shutil.copy(file, root / "benchmarks")
    return root


def contents(root: Path) -> dict[str, str]:
    """Every file below a folder, and the hash of its bytes."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.stem)
def test_a_notebook_runs_and_leaves_no_trace(path, copied):
    before = contents(copied)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(copied / "notebooks")}},
    )
    client.execute()  # raises at the first cell that does
    errors = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    assert errors == []
    assert contents(copied) == before
