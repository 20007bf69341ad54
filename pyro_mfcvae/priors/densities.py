r"""What every Gaussian mixture has, once log p(z | c) of its components is known.

.. math::
    p(z) = \sum_c \pi_c \, p(z \mid c), \qquad
    p(c \mid z) = \frac{\pi_c \, p(z \mid c)}{p(z)}

Source: MFCVAE, Appendix A (Eq. 15-17).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pyro_mfcvae.priors.components import ClusterCategorical, MixtureComponent
from pyro_mfcvae.priors.quadratic import half_squared_norm

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class MixtureDensities(ABC):
    """A mixture of K Gaussians in D dimensions, at the values of whatever it depends on.

    Attributes:
        n_clusters: K.
        latent_dim: D.
        loc: means mu, shape (..., K, D).
    """

    n_clusters: int
    latent_dim: int
    loc: Tensor

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
        """E log p(z | c) over z ~ N(loc, diag(scale^2)), for every c: (..., D) -> (..., K).

        None in the place of this method says that there is no closed form.
        """

    @abstractmethod
    def transform(self, noise: Tensor, c: Tensor) -> Tensor:
        """Noise (..., D) -> z of the given clusters, (..., D)."""

    def noise(
        self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """What z is made of, (..., D): standard normal, of the dtype and device of ``like``."""
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

    def log_joint(self, z: Tensor) -> Tensor:
        """Log p(z, c) for every c: (..., D) -> (..., K)."""
        return self.component_log_prob(z) + self.log_weights

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z), the mixture's density: (..., D) -> (...)."""
        return self.log_joint(z).logsumexp(-1)

    def log_responsibilities(self, z: Tensor) -> Tensor:
        """Log p(c | z): (..., D) -> (..., K)."""
        return self.log_joint(z).log_softmax(-1)

    def responsibilities(self, z: Tensor) -> Tensor:
        """p(c | z): (..., D) -> (..., K)."""
        return self.log_joint(z).softmax(-1)

    def assigned(self, z: Tensor) -> Tensor:
        """q(c | x) of latents (B, D), or of S samples (S, B, D) (MFCVAE, Eq. 59): (B, K)."""
        if z.dim() < 3:
            return self.responsibilities(z)
        return self.log_responsibilities(z).mean(0).softmax(-1)

    def cluster(self) -> ClusterCategorical:
        """The distribution p(c), to be used as a Pyro site."""
        return ClusterCategorical(logits=self.log_weights, validate_args=False)

    def component(self, c: Tensor) -> MixtureComponent:
        """The distribution p(z | c), to be used as a Pyro site, for c of any shape."""
        return MixtureComponent(self, c)

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
            c: clusters, broadcast with ``sample_shape``; None draws them from pi.
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
            n_draws = math.prod(sample_shape)
            weights = self.log_weights.exp().cpu()
            c = torch.multinomial(weights, n_draws, replacement=True, generator=generator)
            c = c.reshape(sample_shape)
        c = torch.as_tensor(c)
        sample_shape = torch.broadcast_shapes(sample_shape, c.shape)
        check_clusters(c, self.n_clusters)
        c = c.to(loc.device).expand(sample_shape)
        noise = self.noise((*sample_shape, self.latent_dim), loc.cpu(), generator)
        return self.transform(noise.to(loc.device) * math.sqrt(temperature), c)


def check_clusters(c: Tensor, n_clusters: int) -> None:
    """Raise a ValueError if a cluster is out of range."""
    if c.numel() and not (int(c.min()) >= 0 and int(c.max()) < n_clusters):
        raise ValueError(
            f"clusters must lie in 0..{n_clusters - 1}, got {int(c.min())}..{int(c.max())}"
        )


def standard_normal_log_prob(white: Tensor) -> Tensor:
    """Log N(white; 0, I), (..., D) -> (...)."""
    return -half_squared_norm(white) - white.shape[-1] * _HALF_LOG_TWO_PI


def log_diagonal(factors: Tensor) -> Tensor:
    """Log-determinants of triangular matrices with positive diagonals, (..., D, D) -> (...)."""
    return factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
