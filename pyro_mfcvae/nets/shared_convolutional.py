"""A convolutional trunk that all facets share, for any number of them and any size of picture.

The convolutional counterpart of the fully connected shared trunk (MFCVAE, Eq. 81-87), as a
convolutional VaDE has it (MFCVAE, Table 2). The layers are our own choice: that paper does not
say which ones its comparison used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pyro_mfcvae.nets.convolutional import (
    after_convolution,
    geometry,
    halvings,
    picture_size,
    upsampling,
)
from pyro_mfcvae.nets.layers import check_widths, dense
from pyro_mfcvae.nets.registry import register_decoder, register_encoder


@register_encoder("conv-shared")
class ConvSharedEncoder(nn.Module):
    """Convolutions that each halve the picture, then dense layers; all facets read the last one.

    Args:
        shape: (channels, height, width).
        n_facets: J.
        channels: channels of the convolutions, 4 x 4 with stride 2.
        widths: widths of the dense layers; none leaves them out.
        activation: name of the activation.
        batch_norm: normalise after each activation.
    """

    def __init__(
        self,
        shape: Sequence[int],
        n_facets: int,
        channels: Sequence[int] = (32, 64, 128),
        widths: Sequence[int] = (),
        activation: str = "relu",
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        sizes = halvings(picture_size(shape), len(channels))
        check_widths(channels, "encoder channels")
        check_widths(widths, "encoder widths")
        layers: list[nn.Module] = []
        for (n_in, n_out), size in zip(pairwise([shape[0], *channels]), sizes, strict=False):
            layers.append(nn.Conv2d(n_in, n_out, *geometry(size, 2)))
            layers += after_convolution(n_out, activation, batch_norm)
        self.convolutions = nn.Sequential(*layers)
        n_flat = [shape[0], *channels][-1] * math.prod(sizes[-1])
        self.trunk = dense([n_flat, *widths], activation, batch_norm)
        self.n_features = [[n_flat, *widths][-1]] * n_facets

    def forward(self, x: Tensor, fade: Tensor | None = None) -> list[Tensor]:
        """Pictures (B, *shape) -> J times the same features (B, F); nothing is faded."""
        return [self.trunk(self.convolutions(x).flatten(1))] * len(self.n_features)


@register_decoder("conv-shared")
class ConvSharedDecoder(nn.Module):
    """Dense layers over the concatenated latents, then convolutions that mirror the encoder's.

    Each latent is faded before it enters. Transposed convolutions double the picture's size; the
    last one has no activation.

    Args:
        shape: (channels, height, width).
        latent_dims: D_j, shallow first.
        channels: channels before each of the transposed convolutions, 4 x 4 with stride 2.
        widths: widths of dense layers before the one that the convolutions start from.
        activation: name of the activation.
        batch_norm: normalise after each activation.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dims: Sequence[int],
        channels: Sequence[int] = (128, 64, 32),
        widths: Sequence[int] = (),
        activation: str = "relu",
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        sizes = halvings(picture_size(shape), len(channels))[::-1]
        check_widths(channels, "decoder channels")
        check_widths(widths, "decoder widths")
        n_channels = [*channels, shape[0]]
        self.first_shape = (n_channels[0], *sizes[0])
        n_first = math.prod(self.first_shape)
        self.trunk = dense([sum(latent_dims), *widths, n_first], activation, batch_norm)
        layers: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(pairwise(n_channels)):
            layers.append(upsampling(n_in, n_out, sizes[i], sizes[i + 1]))
            if i < len(channels) - 1:
                layers += after_convolution(n_out, activation, batch_norm)
        self.convolutions = nn.Sequential(*layers)

    def forward(self, zs: Sequence[Tensor], fade: Tensor | None = None) -> Tensor:
        """Latents [(N, D_j)] and weights (J,) -> parameters of p(x | z) (N, *shape)."""
        if fade is not None:
            zs = [z * fade[j] for j, z in enumerate(zs)]
        return self.convolutions(self.trunk(torch.cat([*zs], -1)).unflatten(-1, self.first_shape))
