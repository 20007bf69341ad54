"""The ELBO as named terms, one number per observation, under no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add

from torch import Tensor


@dataclass(frozen=True, eq=False)
class ElboTerms:
    """The parts of the ELBO, unweighted, per observation.

    Attributes:
        reconstruction: E log p(x | z), shape (B,). What else is observed stands here, too; what the
            batch observes once is divided by B.
        kl_z: KL of z_j, shape (B, J): log q(z_j | x) - E log p(z_j | c_j); where c_j is summed
            out of the model, log q(z_j | x) - log p(z_j). Of a latent that the batch shares,
            divided by B.
        kl_c: KL of c_j, shape (B, J); zero where c_j is summed out of the model.
        other: KLs of no single facet, per observation, {sites: (B,)}: of facets that are summed
            out together, named by their sites, and of latents without a facet.
        shared: KLs of no facet that the batch has once, divided by B, {site: ()}.
    """

    reconstruction: Tensor
    kl_z: Tensor
    kl_c: Tensor
    other: Mapping[str, Tensor] = field(default_factory=dict)
    shared: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def elbo(self) -> Tensor:
        """The bound on log p(x), shape (B,): every term with the weight 1."""
        cost = (self.kl_z + self.kl_c).sum(-1)
        return self.reconstruction - reduce(
            add, [*self.other.values(), *self.shared.values()], cost
        )

    @property
    def loss(self) -> Tensor:
        """Minus the mean of the bound over the batch, shape ()."""
        return -self.elbo.mean()
