r"""The prior of a facet without clusters: :math:`p(z) = \mathcal N(z; 0, I)`.

Source: Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, Appendix B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pyro.distributions import Independent, Normal
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.priors.base import Prior, PriorKind
from pyro_mfcvae.priors.densities import LatentDistribution


class StandardNormal(Prior, LatentDistribution):
    """N(0, I), with nothing to learn; it is its own distribution.

    In tables of components and clusters it has one row.

    Args:
        latent_dim: D, number of latent dimensions.

    Raises:
        ConfigError: if there are no latent dimensions.
    """

    kind: ClassVar[PriorKind] = "standard normal"
    n_clusters = 1

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise ConfigError(f"a facet needs a latent_dim of 1 or more, got {latent_dim}")
        self.latent_dim = latent_dim
        self.register_buffer("loc", torch.zeros(1, latent_dim), persistent=False)

    @override
    def forward(self, parents: Sequence[Tensor] = ()) -> StandardNormal:
        return self

    @property
    @override
    def scale_tril(self) -> Tensor:
        return torch.eye(self.latent_dim, dtype=self.loc.dtype, device=self.loc.device)[None]

    @property
    @override
    def mean(self) -> Tensor:
        return self.loc[0]

    @property
    @override
    def variance(self) -> Tensor:
        return torch.ones_like(self.mean)

    @override
    def log_prob(self, z: Tensor) -> Tensor:
        return self.component().log_prob(z)

    @override
    def log_joint(self, z: Tensor) -> Tensor:
        return self.log_prob(z).unsqueeze(-1)

    @override
    def component(self, c: Tensor | None = None) -> Independent:
        normal = Normal(self.mean, torch.ones_like(self.mean), validate_args=False)
        return Independent(normal, 1, validate_args=False)

    @override
    def transform(self, noise: Tensor, c: Tensor) -> Tensor:
        return noise

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("logits", "loc", "raw_scale"):  # what older checkpoints have, never trained
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @override
    def extra_repr(self) -> str:
        return f"latent_dim={self.latent_dim}"
