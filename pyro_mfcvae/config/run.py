"""Settings of a whole run, to and from JSON."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from pyro_mfcvae.config.parts import (
    GuideConfig,
    ModelConfig,
    Part,
    Positive,
    SameRun,
    Whole,
    settings,
)
from pyro_mfcvae.config.text import check_nesting, parse_json
from pyro_mfcvae.config.training import TrainingConfig
from pyro_mfcvae.errors import ConfigError, explain, names_in

VERSION: Final = 2


@settings
class Config:
    """A whole run.

    Attributes:
        version: version of the layout of these settings.
        preset: name of the preset that the settings come from.
        seed: seed of the first weights, the order of the observations and the noise.
        data: a registered data set, or ``file`` with the option ``path``.
        model: the model.
        guide: the guide.
        training: how to train.
        sampling_temperature: tau of the figures' samples, drawn with covariances tau * Sigma.
    """

    version: SameRun[Literal[2]] = VERSION
    preset: SameRun[str | None] = None
    seed: Whole = 0
    data: Part
    model: ModelConfig
    guide: GuideConfig = GuideConfig()
    training: TrainingConfig
    sampling_temperature: SameRun[Positive] = 1.0

    def __post_init__(self) -> None:
        n_steps, n_facets = len(self.training.epochs_per_step), len(self.model.facets)
        warp = self.training.warp
        if warp is not None and max(warp.facets or (0,)) >= n_facets:
            given = list(warp.facets or ())
            raise ValueError(
                f"training.warp.facets must be from 0 to {n_facets - 1}, got {given}; set it to "
                "null, which means all facets"
            )
        if n_steps not in (1, n_facets):
            raise ValueError(
                f"training.epochs_per_step needs one entry per facet ({n_facets}) or a single one "
                f"to train all facets at once, got {n_steps}"
            )

    def without_folders(self) -> Config:
        """The same settings, with nothing but their names for files of code of one's own."""
        model, guide = self.model, self.guide
        if model.source is not None:
            model = replace(model, source=model.source.without_folder())
        if guide.source is not None:
            guide = replace(guide, source=guide.source.without_folder())
        return replace(self, model=model, guide=guide)


@functools.cache
def _adapter() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


def config_to_dict(config: Config, defaults: bool = True) -> dict[str, Any]:
    """The settings as plain lists and dictionaries, on request without those at their default."""
    return _adapter().dump_python(config, mode="json", exclude_defaults=not defaults)


def config_from_dict(values: dict[str, Any]) -> Config:
    """Settings from plain lists and dictionaries, also those of an earlier version.

    Raises:
        ConfigError: if a key is unknown or missing, or a value has the wrong type or range.
    """
    check_nesting(values)
    try:
        return _adapter().validate_python(_upgrade(values))
    except ValidationError as error:
        known = names_in(_adapter().json_schema())
        problems = [explain(problem, known) for problem in error.errors()]
        raise ConfigError("; ".join(problems)) from None


def _upgrade(values: dict[str, Any]) -> dict[str, Any]:
    """Settings of version 1 as those of version 2; all others as they are."""
    if values.get("version") != 1:
        return values
    values = {**values, "version": VERSION}
    model = values.get("model")
    if isinstance(model, dict) and isinstance(model.get("facets"), list | tuple):
        # True was the default, written down for models as well that cannot learn the weights.
        facets = [
            {**f, "learn_weights": None} if isinstance(f, dict) and f.get("learn_weights") else f
            for f in model["facets"]
        ]
        values["model"] = {**model, "facets": facets}
    return values


def config_to_json(config: Config) -> str:
    """The settings as indented JSON."""
    return json.dumps(config_to_dict(config), indent=2) + "\n"


def config_from_json(text: str) -> Config:
    """Settings from JSON.

    Raises:
        ConfigError: if the text is no JSON object, or as for :func:`config_from_dict`.
    """
    try:
        values = parse_json(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the settings are not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"the settings must be a JSON object, got {type(values).__name__}")
    return config_from_dict(values)
