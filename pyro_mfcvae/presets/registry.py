"""What a preset is, and the registry of presets."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from pyro_mfcvae.config import Config
from pyro_mfcvae.registry import Registry

DEFAULT = "shapes"
_OF_MODEL = {name: f"{name}-shapes" for name in ("vade", "vlac", "gmvae", "ugvae")}


@dataclass(frozen=True)
class Preset:
    """Settings with where they come from.

    Attributes:
        config: the settings.
        description: one line.
        source: of the settings.
        expected: the result to expect, with its metric.
    """

    config: Config
    description: str
    source: str
    expected: str

    @property
    def name(self) -> str:
        """What the preset is called."""
        assert self.config.preset is not None
        return self.config.preset


PRESETS: Registry[Preset] = Registry("preset")

register_preset = PRESETS.add
"""Make presets known by the name that their settings bear."""


def default_preset(model: str | None = None) -> str:
    """The preset that a registered model has when none is named; all need no download."""
    return _OF_MODEL.get(model or "", DEFAULT)


def get_preset(name: str) -> Preset:
    """The preset called name, as a copy: options are dictionaries, which can be changed.

    Raises:
        ConfigError: if there is none.
    """
    return deepcopy(PRESETS[name])
