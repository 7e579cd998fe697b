"""How a notebook is stored, so that a change of it is a change of its text: rules, and a broom."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

import popk

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
ALLOWED = {"popk", "numpy", "pandas", "arviz", "numpyro", "jax", "matplotlib", "IPython"}
"""What a notebook may import, besides the standard library."""
MOST_OUTPUT = 50_000
"""Bytes of outputs that may be stored."""
MOST_LINES = 60
"""Lines of a cell: one idea."""
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
ABSOLUTE = re.compile(
    r"(?<![\w.<>/])(?:/(?:home|Users|root|tmp|work|var|opt|mnt|usr|srv)/|[A-Za-z]:\\)"
)
CURE = "run: python -m tests.notebooks"


def paths() -> list[Path]:
    """All notebooks of the project."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def stored(notebook: Any) -> str:
    """A notebook as the text that Jupyter writes."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def swept(notebook: Any) -> Any:
    """A notebook without outputs, execution counts and what editors leave behind."""
    clean = nbformat.from_dict({**notebook, "metadata": METADATA})
    for cell in clean.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return clean


def faults(text: str) -> Iterator[str]:
    """Everything in a stored notebook that breaks the rules."""
    ids = re.findall(r'^   "id": "(.*)",?$', text, flags=re.MULTILINE)
    if twice := {name for name in ids if ids.count(name) > 1}:  # nbformat would mend them
        yield f"an id twice: {', '.join(sorted(twice))}"
        return
    try:
        notebook: Any = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat has many kinds
        yield f"no valid notebook: {error}"
        return
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        yield f"format {notebook.nbformat}.{notebook.nbformat_minor}, not 4.5"
        return
    if notebook.metadata != METADATA:
        yield f"metadata besides the kernel's name: {CURE}"
    if text != stored(notebook):
        yield f"not as Jupyter writes it (order, indentation): {CURE}"
    outputs = [cell.get("outputs", []) for cell in notebook.cells]
    if (size := sum(len(str(own)) for own in outputs if own)) > MOST_OUTPUT:
        yield f"{size} bytes of outputs: {CURE}"
    for cell in notebook.cells:
        if cell.metadata:
            yield f"{cell.id}: metadata: {CURE}"
        if found := ABSOLUTE.search(cell.source):
            yield f"{cell.id}: an absolute path, {found[0]}..."
        if not cell.source.strip():
            yield f"{cell.id}: empty"
        if cell.cell_type == "code":
            if cell.execution_count is not None:
                yield f"{cell.id}: an execution count: {CURE}"
            yield from (f"{cell.id}: {fault}" for fault in _code_faults(cell.source))
    yield from _said(notebook)


def _code_faults(source: str) -> Iterator[str]:
    if len(source.splitlines()) > MOST_LINES:
        yield f"{len(source.splitlines())} lines, over {MOST_LINES}: more than one idea"
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        yield f"does not parse: {error.msg}"
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [name.name for name in names]
            case ast.ImportFrom(module=module, level=level):
                modules = ["." * level + (module or "")]
            case ast.Attribute(value=ast.Name(id="popk"), attr=name):
                if name not in popk.__all__:
                    yield f"popk.{name} is not public"
                continue
            case _:
                continue
        for module in modules:
            package = module.split(".")[0]
            if package == "popk" and (module != "popk" or isinstance(node, ast.ImportFrom)):
                yield f"imports {module}: a user writes `import popk`"
            elif package not in ALLOWED | sys.stdlib_module_names:
                yield f"imports {module}"


def _said(notebook: Any) -> Iterator[str]:
    """What every reader must be told."""
    told = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    prose = " ".join(" ".join(told).split())
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    if not (notebook.cells and notebook.cells[0].source.startswith("# ")):
        yield "does not begin with a title"
    if "medical advice" not in prose:
        yield "does not say that nothing in it is medical advice"
    if "blinatumomab" in code and "SYNTHETIC" not in prose:
        yield "shows the infants without calling them SYNTHETIC"
    if "assert " not in code:
        yield "asserts nothing: a wrong result would pass"
