"""Names of models, and which class the settings of a run mean."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from pyro_mfcvae.config import ModelConfig, ModelSource
from pyro_mfcvae.errors import ConfigError, OtherModelWarning

if TYPE_CHECKING:
    from pyro_mfcvae.models.base import FacetModel

MODELS: dict[str, type[FacetModel]] = {}

_FROM = "@"  # between the name of a class and the checksum of its file


def name_of(name: str, source: ModelSource) -> str:
    """What a model from a file is registered as, so that no other can be mistaken for it."""
    return f"{name}{_FROM}{source.sha256}"


def model_names() -> list[str]:
    """The models that need no file, sorted."""
    return sorted(name for name in MODELS if _FROM not in name)


def unknown_model(name: str) -> ConfigError:
    """The error for a name that no model has."""
    return ConfigError(
        f"unknown model {name!r}; choose one of {', '.join(model_names())}, or one of your own as "
        "FILE.py:Name"
    )


def model_class(config: ModelConfig) -> type[FacetModel]:
    """The class that the settings mean. Nothing is imported for it.

    A model from a file is one that :func:`~pyro_mfcvae.models.load_model_file` has made known: that
    of the file with the recorded checksum or else, with an ``OtherModelWarning``, the only one of
    this name.

    Raises:
        ConfigError: if there is none, or several could be meant.
    """
    name, source = config.name, config.source
    if source is None:
        if name not in MODELS:
            raise unknown_model(name)
        return MODELS[name]
    if (key := name_of(name, source)) in MODELS:
        return MODELS[key]
    recorded = f"this run's model is {name} of {source.file} (sha256 {source.sha256[:8]}…)"
    others = [key for key in MODELS if key.startswith(f"{name}{_FROM}")]
    if not others:
        raise ConfigError(
            f"{recorded}; nothing is executed that a run folder names: pass --model "
            f"path/to/{source.file}:{name}, or in Python give it to load_model_file first"
        )
    given = ", ".join(f"sha256 {key.rpartition(_FROM)[2][:8]}…" for key in others)
    if len(others) > 1:
        raise ConfigError(
            f"{recorded}; the given files have models of this name, but none is that one "
            f"({given}): give one file only"
        )
    warnings.warn(
        f"{recorded}, but the given file is another one or has changed ({given}); it is used",
        OtherModelWarning,
        stacklevel=1,  # one place, so that it is told once
    )
    return MODELS[others[0]]
