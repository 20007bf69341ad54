r"""Unsupervised global variational auto-encoder.

Generative story, for each batch of B observations:

1. draw what they share, :math:`z_1 \sim \mathcal N(0, I)`;
2. for each observation draw a cluster :math:`c_0 \sim \mathrm{Cat}(1/K)`
3. and a latent :math:`z_0 \mid c_0, z_1 \sim \mathcal N(\mu_{c_0}(z_1), \sigma_{c_0}(z_1)^2)`,
   with networks for mu and sigma, one for each cluster;
4. draw the observation :math:`x \sim p(x \mid \mathrm{decoder}(z_0, z_1))`.

.. math::
    \mathcal L = \sum_{i=1}^B \big( E_q \log p(x_i \mid z_{0i}, z_1)
      - E_q KL(q(z_{0i} \mid x_i) \| p(z_{0i} \mid c_{0i}, z_1)) - KL(q(c_{0i}) \| p(c_{0i})) \big)
      - KL(q(z_1 \mid X, Z) \| p(z_1))

The last term comes once for a batch, so the size of the batch is a part of the model. What a batch
says of :math:`z_1` is a product of experts, one for each observation:

.. math::
    q(z_1 \mid X, Z) \propto \big[p(z_1)\big] \prod_{i=1}^B
      \mathcal N\big(z_1; m(x_i, \pi(z_{0i})), s(x_i, \pi(z_{0i}))^2\big)

with :math:`\pi(z_0)` from a network q(c_0 | z_0); their precisions add up. With one cluster, and so
without pi, it is a multi-level VAE (Bouchacourt et al., "Multi-Level Variational Autoencoder",
AAAI 2018) on batches that nobody has grouped.

Source: Peis et al., "Unsupervised Learning of Global Factors in Deep Generative Models", 2020,
Eq. 1-11, where z_1 is beta, z_0 is z and c_0 is d. Guide ``amortized-analytic`` has its posterior
and its KLs in closed form. What the paper leaves open follows its first authors' code: m and log s
are one linear layer of the features that q(z_0 | x) reads and of pi, and mu and sigma have a hidden
layer of ReLU. The presets with the published settings say so by ``linear_experts``,
``shared_trunk`` and ``mixture_activation``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pyro
import torch
from pyro.distributions import Independent, Normal
from torch import Tensor, nn
from typing_extensions import override

from pyro_mfcvae.config import FacetConfig
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import Guide, Inferred
from pyro_mfcvae.inference.parameters import announce_parameters
from pyro_mfcvae.inference.sites import CLOSED_FORM
from pyro_mfcvae.models.base import FacetModel, data_plate, register_model, sample_facet
from pyro_mfcvae.models.networks import Part, Seen, build_part, diagonal_normal
from pyro_mfcvae.models.structure import Structure
from pyro_mfcvae.nets.experts import Experts, product_of_normals
from pyro_mfcvae.nets.registry import ENCODERS
from pyro_mfcvae.priors.base import Prior
from pyro_mfcvae.priors.conditional import Activation, Variance, conditional_priors
from pyro_mfcvae.priors.densities import Mixture


@register_model("ugvae")
class UGVAE(FacetModel):
    """Unsupervised global VAE: facet 0 is each observation's own, facet 1 that of the batch.

    Guides with KLs in closed form take z_0 and z_1 for independent given X, as the paper's Eq. 11
    does; under the others the ELBO is one for q(z_1 | X, Z) as it is.

    Whoever predicts takes all observations at hand for one group, of any size. So that a large
    one does not get surer of itself than training ever was, nor a small one less sure, the
    experts' mean precision then counts ``group_size`` times.

    Args:
        observation: what one observation looks like, or just its shape.
        facets: two, the second with one cluster, such as ``"10:10,20:1"``. The components have
            diagonal covariances, the weights are 1/K.
        likelihood: p(x | z_0, z_1).
        encoder: with one facet, below q(z_0 | x).
        decoder: of both latents.
        group_size: B of training, which predictions are made for.
        prior_as_factor: whether p(z_1) is a factor of q(z_1 | X, Z). Without, as published.
        width: of the hidden layers of the experts and of q(c_0 | z_0).
        linear_experts: whether m and log s are one linear layer of features and pi, as published,
            instead of having a hidden layer.
        shared_trunk: whether the experts take the features that q(z_0 | x) is made of, as
            published, instead of those of an encoder of their own.
        mixture_width: of the hidden layers below mu and sigma, one for each cluster.
        mixture_variance: how sigma^2 comes from its network.
        mixture_activation: of the hidden layers below mu and sigma; ``"relu"``, as published, or
            ``"tanh"``.

    Raises:
        ConfigError: if a part is unknown or does not fit.
        DataError: if the likelihood cannot describe the observations.
    """

    def __init__(
        self,
        observation: ObservationSpec | Sequence[int],
        facets: Sequence[FacetConfig] | str,
        likelihood: Part = "gaussian",
        encoder: Part = "shared",
        decoder: Part = "shared",
        *,
        group_size: int = 128,
        prior_as_factor: bool = False,
        width: int = 256,
        linear_experts: bool = False,
        shared_trunk: bool = False,
        mixture_width: int = 256,
        mixture_variance: Variance = "exp-tanh",
        mixture_activation: Activation = "tanh",
    ) -> None:
        if group_size < 1 or width < 1:
            raise ConfigError(
                f"group_size and width must be 1 or more, got {group_size} and {width}"
            )
        self._mixture_options: dict[str, Any] = {
            "width": mixture_width,
            "variance": mixture_variance,
            "activation": mixture_activation,
        }
        self._group_size, self._linear_experts = group_size, linear_experts
        super().__init__(observation, facets, likelihood, encoder, decoder)
        self.prior_as_factor = prior_as_factor
        local, shared = self.structure.facets
        n_clusters = local.n_clusters if local.has_clusters else 0
        self.cluster_heads: nn.Module | None = None
        if n_clusters:
            self.cluster_heads = nn.Sequential(
                nn.Linear(local.latent_dim, width), nn.Tanh(), nn.Linear(width, n_clusters)
            )
        self.expert_encoder: nn.Module | None = None
        if not shared_trunk:
            self.expert_encoder = build_part(ENCODERS, encoder, self.encoder_shape, 1)
        n_inputs = self.n_features[0] + n_clusters
        self.experts = Experts(n_inputs, shared.latent_dim, None if linear_experts else width)

    @property
    @override
    def posterior_networks(self) -> list[nn.Module]:
        own = [] if self.expert_encoder is None else [self.expert_encoder]
        return [*super().posterior_networks, *own, self.experts]

    @override
    def _priors(self, facets: Sequence[FacetConfig]) -> list[Prior]:
        return conditional_priors("UGVAE", facets, is_shared=False, **self._mixture_options)

    @override
    def describe(self, priors: Sequence[Prior]) -> Structure:
        structure = super().describe(priors)
        has_clusters = bool(structure.clustered)  # else experts are not told z_0
        structure = structure.with_facet(
            1, is_shared=True, is_encoded=False, posterior_parents=(0,) if has_clusters else ()
        )
        unread: tuple[str, ...] = ()
        if not has_clusters:
            unread = tuple(f"mixture_{name}" for name in self._mixture_options)
            unread += ("width",) * self._linear_experts
        return replace(structure, group_size=self._group_size, unread_options=unread)

    @override
    def model(self, x: Tensor) -> None:
        announce_parameters(self, "model")
        with self.facet(1):
            z_1 = sample_facet(1, self.facets[1]())
        with data_plate(x):
            with self.facet(0):
                z_0 = sample_facet(0, self.prior(0, {1: z_1}))
            pyro.sample("x", self.decode([z_0, z_1]), obs=x)

    @override
    def sample_posterior(self, x: Tensor, guide: Guide, seen: Seen | None = None) -> None:
        posterior, features = self._infer(x, seen)
        plate = data_plate(x)
        with plate, self.facet(0):
            z_0 = guide.latent(0, posterior)
        group = product_of_normals(*self._ask(features, z_0), self.prior_as_factor)
        if z_0.dim() > 2:  # one for each sample, whatever the observation
            group = Independent(Normal(group.mean.unsqueeze(-2), group.stddev.unsqueeze(-2)), 1)
        with self.facet(1):
            z_1 = pyro.sample("z_1", group, infer=CLOSED_FORM)
        if self.cluster_heads is not None:
            prior = cast(Mixture, self.prior(0, {1: z_1}))
            logits = partial(self.cluster_heads, z_0)
            inferred = Inferred(0, prior, z_0, posterior, None, logits)
            with plate, self.facet(0):
                guide.cluster(0, inferred)

    @override
    def cluster_logits(self, x: Tensor, zs: Sequence[Tensor]) -> list[Tensor] | None:
        """Log q(c_0 | z_0) of the network, up to a constant: one tensor (B, K)."""
        return None if self.cluster_heads is None else [self.cluster_heads(zs[0])]

    @property
    @override
    def cluster_networks(self) -> list[nn.Module]:
        return [] if self.cluster_heads is None else [self.cluster_heads]

    @override
    def encode(
        self, x: Tensor, seen: Seen | None = None, group: Independent | None = None
    ) -> list[Independent]:
        """q(z_0 | x), and for each observation the same q(z_1 | X) of the group."""
        own, features = self._infer(x, seen)
        if group is None:
            group = self.grouped(*self._ask(features, own.mean))
        return [own, group.expand(x.shape[:1])]

    @override
    def summarise_group(self, batches: Iterable[Tensor]) -> Independent:
        """q(z_1 | X, Z) of one group at the means of q(z_0 | x), for ``group_size`` observations.

        Args:
            batches: of all observations of the group, each (B, *event).

        Returns:
            a distribution of batch shape () and event shape (D_1,).
        """
        return self.grouped(*self.opinions(batches))

    def opinions(self, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """What each observation says of z_1, at the mean of q(z_0 | x).

        Args:
            batches: of observations, each (B, *event).

        Returns:
            means and precisions of all observations, each (N, D_1).
        """
        parts = []
        for x in batches:
            own, features = self._infer(x)
            parts.append(self._ask(features, own.mean))
        means, precisions = (torch.cat(values) for values in zip(*parts, strict=True))
        return means, precisions

    def grouped(self, means: Tensor, precisions: Tensor) -> Independent:
        """q(z_1 | X) of groups whose observations say this, each (..., B, D_1)."""
        assert self.structure.group_size is not None
        counted = precisions * (self.structure.group_size / means.shape[-2])
        return product_of_normals(means, counted, self.prior_as_factor)

    def _infer(self, x: Tensor, seen: Seen | None = None) -> tuple[Independent, Tensor]:
        """q(z_0 | x), and the features (B, F) that the experts are asked about."""
        own = self.features(x, seen)
        shown = (x, x) if seen is None else seen
        if self.expert_encoder is not None:
            features = self._encode_with(self.expert_encoder, shown[1])
        else:
            features = own if shown[1] is shown[0] else self._encode_with(self.encoder, shown[1])
        return diagonal_normal(self._of_heads(own)[0]), features[0]

    def _ask(self, features: Tensor, z_0: Tensor) -> tuple[Tensor, Tensor]:
        """What each observation says of z_1: means and precisions (..., B, D_1)."""
        features = features.to(z_0.dtype)
        if self.cluster_heads is None:
            return self.experts(features)
        weights = self.cluster_heads(z_0).softmax(-1)
        features = features.expand(*weights.shape[:-1], features.shape[-1])
        return self.experts(torch.cat([features, weights], -1))
