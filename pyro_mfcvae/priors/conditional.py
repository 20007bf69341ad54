r"""Mixtures whose components depend on another latent: :math:`p(z \mid c, w)`.

.. math::
    p(z \mid c, w) = \mathcal N\big(z; \mu_c(w), \mathrm{diag}\, \sigma_c(w)^2\big)

with networks for mu and sigma. Source: Dilokthanakul et al., "Deep Unsupervised Clustering with
Gaussian Mixture Variational Autoencoders", 2016, Section 3.1; Peis et al., "Unsupervised Learning
of Global Factors in Deep Generative Models", 2020, Eq. 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from pyro_mfcvae.config import FacetConfig
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.priors.base import Prior, PriorKind
from pyro_mfcvae.priors.clusters import as_shares
from pyro_mfcvae.priors.densities import Mixture
from pyro_mfcvae.priors.normal import (
    SMALLEST_SCALE,
    diagonal_normal_log_prob,
    memoise,
    whole_products,
)
from pyro_mfcvae.priors.standard_normal import StandardNormal

Variance = Literal["exp", "exp-tanh"]
Activation = Literal["tanh", "relu"]

_KEPT = 0.1  # of what w changes, where components are taken over
_MOST = 0.99  # largest log-variance that is asked of exp-tanh


class DiagonalMixture(Mixture):
    """Mixtures of diagonal Gaussians, a batch of them: one for each value of the parents.

    Args:
        loc: means mu, shape (*batch, K, D).
        scale: standard deviations sigma, shape (*batch, K, D).
        log_weights: log pi, shape (K,).
    """

    def __init__(self, loc: Tensor, scale: Tensor, log_weights: Tensor) -> None:
        self.loc, self.scale = loc, scale
        self._log_weights = log_weights
        self.n_clusters, self.latent_dim = loc.shape[-2:]

    @property
    @override
    def log_weights(self) -> Tensor:
        return self._log_weights

    @property
    @override
    def scale_tril(self) -> Tensor:
        """Cholesky factors of the covariances, shape (*batch, K, D, D)."""
        return torch.diag_embed(self.scale)

    @override
    @memoise
    def component_log_prob(self, z: Tensor) -> Tensor:
        return diagonal_normal_log_prob(z.unsqueeze(-2), self.loc, self.scale)

    @override
    @memoise
    def expected_component_log_prob(self, loc: Tensor, scale: Tensor) -> Tensor:
        traces = (scale.unsqueeze(-2) / self.scale).square().sum(-1)
        return self.component_log_prob(loc) - 0.5 * traces

    @override
    def component_log_prob_at(self, z: Tensor, c: Tensor) -> Tensor:
        return diagonal_normal_log_prob(z, *self._at(c))

    @override
    def transform(self, noise: Tensor, c: Tensor) -> Tensor:
        loc, scale = self._at(c)
        return loc + scale * noise

    def _at(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of given clusters, or averages over relaxed ones."""
        # A product with ones and zeros: indices would have to be broadcast with the batch.
        shares = as_shares(c, self.n_clusters, self.loc.dtype).unsqueeze(-2)
        with whole_products():
            return (shares @ self.loc).squeeze(-2), (shares @ self.scale).squeeze(-2)


