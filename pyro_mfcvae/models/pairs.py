r"""Two facets whose clusters depend on each other, as one mixture over pairs of clusters.

.. math::
    p(z_0, z_1) = \sum_{c_0, c_1} p(c_0, c_1) \, p(z_0 \mid c_0) \, p(z_1 \mid c_1)

Made into the mixture that a guide infers clusters from, it gives the joint table
:math:`q(c_0, c_1 \mid x)`. Source: MFCVAE, Theorem 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from pyro.distributions import Normal
from pyro.ops.indexing import Vindex
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.guides import Guide, Inferred, NetworkGuide, enumerate_cluster
from pyro_mfcvae.models.base import FacetModel, data_plate
from pyro_mfcvae.priors.clusters import as_shares, check_clusters
from pyro_mfcvae.priors.densities import Mixture


class PairsOfClusters(Mixture):
    """A mixture of K_0 K_1 components in D_0 + D_1 dimensions, the pairs in row-major order.

    Args:
        first: the mixture of facet 0, whose components it takes.
        second: that of facet 1.
        log_table: log p(c_0, c_1), shape (K_0, K_1).
    """

    def __init__(self, first: Mixture, second: Mixture, log_table: Tensor) -> None:
        self.parts, self.log_table = (first, second), log_table
        self.n_clusters = log_table.numel()
        self.latent_dim = first.latent_dim + second.latent_dim

    @property
    def loc(self) -> Tensor:  # type: ignore[override]  # nobody sets it
        """Means of the pairs, shape (K_0 K_1, D_0 + D_1)."""
        pairs = torch.arange(self.n_clusters, device=self.log_table.device)
        return torch.cat([p.loc[c] for p, c in zip(self.parts, self.of(pairs), strict=True)], -1)

    @property
    @override
    def scale_tril(self) -> Tensor:
        """Cholesky factors of the pairs, shape (K_0 K_1, D_0 + D_1, D_0 + D_1)."""
        pairs = torch.arange(self.n_clusters, device=self.log_table.device)
        factors = [p.scale_tril[c] for p, c in zip(self.parts, self.of(pairs), strict=True)]
        return torch.stack([torch.block_diag(*blocks) for blocks in zip(*factors, strict=True)])

    @property
    @override
    def log_weights(self) -> Tensor:
        return self.log_table.flatten()

    def of(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """The clusters of both facets, for pairs of any shape."""
        n = self.parts[1].n_clusters
        return pairs // n, pairs % n

    def table(self, values: Tensor) -> Tensor:
        """Values of all pairs (..., K_0 K_1) -> (..., K_0, K_1)."""
        return values.unflatten(-1, self.log_table.shape)

    def split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (..., D_0 + D_1) -> those of both facets."""
        return z.split([part.latent_dim for part in self.parts], -1)

    def infer(self, model: FacetModel, x: Tensor, guide: Guide) -> None:
        """The sites of a guide, of which c_0 and c_1 are parts of one table q(c_0, c_1 | x).

        Args:
            model: of the two facets, none of which is faded in the guide.
            x: observations, shape (B, *event).
            guide: says what q(c | x) is.
        """
        posteriors = model.encode(x)
        loc, scale = (
            torch.cat([getattr(q, of) for q in posteriors], -1) for of in ("mean", "stddev")
        )
        both = Normal(loc, scale, validate_args=False).to_event(1)
        with data_plate(x):
            zs = [guide.latent(j, q) for j, q in enumerate(posteriors)]
            inferred = Inferred(
                0,
                self,
                torch.cat(zs, -1),
                both,
                None,
                lambda: sums_of_pairs(*cast(NetworkGuide, guide).cluster_logits(x, zs)),
            )
            log_q = guide.logits(inferred)
            if log_q is not None:
                log_q = self.table(log_q)
                c_0 = enumerate_cluster(0, log_q.logsumexp(-1))
                enumerate_cluster(1, Vindex(log_q)[..., c_0, :])

    def assigned_to_both(self, zs: Sequence[Tensor]) -> list[Tensor]:
        """Margins of q(c_0, c_1 | x), (B, K_j), for latents (B, D_j) or samples (S, B, D_j)."""
        q = self.table(self.assign(torch.cat([*zs], -1)))
        return [q.sum(-1), q.sum(-2)]

    @torch.no_grad()
    def sample_given(
        self,
        shape: tuple[int, ...],
        clusters: Mapping[int, Tensor],
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> list[Tensor]:
        """Draw latents of both facets, from given clusters where there are any.

        Args:
            shape: of the draws.
            clusters: {facet: clusters, broadcast with shape}; others are drawn given these.
            temperature: as for :meth:`sample`, and so the generator.
            generator: likewise.

        Returns:
            two tensors (*shape, D_j).

        Raises:
            ValueError: if a cluster is out of range.
        """
        weights = self.log_table.exp().cpu()
        for j, given in clusters.items():
            n_clusters = self.parts[j].n_clusters
            check_clusters(given, n_clusters)
            shares = as_shares(given.cpu().expand(shape), n_clusters, weights.dtype)
            weights = weights * shares.unsqueeze(-1 if j == 0 else -2)
        weights = weights.expand(*shape, *self.log_table.shape).reshape(-1, self.n_clusters)
        pairs = torch.multinomial(weights, 1, generator=generator).reshape(shape)
        return [*self.split(self.sample(shape, pairs, temperature, generator))]

    @override
    def component_log_prob(self, z: Tensor) -> Tensor:
        z_0, z_1 = self.split(z)
        first, second = self.parts
        return sums_of_pairs(first.component_log_prob(z_0), second.component_log_prob(z_1))

    @override
    def expected_component_log_prob(self, loc: Tensor, scale: Tensor) -> Tensor:
        of_both = zip(self.parts, self.split(loc), self.split(scale), strict=True)
        return sums_of_pairs(*(part.expected_component_log_prob(m, s) for part, m, s in of_both))

    @override
    def component_log_prob_at(self, z: Tensor, c: Tensor) -> Tensor:
        of_both = zip(self.parts, self.split(z), self.of(c), strict=True)
        z_0, z_1 = (part.component_log_prob_at(z_j, c_j) for part, z_j, c_j in of_both)
        return z_0 + z_1

    @override
    def transform(self, noise: Tensor, c: Tensor) -> Tensor:
        of_both = zip(self.parts, self.split(noise), self.of(c), strict=True)
        return torch.cat([part.transform(eps, c_j) for part, eps, c_j in of_both], -1)


def sums_of_pairs(first: Tensor, second: Tensor) -> Tensor:
    """(..., K_0) and (..., K_1) -> the sums of all pairs, (..., K_0 K_1)."""
    return (first.unsqueeze(-1) + second.unsqueeze(-2)).flatten(-2)
