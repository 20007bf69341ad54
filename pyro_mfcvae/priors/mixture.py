r"""One facet's mixture-of-Gaussians prior, with each of its densities defined once.

.. math::
    p(c) = \pi_c, \qquad p(z \mid c) = \mathcal N(z; \mu_c, \Sigma_c), \qquad
    p(z) = \sum_{c=1}^{K} \pi_c \, \mathcal N(z; \mu_c, \Sigma_c)

Source: MFCVAE, Eq. 1 and Appendix A (Eq. 15-17). Symbols: K ``n_clusters``, D
``latent_dim``, pi ``log_weights.exp()``, mu ``loc``, Sigma ``scale**2`` or
``scale_tril @ scale_tril.mT``.

With a prior over its weights, pi ~ Dirichlet(alpha), once for all N observations, and
q(pi) = Dirichlet(gamma), the bound has E log pi in the place of log pi, and an observation's share
of the KL is a cost of its cluster, so that it has the facet's weight in the objective:

.. math::
    \gamma_c = \alpha + N \, \mathrm{softmax}(h)_c, \qquad
    \log \tilde\pi_c = E_{q(\pi)} \log \pi_c - \tfrac1N KL(q(\pi) \| p(\pi))

The best gamma has this form: h are the logs of what each cluster holds. Source: Bishop, "Pattern
Recognition and Machine Learning", 2006, Section 10.2. Symbols: alpha ``weight_concentration``, N
``n_observations``, h ``logits``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Dirichlet, kl_divergence
from typing_extensions import override

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.priors.base import Prior, PriorKind
from pyro_mfcvae.priors.densities import ClusterCategorical, Mixture
from pyro_mfcvae.priors.normal import (
    SMALLEST_SCALE,
    diagonal_normal_log_prob,
    inverse_of_triangular,
    log_diagonal,
    memoise,
    standard_normal_log_prob,
    whole_products,
)

Covariance = Literal["diagonal", "full"]


class MixturePrior(Prior, Mixture):
    r"""The prior :math:`p(z) = \sum_c \pi_c \mathcal N(z; \mu_c, \Sigma_c)` of one facet.

    The variances (diagonal) or the diagonals of the Cholesky factors (full covariance) are a
    softplus of ``raw_scale``, as in the first authors' implementation. Standard deviations (full
    covariance: those diagonals) below 1e-8 are taken for 1e-8. It depends on no other latent, so
    that it is its own distribution.

    Args:
        n_clusters: K, number of mixture components, 2 or more.
        latent_dim: D, number of latent dimensions.
        covariance: ``"diagonal"`` or ``"full"``.
        learn_weights: learn pi, as for None; otherwise it stays 1/K.
        initial_variance: variance of every component along every axis at the start.
        softplus_beta: sharpness of that softplus. A smaller one slows down the variances' steps
            while they are small: their gradient shrinks with ``1 - exp(-beta * value)``.
        weight_concentration: alpha of a symmetric Dirichlet prior over pi, which then has a
            posterior, whatever ``learn_weights`` says; None leaves pi without a prior.

    Attributes:
        n_observations: N where pi has a prior, long (): 1 until training sets it, and saved.

    Raises:
        ConfigError: if a size, the variance or the concentration is not positive, or the covariance
            is unknown.

    Example:
        >>> prior = MixturePrior(n_clusters=3, latent_dim=2)
        >>> z = torch.zeros(5, 2)
        >>> prior.log_prob(z).shape, prior.responsibilities(z).shape
        (torch.Size([5]), torch.Size([5, 3]))
    """

    kind: ClassVar[PriorKind] = "mixture"

    def __init__(
        self,
        n_clusters: int,
        latent_dim: int,
        covariance: Covariance = "diagonal",
        learn_weights: bool | None = True,
        initial_variance: float = 0.01,
        softplus_beta: float = 10.0,
        weight_concentration: float | None = None,
    ) -> None:
        super().__init__()
        if n_clusters < 2 or latent_dim < 1:
            raise ConfigError(
                "a mixture needs n_clusters of 2 or more and latent_dim of 1 or more, got "
                f"n_clusters={n_clusters} and latent_dim={latent_dim}; a facet without clusters "
                "has the prior StandardNormal"
            )
        if covariance not in ("diagonal", "full"):
            raise ConfigError(f'covariance must be "diagonal" or "full", got {covariance!r}')
        if not (initial_variance > 0 and softplus_beta > 0):
            raise ConfigError(
                "initial_variance and softplus_beta must be above 0, got "
                f"{initial_variance} and {softplus_beta}"
            )
        has_prior = weight_concentration is not None
        if weight_concentration is not None and not 0 < weight_concentration < math.inf:
            raise ConfigError(f"weight_concentration must be above 0, got {weight_concentration}")
        self.n_clusters = n_clusters
        self.latent_dim = latent_dim
        self.covariance = covariance
        self.softplus_beta = softplus_beta
        self.logits = nn.Parameter(
            torch.zeros(n_clusters), requires_grad=has_prior or learn_weights is not False
        )
        self.weight_concentration = weight_concentration
        self.n_observations = torch.ones((), dtype=torch.long) if has_prior else None
        self.loc = nn.Parameter(torch.randn(n_clusters, latent_dim))
        shape = (n_clusters, latent_dim) + ((latent_dim,) if covariance == "full" else ())
        self.raw_scale = nn.Parameter(torch.zeros(shape))
        self.reset_variance(initial_variance)

    @override
    def forward(self, parents: Sequence[Tensor] = ()) -> MixturePrior:
        return self

    @torch.no_grad()
    def reset_variance(self, variance: float) -> None:
        """Give every component the covariance ``variance * I``."""
        if self.covariance == "diagonal":
            raw = _softplus_inverse(torch.tensor(variance).double(), self.softplus_beta)
            self.raw_scale.fill_(raw)
        else:
            eye = torch.eye(self.latent_dim, dtype=self.loc.dtype, device=self.loc.device)
            raw = _softplus_inverse(torch.tensor(variance).double().sqrt(), self.softplus_beta)
            self.raw_scale.copy_(eye * raw)

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Number the clusters anew: cluster k becomes what cluster order[k], of (K,), was."""
        for parameter in (self.logits, self.loc, self.raw_scale):
            parameter.copy_(parameter[order])

    @torch.no_grad()
    def set_components(self, loc: Tensor, covariance: Tensor, weights: Tensor) -> None:
        """Take over a mixture that was fitted elsewhere; fixed weights stay as they are.

        Args:
            loc: means mu, shape (K, D).
            covariance: variances, shape (K, D), or with full covariance Sigma, (K, D, D).
            weights: pi, shape (K,), each above 0.

        Raises:
            ValueError: if a shape is another, or a weight or variance is not above 0.
        """
        for what, old, new in (
            ("loc", self.loc, loc),
            ("covariance", self.raw_scale, covariance),
            ("weights", self.logits, weights),
        ):
            if new.shape != old.shape:
                raise ValueError(
                    f"{what} must have shape {tuple(old.shape)}, got {tuple(new.shape)}"
                )
        full = self.covariance == "full"
        variances = covariance.diagonal(dim1=-2, dim2=-1) if full else covariance
        if not (bool((weights > 0).all()) and bool((variances > 0).all())):
            raise ValueError("weights and variances must be above 0")
        self.loc.copy_(loc)
        if full:
            factors = torch.linalg.cholesky(covariance)
            diagonals = factors.diagonal(dim1=-2, dim2=-1)
            raw = torch.diag_embed(_softplus_inverse(diagonals, self.softplus_beta))
            self.raw_scale.copy_(factors.tril(-1) + raw)
        else:
            self.raw_scale.copy_(_softplus_inverse(covariance, self.softplus_beta))
        if self.logits.requires_grad:
            self.logits.copy_(weights.log())

    @property
    @override
    def log_weights(self) -> Tensor:
        """Log pi, shape (K,); with a Dirichlet prior E log pi, less what makes weights sum to 1."""
        q = self.weight_posterior
        return torch.log_softmax(self.logits if q is None else q.concentration.digamma(), dim=-1)

    @property
    def weight_posterior(self) -> Dirichlet | None:
        """q(pi); None where pi has no prior."""
        if self.n_observations is None or self.weight_concentration is None:
            return None
        gamma = self.weight_concentration + self.n_observations * self.logits.softmax(-1)
        return Dirichlet(gamma, validate_args=False)

    @override
    def cluster(self) -> ClusterCategorical:
        q, alpha, n = self.weight_posterior, self.weight_concentration, self.n_observations
        if q is None or alpha is None or n is None:
            return super().cluster()
        gamma = q.concentration
        prior = Dirichlet(torch.full_like(gamma, alpha), validate_args=False)
        expected = gamma.digamma() - gamma.sum(-1, keepdim=True).digamma()
        return ClusterCategorical.of(expected - kl_divergence(q, prior) / n)

    @property
    def scale(self) -> Tensor:
        """Standard deviations of the diagonal components, shape (K, D)."""
        if self.covariance != "diagonal":
            raise TypeError("a facet with full covariance has scale_tril, not scale")
        return self._softplus(self.raw_scale, SMALLEST_SCALE**2).sqrt()

    @property
    @override
    def scale_tril(self) -> Tensor:
        """Cholesky factors of the covariances, shape (K, D, D), for either covariance."""
        if self.covariance == "diagonal":
            return torch.diag_embed(self.scale)
        diagonal = self._softplus(self.raw_scale.diagonal(dim1=-2, dim2=-1), SMALLEST_SCALE)
        return self.raw_scale.tril(-1) + torch.diag_embed(diagonal)

    def _softplus(self, raw: Tensor, least: float) -> Tensor:
        return F.softplus(raw, beta=self.softplus_beta).clamp_min(least)

    @override
    @memoise
    def component_log_prob(self, z: Tensor) -> Tensor:
        """Log p(z | c) for every c.

        With full covariance all clusters are whitened in one product, which in float32 costs
        accuracy where means are many thousand standard deviations away from 0: about 1e-3 nats
        at a standard deviation of 1e-3 and means of 10.

        Args:
            z: latents, shape (..., D).

        Returns:
            shape (..., K).
        """
        if self.covariance == "diagonal":
            return diagonal_normal_log_prob(z.unsqueeze(-2), self.loc, self.scale)
        whitening = self._whitening()
        with whole_products():
            offset = (whitening @ self.loc.unsqueeze(-1)).flatten()
            white = F.linear(z, whitening.flatten(0, 1), -offset)
        white = white.unflatten(-1, (self.n_clusters, self.latent_dim))
        return standard_normal_log_prob(white) + log_diagonal(whitening)

    @override
    @memoise
    def expected_component_log_prob(self, loc: Tensor, scale: Tensor) -> Tensor:
        if self.covariance == "diagonal":
            precisions = self.scale.square().reciprocal()
        else:
            precisions = self._whitening().square().sum(-2)  # diagonals of the inverse covariances
        with whole_products():
            traces = F.linear(scale.square(), precisions)
        return self.component_log_prob(loc) - 0.5 * traces

    @override
    def component_log_prob_at(self, z: Tensor, c: Tensor) -> Tensor:
        """Log p(z | c) for one given cluster each.

        Args:
            z: latents, shape (..., D).
            c: clusters, long, broadcastable with the batch shape of z; or relaxed, floating-point
                shares of all clusters (..., K), whose means and Cholesky factors are averaged.

        Returns:
            the broadcast batch shape.
        """
        if c.is_floating_point():
            return self._relaxed_log_prob(z, c)
        if self.covariance == "diagonal":
            return diagonal_normal_log_prob(z, self.loc[c], self.scale[c])
        whitening = self._whitening()[c]
        white = (whitening @ (z - self.loc[c]).unsqueeze(-1)).squeeze(-1)
        return standard_normal_log_prob(white) + log_diagonal(whitening)

    def _relaxed_log_prob(self, z: Tensor, c: Tensor) -> Tensor:
        spread = self.scale if self.covariance == "diagonal" else self.scale_tril
        with whole_products():
            loc = c @ self.loc
            averages = (c @ spread.flatten(1)).unflatten(-1, spread.shape[1:])
        if self.covariance == "diagonal":
            return diagonal_normal_log_prob(z, loc, averages)
        white = torch.linalg.solve_triangular(averages, (z - loc).unsqueeze(-1), upper=False)
        return standard_normal_log_prob(white.squeeze(-1)) - log_diagonal(averages)

    @override
    def transform(self, noise: Tensor, c: Tensor) -> Tensor:
        return self.loc[c] + (self.scale_tril[c] @ noise.unsqueeze(-1)).squeeze(-1)

    @memoise
    def _whitening(self) -> Tensor:
        """Inverse Cholesky factors, shape (K, D, D)."""
        with whole_products():
            return inverse_of_triangular(self.scale_tril)

    @override
    def extra_repr(self) -> str:
        return (
            f"n_clusters={self.n_clusters}, latent_dim={self.latent_dim}, "
            f"covariance={self.covariance!r}, learn_weights={self.logits.requires_grad}"
        )


def _softplus_inverse(value: Tensor, beta: float) -> Tensor:
    return value + (-(-beta * value).expm1()).log() / beta
