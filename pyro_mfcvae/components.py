"""p(c) and p(z | c) of a mixture prior as distributions of Pyro sites, also for enumerated c."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from pyro.distributions import Categorical, TorchDistribution, constraints
from torch import Tensor
from typing_extensions import override

if TYPE_CHECKING:
    from pyro_mfcvae.mixture import MixturePrior


class ClusterCategorical(Categorical):
    """A categorical distribution whose log_prob over its whole support is a view.

    Looking log-probabilities up by index costs K times the memory in the backward pass; over
    an enumerated support no look-up is needed.
    """

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        if is_support(value):
            return last_dim_to(self.logits, -value.dim())
        return super().log_prob(value)


class MixtureComponent(TorchDistribution):
    """p(z | c) of a :class:`~pyro_mfcvae.mixture.MixturePrior`, for c enumerated or given.

    Args:
        prior: the mixture.
        c: clusters, long, of any shape.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, prior: MixturePrior, c: Tensor, batch_shape: torch.Size | None = None
    ) -> None:
        self.prior = prior
        self.c = c
        super().__init__(
            c.shape if batch_shape is None else batch_shape,
            torch.Size([prior.latent_dim]),
            validate_args=False,
        )

    @override
    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> MixtureComponent:
        return MixtureComponent(self.prior, self.c, torch.Size(batch_shape))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z | c): (..., D) -> the broadcast shape of c and the batch shape of z."""
        if is_support(self.c) and z.dim() - 1 < self.c.dim():
            return last_dim_to(self.prior.component_log_prob(z), -self.c.dim())
        return self.prior.component_log_prob_at(z, self.c)

    def expected_log_prob(self, loc: Tensor, scale: Tensor) -> Tensor:
        """E log p(z | c) over z ~ N(loc, diag(scale^2)), shaped as :meth:`log_prob` of such z."""
        expected = self.prior.expected_component_log_prob(loc, scale)
        if is_support(self.c) and loc.dim() - 1 < self.c.dim():
            return last_dim_to(expected, -self.c.dim())
        c, expected = torch.broadcast_tensors(self.c.unsqueeze(-1), expected)
        return expected.gather(-1, c[..., :1]).squeeze(-1)

    @override
    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        c = self.c.expand(self.batch_shape)
        loc = self.prior.loc[c]
        noise = torch.randn(*sample_shape, *loc.shape, dtype=loc.dtype, device=loc.device)
        return loc + (self.prior.scale_tril[c] @ noise.unsqueeze(-1)).squeeze(-1)


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
