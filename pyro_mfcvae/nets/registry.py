"""Names of encoders, decoders and likelihoods, and building one from its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.config.options import check_options
from pyro_mfcvae.registry import Registry

M = TypeVar("M", bound=nn.Module)


class Likelihood(nn.Module):
    """p(x | z) from the decoder's output, and what it asks of encoder and decoder.

    Attributes:
        takes_missing: whether values may be missing, which is told by NaN.
    """

    takes_missing = False

    def check(self, observation: ObservationSpec) -> None:
        """Raise a DataError if it cannot describe such observations."""

    def decoder_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the parameters of one observation, which the decoder gives."""
        return tuple(shape)

    def encoder_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of what the encoder sees of one observation."""
        return tuple(shape)

    def encoder_input(self, x: Tensor) -> Tensor:
        """Observations (B, *shape) -> what the encoder sees of them, (B, *encoder_shape)."""
        return x


ENCODERS: Registry[type[nn.Module]] = Registry("encoder")
DECODERS: Registry[type[nn.Module]] = Registry("decoder")
LIKELIHOODS: Registry[type[Likelihood]] = Registry("likelihood")

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

register_likelihood = LIKELIHOODS.register
"""Class decorator: make a likelihood known by name.

A likelihood is a :class:`Likelihood` that is built as ``cls(**options)`` and maps the decoder's
parameters to p(x | z); ``check`` refuses data that it cannot describe.
"""


def build(table: Registry[type[M]], name: str, options: Mapping[str, Any], *args: object) -> M:
    """Build the part called name from positional arguments and options.

    Raises:
        ConfigError: if the name or an option is unknown, or an option has a wrong value.
    """
    part = table[name]
    check_options(part, options, f"{table.what} {name!r}", n_given=len(args))
    return part(*args, **options)
