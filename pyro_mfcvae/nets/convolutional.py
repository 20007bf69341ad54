"""Convolutional ladders for any number of facets, channels, and any size of picture.

Source: MFCVAE, Table 5, with what its code really does: the stride-1 transposed convolution is
3 x 3, rungs are concatenated with the backbone, activation and batch norm also follow the last
transposed convolution, encoder convolutions are weight-normalised. For J = 2 and 32 x 32
pictures the layers are those of the code; for other J and sizes the pattern is continued.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.nets.layers import WeightNormConv2d, check_widths, dense
from pyro_mfcvae.nets.layers import activation as new_activation
from pyro_mfcvae.nets.registry import register_decoder, register_encoder

Size = tuple[int, int]


@register_encoder("conv-ladder")
class ConvLadderEncoder(nn.Module):
    """Each backbone stage halves the picture and feeds a facet's rung of two convolutions.

    Args:
        shape: (channels, height, width).
        n_facets: J.
        channels: channels of the first stage; later stages double them, up to four times.
        activation: name of the activation.
        batch_norm: normalise after each activation.
        weight_norm: normalise the weights of the convolutions.
        fade: weigh what each facet's rung gives to its head with its fade weight.
        first_rung: stage of facet 0's rung, from 0; those before it have none, as for a deeper
            facet of a longer ladder by itself.
    """

    def __init__(
        self,
        shape: Sequence[int],
        n_facets: int,
        channels: int = 64,
        activation: str = "elu",
        batch_norm: bool = True,
        weight_norm: bool = True,
        fade: bool = False,
        first_rung: int = 0,
    ) -> None:
        super().__init__()
        self.fade = fade
        size = picture_size(shape)
        check_widths([channels], "encoder channels")
        _check_first_rung(first_rung)
        conv = WeightNormConv2d if weight_norm else nn.Conv2d

        def block(n_in: int, n_out: int, size: Size, stride: int) -> tuple[nn.Sequential, Size]:
            kernel, step, padding = geometry(size, stride)
            layer = conv(n_in, n_out, kernel, step, padding)
            height, width = (
                (n + 2 * p - k) // s + 1
                for n, p, k, s in zip(size, padding, kernel, step, strict=True)
            )
            after = after_convolution(n_out, activation, batch_norm)
            return nn.Sequential(layer, *after), (height, width)

        self.backbone, self.rungs = nn.ModuleList(), nn.ModuleList()
        self.n_features: list[int] = []
        self.n_backbone: list[int] = []  # channels that each stage gives to the next one
        n_in = shape[0]
        passed: list[nn.Module] = []  # of the stages before the first rung
        for level in range(first_rung + n_facets):
            n_out = channels * min(2**level, 4)
            stage, size = block(n_in, n_out, size, stride=2)
            n_in = n_out
            if level < first_rung:
                passed += stage
                continue
            first, rung_size = block(n_out, n_out, size, stride=2)
            n_rung = n_out if level == 0 else 2 * n_out
            second, rung_size = block(n_out, n_rung, rung_size, stride=1 if level == 0 else 2)
            self.backbone.append(nn.Sequential(*passed, *stage))
            self.rungs.append(nn.Sequential(first, second))
            self.n_features.append(n_rung * math.prod(rung_size))
            self.n_backbone.append(n_out)
            passed = []

    def forward(self, x: Tensor, fade: Tensor | None = None) -> list[Tensor]:
        """Pictures (B, channels, height, width), fade weights (J,) -> J features (B, F_j)."""
        features = []
        for j, (stage, rung) in enumerate(zip(self.backbone, self.rungs, strict=True)):
            x = stage(x)
            feature = rung(x).flatten(1)
            features.append(feature * fade[j] if self.fade and fade is not None else feature)
        return features


@register_decoder("conv-ladder")
class ConvLadderDecoder(nn.Module):
    """Rungs of one dense layer, merged into a backbone of transposed convolutions.

    Args:
        shape: (channels, height, width).
        latent_dims: D_j, shallow first.
        channels: channels of facet 0's rung; deeper ones have four, then eight times as many.
        activation: name of the activation.
        batch_norm: normalise after each activation of a convolution.
        rung_batch_norm: normalise after each rung's activation.
        plain_output: leave activation and batch norm off the last transposed convolution.
        first_rung: stage that facet 0's rung enters, from 0; none enters those after it.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dims: Sequence[int],
        channels: int = 64,
        activation: str = "elu",
        batch_norm: bool = True,
        rung_batch_norm: bool = True,
        plain_output: bool = False,
        first_rung: int = 0,
    ) -> None:
        super().__init__()
        check_widths([channels], "decoder channels")
        _check_first_rung(first_rung)
        n_levels = first_rung + len(latent_dims)
        sizes = halvings(picture_size(shape), n_levels)
        widths = [channels * min(4**level, 8) for level in range(n_levels)]
        every = [(width, *size) for width, size in zip(widths, sizes[1:], strict=True)]
        self.rung_shapes = every[first_rung:]

        def stage(level: int, n_in: int) -> list[nn.Module]:
            if level == 0:
                after = [] if plain_output else after_convolution(shape[0], activation, batch_norm)
                return [upsampling(n_in, shape[0], sizes[1], sizes[0]), *after]
            below = widths[level - 1]
            return [
                upsampling(n_in, 2 * below, sizes[level + 1], sizes[level]),
                *after_convolution(2 * below, activation, batch_norm),
                nn.ConvTranspose2d(2 * below, below, 3, padding=1),
                *after_convolution(below, activation, batch_norm),
            ]

        self.rungs, self.backbone = nn.ModuleList(), nn.ModuleList()
        for j, dim in enumerate(latent_dims):
            level = first_rung + j
            self.rungs.append(
                dense([dim, math.prod(self.rung_shapes[j])], activation, rung_batch_norm)
            )
            layers = stage(level, widths[level] if level == n_levels - 1 else 2 * widths[level])
            if j == 0:
                for lower in reversed(range(first_rung)):
                    layers += stage(lower, widths[lower])
            self.backbone.append(nn.Sequential(*layers))

    def forward(self, zs: Sequence[Tensor], fade: Tensor | None = None) -> Tensor:
        """Latents [(N, D_j)] and weights (J,) -> parameters of p(x | z) (N, *shape)."""
        h: Tensor | None = None
        for j in reversed(range(len(zs))):
            rung = self.rungs[j](zs[j])
            if fade is not None:
                rung = rung * fade[j]
            rung = rung.unflatten(-1, self.rung_shapes[j])
            h = self.backbone[j](rung if h is None else torch.cat([rung, h], 1))
        assert h is not None  # there is at least one facet
        return h


