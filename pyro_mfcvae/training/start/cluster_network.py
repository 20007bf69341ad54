"""The network q(c | x) after its mixture was fitted anew.

A fit puts components elsewhere and in another order. A network that still means the old ones pays
so much for most observations that it settles on the widest component, and all others are lost. So
it is fitted to what the new mixture says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pyro_mfcvae.data.observations import Observations, as_float
from pyro_mfcvae.guides import NetworkGuide
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.training.start.initialise import posterior_means

_N_PASSES, _BATCH, _LEARNING_RATE = 5, 250, 1e-3


def fit_cluster_network(
    model: FacetModel, guide: NetworkGuide, x: Observations, facets: Sequence[int]
) -> None:
    r"""Lead q(c_j | x) to :math:`p(c_j \mid z_j)` at the means of q(z_j | x), in evaluation mode.

    The cross-entropy of the two is lowered; nothing but the network changes, and its gradients
    stay as they are.

    Args:
        model: whose latents it is fitted to.
        guide: of the model, with such a network.
        x: observations (N, *event), in no particular order.
        facets: which facets' clusters.
    """
    parameters = [
        p for network in guide.cluster_networks for p in network.parameters() if p.requires_grad
    ]
    before = [p.grad for p in parameters]
    optimizer = torch.optim.Adam(parameters, _LEARNING_RATE)
    means = posterior_means(model, x)
    with torch.no_grad():
        targets = [model.prior(j, means).responsibilities(means[j]) for j in facets]
    with model.evaluating(gradients=True):
        for _ in range(_N_PASSES):
            for i, batch in enumerate(x.split(_BATCH)):
                rows = slice(i * _BATCH, (i + 1) * _BATCH)
                zs = [mean[rows] for mean in means]
                batch = as_float(batch.to(zs[0].device), zs[0].dtype)
                logits = guide.cluster_logits(batch, zs)
                loss = sum(
                    -(target[rows] * logits[j].log_softmax(-1)).sum(-1).mean()
                    for j, target in zip(facets, targets, strict=True)
                )
                gradients = torch.autograd.grad(cast(Tensor, loss), parameters, allow_unused=True)
                _set_gradients(parameters, gradients)
                optimizer.step()
    _set_gradients(parameters, before)


def _set_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
