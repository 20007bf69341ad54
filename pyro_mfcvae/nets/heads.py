"""From features to q(z | x): parameters, and the one function that makes them a distribution."""

from __future__ import annotations

from pyro.distributions import Independent, Normal
from torch import Tensor, nn


class PosteriorHead(nn.Linear):
    """Features (..., F) -> parameters of q(z | x), (..., 2 D): means, then log-variances.

    Args:
        n_features: F.
        latent_dim: D.
    """

    def __init__(self, n_features: int, latent_dim: int) -> None:
        super().__init__(n_features, 2 * latent_dim)


def diagonal_normal(parameters: Tensor) -> Independent:
    """q(z | x) = N(mean, diag(exp(log_var))) from (..., 2 D): batch shape (...), event (D,).

    Source: MFCVAE, Eq. 75.
    """
    loc, log_var = parameters.chunk(2, dim=-1)
    normal = Normal(loc, (0.5 * log_var).exp(), validate_args=False)
    return Independent(normal, 1, validate_args=False)
