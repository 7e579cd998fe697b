"""The house plan: which floor may import which, and what may stand where."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    "spec",
    "data",
    "pk",
    "population",
    "inference",
    "study",
    "analysis",
    "report",
    "api",
    "cli",
)
"""From the ground up: a floor imports only from itself and from those before it."""
DOORS = ("cli", "__init__")
"""Modules that may import late, to start up quickly."""
SAMPLERS = {"MCMC", "NUTS", "HMC", "HMCECS", "HMCGibbs", "BarkerMH", "SA", "AIES", "ESS"}
SAMPLER_MODULES = ("numpyro.infer.hmc", "numpyro.infer.mcmc", "numpyro.infer.ensemble", "blackjax")
LINES = 500


class Import(NamedTuple):
    """An import, or a name reached through one: where it stands and what it means."""

    file: str
    line: int
    target: str
    lazy: bool
    typing: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.target}"


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, package: Path) -> Iterator[Import]:
    """All imports of a file, at the top, inside functions and under TYPE_CHECKING."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    typing = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test).endswith("TYPE_CHECKING")
        for statement in branch.body
        for node in ast.walk(statement)
    }
    file = str(path.relative_to(package.parent))
    inside = module_name(path, package).split(".")
    here = inside if path.name == "__init__.py" else inside[:-1]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                targets = [name.name for name in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                base = here[: len(here) - level + 1] if level else []
                base = [*base, *([module] if module else [])]
                targets = [".".join([*base, name.name]) for name in names]
            case ast.Attribute():
                targets = [ast.unparse(node)]
                if not targets[0].startswith("numpyro."):
                    continue
            case _:
                continue
        for target in targets:
            yield Import(file, node.lineno, target, id(node) in late, id(node) in typing)


def check_house(package: Path) -> list[str]:
    """Everything in a package that breaks the plan."""
    files = {module_name(path, package): path for path in sorted(package.rglob("*.py"))}
    faults: list[str] = []
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        floor = floor_of(name)
        for found in imports(path, package):
            own = found.target.split(".")[0] == package.name
            if own:
                target = longest_module(found.target, files)
                graph[name].add(target)
                faults += own_import_faults(name, floor, target, found)
            else:
                faults += foreign_import_faults(name, floor, found)
    faults += [f"import cycle: {' -> '.join(cycle)}" for cycle in cycles(graph)]
    return faults + long_files(package)


def floor_of(module: str) -> str:
    """``spec`` of ``popk.spec.units``; ``__init__`` of ``popk`` itself."""
    return [*module.split("."), "__init__"][1]


def longest_module(target: str, files: dict[str, Path]) -> str:
    """``popk.spec.units`` of ``popk.spec.units.quantity``."""
    parts = target.split(".")
    for length in range(len(parts), 0, -1):
        if (name := ".".join(parts[:length])) in files:
            return name
    return target


def own_import_faults(name: str, floor: str, target: str, found: Import) -> Iterator[str]:
    goal = floor_of(target)
    if found.lazy and floor not in DOORS:
        yield f"{found}: imported late"
    if floor == "__init__":
        return
    if floor not in FLOORS:
        yield f"{found}: {name} stands on no floor of the plan"
    elif goal == "__init__" or goal not in FLOORS or FLOORS.index(goal) > FLOORS.index(floor):
        yield f"{found}: {floor} imports from above"


def foreign_import_faults(name: str, floor: str, found: Import) -> Iterator[str]:
    if found.typing:
        return  # an annotation may name what the floor does not use
    target, last = found.target, found.target.split(".")[-1]
    sampler = target.startswith("numpyro.infer") and last in SAMPLERS
    sampler |= any(target == m or target.startswith(f"{m}.") for m in SAMPLER_MODULES)
    if sampler and floor != "inference":
        yield f"{found}: a sampler outside inference/"
    package = target.split(".")[0]
    if package == "pandas" and floor not in ("data", "analysis"):
        yield f"{found}: pandas outside data/ and analysis/"
    if package == "matplotlib" and ".report.plots" not in name:
        yield f"{found}: matplotlib outside report/plots/"


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """One path around for each import cycle found by walking the graph in depth."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> None:
        if node in path:
            found.append([*path[path.index(node) :], node])
        elif node not in done and node in graph:
            for target in sorted(graph[node]):
                visit(target, [*path, node])
            done.add(node)

    for node in sorted(graph):
        visit(node, [])
    return found


def long_files(folder: Path) -> list[str]:
    counts = {path: len(path.read_text().splitlines()) for path in sorted(folder.rglob("*.py"))}
    return [f"{path}: {n} lines, over {LINES}" for path, n in counts.items() if n > LINES]


def test_the_house_stands():
    assert check_house(ROOT / "popk") == []


def test_no_long_tests():
    assert long_files(ROOT / "tests") == []


def test_a_readme_is_read_in_one_go():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 250


def test_files_name_no_place_of_one_machine():
    kinds = {".py", ".md", ".toml", ".json", ".ipynb", ".svg", ".yml", ".csv", ".R", ""}
    places = re.compile(r"(?<![\w.])/(?:home|Users|root|work|tmp)/[\w.-]+")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for folder in ("popk", "models", "fits", "tests", "benchmarks", "notebooks", ".")
        for path in sorted((ROOT / folder).glob("*" if folder == "." else "**/*"))
        if path.is_file() and path.suffix in kinds and "results" not in path.parts
        and not {p for p in path.parts if p.startswith((".checkpoint", ".results"))}
        for match in places.finditer(path.read_text(encoding="utf-8", errors="ignore"))
    ]  # fmt: skip
    assert found == []


def test_the_walk_sees_the_package():
    """An empty walk would pass every rule."""
    package = ROOT / "popk"
    found = imports(package / "population" / "model.py", package)
    targets = {f.target for f in found}
    assert "popk.pk.one_compartment" in targets
    assert "popk.population.residual.Observation" in targets
    assert {floor_of(module_name(p, package)) for p in package.rglob("*.py")} <= {
        *FLOORS, "__init__", "__main__"}  # fmt: skip


SOUND = {
    "__init__.py": "def __getattr__(name):\n    from popk.pk.flow import rate\n    return rate",
    "spec/__init__.py": "",
    "spec/units.py": "import math",
    "pk/__init__.py": "",
    "pk/flow.py": "from popk.spec import units\nfrom popk.spec.units import x\nrate = 1",
    "population/model.py": "import numpyro\nfrom numpyro.infer.util import potential_energy",
    "inference/nuts.py": "from numpyro.infer import MCMC\nimport blackjax\nfrom ..pk import flow",
    "data/read.py": "import pandas as pd",
    "analysis/table.py": "from pandas import DataFrame",
    "report/plots/lines.py": "import matplotlib.pyplot as plt",
    "cli.py": "def main():\n    from popk.report.plots import lines\n    return lines",
}


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({}, None),
        ({"spec/units.py": "from popk.pk import flow"}, "spec imports from above"),
        ({"spec/units.py": "from ..pk.flow import rate"}, "spec imports from above"),
        ({"spec/units.py": "import popk.pk.flow"}, "spec imports from above"),
        ({"spec/units.py": "from popk import rate"}, "spec imports from above"),
        (
            {"spec/units.py": "if TYPE_CHECKING:\n    from popk.pk.flow import rate"},
            "spec imports from above",
        ),
        ({"utils/text.py": "from popk.spec import units"}, "no floor"),
        ({"pk/flow.py": "from popk.utils import text"}, "pk imports from above"),
        ({"pk/flow.py": "def f():\n    from popk.spec import units"}, "imported late"),
        ({"pk/flow.py": "def f():\n    import popk.spec.units"}, "imported late"),
        ({"pk/flow.py": "f = lambda: __import__('a')\nclass A:\n    def g(self):\n"
                        "        from popk.spec import units"}, "imported late"),
        (
            {"spec/units.py": "from popk.spec.words import w",
             "spec/words.py": "from popk.spec.units import u"},
            "import cycle: popk.spec.units -> popk.spec.words -> popk.spec.units",
        ),
        ({"analysis/table.py": "from numpyro.infer import NUTS"}, "a sampler outside"),
        ({"population/model.py": "import numpyro.infer.hmc"}, "a sampler outside"),
        ({"population/model.py": "from numpyro.infer.hmc import hmc"}, "a sampler outside"),
        ({"study/fit.py": "import numpyro\nnumpyro.infer.MCMC(1)"}, "a sampler outside"),
        ({"study/fit.py": "def f():\n    from blackjax import nuts"}, "a sampler outside"),
        ({"population/model.py": "import pandas as pd"}, "pandas outside"),
        ({"report/plots/lines.py": "from pandas import DataFrame"}, "pandas outside"),
        ({"report/html.py": "if TYPE_CHECKING:\n    import pandas as pd"}, None),
        ({"report/html.py": "import matplotlib.pyplot"}, "matplotlib outside"),
        ({"analysis/plots.py": "from matplotlib import pyplot"}, "matplotlib outside"),
        ({"pk/flow.py": "x = 1\n" * 500}, None),
        ({"pk/flow.py": "x = 1\n" * 501}, "501 lines"),
    ],
)  # fmt: skip
def test_each_rule_can_fail(tmp_path, files, fault):
    for name, text in (SOUND | files).items():
        path = tmp_path / "popk" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    found = check_house(tmp_path / "popk")
    if fault is None:
        assert found == []
    else:
        # An import from above may close a circle as well
        first, *others = found
        assert fault in first
        assert all("import cycle" in other for other in others)


def test_longer_cycles_are_found_once():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}
    (cycle,) = cycles(graph)
    assert set(pairwise(cycle)) == {("a", "b"), ("b", "c"), ("c", "a")}
