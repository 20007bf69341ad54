r"""Variational ladder auto-encoder for clustering.

Generative story, for each observation:

1. for each layer j independently, draw a cluster :math:`c_j \sim \mathrm{Cat}(\pi_j)`
2. and a latent :math:`z_j \mid c_j \sim \mathcal N(\mu_{j,c_j}, \Sigma_{j,c_j})`;
3. draw the observation :math:`x \sim p(x \mid \mathrm{decoder}(z_1, \dots, z_J))`.

That is MFCVAE's story. What differs is how it is inferred: clusters first, by networks, then
latents that are told them.

.. math::
    q(z, c \mid x) = \prod_j q(c_j \mid x) \, q(z_j \mid x, c_1, \dots, c_j), \qquad
    \mathcal L = E_q \log p(x \mid z)
      - \sum_j E_q KL(q(z_j \mid x, c_{\le j}) \| p(z_j \mid c_j)) - \sum_j KL(q(c_j|x) \| p(c_j))

With one cluster in every layer it is a variational ladder auto-encoder (VLAE), with one layer a
Gaussian-mixture deep generative model (GM-DGM).

Source: Willetts et al., "Disentangling to Cluster: Gaussian Mixture Variational Ladder
Autoencoders", 2019, Eq. 4-9, where clusters are y, layers l and pi is 1/K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from pyro.distributions import Independent
from torch import Tensor, nn
from typing_extensions import override

from pyro_mfcvae.config import FacetConfig
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import Guide, Inferred
from pyro_mfcvae.models.base import data_plate, register_model
from pyro_mfcvae.models.mfcvae import MFCVAE
from pyro_mfcvae.models.networks import Part, Seen, build_part, diagonal_normal
from pyro_mfcvae.models.structure import Structure
from pyro_mfcvae.nets.given_clusters import LadderGivenClusters
from pyro_mfcvae.nets.heads import ClusterHeads, PosteriorHead
from pyro_mfcvae.nets.registry import ENCODERS
from pyro_mfcvae.priors.base import Prior
from pyro_mfcvae.priors.densities import Mixture


@register_model("vlac")
class VLAC(MFCVAE):
    """Variational ladder auto-encoder for clustering: facets are the layers of a ladder.

    Args:
        observation: what one observation looks like, or just its shape.
        facets: the layers' priors, shallow first.
        likelihood: p(x | z).
        encoder: a ladder; there are two, for q(c | x) and for q(z | x, c).
        decoder: below p(x | z).
        conditional: whether q(z | x, c) is told the clusters. Without, it is q(z | x), and guides
            that infer clusters from z fit as well.
        width: of the hidden layer between features, clusters and q(z | x, c).
        max_combinations: of clusters, that guide ``amortized`` takes a pass for.

    Raises:
        ConfigError: if a part is unknown or does not fit.
        DataError: if the likelihood cannot describe the observations.
    """

    def __init__(
        self,
        observation: ObservationSpec | Sequence[int],
        facets: Sequence[FacetConfig] | str,
        likelihood: Part = "bernoulli",
        encoder: Part = "ladder",
        decoder: Part = "ladder",
        *,
        conditional: bool = True,
        width: int = 256,
        max_combinations: int = 300,
    ) -> None:
        self._conditional, self._max_combinations = conditional, max_combinations
        super().__init__(observation, facets, likelihood, encoder, decoder)
        if not self.structure.infers_clusters_first:
            return
        if max_combinations < 1 or width < 1:
            raise ConfigError(
                f"width and max_combinations must be 1 or more, got {width} and {max_combinations}"
            )
        told = [facet.n_clusters if facet.has_clusters else 0 for facet in self.structure.facets]
        self.ladder = LadderGivenClusters(self.encoder, told, width)
        self.heads = nn.ModuleList(PosteriorHead(width, facet.latent_dim) for facet in self.facets)
        self.cluster_encoder = build_part(ENCODERS, encoder, self.encoder_shape, self.n_facets)
        n_clusters = [facet.n_clusters for facet in self.structure.facets]
        n_features = cast(Sequence[int], self.cluster_encoder.n_features)
        self.cluster_heads = ClusterHeads(n_features, n_clusters)

    @override
    def describe(self, priors: Sequence[Prior]) -> Structure:
        structure = super().describe(priors)
        clustered = structure.clustered
        if not (self._conditional and clustered):
            return replace(structure, unread_options=("width", "max_combinations"))
        for j in range(len(priors)):
            told = tuple(i for i in clustered if i <= j)
            structure = structure.with_facet(j, posterior_clusters=told)
        return replace(structure, max_combinations=self._max_combinations)

    @property
    @override
    def posterior_networks(self) -> list[nn.Module]:
        own = [self.ladder] if self.structure.infers_clusters_first else []
        return [*super().posterior_networks, *own]

    @override
    def encode(
        self, x: Tensor, seen: Seen | None = None, group: Independent | None = None
    ) -> list[Independent]:
        """q(z_j | x, c) at the most probable clusters; see :class:`FacetModel`."""
        if not self.structure.infers_clusters_first:
            return super().encode(x, seen)
        h, posteriors = self._observe(x, seen), []
        for j, logits in enumerate(self._logits(h)):
            posterior, h = self._layer(j, h, logits.argmax(-1))
            posteriors.append(posterior)
        return posteriors

    @override
    def sample_posterior(self, x: Tensor, guide: Guide, seen: Seen | None = None) -> None:
        if not self.structure.infers_clusters_first:
            super().sample_posterior(x, guide, seen)
            return
        h = self._observe(x, seen)
        all_logits = self._logits(h)
        with data_plate(x):
            for j, facet in enumerate(self.facets):
                with self.facet(j):
                    c = None
                    if j in self.structure.clustered:
                        logits = partial(torch.mul, all_logits[j], self.fade[j])
                        c = guide.cluster(
                            j, Inferred(j, cast(Mixture, facet()), None, None, None, logits)
                        )
                    posterior, h = self._layer(j, h, c)
                    guide.latent(j, posterior)

    @override
    def assign(self, x: Tensor, zs: Sequence[Tensor]) -> list[Tensor]:
        """q(c_j | x) of the networks, J tensors (B, K_j); without them as for FacetModel."""
        if not self.structure.infers_clusters_first:
            return super().assign(x, zs)
        return [logits.softmax(-1) for logits in self._logits(self._observe(x))]

    @override
    def cluster_logits(self, x: Tensor, zs: Sequence[Tensor]) -> list[Tensor] | None:
        if not self.structure.infers_clusters_first:
            return None
        return self._logits(self._observe(x))

    @property
    @override
    def cluster_networks(self) -> list[nn.Module]:
        if not self.structure.infers_clusters_first:
            return []
        return [self.cluster_heads, self.cluster_encoder]

    def _layer(self, j: int, h: Tensor, c: Tensor | None) -> tuple[Independent, Tensor]:
        """q(z_j | x, c_0, ..., c_j), and what goes on to the next layer."""
        with self._autocast(h):
            features, h = self.ladder(self.encoder, j, h, c, self.fade)
            parameters = self.heads[j](features)
        return diagonal_normal(parameters.to(self.heads[j].weight.dtype)), h

    def _logits(self, observed: Tensor) -> list[Tensor]:
        """Log q(c_j | x) up to a constant, J tensors (B, K_j), of what encoders see."""
        return self.cluster_heads(self._encode_with(self.cluster_encoder, observed))

    def _observe(self, x: Tensor, seen: Seen | None = None) -> Tensor:
        """What the encoders see of observations, (B, *event)."""
        self._check(x)
        if seen is None:
            return x
        if any(each is not seen[0] for each in seen):
            raise ConfigError(
                "layers of a ladder that is told the clusters see the same observations; set "
                "training.warp.facets to null, or --set model.options.conditional=false"
            )
        return seen[0]
