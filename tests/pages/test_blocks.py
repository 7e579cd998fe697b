"""What the pages tell a reader to type exists: commands and their options, names, files' keys."""

import ast
import re
import tomllib

import pytest

import popk
from popk.spec.fit import FitSpec
from popk.spec.model import ModelSpec
from popk.spec.record import validate
from tests.pages import blocks as shown
from tests.pages.command_page import commands

ROOT = shown.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
BLOCKS = [block for page in shown.pages() for block in shown.blocks(page)]
COMMANDS = [found for page in shown.pages() for found in shown.commands(page)]


def fault(line: str) -> str | None:
    """Why a command cannot be typed as written; None where it can."""
    match shown.words(line):
        case ["popk"] | ["popk", "--help"] | [".ci/run"]:
            return None
        case ["popk", name, *rest]:
            return _of_popk(name, rest)
        case ["make", *targets]:
            unknown = [t for t in targets if "=" not in t and t not in TARGETS]
            return f"no target {unknown}" if unknown else None
        case ["python", "-m", module, *rest]:
            path = ROOT / (module.replace(".", "/") + ".py")
            path = path if path.exists() else ROOT / module.replace(".", "/") / "__main__.py"
            if not path.exists():
                return None if module in ("pytest", "venv") else f"no module {module}"
            text = path.read_text(encoding="utf-8")
            unknown = [word for word in rest if word.startswith("--") and f'"{word}"' not in text]
            return f"no option {unknown} in {path.name}" if unknown else None
        case ["pip", "install", *what]:
            extras = re.findall(r"\[([\w,]+)\]", " ".join(what))
            known = PROJECT["project"]["optional-dependencies"]
            unknown = [e for extra in extras for e in extra.split(",") if e not in known]
            return f"no extra {unknown}" if unknown else None
        case ["cd" | "git" | "cp", *_]:
            return None
        case _:
            return "no command that this test knows"


def _of_popk(names: str, rest: list[str]) -> str | None:
    """A sentence may name several commands: ``popk simulate, target``."""
    known = commands()
    for name in names.split(","):
        if name and name not in known:
            return f"no command {name!r}"
    options = {n for name in names.split(",") for g in known[name].given for n in g.names}
    options |= {"--help"}
    unknown = [w for w in rest if w.startswith("--") and w.split("=")[0] not in options]
    if unknown:
        return f"no option {unknown} of popk {names}"
    missing = [word for word in rest if re.match(r"(fits|models)/[\w-]+", word)
               and "NAME" not in word and not (ROOT / word).exists()]  # fmt: skip
    return f"no file {missing}" if missing else None


@pytest.mark.parametrize("page", shown.pages(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_command_can_be_typed(page):
    faults = {where: (line, why) for where, line in shown.commands(page) if (why := fault(line))}
    assert not faults, "\n".join(f"{at}: {line}: {why}" for at, (line, why) in faults.items())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("popk fti fits/NAME", "no command"),
        ("popk fit fits/NAME --seeds 1", "no option"),
        ("popk fit fits/nowhere", "no file"),
        ("make tests", "no target"),
        ("python -m benchmarks.nothing", "no module"),
        ("python -m benchmarks.power --fit 200", "no option"),
        ('pip install "popk[gpu]"', "no extra"),
        ("rm -rf /", "no command that"),
    ],
)
def test_a_wrong_command_is_found(line, why):
    assert why in (fault(line) or "")


def test_there_is_something_to_check():
    assert len(COMMANDS) > 30
    assert {block.language for block in BLOCKS} <= shown.LANGUAGES, [
        str(block) for block in BLOCKS if block.language not in shown.LANGUAGES
    ]
    assert {block.language for block in BLOCKS} >= {"sh", "python", "toml"}


PYTHON = [b for b in BLOCKS if b.language == "python" and b.page != "CONTRIBUTING.md"]
"""Those of CONTRIBUTING.md are edits, made by tests/pages/test_recipes.py."""


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_names_exist(block):
    tree = ast.parse(block.text)
    asked = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "popk"
    }
    assert asked <= set(popk.__all__)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "toml"], ids=str)
def test_toml_is_a_file_that_popk_reads(block):
    content = tomllib.loads(block.text)
    if "structure" in content:
        validate(ModelSpec, content, str(block))
    elif "model" in content:
        validate(FitSpec, content, str(block))
    else:  # a part of a model file: with a recipe, whose test fits with it
        assert block.page == "CONTRIBUTING.md", "neither a model nor a fit file"


def test_links_lead_somewhere():
    faults = []
    for page in [p for p in shown.pages() if p.suffix == ".md"]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if not target.startswith("http") and not (page.parent / target).exists():
                faults.append(f"{page.name}: {target}")
    assert faults == []
