"""Pictures brought to one size."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

Size = Annotated[int, Field(ge=4, le=512, strict=True)]
"""Height and width of pictures, in pixels."""

_AT_ONCE = 1000  # pictures


def resize(x: Tensor, size: int) -> Tensor:
    """Pictures (N, C, H, W) resized bilinearly, without aliasing where they shrink.

    They keep their type, (N, C, size, size); uint8 is rounded.
    """
    if x.shape[-2:] == (size, size):
        return x.contiguous()
    return torch.cat([_resize(part, size) for part in x.split(_AT_ONCE)])


def _resize(x: Tensor, size: int) -> Tensor:
    new = F.interpolate(x.float(), (size, size), mode="bilinear", antialias=True)
    return new.round().clamp(0, 255).to(torch.uint8) if x.dtype == torch.uint8 else new
