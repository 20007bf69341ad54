"""Settings as text: JSON, and of YAML what means the same in JSON.

Words that are no JSON number, truth value or null stay text, such as dates, ``0100``, ``1:30`` and
``1_000``: whether a setting takes text is for the setting to say. So do numbers beyond 64 bits.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import yaml

from pyro_mfcvae.errors import ConfigError

_DEEPEST = 20  # levels of lists and mappings
_MOST = 100_000  # lists and mappings on one level, those that an alias repeats counted each time

_WORDS = {"": None, "~": None} | {
    form: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for form in (word, word.title(), word.upper())
}
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


def parse_json(text: str) -> Any:
    """What JSON says.

    Raises:
        ConfigError: if it is nested too deeply.
        json.JSONDecodeError: if it is no JSON.
    """
    try:
        values = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=str)
    except RecursionError:
        raise _too_deep("the text") from None
    check_nesting(values)
    return values


def parse_yaml(text: str) -> Any:
    """What YAML says, without tags: dictionaries, lists, text, numbers, truth values and None.

    Raises:
        ConfigError: if it is no YAML, has a tag or a key twice, or is nested too deeply.
    """
    try:
        values = yaml.load(text, _Loader)
    except RecursionError:
        raise _too_deep("the text") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"no YAML: {error}") from None
    check_nesting(values)
    return values


def check_nesting(values: Any) -> None:
    """Refuse lists and dictionaries too deep, or too many, to be walked over safely.

    Raises:
        ConfigError: if there are more levels, or values on one of them, than settings have.
    """
    level = [("", values)] if isinstance(values, dict | list) else []
    for _ in range(_DEEPEST):
        level = [
            (f"{path}.{key}" if path else str(key), value)
            for path, members in level
            for key, value in (members.items() if isinstance(members, dict) else enumerate(members))
            if isinstance(value, dict | list)
        ]
        if len(level) > _MOST:
            raise ConfigError(f"{level[0][0]}: expected at most {_MOST:,} lists and mappings")
        if not level:
            return
    raise _too_deep(level[0][0])


def _too_deep(where: str) -> ConfigError:
    return ConfigError(f"{where}: expected at most {_DEEPEST} levels of lists and mappings")


def _number(text: str) -> int | float | str:
    """A number as 64 bits hold it; the text where they cannot."""
    number = float(text)
    if abs(number) < 2**63 and not set(text) & set(".eE"):
        return int(text)
    return number if math.isfinite(number) else text


def _scalar(word: str) -> Any:
    if word in _WORDS:
        return _WORDS[word]
    return _number(word) if _NUMBER.fullmatch(word) else word


class _Loader(yaml.BaseLoader):  # type: ignore[misc]  # has no types
    """Reads plain words as JSON does; refuses tags, and keys that are given twice."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return ""  # no tag: all others are the text's own

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag:
            raise ConfigError(f"line {node.start_mark.line + 1}: leave the tag {node.tag} out")
        return super().construct_object(node, deep=True)

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        return node.value if node.style else _scalar(node.value)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            where = f"line {key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{where}: expected a word before the colon")
            if key.value in values:
                raise ConfigError(f"{where}: {key.value} is given twice")
            values[key.value] = self.construct_object(value)
        return values
