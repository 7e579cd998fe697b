"""popk/API.md: everything in `popk.__all__`, from the docstrings, grouped by task.

Docstrings are read, not imported: griffe parses them, so that the page needs neither JAX nor a
model. It lies here since only `make reference` and the test beside it run it: a user of the package
has the docstrings themselves.
"""

import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[2]
GROUPS = {
    "Data and fits": (
        "read_data", "load_model", "fit", "load_fit", "parameters", "individuals", "paper_line",
        "events", "Dataset", "Model", "Fit", "MaximumFit",
    ),
    "Is it right?": ("checks", "observations", "compare", "bootstrap", "influence"),
    "Covariates": ("covariate_tests", "search"),
    "Simulation and dosing": (
        "infusion", "bolus", "pause", "read_regimen", "read_pump_log", "regimens_of", "Regimen",
        "virtual_infants", "resampled", "simulate", "attainment", "read_patient", "patient",
        "patient_dose",
    ),
    "Trial design": ("Plan", "power", "smallest", "assurance", "plans"),
    "Output and errors": (
        "plot", "scheduled", "with_doses", "record_table", "PopkError", "Problem",
    ),
}  # fmt: skip
"""Task to the names that serve it. A name of `popk.__all__` that stands nowhere fails the page."""
HEAD = """\
# popk in Python

Written by `make reference` from the docstrings; a test compares the two. Arrays are given with
their axes, `[subject, record]`; tables are pandas data frames. A fault of what was given is a
`PopkError`, which carries every fault that was found and what to do about each.
"""
WIDTH = 88


