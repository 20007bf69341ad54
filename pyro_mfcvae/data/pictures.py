"""Pictures brought to one size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pyro_mfcvae.errors import ConfigError

_AT_ONCE = 1000  # pictures


def check_size(size: int) -> None:
    """Refuse a height and width in pixels that pictures cannot have.

    Raises:
        ConfigError: if it is not from 4 to 512.
    """
    if not isinstance(size, int) or not 4 <= size <= 512:
        raise ConfigError(f"size must be a whole number of pixels from 4 to 512, got {size!r}")


def resized(x: Tensor, size: int) -> Tensor:
    """Pictures resized bilinearly, without aliasing where they shrink.

    Args:
        x: pictures (N, C, H, W), uint8 or floating point.
        size: height and width in pixels.

    Returns:
        pictures of the same type, (N, C, size, size); uint8 is rounded.
    """
    if x.shape[-2:] == (size, size):
        return x.contiguous()
    return torch.cat([_resized(part, size) for part in x.split(_AT_ONCE)])


def _resized(x: Tensor, size: int) -> Tensor:
    new = F.interpolate(x.float(), (size, size), mode="bilinear", antialias=True)
    return new.round().clamp(0, 255).to(torch.uint8) if x.dtype == torch.uint8 else new
