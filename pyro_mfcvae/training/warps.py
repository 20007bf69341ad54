"""Random warps of pictures, for an encoder that should not care about them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyro_mfcvae.config import WarpConfig
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError

_AFFINE = 6
"""Rotation, shear, two factors of scale, two shifts."""
_KNOTS = 4
"""Knots along each axis, between which an elastic displacement is interpolated."""


class Warp(nn.Module):
    """Affine and elastic warps as a function of given noise.

    Args:
        config: how far they go.
        observation: of pictures.

    Raises:
        ConfigError: if the observations are no pictures.

    Attributes:
        n_numbers: P, of noise for each picture.
    """

    places: Tensor
    smooth: Tensor

    def __init__(self, config: WarpConfig, observation: ObservationSpec) -> None:
        super().__init__()
        if observation.kind != "image":
            raise ConfigError(
                f"training.warp is for pictures, got rows of {observation.n_values} numbers; leave "
                "it out"
            )
        self.config = config
        self.height, self.width = observation.shape[1:]
        whole = torch.eye(2, 3, dtype=torch.float64).unsqueeze(0)
        places = F.affine_grid(whole, [1, 1, self.height, self.width], align_corners=False)
        places = torch.cat([places.flatten(0, 2), places.new_ones(self.height * self.width, 1)], 1)
        self.register_buffer("places", places, persistent=False)
        knots = torch.eye(_KNOTS**2, dtype=torch.float64).unflatten(1, (1, _KNOTS, _KNOTS))
        smooth = F.interpolate(knots, (self.height, self.width), mode="bicubic")
        self.register_buffer("smooth", smooth.flatten(1), persistent=False)
        self.n_numbers = _AFFINE + (2 * _KNOTS**2 if config.elastic else 0)

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        """Warped pictures; where a warp looks beyond the edge it finds the edge.

        Args:
            x: pictures, shape (B, channels, height, width).
            eps: standard normal noise, shape (B, P).

        Returns:
            the shape of x.
        """
        # Places are (x, y, 1), from -1 to 1 over the picture.
        grid = self.places @ self._affine(eps).mT
        grid = grid.unflatten(1, (self.height, self.width))
        if self.config.elastic:
            grid = grid + self._elastic(eps)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def _affine(self, eps: Tensor) -> Tensor:
        """Maps from places in the warped picture to places in the given one, (B, 2, 3)."""
        uniform = torch.erf(eps[:, :_AFFINE] / math.sqrt(2))  # from -1 to 1
        turn, shear, x_scale, y_scale, x_shift, y_shift = uniform.unbind(1)
        config = self.config
        angle = turn * math.radians(config.rotation)
        cos, sin, shear = angle.cos(), angle.sin(), shear * config.shear
        x_scale, y_scale = (x_scale * config.scale).exp(), (y_scale * config.scale).exp()
        x_shift = x_shift * (2 * config.shift / self.width)
        y_shift = y_shift * (2 * config.shift / self.height)
        return torch.stack(
            [
                torch.stack([cos * x_scale, cos * shear * x_scale - sin * y_scale, x_shift], -1),
                torch.stack([sin * x_scale, sin * shear * x_scale + cos * y_scale, y_shift], -1),
            ],
            -2,
        )

    def _elastic(self, eps: Tensor) -> Tensor:
        """Smooth displacements, (B, height, width, 2)."""
        elastic = self.config.elastic
        field = eps[:, _AFFINE:].unflatten(1, (2, _KNOTS**2)) @ self.smooth
        x, y = field.unflatten(-1, (self.height, self.width)).unbind(1)
        return torch.stack([x * (2 * elastic / self.width), y * (2 * elastic / self.height)], -1)
