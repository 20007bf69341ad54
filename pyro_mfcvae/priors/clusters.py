"""p(c) of a mixture as distributions of Pyro sites.

Clusters may be given, enumerated or relaxed: a floating-point vector of K shares in place of one of
K numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pyro.distributions import Categorical, RelaxedOneHotCategorical
from torch import Tensor
from typing_extensions import override


class ClusterCategorical(Categorical):
    """A categorical distribution whose log_prob over its whole support is a view.

    Looking log-probabilities up by index costs K times the memory in the backward pass; over
    an enumerated support no look-up is needed.
    """

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if is_support(value):
            return last_dim_to(self.logits, -value.dim())
        if value.is_floating_point():
            raise ValueError(
                "relaxed clusters have no probability of their own: use FacetELBO, which takes the "
                "KL of the discrete ones, or another guide"
            )
        return super().log_prob(value)


class RelaxedCluster(RelaxedOneHotCategorical):  # Pyro's has no type
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


def is_support(value: Tensor) -> bool:
    """Whether value is an enumerated support: 0..K-1 along its leftmost dimension."""
    return getattr(value, "_pyro_categorical_support", None) is not None


def as_shares(c: Tensor, n_clusters: int, dtype: torch.dtype) -> Tensor:
    """Clusters as shares of all K: long (...) become ones and zeros (..., K), relaxed ones stay."""
    if c.is_floating_point():
        return c
    return (c.unsqueeze(-1) == torch.arange(n_clusters, device=c.device)).to(dtype)


def last_dim_to(values: Tensor, dim: int) -> Tensor:
    """Move the last dimension to the negative position dim, left of all others.

    ``(*batch, K) -> (K, 1, ..., 1, *batch)`` with ``-dim`` dimensions.
    """
    moved = values.movedim(-1, 0)
    n_new = -dim - moved.dim()
    return moved.reshape(moved.shape[:1] + (1,) * n_new + moved.shape[1:])


def check_clusters(c: Tensor, n_clusters: int) -> None:
    """Raise a ValueError if a cluster is out of range."""
    if c.numel() and not (int(c.min()) >= 0 and int(c.max()) < n_clusters):
        raise ValueError(
            f"clusters must lie in 0..{n_clusters - 1}, got {int(c.min())}..{int(c.max())}"
        )
