"""Initial weights of the networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from pyro_mfcvae.nets.layers import WeightNormConv2d, ZeroLinear

_LEAST = 1e-10  # variance, and variance of values of about one that differ by rounding alone

_Layer: TypeAlias = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def draw_glorot(module: nn.Module) -> None:
    """Glorot normal weights and zero biases for every dense and convolutional layer.

    Layers that are to start at zero stay there.

    Source: MFCVAE, Appendix D.4. The first authors' code meant to do this and did not: its
    MNIST results come from PyTorch's default initialisation.
    """
    for layer in _layers(module):
        nn.init.xavier_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if isinstance(layer, WeightNormConv2d):
            layer.reset_magnitude()


@torch.no_grad()
def scale_to_data(
    module: nn.Module, run: Callable[[], object], spread: float = 1.0, published: bool = False
) -> None:
    """Weights with which every layer's output has mean 0 and a given spread on real data.

    Layers are set in the order in which they run, each on the output of those before it, with
    statistics per output channel. A channel that does not vary keeps its scale. Layers without a
    bias, which shift what others give, and those that are to start at zero stay as they are.

    Source: MFCVAE, Appendix D.4. The first authors' code loses the weights of its
    weight-normalised convolutions here; this sets their magnitudes.

    Args:
        module: owner of the layers.
        run: runs the module on a batch of data.
        spread: standard deviation of each output.
        published: do as that code does.
    """
    done: set[nn.Module] = set()

    def standardise(layer: _Layer, _inputs: object, output: Tensor) -> Tensor | None:
        if layer in done or layer.bias is None:
            return None
        done.add(layer)
        channel = 1 if output.dim() == 4 else output.dim() - 1
        others = [dim for dim in range(output.dim()) if dim != channel]
        mean = output.mean(others)
        variance = output.var(others, correction=0)
        factor = spread / (variance + _LEAST).sqrt()
        factor = torch.where(variance > _LEAST * mean.square(), factor, torch.ones_like(factor))
        layer.bias.copy_((layer.bias - mean) * factor)
        if not (published and isinstance(layer, WeightNormConv2d)):
            _scale_weights(layer, factor)
        shape = [-1 if dim == channel else 1 for dim in range(output.dim())]
        return (output - mean.reshape(shape)) * factor.reshape(shape)

    with _hooks(module, standardise):
        run()


def _scale_weights(layer: _Layer, factor: Tensor) -> None:
    if isinstance(layer, WeightNormConv2d):
        layer.magnitude.mul_(factor.reshape(-1, 1, 1, 1))
        return
    channel = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    shape = [-1 if dim == channel else 1 for dim in range(layer.weight.dim())]
    layer.weight.mul_(factor.reshape(shape))


def _layers(module: nn.Module) -> Iterator[_Layer]:
    return (
        layer
        for layer in module.modules()
        if isinstance(layer, _Layer) and not isinstance(layer, ZeroLinear)
    )


@contextmanager
def _hooks(module: nn.Module, hook: Callable[..., Tensor | None]) -> Iterator[None]:
    handles = [layer.register_forward_hook(hook) for layer in _layers(module)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
