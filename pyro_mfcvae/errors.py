"""Errors that a user can mend, each with what was expected, what came and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

_MOST_LETTERS = 200  # of a value in a message
_MOST_LISTED = 20  # values in a message


class ConfigError(ValueError):
    """A setting is unknown, has the wrong type or range, or does not fit the data."""


class DataError(ValueError):
    """Observations or labels have the wrong shape, type or range, or cannot be found."""


class RunError(ValueError):
    """A run folder or checkpoint is missing, damaged or not what was asked for."""


class DamagedCheckpointWarning(UserWarning):
    """A newer checkpoint is damaged, so that an older one is taken."""


class NotSavedWarning(UserWarning):
    """Results cannot be written into the folder of their run."""


class NotTrackedWarning(UserWarning):
    """A tracker, such as MLflow, fails, and is told no more of a run."""


class OtherDataWarning(UserWarning):
    """Data are not those that a run was trained on."""


class DataWarning(UserWarning):
    """Some of a person's data are left out."""


class ColumnsWarning(DataWarning):
    """Some columns of a person's table are not trained on."""


class OtherModelWarning(UserWarning):
    """A file with a person's own model or guide is not the one that a run was trained with."""


class NoEffectWarning(UserWarning):
    """A setting was given that nothing reads."""


class SlowStepWarning(UserWarning):
    """Steps are not computed in the way that was asked for; their numbers are the same."""


class TrainingError(RuntimeError):
    """Training cannot go on, for instance because the objective is not finite."""


def shown(value: object) -> str:
    """A value as it stands in a message: escaped, and not too long."""
    text = repr(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."


def listed(values: Iterable[object], tell: Callable[[Any], str] = shown) -> str:
    """Values as they stand in a message, the first twenty of them.

    Args:
        values: the values.
        tell: what is said of each.
    """
    first = list(values)
    n_more = len(first) - _MOST_LISTED
    told = ", ".join(map(tell, first[:_MOST_LISTED]))
    return f"{told} and {n_more:,} more" if n_more > 0 else told


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """What an error adds where a name is nearly one of the known ones."""
    names = {each.lower(): each for each in known}
    close = get_close_matches(str(name).rpartition(".")[2].lower(), names, n=1)
    return f"; did you mean {names[close[0]]!r}?" if close else ""


def explain(problem: Mapping[str, Any], known: Iterable[str] = ()) -> str:
    """One problem that pydantic found in settings, with its place.

    Args:
        problem: one of ``ValidationError.errors()``.
        known: names that settings have, for those that are unknown.
    """
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown setting {where!r}{did_you_mean(where, known)}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{where if ' ' in where else f'setting {where!r}'} is missing"
    if not where:
        return message
    meant = ""
    if problem["type"] == "literal_error":
        allowed = re.findall("'([^']*)'", problem["ctx"]["expected"])
        meant = did_you_mean(problem["input"], allowed)
    return f"{where}: {message[0].lower()}{message[1:]}, got {shown(problem['input'])}{meant}"


def explain_os(error: OSError) -> str:
    """What the system refused, and where."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"


def names_in(schema: Mapping[str, Any]) -> set[str]:
    """Names of all settings, in any part, of a JSON schema."""
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", ())}
