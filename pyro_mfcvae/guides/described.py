"""What guides ask of a model, which stands above them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from torch import Tensor, nn


class DescribedFacet(Protocol):
    """What guides ask of one facet; :class:`~pyro_mfcvae.models.structure.FacetStructure`."""

    @property
    def n_clusters(self) -> int:
        """K; 1 where there are no clusters."""

    @property
    def is_gaussian(self) -> bool:
        """Whether p(z | c) is normal."""


class Description(Protocol):
    """What guides ask of a model's facets; :class:`~pyro_mfcvae.models.structure.Structure`."""

    @property
    def facets(self) -> Sequence[DescribedFacet]:
        """Shallow first."""

    @property
    def clustered(self) -> Sequence[int]:
        """Facets with clusters."""

    @property
    def infers_clusters_first(self) -> bool:
        """Whether a q(z | x, c) is told clusters."""

    @property
    def n_combinations(self) -> int:
        """Combinations of the clusters that encoder and decoder see."""

    @property
    def max_combinations(self) -> int:
        """How many of them may be enumerated."""


class FacetedModel(Protocol):
    """What guides know of a model; :class:`~pyro_mfcvae.models.base.FacetModel` has it."""

    @property
    def structure(self) -> Description:
        """What the model states of its facets."""

    @property
    def n_features(self) -> Sequence[int]:
        """F_j, sizes of the encoder's features."""

    @property
    def cluster_networks(self) -> list[nn.Module]:
        """The networks behind :meth:`cluster_logits`, if the model's posterior has any."""

    def features(self, x: Tensor) -> list[Tensor]:
        """What the encoder makes of observations (B, *event): features (B, F_j)."""

    def cluster_logits(self, x: Tensor, zs: Sequence[Tensor]) -> list[Tensor] | None:
        """Log q(c_j | x) up to a constant, of networks of its own: J tensors (B, K_j)."""

    def sample_posterior(self, x: Tensor, guide: Any, seen: Sequence[Tensor] | None = None) -> None:
        """The sites z and c of a guide."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As of any module."""
