"""Building blocks: stacks of layers, weight-normalised convolutions, activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from pyro_mfcvae.config.parts import MOST
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.registry import unknown

Widths = int | Sequence[int | Sequence[int]]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation(name: str) -> nn.Module:
    """A new activation layer.

    Raises:
        ConfigError: if no activation has this name.
    """
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()


def dense(sizes: Sequence[int], act: str, batch_norm: bool) -> nn.Sequential:
    """Linear, activation and, if asked for, batch norm for each pair of neighbouring sizes."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), activation(act)]
        if batch_norm:
            layers.append(nn.BatchNorm1d(n_out))
    return nn.Sequential(*layers)


class ZeroLinear(nn.Linear):
    """A dense layer that gives nothing at first, whatever initial weights other layers get."""

    @override
    def reset_parameters(self) -> None:
        super().reset_parameters()  # what is drawn after it stays what it was
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class WeightNormConv2d(nn.Conv2d):
    """A convolution with weights ``magnitude * direction / |direction|`` per output channel.

    Written out because ``torch.nn.utils.parametrizations.weight_norm`` has no rule for
    ``torch.func.vmap``. ``weight`` holds the direction.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.magnitude = nn.Parameter(torch.empty(self.out_channels, 1, 1, 1))
        self.reset_magnitude()

    @torch.no_grad()
    def reset_magnitude(self) -> None:
        """Set the magnitudes so that the effective weights are ``weight`` itself."""
        self.magnitude.copy_(self._norm())

    def _norm(self) -> Tensor:
        return self.weight.square().sum((1, 2, 3), keepdim=True).sqrt()

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.magnitude * self.weight / self._norm(), self.bias)


def per_facet(
    values: Widths | None, default: Sequence[int | Sequence[int]], n_facets: int, what: str
) -> list[list[int]]:
    """Layer widths as one list per facet.

    Args:
        values: a number for all facets, or one entry per facet, each a number or a list.
        default: entries where values is None.
        n_facets: J.
        what: the option's name, for messages.

    Raises:
        ConfigError: if there is not one entry per facet, or a width is not positive.
    """
    given: Widths = default if values is None else values
    if isinstance(given, int):
        given = [given] * n_facets
    if isinstance(given, str) or len(given) != n_facets:
        raise ConfigError(
            f"{what} needs a number or one entry per facet ({n_facets}, shallow first), got {given}"
        )
    widths = [[entry] if isinstance(entry, int) else list(entry) for entry in given]
    check_widths([width for entry in widths for width in entry], what)
    return widths


def check_widths(widths: Sequence[int], what: str) -> None:
    """Raise a ConfigError unless all widths are positive integers, and not beyond all bounds."""
    if any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in widths):
        raise ConfigError(f"{what} must be positive whole numbers, got {list(widths)}")
    if max(widths, default=1) > MOST:
        raise ConfigError(f"{what} must be at most {MOST:,}, got {list(widths)}")
