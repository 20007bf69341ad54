r"""What every prior of a facet is: a module whose forward returns a distribution.

.. math::
    \mathrm{prior}: \mathrm{parents} \mapsto p(z_j \mid \mathrm{parents})

Parents are latents of other facets; most priors have none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor, nn

from pyro_mfcvae.priors.densities import LatentDistribution

PriorKind = Literal["standard normal", "mixture", "conditional mixture"]


class Prior(nn.Module, ABC):
    """The prior of one facet.

    Attributes:
        kind: which of the three; a prior of one's own has the kind of what it inherits from.
        n_parents: latents that it depends on.
        is_gaussian: whether p(z | c) is normal, so that its expectations have a closed form.
        n_clusters: K; 1 where there are no clusters.
        latent_dim: D.
        n_observations: N, shape (), of a prior whose parameters have a prior of their own, which
            all N training observations share: training sets it. None for others.
    """

    kind: ClassVar[PriorKind]
    n_parents: ClassVar[int] = 0
    is_gaussian: ClassVar[bool] = True
    n_clusters: int
    latent_dim: int
    n_observations: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n_observations", None)

    @abstractmethod
    def forward(self, parents: Sequence[Tensor] = ()) -> LatentDistribution:
        """p(z | parents).

        Args:
            parents: values of the latents that it depends on, each (*batch, D_i).

        Returns:
            a distribution of event shape (D,), for latents that broadcast with the batch.
        """

    if TYPE_CHECKING:  # nn.Module's own returns anything

        def __call__(self, parents: Sequence[Tensor] = ()) -> LatentDistribution:  # noqa: D102
            ...

    def at_origin(self) -> LatentDistribution:
        """p(z | parents) where every parent is 0, the mean of its own prior."""
        return self()
