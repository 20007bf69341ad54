"""Every setting by its dotted path: what it says of itself, what it takes, and its default."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter

from pyro_mfcvae.config.identity import marked_same_run
from pyro_mfcvae.config.parts import MOST, Component
from pyro_mfcvae.config.run import Config
from pyro_mfcvae.registry import Registry


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: its dotted path, with J for the number of a facet.
        description: what its class says of it.
        values: what it takes, in words.
        default: as JSON; None where a value must be given.
        changes_results: whether a run with another value is another run.
    """

    name: str
    description: str
    values: str
    default: str | None
    changes_results: bool


def _settings(part: type, path: str = "") -> Iterator[Setting]:
    """The settings of a part and of its parts, in the order of their declaration."""
    told, hints, same = _attributes(part), get_type_hints(part), marked_same_run(part)
    schema = TypeAdapter(part).json_schema()
    required = schema.get("required", ())
    for field in dataclasses.fields(part):
        values = schema["properties"][field.name]
        inner = [kind for kind in _members(hints[field.name]) if dataclasses.is_dataclass(kind)]
        if hints[field.name] not in inner or Component in inner:
            yield Setting(
                path + field.name,
                told[field.name],
                _in_words(values),
                None if field.name in required else json.dumps(values.get("default", {})),
                field.name not in same,
            )
        many = ".J" if values.get("type") == "array" else ""
        for kind in inner:
            if kind is not Component:
                yield from _settings(kind, f"{path}{field.name}{many}.")


def _members(hint: Any) -> list[type]:
    """The classes in a type."""
    inner = [kind for argument in get_args(hint) for kind in _members(argument)]
    return inner or [hint]


def _attributes(part: type) -> dict[str, str]:
    """What the docstring of a class says of its attributes, as plain text of JSON's values."""
    _, _, text = inspect.getdoc(part).partition("Attributes:\n")  # type: ignore[union-attr]
    text = re.sub(r"\bNone\b", "null", text.replace("``", ""))
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(description.split()) for name, description in found}


def _in_words(schema: dict[str, Any]) -> str:
    """What a JSON schema admits."""
    if "anyOf" in schema:
        return " or ".join(map(_in_words, schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return " or ".join(map(json.dumps, schema.get("enum", [schema.get("const")])))
    if "$ref" in schema:
        is_named = schema["$ref"].endswith("/Component")
        return "a name, or a name with options" if is_named else "settings"
    kind = schema["type"]
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(map(_in_words, schema['prefixItems']))}]"
        return f"list of ({_in_words(schema['items'])})"
    words = {"integer": "whole number", "boolean": "true or false", "string": "text"}
    bounds = [f"above {schema['exclusiveMinimum']:g}"] if "exclusiveMinimum" in schema else []
    bounds += [f"from {schema['minimum']:g}"] if "minimum" in schema else []
    bounds += [f"to {schema['maximum']:g}"] if schema.get("maximum", MOST) < MOST else []
    return " ".join([words.get(kind, {"object": "options by name"}.get(kind, kind)), *bounds])


SETTINGS: Registry[Setting] = Registry("setting")
"""By dotted path. The command line and the documentation read it."""
SETTINGS.add(*_settings(Config))
