"""Published and recommended settings, each with its source and the result to expect."""

from pyro_mfcvae.presets import (  # noqa: F401, I001  (they register, in this order)
    default,
    fast,
    published,
    three_facets,
    vade,
    vlac,
    gmvae,
    ugvae,
    scenes,
)
from pyro_mfcvae.presets.registry import (
    DEFAULT,
    PRESETS,
    Preset,
    default_preset,
    get_preset,
    register_preset,
)

__all__ = ["DEFAULT", "PRESETS", "Preset", "default_preset", "get_preset", "register_preset"]
