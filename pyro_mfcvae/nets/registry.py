"""Names of encoders and decoders, and building a part from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from pyro_mfcvae.config.options import check_options
from pyro_mfcvae.registry import Registry

M = TypeVar("M", bound=nn.Module)


ENCODERS: Registry[type[nn.Module]] = Registry("encoder")
DECODERS: Registry[type[nn.Module]] = Registry("decoder")

register_encoder = ENCODERS.register
"""Class decorator: make an encoder known by name.

An encoder is built as ``cls(observation_shape, n_facets, **options)``, maps x (B, *shape) and
fade weights (J,) or None, which it may leave aside, to a list of J features (B, F_j), and has
``n_features``, the F_j.
"""

register_decoder = DECODERS.register
"""Class decorator: make a decoder known by name.

A decoder is built as ``cls(observation_shape, latent_dims, **options)`` and maps latents
[(N, D_j)] and fade weights (J,) or None to the likelihood's parameters (N, *shape).
"""


def build(table: Registry[type[M]], name: str, options: Mapping[str, Any], *args: object) -> M:
    """Build the part called name from positional arguments and options.

    Raises:
        ConfigError: if the name or an option is unknown, or an option has a wrong value.
    """
    part = table[name]
    check_options(part, options, f"{table.what} {name!r}", n_given=len(args))
    return part(*args, **options)
