"""What the project's pages tell a reader to type: fenced blocks, and commands within a line."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "models/README.md", "benchmarks/*.md")
"""Written by hand or by a benchmark; popk/API.md and popk/COMMANDS.md come from the code itself."""
LANGUAGES = {"sh", "python", "toml", "csv", "text"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:popk [a-z-]|make |python -m |pip install |\.ci/)[^`]*)`")


class Block(NamedTuple):
    """A fenced block: where it stands, below which heading, its language and its text."""

    page: str
    line: int
    heading: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """All pages written by hand, and notebooks."""
    found = [path for name in PAGES for path in sorted(ROOT.glob(name))]
    return [*found, *sorted((ROOT / "notebooks").glob("*.ipynb"))]


def blocks(page: Path) -> list[Block]:
    """Its fenced blocks, in order; none of a notebook, whose cells are run by its own test."""
    if page.suffix == ".ipynb":
        return []
    text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix()
    headings = [(m.start(), m[1]) for m in re.finditer(r"^#+ (.+)$", _unfenced(text), re.MULTILINE)]
    return [
        Block(
            name,
            text.count("\n", 0, match.start()) + 1,
            next((title for at, title in reversed(headings) if at < match.start()), ""),
            match[1],
            match[2],
        )
        for match in FENCE.finditer(text)
    ]


def lines(block: Block) -> list[str]:
    """The commands of a shell block, comments left out, continued lines joined."""
    joined = block.text.replace("\\\n", " ")
    kept = (_uncommented(line).strip() for line in joined.splitlines())
    return [line for line in kept if line]


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Every command that a page shows, and where: in shell blocks, within lines, in cells."""
    name = page.relative_to(ROOT).as_posix()
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        for cell in json.loads(text)["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                yield from ((name, found) for found in INLINE.findall(source))
            else:
                yield from ((name, line[1:].strip()) for line in source.splitlines()
                            if line.startswith("!"))  # fmt: skip
        return
    for block in blocks(page):
        if block.language == "sh":
            yield from ((str(block), line) for line in lines(block))
    for match in INLINE.finditer(_unfenced(text)):
        yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}", " ".join(match[1].split())


def words(line: str) -> list[str]:
    """A command's words as the shell would split them."""
    return shlex.split(line)


def _unfenced(text: str) -> str:
    """The text with fenced blocks blanked, at the same length."""
    return FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def _uncommented(line: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", line)
