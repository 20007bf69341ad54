"""A fully connected encoder and decoder that mirror each other, taken apart into layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.models.networks import diagonal_normal
from pyro_mfcvae.nets.layers import ACTIVATIONS

Map = Callable[[Tensor], Tensor]


def mirrored_layers(model: FacetModel) -> tuple[list[nn.Sequential], list[nn.Sequential]]:
    """Layers from x to the parameters of q(z | x), and from z to those of p(x | z).

    Raises:
        ConfigError: if they are not fully connected, more than one facet's, or no mirror images.
    """
    if model.n_facets != 1:
        raise _not_stackable(f"there are {model.n_facets} facets")
    if model.structure.infers_clusters_first:
        raise _not_stackable("q(z | x, c) is told the clusters")
    down, up = _linear_layers(model.encoder), _linear_layers(model.decoder)
    down.append(nn.Sequential(model.heads[0]))
    sizes = [model.observation.n_values, *(layer[0].out_features for layer in down[:-1])]
    sizes.append(model.facets[0].latent_dim)
    mirrored = [up[0][0].in_features, *(layer[0].out_features for layer in up)]
    if mirrored != sizes[::-1]:
        raise _not_stackable(f"the encoder's widths are {sizes}, the decoder's {mirrored}")
    _check_order(model, down, up)
    return down, up


def _linear_layers(network: nn.Module) -> list[nn.Sequential]:
    """A fully connected network as linear layers, each with what follows it."""
    after: tuple[type, ...] = (nn.BatchNorm1d, *(type(make()) for make in ACTIVATIONS.values()))
    layers: list[list[nn.Module]] = []
    for part in network.modules():
        if isinstance(part, nn.Linear):
            layers.append([part])
        elif isinstance(part, after) and layers:
            layers[-1].append(part)
        elif not any(part.children()) and list(part.parameters()):
            raise _not_stackable(f"there is a {type(part).__name__}")
    if not layers:
        raise _not_stackable("there are no linear layers")
    return [nn.Sequential(*layer) for layer in layers]


@torch.no_grad()
def _check_order(model: FacetModel, down: Sequence[nn.Module], up: Sequence[nn.Module]) -> None:
    """Make sure that the layers, one after the other, are the model's networks."""
    parameter = next(model.parameters())
    x = torch.linspace(0, 1, model.observation.n_values).to(parameter).reshape(1, -1)
    with model.evaluating():
        mean = posterior_mean(chain(*down)(x))
        posterior = model.encode(x.reshape(1, *model.observation.shape))[0]
        parameters = model.decoder([mean]).flatten(1)
        same = torch.allclose(mean, posterior.mean, atol=1e-4)
        same = same and torch.allclose(chain(*up)(mean), parameters, atol=1e-4)
    if not same:
        raise _not_stackable("the layers do not simply follow one another")


def _not_stackable(reason: str) -> ConfigError:
    return ConfigError(
        "pretraining stacked-denoising needs one facet and a fully connected encoder whose layers "
        f"the decoder mirrors, but {reason}; choose pretraining autoencoder, which takes any "
        "network (--set training.pretraining=autoencoder)"
    )


def chain(*maps: Map) -> Map:
    """One map after the other."""

    def chain(h: Tensor) -> Tensor:
        for one in maps:
            h = one(h)
        return h

    return chain


def posterior_mean(parameters: Tensor) -> Tensor:
    """Parameters of q(z | x), (..., 2 D) -> its mean, (..., D)."""
    return diagonal_normal(parameters).mean
