"""Errors that a user can mend, each with what was expected, what came and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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


class OtherDataWarning(UserWarning):
    """Data are not those that a run was trained on."""


class OtherModelWarning(UserWarning):
    """A file with a person's own model or guide is not the one that a run was trained with."""


class NoEffectWarning(UserWarning):
    """A setting was given that nothing reads."""


class TrainingError(RuntimeError):
    """Training cannot go on, for instance because the objective is not finite."""


def explain(problem: Mapping[str, Any]) -> str:
    """One problem that pydantic found in settings, with its place."""
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown setting {where!r}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"setting {where!r} is missing"
    if not where:
        return message
    return f"{where}: {message[0].lower()}{message[1:]}, got {problem['input']!r}"


def explain_os(error: OSError) -> str:
    """What the system refused, and where."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
