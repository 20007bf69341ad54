"""Clusters as shares of all K: relaxed ones are a floating-point vector in place of a number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pyro.distributions import Categorical, RelaxedOneHotCategorical
from torch import Tensor
from typing_extensions import override


class RelaxedCluster(RelaxedOneHotCategorical):  # type: ignore[misc]  # Pyro's has no type
    r"""A Gumbel-softmax sample of a cluster, whose KL is that of the discrete one.

    .. math::
        \tilde c = \mathrm{softmax}\big((\log q(c) + g) / \tau\big), \qquad
        g_k = -\log(-\log u_k)

    Source: Jang et al., "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017, Eq. 2;
    with the discrete KL in VLAC, Eq. 9.
    """

    def from_normal(self, eps: Tensor) -> Tensor:
        """Standard normal noise (*batch, K) -> the sample that it makes."""
        # As torch.special.log_ndtr, which has no rule for vmap.
        tail = 0.5 * torch.erfc(eps.abs() * math.sqrt(0.5))
        log_cdf = torch.where(eps > 0, (-tail).log1p(), tail.log())
        gumbel = -(-log_cdf).log()
        return ((self.logits + gumbel) / self.temperature).softmax(-1)

    @override
    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> RelaxedCluster:
        shape = torch.Size(batch_shape) + self.event_shape
        return RelaxedCluster(
            self.temperature, logits=self.logits.expand(shape), validate_args=False
        )

    def expected_log_prob(self, clusters: Categorical | RelaxedCluster) -> Tensor:
        """E log p(c) over the discrete c, for p of the same clusters: (*batch,)."""
        return (self.probs * clusters.logits).sum(-1)


def as_shares(c: Tensor, n_clusters: int, dtype: torch.dtype) -> Tensor:
    """Clusters as shares of all K: long (...) become ones and zeros (..., K), relaxed ones stay."""
    if c.is_floating_point():
        return c
    return (c.unsqueeze(-1) == torch.arange(n_clusters, device=c.device)).to(dtype)


def check_clusters(c: Tensor, n_clusters: int) -> None:
    """Raise a ValueError if a cluster is out of range."""
    if c.numel() and not (int(c.min()) >= 0 and int(c.max()) < n_clusters):
        raise ValueError(
            f"clusters must lie in 0..{n_clusters - 1}, got {int(c.min())}..{int(c.max())}"
        )
