"""From features to q(z | x): parameters, and the one function that makes them a distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pyro_mfcvae.nets.layers import ZeroLinear

_WIDTH = 64


class PosteriorHead(nn.Linear):
    """Features (..., F) -> parameters of q(z | x), (..., 2 D): means, then log-variances.

    Args:
        n_features: F.
        latent_dim: D.
    """

    def __init__(self, n_features: int, latent_dim: int) -> None:
        super().__init__(n_features, 2 * latent_dim)


class HeadGivenOthers(nn.Module):
    """Latents of other facets -> what they add to the parameters of q(z | x), (..., 2 D).

    At first that is nothing: the facets start out independent. Source: MFCVAE, Appendix C, names
    the factorisation.

    Args:
        n_others: latent dimensions of the other facets; with none of them nothing is added.
        latent_dim: D.
    """

    def __init__(self, n_others: int, latent_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_others, _WIDTH) if n_others else nn.Identity()
        self.output = ZeroLinear(_WIDTH, 2 * latent_dim) if n_others else nn.Identity()

    def forward(self, zs: Sequence[Tensor]) -> Tensor:
        """Latents of the others, each (..., D_i)."""
        return self.output(self.hidden(torch.cat([*zs], -1)).tanh())


class ClusterHeads(nn.ModuleList):
    """Features (B, F_j) of J facets -> log q(c_j | x) up to a constant, J tensors (B, K_j).

    Args:
        n_features: F_j.
        n_clusters: K_j.
    """

    def __init__(self, n_features: Sequence[int], n_clusters: Sequence[int]) -> None:
        super().__init__(nn.Linear(f, k) for f, k in zip(n_features, n_clusters, strict=True))
        for head, k in zip(self, n_clusters, strict=True):
            head.requires_grad_(k > 1)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """All logits, with as many bits as the weights have."""
        return [self.logits(j, h) for j, h in enumerate(features)]

    def logits(self, j: int, features: Tensor) -> Tensor:
        """Those of facet j, (B, K_j), from its features (B, F_j)."""
        head = cast(nn.Linear, self[j])
        return head(features.to(head.weight))
