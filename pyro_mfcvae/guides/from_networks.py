"""Guides that take the clusters from a network q(c | x)."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from torch import Tensor, nn
from typing_extensions import override

from pyro_mfcvae.guides.base import AnalyticGuide, Guide, Inferred, register_guide
from pyro_mfcvae.guides.described import FacetedModel
from pyro_mfcvae.inference.sites import CLOSED_FORM
from pyro_mfcvae.nets.heads import ClusterHeads
from pyro_mfcvae.priors.clusters import RelaxedCluster


class NetworkGuide(Guide):
    """Takes q(c_j | x) from a network: its own, or that of the model's posterior if it has one.

    Where clusters depend on each other, it learns the best q that takes them for independent.

    Attributes:
        network: from the encoder's features to q(c | x); None where the model's is taken, or there
            are no clusters.
    """

    infers_apart = False

    def __init__(self, model: FacetedModel) -> None:
        super().__init__(model)
        n_clusters = [facet.n_clusters for facet in model.structure.facets]
        needs_own = model.structure.clustered and not model.cluster_networks
        self.network = ClusterHeads(model.n_features, n_clusters) if needs_own else None

    @override
    @classmethod
    def misfit(cls, model: FacetedModel) -> str:
        return ""

    @property
    def cluster_networks(self) -> list[nn.Module]:
        """The networks behind q(c | x), without an encoder that they share with q(z | x)."""
        return self.model.cluster_networks if self.network is None else [self.network]

    def cluster_logits(self, x: Tensor, zs: Sequence[Tensor]) -> list[Tensor]:
        """Log q(c_j | x) up to a constant, J tensors (B, K_j).

        Args:
            x: observations, shape (B, *event).
            zs: latents of all facets, each (B, D_j).
        """
        if self.network is None:
            logits = self.model.cluster_logits(x, zs)
            assert logits is not None
            return logits
        return self.network(self.model.features(x))

    def _network_logits(self, inferred: Inferred) -> Tensor:
        if inferred.logits is not None:
            return inferred.logits()
        assert self.network is not None
        assert inferred.features is not None
        return self.network.logits(inferred.facet, inferred.features)


@register_guide("amortized")
class AmortizedGuide(NetworkGuide):
    """A network q(c_j | x), with the expectation over c_j exact.

    Where q(z | x, c) needs the clusters, encoder and decoder take one pass for each combination
    of them. Source: VLAC, Eq. 9 (whose authors sample instead).
    """

    @override
    @classmethod
    def misfit(cls, model: FacetedModel) -> str:
        n, most = model.structure.n_combinations, model.structure.max_combinations
        if n <= most:
            return ""
        return (
            f"encoder and decoder would take {n} passes, one for each combination of clusters, and "
            f"max_combinations is {most}; raise it (--set "
            f"model.options.max_combinations={n}), choose fewer clusters, or guide relaxed"
        )

    @override
    def logits(self, inferred: Inferred) -> Tensor:
        return self._network_logits(inferred)


@register_guide("amortized-analytic")
class AnalyticAmortizedGuide(AnalyticGuide, AmortizedGuide):
    r"""The objective of UG-VAE: ``amortized`` with the KL of z_j in closed form.

    .. math::
        \frac1S \sum_s \sum_c q(c \mid x, z^{(s)}) \, KL(q(z \mid x) \| p(z \mid c))
        + \frac1S \sum_s KL(q(c \mid x, z^{(s)}) \| p(c))

    Where the network does not see z it is an unbiased estimate of the bound of ``amortized``, with
    less variance; UG-VAE's does. Source: Peis et al., "Unsupervised Learning of Global Factors in
    Deep Generative Models", 2020, Eq. 11.
    """


@register_guide("relaxed")
class RelaxedGuide(NetworkGuide):
    """A Gumbel-softmax sample of the network's q(c_j | x), which picks the component's parameters.

    The KL of c_j stays that of the discrete one. No bound on log p(x). Source: VLAC, Section 3;
    Jang et al., "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017.

    Attributes:
        temperature: tau, shape (), saved with the model; training lowers it as the settings say.
    """

    temperature: Tensor

    def __init__(self, model: FacetedModel) -> None:
        super().__init__(model)
        self.register_buffer("temperature", torch.ones(()))

    @override
    def cluster(self, j: int, inferred: Inferred) -> Tensor:
        logits = self._network_logits(inferred)
        q = RelaxedCluster(self.temperature, logits=logits, validate_args=False)
        return pyro.sample(f"c_{j}", q, infer=CLOSED_FORM)
