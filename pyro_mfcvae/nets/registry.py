"""Names of encoders, decoders and likelihoods, and building one from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from pyro_mfcvae.config.options import check_options
from pyro_mfcvae.errors import ConfigError

ENCODERS: dict[str, type[nn.Module]] = {}
DECODERS: dict[str, type[nn.Module]] = {}
LIKELIHOODS: dict[str, type[nn.Module]] = {}


def _register(table: dict[str, type[nn.Module]], name: str) -> Callable[[type], type]:
    def register(cls: type) -> type:
        table[name] = cls
        return cls

    return register


def register_encoder(name: str) -> Callable[[type], type]:
    """Class decorator: make an encoder known by name.

    An encoder is built as ``cls(observation_shape, n_facets, **options)``, maps x (B, *shape) and
    fade weights (J,) or None, which it may leave aside, to a list of J features (B, F_j), and has
    ``n_features``, the F_j.
    """
    return _register(ENCODERS, name)


def register_decoder(name: str) -> Callable[[type], type]:
    """Class decorator: make a decoder known by name.

    A decoder is built as ``cls(observation_shape, latent_dims, **options)`` and maps latents
    [(..., D_j)] and fade weights (J,) or None to the likelihood's parameters (..., *shape).
    """
    return _register(DECODERS, name)


def register_likelihood(name: str) -> Callable[[type], type]:
    """Class decorator: make a likelihood known by name.

    A likelihood is built as ``cls(**options)``, maps the decoder's parameters to p(x | z), and
    has ``check(observation)``, which refuses data that it cannot describe.
    """
    return _register(LIKELIHOODS, name)


def build(
    table: Mapping[str, type[nn.Module]],
    what: str,
    name: str,
    options: Mapping[str, Any],
    *args: object,
) -> nn.Module:
    """Build the entry called name from positional arguments and options.

    Raises:
        ConfigError: if the name or an option is unknown, or an option has a wrong value.
    """
    if name not in table:
        raise ConfigError(f"unknown {what} {name!r}; choose one of {', '.join(sorted(table))}")
    check_options(table[name], options, f"{what} {name!r}", n_given=len(args))
    return table[name](*args, **options)
