"""Notebooks are stored for clean diffs, and use what a user would use."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.notebooks.form import METADATA, faults, paths, stored, swept


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.stem)
def test_a_notebook_is_in_form(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


def test_there_are_six():
    assert [path.name[:2] for path in paths()] == ["01", "02", "03", "04", "05", "06"]


def small(code="import popk\nassert popk.fit", title="# T\nNo medical advice.", **more):
    cells = [new_markdown_cell(title, id="a"), new_code_cell(code, id="b", **more)]
    return new_notebook(cells=cells, metadata=METADATA)


@pytest.mark.parametrize(
    ("notebook", "fault"),
    [
        (small(), None),
        (small("import scipy\nassert 1"), "b: imports scipy"),
        (small("from .x import y\nassert 1"), "b: imports .x"),
        (small("import popk.spec.fit\nassert 1"), "a user writes"),
        (small("from popk import fit\nassert 1"), "a user writes"),
        (small("import popk\nassert popk.inference"), "popk.inference is not public"),
        (small("assert open('/opt/data.csv')"), "an absolute path, /opt/"),
        (small("assert 'C:\\\\data'"), "an absolute path, C:"),
        (small("assert ("), "does not parse"),
        (small("x = 1\n" * 60 + "assert x"), "more than one idea"),
        (small(""), "b: empty"),
        (small("1 + 1"), "asserts nothing"),
        (small(execution_count=3), "an execution count"),
        (small(title="T, no medical advice"), "a title"),
        (small(title="# T"), "medical advice"),
        (small("assert 'blinatumomab'"), "SYNTHETIC"),
        (
            small(outputs=[nbformat.v4.new_output("stream", text="x" * 60_000)]),
            "bytes of outputs",
        ),
        (small(metadata={"tags": ["x"]}), "b: metadata"),
    ],
)
def test_each_rule_can_fail(notebook, fault):
    found = list(faults(stored(notebook)))
    if fault is None:
        assert found == []
    else:
        assert any(fault in one for one in found), found


def test_rules_of_the_file_can_fail():
    text = stored(small())
    assert any("as Jupyter writes it" in fault for fault in faults(text.replace(" ", "  ", 1)))
    assert any("no valid notebook" in fault for fault in faults(text[:-3]))
    assert any("no valid notebook" in fault for fault in faults(text.replace('"code"', '"x"')))
    twice = text.replace('"id": "b"', '"id": "a"')
    assert list(faults(twice)) == ["an id twice: a"]
    other = text.replace('"display_name": "Python 3"', '"display_name": "mine"')
    assert any("kernel" in fault for fault in faults(other))


def test_the_broom_sweeps():
    used = small(execution_count=3, outputs=[nbformat.v4.new_output("stream", text="x" * 60_000)])
    used.cells[1].metadata["tags"] = ["x"]
    used.metadata["language_info"] = {"name": "python", "version": "3.11.7"}
    assert list(faults(stored(used)))
    assert list(faults(stored(swept(used)))) == []