def page() -> str:
    """The whole page."""
    package = load()
    names = _all(package)
    listed = [name for group in GROUPS.values() for name in group]
    if sorted(listed) != sorted(names):
        odd = sorted({*names} ^ {*listed}) or sorted({n for n in listed if listed.count(n) > 1})
        raise ValueError(f"in popk.__all__ or in GROUPS of {__file__}, but not once in both: {odd}")
    parts = [HEAD]
    for group, members in GROUPS.items():
        parts.append(f"- [{group}](#{_anchor(group)}): " + ", ".join(_link(n) for n in members))
    parts.append("")
    shown = set(names)
    for group, members in GROUPS.items():
        parts.append(f"## {group}\n")
        for name in members:
            parts.extend(_entry(found := final(package[name]), f"popk.{name}", "###"))
            for result in _results(found, package):
                if result.name not in shown:
                    shown.add(result.name)
                    parts.extend(_entry(result, result.name, "####"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


@functools.cache
def load() -> griffe.Module:
    """The package as its files say."""
    found = griffe.load("popk", search_paths=[ROOT], docstring_parser="numpy")
    assert isinstance(found, griffe.Module)
    return found


def final(found: griffe.Object | griffe.Alias) -> griffe.Function | griffe.Class:
    """What a name stands for, through all imports."""
    target = found.final_target if isinstance(found, griffe.Alias) else found
    assert isinstance(target, griffe.Function | griffe.Class), found.path
    return target


def sections(found: griffe.Function | griffe.Class) -> dict[str, griffe.DocstringSection]:
    """A docstring's sections by their kind: text, parameters, returns, raises, attributes."""
    return {} if found.docstring is None else {s.kind.value: s for s in found.docstring.parsed}


def _all(package: griffe.Module) -> list[str]:
    return [str(name).strip("'\"") for name in package.exports or ()]


def _anchor(text: str) -> str:
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def _link(name: str) -> str:
    listed = [own for group in GROUPS.values() for own in group]
    same = [own for own in listed[: listed.index(name)] if own.lower() == name.lower()]
    return f"[`{name}`](#popk{name.lower()}{f'-{len(same)}' if same else ''})"


def _entry(found: griffe.Function | griffe.Class, name: str, level: str) -> Iterator[str]:
    yield f"{level} `{name}`\n"
    if isinstance(found, griffe.Function):
        yield f"```python\n{_signature(name, found)}\n```\n"
    own = sections(found)
    if "text" in own:
        yield f"{_marked(own['text'].value)}\n"
    for kind, title in (
        ("parameters", "Parameters"),
        ("returns", "Returns"),
        ("attributes", "Attributes"),
        ("raises", "Raises"),
    ):
        if kind in own:
            yield f"**{title}**\n"
            yield from (_item(kind, part) for part in _merged(own[kind].value))
            yield ""
    if isinstance(found, griffe.Class):
        yield from _members(found)


def _merged(parts: Iterable) -> Iterator[tuple[str, str]]:
    """Name and description; names that share one stand together, as in the docstring."""
    names: list[str] = []
    before = None
    for part in parts:
        name = getattr(part, "name", "") or str(part.annotation or "")
        if names and part.description != before:
            yield ", ".join(names), before or ""
            names = []
        names.append(f"`{name.replace(', ', '`, `') if hasattr(part, 'name') else name}`")
        before = part.description
    yield ", ".join(names), before or ""


def _item(kind: str, part: tuple[str, str]) -> str:
    name, description = part
    if kind in ("returns", "raises"):
        name = name.replace(" or ", "` or `").replace("`popk.", "`")
    described = _marked(description).replace("\n", "\n  ")
    return f"- {name}: {described}".rstrip(": ")


def _members(found: griffe.Class) -> Iterator[str]:
    """Public methods and properties of the class itself, each by its summary."""
    lines = []
    for name, member in found.members.items():
        if name.startswith("_") or member.is_alias or member.docstring is None:
            continue
        if isinstance(member, griffe.Attribute) and "property" in member.labels:
            shown = f"`{name}`"
        elif isinstance(member, griffe.Function):
            shown = f"`{_signature(name, member, one_line=True)}`"
        else:
            continue
        summary = member.docstring.value.split("\n\n")[0]
        lines.append(f"- {shown}: {_marked(summary).replace(chr(10), ' ')}")
    if lines:
        yield "**Methods and properties**\n"
        yield from lines
        yield ""


def _signature(name: str, found: griffe.Function, *, one_line: bool = False) -> str:
    parts, star = [], False
    for parameter in found.parameters:
        if parameter.name in ("self", "cls"):
            continue
        kind = parameter.kind
        prefix = {
            griffe.ParameterKind.var_positional: "*",
            griffe.ParameterKind.var_keyword: "**",
        }.get(kind or griffe.ParameterKind.positional_or_keyword, "")
        star |= prefix == "*"
        if kind is griffe.ParameterKind.keyword_only and not star:
            parts.append("*")
            star = True
        text = f"{prefix}{parameter.name}"
        if parameter.annotation is not None:
            text += f": {_unquoted(parameter.annotation)}"
        if parameter.default is not None and not prefix:
            text += f" = {_value(parameter.default, found.module)}"
        parts.append(text)
    returns = "" if found.returns is None else f" -> {_unquoted(found.returns)}"
    line = f"{name}({', '.join(parts)}){returns}"
    if one_line or len(line) <= WIDTH:
        return line
    inside = "".join(f"    {part},\n" for part in parts)
    return f"{name}(\n{inside}){returns}"


def _value(default: griffe.Expr | str, module: griffe.Module) -> str:
    """A default as written, a constant by its value."""
    known = module.members.get(str(default))
    if isinstance(known, griffe.Alias):
        known = known.final_target
    if isinstance(known, griffe.Attribute) and known.value is not None:
        return str(known.value)
    return str(default)


def _unquoted(annotation: griffe.Expr | str) -> str:
    return str(annotation).strip("'\"")


def _results(
    found: griffe.Function | griffe.Class, package: griffe.Module
) -> Iterator[griffe.Class]:
    """Records that a function returns or takes and that have no entry of their own."""
    if not isinstance(found, griffe.Function) or not isinstance(found.returns, griffe.Expr):
        return
    for part in found.returns.iterate(flat=True):
        if isinstance(part, griffe.ExprName) and part.canonical_path.startswith("popk."):
            target = package.modules_collection[part.canonical_path]
            target = target.final_target if isinstance(target, griffe.Alias) else target
            if isinstance(target, griffe.Class):
                yield target


def _marked(text: str) -> str:
    """A docstring's words as Markdown: code stays, a star that is none is escaped."""
    parts = re.split(r"(``.+?``|`.+?`)", text.strip(), flags=re.DOTALL)
    return "".join(
        f"`{part.strip('`')}`" if i % 2 else part.replace("*", r"\*").replace("::", ":")
        for i, part in enumerate(parts)
    )
