"""popk/COMMANDS.md: every command with its arguments and options, from what typer is told of it."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, DefaultPlaceholder, OptionInfo

from popk.cli import app

HEAD = """\
# The command popk

Written by `make reference` from the commands' own help; a test compares the two, and
`popk COMMAND --help` prints the same. Exit codes: 0 good, 1 problems in the files, 2 cannot be
read, 3 a check failed (it is said first), 130 interrupted.
"""
WORDS = {Path: "PATH", str: "TEXT", int: "INTEGER", float: "NUMBER"}


class Given(NamedTuple):
    """An argument or an option of a command.

    names
        ``("--compare", "--no-compare")``; of an argument its word, ``("FOLDER",)``.
    value
        Kind of value, "" for a switch.
    """

    names: tuple[str, ...]
    value: str
    said: str
    default: Any
    is_option: bool
    several: bool


class Command(NamedTuple):
    """A command: what it is for, and what it takes."""

    name: str
    panel: str
    help: str
    given: tuple[Given, ...]


def commands() -> dict[str, Command]:
    """All commands by name, in the order of the help."""
    found = {}
    for info in app.registered_commands:
        if info.hidden or info.callback is None:
            continue
        name = info.name or info.callback.__name__.replace("_", "-")
        panel = info.rich_help_panel
        panel = "" if isinstance(panel, DefaultPlaceholder) or panel is None else str(panel)
        text = info.help or inspect.getdoc(info.callback) or ""
        found[name] = Command(name, panel, text, tuple(_given(info.callback)))
    return found


def page() -> str:
    """The whole page."""
    panels: dict[str, list[Command]] = {}
    for command in commands().values():
        panels.setdefault(command.panel or "Commands", []).append(command)
    parts = [HEAD]
    for panel, own in panels.items():
        parts.append(f"- {panel}: " + ", ".join(f"[{c.name}](#popk-{c.name})" for c in own))
    parts.append("")
    for command in (c for own in panels.values() for c in own):
        parts.extend(_entry(command))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _given(callback: Any) -> Iterator[Given]:
    hints = get_type_hints(callback, include_extras=True)
    for parameter in inspect.signature(callback).parameters.values():
        hint = hints[parameter.name]
        info = next(
            (
                i
                for i in getattr(hint, "__metadata__", ())
                if isinstance(i, ArgumentInfo | OptionInfo)
            ),
            None,
        )
        if info is None or info.hidden:
            continue
        kind = [a for a in get_args(get_args(hint)[0]) or [get_args(hint)[0]] if a is not NoneType]
        several = get_origin(kind[0]) is list or get_origin(get_args(hint)[0]) is list
        first = get_args(kind[0])[0] if get_origin(kind[0]) is list else kind[0]
        literal = get_origin(get_args(hint)[0]) is Literal
        value = "|".join(map(str, kind)) if literal else WORDS.get(first, "TEXT")
        # In an annotation typer takes what would be a default for the first name
        first_name = (info.default,) if isinstance(info.default, str) else ()
        names = (*first_name, *(info.param_decls or ()))
        if isinstance(info, ArgumentInfo):
            names = (info.metavar or parameter.name.upper(),)
        elif first is bool:
            dashed = parameter.name.replace("_", "-")
            value, names = "", names or (f"--{dashed}", f"--no-{dashed}")
        else:
            names = names or (f"--{parameter.name.replace('_', '-')}",)
            value = info.metavar or value
        default = None if parameter.default is inspect.Parameter.empty else parameter.default
        said = " ".join((info.help or "").split())
        yield Given(names, value, said, default, isinstance(info, OptionInfo), several)


def _entry(command: Command) -> Iterator[str]:
    words = [f"[{g.names[0]}]" if g.default is not None else g.names[0]
             for g in command.given if not g.is_option]  # fmt: skip
    yield f"## popk {command.name}\n"
    yield f"```text\n{' '.join(['popk', command.name, *words, '[OPTIONS]'])}\n```\n"
    yield command.help.strip() + "\n"
    for given in command.given:
        names = " / ".join(f"`{f'{name} {given.value}'.strip()}`" for name in given.names)
        if not given.is_option:
            names = f"`{given.names[0]}`"
        again = " May be given again." if given.several else ""
        default = given.default
        told = "" if default in (None, "", False, True) else f" By default `{default}`."
        if default is True:
            told = f" By default `{given.names[0]}`."
        yield f"- {names}: {given.said}{told}{again}"
    yield ""
