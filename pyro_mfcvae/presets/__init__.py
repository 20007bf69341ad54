"""Published and recommended settings, each with its source and the result to expect."""

from pyro_mfcvae.presets import default, published  # noqa: F401  (registers their presets)
from pyro_mfcvae.presets.registry import DEFAULT, PRESETS, Preset, get_preset, register_preset

__all__ = ["DEFAULT", "PRESETS", "Preset", "get_preset", "register_preset"]
