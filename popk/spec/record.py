"""From a TOML file to a frozen, validated record, or to faults that a person can mend."""

import difflib
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from popk.spec.problem import Fault, PopkError, Problem


class Record(pydantic.BaseModel):
    """An immutable record; a key that it does not know is a fault."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


R = TypeVar("R", bound=Record)


def read_record(kind: type[R], path: str | Path) -> R:
    """Read a TOML file as a record of this `kind`.

    Raises
    ------
    PopkError
        With one problem for every fault: file, key, what was found, what was expected, the cure.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PopkError(
            Problem(
                file=str(path),
                found=f"no readable file ({error.strerror or error})",
                expected=f"a TOML file with a {kind.__name__}",
                cure="check the path; popk alone lists the fits here, popk init NAME begins one",
            ),
            unreadable=True,
        ) from None
    try:
        content = tomllib.loads(raw.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PopkError(
            Problem(
                file=str(path),
                found=f"text that is not TOML: {error}",
                expected="TOML 1.0 in UTF-8",
                cure="mend the place named; strings stand in quotes, tables in [brackets]",
            ),
            unreadable=True,
        ) from None
    return validate(kind, content, str(path))


def validate(kind: type[R], content: dict[str, Any], source: str = "") -> R:
    """Turn a dictionary into a record of this `kind`; faults as in `read_record`."""
    try:
        return kind.model_validate(content)
    except pydantic.ValidationError as error:
        problems = [_as_problem(fault, kind, content, source) for fault in error.errors()]
        raise PopkError(*problems) from None
    except PopkError as error:  # a record that names its own faults does not know its file
        raise PopkError(*(replace(p, file=p.file or source) for p in error.problems)) from None


def _as_problem(fault: Any, kind: type[Record], content: Any, source: str) -> Problem:
    key = ".".join(str(part) for part in _path_in_file(fault["loc"], content))
    found = repr(fault["input"])
    if len(found) > 80:
        found = found[:77] + "..."
    context = fault.get("ctx", {})
    expected, cure = fault["msg"], f"write {_example(fault['loc'], kind)}"
    match fault["type"]:
        case "missing":
            found, expected = "nothing", "this key"
            cure = f"add {fault['loc'][-1]} = ..., {_example(fault['loc'], kind)}"
        case "extra_forbidden":
            word = str(fault["loc"][-1])
            words = _known_keys(fault["loc"], kind)
            found, expected = f"the unknown key {word!r}", _one_of(words)
            cure = _nearest(word, words) or "remove it"
        case "literal_error":
            words = _quoted(context["expected"])
            expected = _one_of([word if word.strip().isalnum() else f'"{word}"' for word in words])
            cure = _nearest(str(fault["input"]), words) or f"use {expected}"
        case "union_tag_invalid":
            words = _quoted(context["expected_tags"])
            key = f"{key}.{context['discriminator'].strip(chr(39))}" if key else key
            found, expected = repr(context["tag"]), _one_of(words)
            cure = _nearest(context["tag"], words) or f"use {expected}"
        case "union_tag_not_found":
            word = context["discriminator"].strip("'")
            expected = f"a table with the key {word}"
            cure = f"add {word} = ..."
        case "value_error":
            error = context["error"]
            expected = str(error)
            cure = error.cure if isinstance(error, Fault) else _from_words(expected)
    return Problem(file=source, key=key or None, found=found, expected=expected, cure=cure)


def _path_in_file(location: tuple[Any, ...], content: Any) -> list[Any]:
    """The part of pydantic's location that stands in the file (union tags do not)."""
    path: list[Any] = []
    for depth, part in enumerate(location):
        if isinstance(content, dict) and part in content:
            content = content[part]
        elif isinstance(content, list | tuple) and isinstance(part, int) and part < len(content):
            content = content[part]
            part += 1  # people count tables from 1
        elif depth < len(location) - 1:
            continue
        elif isinstance(content, dict):
            content = None  # a missing key
        else:
            continue
        path.append(part)
    return path


def _known_keys(location: tuple[Any, ...], kind: type[Record]) -> list[str]:
    """The keys that the record at this location knows."""
    nodes = _schemas(location[:-1], kind)
    return sorted({key for node in nodes for key in node.get("properties", {})})


def _example(location: tuple[Any, ...], kind: type[Record]) -> str:
    """What may stand at this location, in words, with an example."""
    for node in _schemas(location, kind):
        if "enum" in node or "const" in node:
            return _one_of([f'"{word}"' for word in node.get("enum", [node.get("const")])])
        match node.get("type"):
            case "number" | "integer" as number:
                return _number_example(node, number)
            case "string":
                return "a text in quotes"
            case "boolean":
                return "true or false"
            case "array":
                least = node.get("minItems", 0)
                some = f" with at least {least} entries" if least > 1 else ""
                return f"a list{some}, in [brackets]"
            case "object":
                return _table_example(node)
    return "what is expected"


def _number_example(node: dict[str, Any], kind: str) -> str:
    what = "a whole number" if kind == "integer" else "a number"
    low, high = (
        node.get(f"exclusive{end.capitalize()}", node.get(end)) for end in ("minimum", "maximum")
    )
    match low, high:
        case None, None:
            return f"{what}, for example 1"
        case None, _:
            return f"{what} below {high:g}"
        case _, None:
            step = 1 if kind == "integer" or low else 0.5
            return f"{what} above {low:g}, for example {low + step:g}"
        case _:
            middle = (low + high) // 2 if kind == "integer" else (low + high) / 2
            return f"{what} from {low:g} to {high:g}, for example {middle:g}"


def _table_example(node: dict[str, Any]) -> str:
    needed = node.get("required", [])
    keys = ", ".join(f"{key} = ..." for key in needed)
    return f"a table with {keys}" if keys else "a table"


def _from_words(expected: str) -> str:
    """The example that an expectation names itself."""
    found = re.search(r"(?:such as|e\.g\.|for example) (.+)$", expected)
    return f"write for example {found[1]}" if found else f"write {expected}"


def _schemas(location: tuple[Any, ...], kind: type[Record]) -> list[dict[str, Any]]:
    """What may stand at a location, found by walking the JSON schema."""
    schema = kind.model_json_schema()
    definitions = schema.get("$defs", {})
    nodes = [schema]
    for part in location:
        onward: list[dict[str, Any]] = []
        for node in _resolved(nodes, definitions):
            for candidate in (
                node.get("properties", {}).get(part),
                node.get("additionalProperties"),
                node.get("items"),
            ):
                if isinstance(candidate, dict):
                    onward.append(candidate)
            tagged = node.get("discriminator", {}).get("mapping", {}).get(part)
            if tagged is not None:
                onward.append({"$ref": tagged})
        nodes = onward or nodes
    return _resolved(nodes, definitions)


def _resolved(nodes: list[dict[str, Any]], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    flat: list[dict[str, Any]] = []
    for node in nodes:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node
        flat.append(target)
        for branch in target.get("anyOf", []) + target.get("oneOf", []):
            flat.extend(_resolved([branch], definitions))
    return flat


def _quoted(text: str) -> list[str]:
    return [piece for piece in text.split("'")[1::2] if piece]


def _one_of(words: list[str]) -> str:
    return "one of " + ", ".join(words) if len(words) > 1 else (words[0] if words else "no key")


def _nearest(word: str, words: list[str]) -> str | None:
    lower = {w.lower(): w for w in words}
    close = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.5)
    return f"did you mean {lower[close[0]]!r}?" if close else None