def picture_size(shape: Sequence[int]) -> Size:
    """Height and width of observations; a ConfigError where they are no pictures."""
    if len(shape) != 3:
        raise ConfigError(
            "convolutional networks need pictures (channels, height, width), got observations of "
            f'shape {tuple(shape)}; choose encoder and decoder "ladder"'
        )
    return shape[1], shape[2]


def _check_first_rung(first_rung: int) -> None:
    if isinstance(first_rung, bool) or not isinstance(first_rung, int) or first_rung < 0:
        raise ConfigError(
            f"first_rung is the number of a stage, a whole number from 0, got {first_rung!r}"
        )


def after_convolution(channels: int, activation: str, batch_norm: bool) -> list[nn.Module]:
    """An activation and, if asked for, batch norm."""
    return [new_activation(activation)] + ([nn.BatchNorm2d(channels)] if batch_norm else [])


def geometry(size: Size, stride: int) -> tuple[Size, Size, Size]:
    """Kernel, stride and padding: 4 x 4 where the picture has room for it, else 3 x 3."""
    height, width = size
    kernel = (4 if height >= 2 else 3, 4 if width >= 2 else 3)
    step = (stride if height >= 2 else 1, stride if width >= 2 else 1)
    return kernel, step, (1, 1)


def halvings(size: Size, n_times: int) -> list[Size]:
    """Sizes after 0, 1, ... halvings, as the encoder's backbone has them."""
    sizes = [size]
    for _ in range(n_times):
        height, width = sizes[-1]
        sizes.append((max(height // 2, 1), max(width // 2, 1)))
    return sizes


def upsampling(n_in: int, n_out: int, size: Size, target: Size) -> nn.ConvTranspose2d:
    """A transposed convolution from one size to the next larger one of the ladder."""
    kernel, step, padding = geometry(target, 2)
    missing = [
        to - ((n - 1) * s - 2 * p + k)
        for to, n, s, p, k in zip(target, size, step, padding, kernel, strict=True)
    ]
    return nn.ConvTranspose2d(
        n_in, n_out, kernel, step, padding, output_padding=(missing[0], missing[1])
    )
