"""Options of registered parts, checked against what they are for, and settings by their paths."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pyro_mfcvae.errors import ConfigError, did_you_mean, explain


def check_options(
    part: Callable[..., object], options: Mapping[str, Any], what: str, n_given: int = 0
) -> None:
    """Refuse options that a part does not take, or of another type than it says.

    Args:
        part: a class or function with type hints.
        options: by name.
        what: the part in words, for messages, such as ``"encoder 'ladder'"``.
        n_given: arguments, from the first on, that are given otherwise.

    Raises:
        ConfigError: if an option is unknown, missing or of another type.
    """
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.signature(part).parameters.values()
    positional = [p for p in signature if p.kind in (named[0], inspect.Parameter.POSITIONAL_ONLY)]
    given = positional[:n_given]  # there may be fewer, and *args for the rest
    parameters = [p for p in signature if p.kind in named and p not in given]
    known = [parameter.name for parameter in parameters]
    unknown = sorted(set(options) - set(known))
    if unknown:
        takes = f"it has {', '.join(known)}" if known else "it has none"
        meant = did_you_mean(unknown[0], known)
        raise ConfigError(f"unknown option {', '.join(unknown)} of {what}; {takes}{meant}")
    for parameter in parameters:
        if parameter.name not in options and parameter.default is parameter.empty:
            raise ConfigError(f"{what} needs the option {parameter.name}")
    hints = get_type_hints(part.__init__ if inspect.isclass(part) else part, include_extras=True)
    for name, value in options.items():
        if name not in hints:
            continue
        try:
            TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as error:
            problem = {**error.errors()[0], "loc": (f"option {name} of {what}",), "input": value}
            raise ConfigError(explain(problem)) from None


def leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Plain settings by their dotted paths; lists of plain values stay whole."""
    if isinstance(values, list) and any(isinstance(value, dict) for value in values):
        values = dict(enumerate(values))
    if not isinstance(values, dict):
        yield path, values
        return
    for key, value in values.items():
        yield from leaves(value, f"{path}.{key}" if path else str(key))
