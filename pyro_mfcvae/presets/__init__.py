"""Published and recommended settings, each with its source and the result to expect."""

from pyro_mfcvae.presets import (  # noqa: F401  (registers their presets)
    default,
    fast,
    gmvae,
    published,
    three_facets,
    ugvae,
    vade,
    vlac,
)
from pyro_mfcvae.presets.registry import DEFAULT, PRESETS, Preset, get_preset, register_preset

__all__ = ["DEFAULT", "PRESETS", "Preset", "get_preset", "register_preset"]
