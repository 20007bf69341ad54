r"""Experts on a latent that many observations share, and the product of what they say.

.. math::
    \Lambda = [I +] \sum_i \Lambda_i, \qquad \mu = \Lambda^{-1} \sum_i \Lambda_i \mu_i

Source: Peis et al., "Unsupervised Learning of Global Factors in Deep Generative Models", 2020,
Eq. 8 and 9, after Bouchacourt et al., "Multi-Level Variational Autoencoder", AAAI 2018.
"""

from __future__ import annotations

from pyro.distributions import Independent, Normal
from torch import Tensor, nn


class Experts(nn.Module):
    """Features (..., F) of one observation -> a normal distribution over the shared latent.

    Args:
        n_features: F.
        latent_dim: D.
        width: of the hidden layer; None leaves one linear layer.
    """

    def __init__(self, n_features: int, latent_dim: int, width: int | None) -> None:
        super().__init__()
        hidden: list[nn.Module] = []
        if width is not None:
            hidden, n_features = [nn.Linear(n_features, width), nn.ReLU()], width
        self.layers = nn.Sequential(*hidden, nn.Linear(n_features, 2 * latent_dim))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Means and precisions, each (..., D)."""
        loc, log_var = self.layers(features).chunk(2, -1)
        return loc, (-log_var).exp()


def product_of_normals(means: Tensor, precisions: Tensor, with_standard: bool) -> Independent:
    """The normalised product of normal densities.

    Args:
        means: (..., B, D), of B factors.
        precisions: (..., B, D).
        with_standard: whether N(0, I) is one more factor.

    Returns:
        a distribution of batch shape (...) and event shape (D,).
    """
    precision = precisions.sum(-2) + (1.0 if with_standard else 0.0)
    loc = (precisions * means).sum(-2) / precision
    normal = Normal(loc, precision.rsqrt(), validate_args=False)
    return Independent(normal, 1, validate_args=False)
