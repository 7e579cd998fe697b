"""What is different between two models: in words, and line by line."""

import difflib
from collections.abc import Mapping
from typing import Any

import tomli_w

from popk.spec.model import ModelSpec

LINEAGE = ("name", "description", "based_on")
"""Keys of a model file that do not change the model."""
KINDS = ("distribution", "prior", "error", "relation", "structure")
"""Keys that say of which kind a table is: their change needs no further name."""
ARROW = "→"


def canonical(spec: ModelSpec) -> str:
    """A model as TOML: the same text for the same content, whatever its file looks like."""
    return tomli_w.dumps(spec.model_dump(mode="json", exclude_none=True))


def difference(first: ModelSpec, second: ModelSpec, names: tuple[str, str]) -> str:
    """Unified diff of both models as `canonical` TOML; empty where they are the same."""
    lines = difflib.unified_diff(
        canonical(first).splitlines(), canonical(second).splitlines(), *names, lineterm="", n=2
    )
    return "\n".join(lines)


def changes(first: ModelSpec, second: ModelSpec) -> tuple[str, ...]:
    """What became different from the first to the second, one change a line.

    Returns
    -------
    tuple of str
        E.g. ``parameter V: variability lognormal → student_t`` or ``covariate effect CL_AGE_below:
        only in the second``. Empty where both are the same model, under whatever name.
    """
    a, b = (_named(spec) for spec in (first, second))
    found: list[str] = []
    for part in dict.fromkeys([*a, *b]):
        found += _changed(part, a.get(part), b.get(part))
    return tuple(found)


def _named(spec: ModelSpec) -> dict[str, Any]:
    """A model's parts by the names that its changes are told under."""
    whole = spec.model_dump(mode="json", exclude_none=True)
    parts: dict[str, Any] = {k: v for k, v in whole.items() if k not in LINEAGE}
    parameters, effects = parts.pop("parameters"), parts.pop("covariates", ())
    parts |= {f"parameter {name}:": value for name, value in parameters.items()}
    for effect, own in zip(spec.covariates, effects, strict=True):
        parts[f"covariate effect {effect.name}:"] = own
    return parts


def _changed(label: str, a: Any, b: Any) -> list[str]:
    if a == b:
        return []
    if a is None or b is None:
        side = "the second" if a is None else "the first"
        return [f"{label} {told(b if a is None else a)} only in {side}"]
    if isinstance(a, Mapping) and isinstance(b, Mapping) and a.get("prior") == b.get("prior"):
        found: list[str] = []
        for key in dict.fromkeys([*a, *b]):
            own = label if key in KINDS else f"{label} {key}"
            found += _changed(own, a.get(key), b.get(key))
        return found
    return [f"{label} {told(a)} {ARROW} {told(b)}"]


def told(value: Any) -> str:
    """A part of a model in a few words."""
    if isinstance(value, Mapping):
        kind = next((str(value[k]) for k in KINDS if k in value), "")
        rest = ", ".join(f"{k} {told(v)}" for k, v in value.items() if k not in KINDS)
        return f"{kind}({rest})" if kind and rest else kind or rest
    if isinstance(value, list | tuple):
        return ", ".join(map(told, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
