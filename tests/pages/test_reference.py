"""The pages that come from the code say what the code says, and the docstrings say enough."""

import tomllib
from pathlib import Path

import griffe
import pytest

from tests.pages import api_page, command_page
from tests.pages.__main__ import PAGES
from tests.pages.api_page import final, sections

ROOT = Path(__file__).parents[2]
QUIET = {"parameters", "individuals", "paper_line", "record_table"}
"""Functions that find nothing to refuse in what they are given."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name):
    there = (ROOT / name).read_text(encoding="utf-8")
    assert there == PAGES[name](), f"{name} is not what the code says now; run: make reference"


def test_docstrings_say_enough():
    package, faults = api_page.load(), []
    for name in package.exports or ():
        found = final(package[str(name).strip("'\"")])
        own = sections(found)
        check = _of_function if isinstance(found, griffe.Function) else _of_class
        faults += [f"{found.path}: {fault}" for fault in check(found, own)]
        if "text" not in own:
            faults.append(f"{found.path}: no summary")
    assert not faults, "\n".join(faults)


def test_a_poor_docstring_is_found():
    code = '''
def poor(a: int, b: Float[np.ndarray, " row"]) -> int:
    """Sum.

    Parameters
    ----------
    a
        One.
    c
        Another.
    """
'''
    found = griffe.visit("m", code=code, filepath=Path("m.py"), docstring_parser="numpy")["poor"]
    said = list(_of_function(found, sections(found)))
    assert [fault.split(":")[0] for fault in said] == ["parameters", "returns", "raises"]
    arrays = code.replace('Float[np.ndarray, " row"]', "np.ndarray").replace("    c\n", "    b\n")
    found = griffe.visit("m", code=arrays, filepath=Path("m.py"), docstring_parser="numpy")["poor"]
    assert "axes of b" in " ".join(_of_function(found, sections(found)))


def test_every_command_says_what_it_is_for():
    for command in command_page.commands().values():
        assert command.help, command.name
        assert [given.names for given in command.given if not given.said] == [], command.name


def test_pages_stay_out_of_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "popk/*.md" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]


def _of_function(found, own):
    wanted = [parameter.name for parameter in found.parameters]
    parts = own["parameters"].value if "parameters" in own else []
    told = [part.name.lstrip("*") for part in parts]
    if told != wanted:
        yield f"parameters: {', '.join(told) or 'none'}; the signature has {', '.join(wanted)}"
    for part in parts:
        kind = str(found.parameters[part.name].annotation) if part.name in wanted else ""
        if ("ndarray" in kind or "Array" in kind) and "[" not in kind + part.description:
            yield f"axes of {part.name}: neither in its annotation nor in its description"
    returns = own["returns"].value if "returns" in own else []
    if str(found.returns) != "None" and not (returns and all(r.description for r in returns)):
        yield "returns: nothing is said of what it gives"
    if "raises" not in own and found.name not in QUIET:
        yield "raises: nothing is said of what it refuses"


def _of_class(found, own):
    fields = [
        name
        for name, member in found.members.items()
        if isinstance(member, griffe.Attribute)
        and "property" not in member.labels
        and not name.startswith("_")
    ]
    told = {
        name
        for kind in ("attributes", "parameters")
        if kind in own
        for part in own[kind].value
        for name in part.name.split(", ")
    }
    missing = [name for name in fields if name not in told]
    if missing:
        yield f"attributes: nothing is said of {', '.join(missing)}"


def test_the_groups_of_the_api_page_hold_no_name_twice():
    listed = [name for group in api_page.GROUPS.values() for name in group]
    assert len(listed) == len(set(listed))
