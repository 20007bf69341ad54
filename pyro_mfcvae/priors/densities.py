r"""p(z) of one facet as a distribution, and what is shared by Gaussian mixtures.

.. math::
    p(z) = \sum_c \pi_c \, p(z \mid c), \qquad
    p(c \mid z) = \frac{\pi_c \, p(z \mid c)}{p(z)}

Source: MFCVAE, Appendix A (Eq. 15-17).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from pyro.distributions import Categorical, TorchDistribution, constraints
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.priors.clusters import as_shares, check_clusters


class LatentDistribution(ABC):
    """p(z) of one facet in D dimensions, at the values of whatever its prior depends on.

    Attributes:
        n_clusters: K, which tables have columns for; 1 where there are no clusters.
        latent_dim: D.
        loc: means mu of the components, shape (..., K, D).
    """

    n_clusters: int
    latent_dim: int
    loc: Tensor

    @property
    @abstractmethod
    def scale_tril(self) -> Tensor:
        """Cholesky factors of the components' covariances, shape (..., K, D, D)."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """E z, shape (..., D)."""

    @property
    @abstractmethod
    def variance(self) -> Tensor:
        """Variances of the dimensions of z, shape (..., D)."""

    @abstractmethod
    def log_joint(self, z: Tensor) -> Tensor:
        """Log p(z, c) for every c: (..., D) -> (..., K)."""

    @abstractmethod
    def component(self, c: Tensor | None = None) -> TorchDistribution:
        """The distribution p(z | c), to be used as a Pyro site.

        Args:
            c: clusters of any shape; None where there are no clusters.
        """

    @abstractmethod
    def transform(self, noise: Tensor, c: Tensor) -> Tensor:
        """Noise (..., D) -> z of the given clusters, (..., D)."""

    def sample_clusters(
        self, shape: tuple[int, ...], generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw c from p(c), on the CPU; 0 where there are no clusters."""
        return torch.zeros(shape, dtype=torch.long)

    def cluster(self) -> ClusterCategorical | None:
        """The distribution p(c), to be used as a Pyro site; None where there are no clusters."""
        return None

    def noise(
        self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """What z is made of, (..., D): standard normal, of the dtype and device of ``like``."""
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z): (..., D) -> (...)."""
        return self.log_joint(z).logsumexp(-1)

    def log_responsibilities(self, z: Tensor) -> Tensor:
        """Log p(c | z): (..., D) -> (..., K)."""
        return self.log_joint(z).log_softmax(-1)

    def responsibilities(self, z: Tensor) -> Tensor:
        """p(c | z): (..., D) -> (..., K)."""
        return self.log_joint(z).softmax(-1)

    def assign(self, z: Tensor) -> Tensor:
        """q(c | x) of latents (B, D), or of S samples (S, B, D) (MFCVAE, Eq. 59): (B, K)."""
        if z.dim() < 3:
            return self.responsibilities(z)
        return self.log_responsibilities(z).mean(0).softmax(-1)

    @torch.no_grad()
    def sample(
        self,
        sample_shape: tuple[int, ...] = (),
        c: Tensor | int | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Draw z from p(z), or from p(z | c) where c is given.

        Args:
            sample_shape: shape of the draws.
            c: clusters, broadcast with ``sample_shape``; None draws them from p(c).
            temperature: tau; the covariance of a component becomes tau * Sigma.
            generator: source of randomness, on the CPU.

        Returns:
            shape (*sample_shape, D), the shape broadcast with that of c.

        Raises:
            ValueError: if the temperature is negative or c is out of range.
        """
        if temperature < 0:
            raise ValueError(f"temperature must not be negative, got {temperature}")
        loc = self.loc.detach()
        if c is None:
            c = self.sample_clusters(sample_shape, generator)
        c = torch.as_tensor(c)
        sample_shape = torch.broadcast_shapes(sample_shape, c.shape)
        check_clusters(c, self.n_clusters)
        c = c.to(loc.device).expand(sample_shape)
        noise = self.noise((*sample_shape, self.latent_dim), loc.cpu(), generator)
        return self.transform(noise.to(loc.device) * math.sqrt(temperature), c)


class Mixture(LatentDistribution):
    """A mixture of K Gaussians; a mixture of others says so by ``is_gaussian``."""

    is_gaussian: ClassVar[bool] = True

    @property
    @abstractmethod
    def log_weights(self) -> Tensor:
        """Log pi, shape (K,)."""

    @abstractmethod
    def component_log_prob(self, z: Tensor) -> Tensor:
        """Log p(z | c) for every c: (..., D) -> (..., K)."""

    @abstractmethod
    def component_log_prob_at(self, z: Tensor, c: Tensor) -> Tensor:
        """Log p(z | c) for one given, or relaxed, cluster each."""

    @abstractmethod
    def expected_component_log_prob(self, loc: Tensor, scale: Tensor) -> Tensor:
        r"""E log p(z | c) over z ~ N(loc, diag(scale^2)), for every c.

        .. math::
            E \log p(z \mid c) = \log \mathcal N(m; \mu_c, \Sigma_c)
            - \tfrac12 \mathrm{tr}\big(\Sigma_c^{-1} \mathrm{diag}\, s^2\big)

        Source: Jiang et al., "Variational Deep Embedding", IJCAI 2017, Eq. 12 and its appendix,
        where covariances are diagonal.

        Args:
            loc: m, shape (..., D).
            scale: s, standard deviations, shape (..., D).

        Returns:
            shape (..., K).
        """

    @property
    @override
    def mean(self) -> Tensor:
        return self.log_weights.exp() @ self.loc

    @property
    @override
    def variance(self) -> Tensor:
        weights = self.log_weights.exp()
        spread = self.scale_tril.square().sum(-1) + (self.loc - self.mean.unsqueeze(-2)).square()
        return weights @ spread

    @override
    def log_joint(self, z: Tensor) -> Tensor:
        return self.component_log_prob(z) + self.log_weights

    @override
    def cluster(self) -> ClusterCategorical:
        return ClusterCategorical(logits=self.log_weights, validate_args=False)

    @override
    def component(self, c: Tensor | None = None) -> MixtureComponent:
        if c is None:
            raise ValueError("expected the clusters whose component of the mixture is meant")
        return MixtureComponent(self, c)

    @override
    def sample_clusters(
        self, shape: tuple[int, ...], generator: torch.Generator | None = None
    ) -> Tensor:
        weights = self.log_weights.exp().cpu()
        n_draws = math.prod(shape)
        c = torch.multinomial(weights, n_draws, replacement=True, generator=generator)
        return c.reshape(shape)


class ClusterCategorical(Categorical):
    """A categorical distribution whose log_prob over its whole support is a view.

    Looking log-probabilities up by index costs K times the memory in the backward pass; over
    an enumerated support no look-up is needed.
    """

    @classmethod
    def of(cls, log_probs: Tensor) -> ClusterCategorical:
        """With log-probabilities (..., K) as they are, such as E log pi: they need not sum to 1."""
        clusters = cls(logits=log_probs, validate_args=False)
        clusters.logits = log_probs
        return clusters

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


class MixtureComponent(TorchDistribution):
    """p(z | c) of a mixture, for c enumerated, given or relaxed.

    Args:
        mixture: of which.
        c: clusters, long, of any shape; or relaxed, floating-point (..., K).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, mixture: Mixture, c: Tensor, batch_shape: torch.Size | None = None) -> None:
        self.mixture = mixture
        self.c = c
        own_shape = c.shape[:-1] if c.is_floating_point() else c.shape
        super().__init__(
            own_shape if batch_shape is None else batch_shape,
            torch.Size([mixture.latent_dim]),
            validate_args=False,
        )

    @override
    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> MixtureComponent:
        return MixtureComponent(self.mixture, self.c, torch.Size(batch_shape))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z | c): (..., D) -> the broadcast shape of c and the batch shape of z."""
        if is_support(self.c) and z.dim() - 1 < self.c.dim():
            return last_dim_to(self.mixture.component_log_prob(z), -self.c.dim())
        return self.mixture.component_log_prob_at(z, self.c)

    def expected_log_prob(self, loc: Tensor, scale: Tensor) -> Tensor:
        """E log p(z | c) over z ~ N(loc, diag(scale^2)), shaped as :meth:`log_prob` of such z.

        Raises:
            ValueError: if it has no closed form, as p(z | c) is not normal.
        """
        if not self.mixture.is_gaussian:
            raise ValueError(
                f"E log p(z | c) of {type(self.mixture).__name__} has no closed form; choose a "
                "guide such as vade"
            )
        expected = self.mixture.expected_component_log_prob(loc, scale)
        if is_support(self.c) and loc.dim() - 1 < self.c.dim():
            return last_dim_to(expected, -self.c.dim())
        return (expected * as_shares(self.c, self.mixture.n_clusters, expected.dtype)).sum(-1)

    @override
    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        c, loc = self.c.expand(self.batch_shape), self.mixture.loc
        shape = (*sample_shape, *self.batch_shape, self.mixture.latent_dim)
        return self.mixture.transform(self.mixture.noise(shape, loc), c)


def is_support(value: Tensor) -> bool:
    """Whether value is an enumerated support: 0..K-1 along its leftmost dimension."""
    return getattr(value, "_pyro_categorical_support", None) is not None


def last_dim_to(values: Tensor, dim: int) -> Tensor:
    """Move the last dimension to the negative position dim, left of all others.

    ``(*batch, K) -> (K, 1, ..., 1, *batch)`` with ``-dim`` dimensions.
    """
    moved = values.movedim(-1, 0)
    n_new = -dim - moved.dim()
    return moved.reshape(moved.shape[:1] + (1,) * n_new + moved.shape[1:])