class ConditionalMixture(Prior):
    r"""The prior :math:`p(z \mid w) = \frac1K \sum_c p(z \mid c, w)`, with one parent w ~ N(0, I).

    Args:
        n_clusters: K.
        latent_dim: D.
        condition_dim: dimensions W of w.
        width: of the hidden layer.
        is_shared: one hidden layer for all components; otherwise each has a network of its own.
        variance: ``"exp"`` of the network's output, or ``"exp-tanh"``, which keeps variances
            between 1/e and e.
        activation: of the hidden layer.
    """

    kind: ClassVar[PriorKind] = "conditional mixture"
    n_parents = 1
    covariance: Literal["diagonal"] = "diagonal"

    def __init__(
        self,
        n_clusters: int,
        latent_dim: int,
        condition_dim: int,
        width: int = 256,
        is_shared: bool = False,
        variance: Variance = "exp",
        activation: Activation = "tanh",
    ) -> None:
        super().__init__()
        self.n_clusters, self.latent_dim = n_clusters, latent_dim
        self.condition_dim, self.variance = condition_dim, variance
        self.activation = activation
        n_networks = 1 if is_shared else n_clusters
        n_out = 2 * latent_dim * n_clusters // n_networks
        self.hidden = _Layers(n_networks, condition_dim, width)
        self.output = _Layers(n_networks, width, n_out)

    @override
    def forward(self, parents: Sequence[Tensor] = ()) -> DiagonalMixture:
        if len(parents) != self.n_parents:
            raise ValueError(
                f"expected values of the latent that the mixture depends on, got {len(parents)} "
                "parents"
            )
        return self._at(*parents)

    @override
    def at_origin(self) -> DiagonalMixture:
        return self._at(self.hidden.bias.new_zeros(self.condition_dim))

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Number the clusters anew: cluster k becomes what cluster order[k], of (K,), was."""
        if len(self.output.bias) > 1:  # a network for each component
            parameters = [*self.hidden.parameters(), *self.output.parameters()]
            for parameter in parameters:
                parameter.copy_(parameter[order])
            return
        for parameter in self.output.parameters():
            parts = parameter.unflatten(-1, (self.n_clusters, -1))
            parameter.copy_(parts[..., order, :].flatten(-2))

    @torch.no_grad()
    def set_components(self, loc: Tensor, covariance: Tensor, weights: Tensor) -> None:
        """Take over a mixture that was fitted elsewhere, as the components at w = 0.

        What w changes in them becomes a tenth, as the fit knows nothing of w. The weights stay
        1/K; variances that the network cannot give become the nearest ones that it can.

        Args:
            loc: means mu, shape (K, D).
            covariance: variances, shape (K, D).
            weights: pi, shape (K,).

        Raises:
            ValueError: if a shape is another, or a variance is not above 0.
        """
        shape = (self.n_clusters, self.latent_dim)
        if loc.shape != shape or covariance.shape != shape:
            raise ValueError(
                f"loc and covariance must have shape {shape}, got {tuple(loc.shape)} and "
                f"{tuple(covariance.shape)}"
            )
        if not bool((covariance > 0).all()):
            raise ValueError("variances must be above 0")
        log_var = covariance.log()
        if self.variance == "exp-tanh":
            log_var = log_var.clamp(-_MOST, _MOST).atanh()
        self.output.weight.mul_(_KEPT)
        now = self._raw(self.hidden.bias.new_zeros(self.condition_dim))
        wanted = torch.cat([loc, log_var], -1).to(now)
        self.output.bias.add_((wanted - now).reshape(self.output.bias.shape))

    @memoise
    def _at(self, w: Tensor) -> DiagonalMixture:
        """The mixtures at values w (*batch, W): of batch shape (*batch)."""
        loc, log_var = self._raw(w).chunk(2, -1)
        if self.variance == "exp-tanh":
            log_var = log_var.tanh()
        log_weights = loc.new_full((self.n_clusters,), -math.log(self.n_clusters))
        scale = (0.5 * log_var).exp().clamp_min(SMALLEST_SCALE)
        return DiagonalMixture(loc, scale, log_weights)

    def _raw(self, w: Tensor) -> Tensor:
        """What the networks give at w (*batch, W): (*batch, K, 2 D)."""
        hidden = self.hidden(w.unsqueeze(-2))
        hidden = hidden.relu() if self.activation == "relu" else hidden.tanh()
        return self.output(hidden).flatten(-2).unflatten(-1, (self.n_clusters, -1))

    @override
    def extra_repr(self) -> str:
        return (
            f"n_clusters={self.n_clusters}, latent_dim={self.latent_dim}, "
            f"condition_dim={self.condition_dim}, variance={self.variance!r}, "
            f"activation={self.activation!r}"
        )


class _Layers(nn.Module):
    """R linear layers side by side: (..., R or 1, I) -> (..., R, O)."""

    def __init__(self, n_layers: int, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_in)  # as nn.Linear draws its weights
        self.weight = nn.Parameter(torch.empty(n_layers, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_layers, n_out).uniform_(-bound, bound))

    def forward(self, h: Tensor) -> Tensor:
        # One product per layer for the whole batch: h @ weight would copy the weights for each row.
        rows = h.reshape(-1, *h.shape[-2:]).transpose(0, 1)
        values = (rows @ self.weight).transpose(0, 1) + self.bias
        return values.reshape(*h.shape[:-2], *values.shape[-2:])


def conditional_priors(
    what: str,
    facets: Sequence[FacetConfig],
    width: int,
    is_shared: bool,
    variance: Variance,
    activation: Activation = "tanh",
) -> list[Prior]:
    """A mixture of facet 0 that depends on facet 1, and the plain prior of that.

    With one cluster facet 0 depends on nothing: its prior is N(0, I).

    Args:
        what: the model's name, for messages.
        facets: two, the second with one cluster.
        width: as for :class:`ConditionalMixture`, and so the next two.
        is_shared: likewise.
        variance: likewise.
        activation: likewise.

    Raises:
        ConfigError: if the facets are others.
    """
    if len(facets) != 2 or facets[1].has_clusters:
        given = ",".join(f"{facet.latent_dim}:{facet.n_clusters}" for facet in facets)
        raise ConfigError(
            f"{what} has two facets, clusters and what they depend on, the second with one "
            f"cluster, such as --facets 20:10,10:1; got {given}"
        )
    clusters, condition = facets
    if clusters.covariance == "full":
        raise ConfigError(f"the components of {what} have diagonal covariances, got full ones")
    if width < 1:
        raise ConfigError(f"the mixture's hidden layer needs a width of 1 or more, got {width}")
    last = StandardNormal(condition.latent_dim)
    if not clusters.has_clusters:
        return [StandardNormal(clusters.latent_dim), last]
    sizes = (clusters.n_clusters, clusters.latent_dim, condition.latent_dim)
    return [ConditionalMixture(*sizes, width, is_shared, variance, activation), last]
