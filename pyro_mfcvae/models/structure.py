"""What a model states of its facets: one frozen description, which everybody else reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyro_mfcvae.priors.base import Prior, PriorKind


@dataclass(frozen=True, kw_only=True)
class FacetStructure:
    """What holds for one facet.

    Attributes:
        prior: kind of its prior.
        n_clusters: K; 1 where there are no clusters.
        latent_dim: D.
        is_gaussian: whether p(z | c) is normal, so that its expectations have a closed form.
        prior_parents: facets whose latents p(z | c, ...) depends on, in the prior's order.
        posterior_parents: facets whose latents q(z | x, ...) depends on.
        posterior_clusters: facets whose clusters q(z | x, c) is told, so that they are inferred
            before it.
        is_shared: whether all observations of a group have the same latent.
        is_encoded: whether the encoder has a rung for it.
        is_decoded: whether the decoder takes it.
    """

    prior: PriorKind
    n_clusters: int
    latent_dim: int
    is_gaussian: bool = True
    prior_parents: tuple[int, ...] = ()
    posterior_parents: tuple[int, ...] = ()
    posterior_clusters: tuple[int, ...] = ()
    is_shared: bool = False
    is_encoded: bool = True
    is_decoded: bool = True

    @property
    def has_clusters(self) -> bool:
        """Whether there is a site c."""
        return self.prior != "standard normal"

    @property
    def learns_components(self) -> bool:
        """Whether means, variances and weights are parameters: placed at the start, then learnt.

        Networks make those of a conditional mixture, and its weights are 1/K.
        """
        return self.prior == "mixture"

    @property
    def can_refit(self) -> bool:
        """Whether the prior's ``set_components`` takes over a mixture that was fitted elsewhere."""
        return self.has_clusters


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What holds for a model.

    Attributes:
        facets: shallow first.
        group_size: B, where observations of a batch share a latent.
        max_combinations: passes that encoder and decoder may take, one for each combination of
            enumerated clusters.
        unread_options: options of the model without effect beside the others and with these facets.
    """

    facets: tuple[FacetStructure, ...]
    group_size: int | None = None
    max_combinations: int = 300
    unread_options: tuple[str, ...] = ()

    @classmethod
    def of(cls, priors: Sequence[Prior]) -> Structure:
        """The structure of facets with these priors, which are inferred independently.

        A prior with parents depends on the facets that come next, one step deeper.
        """
        return cls(
            facets=tuple(
                FacetStructure(
                    prior=prior.kind,
                    n_clusters=prior.n_clusters,
                    latent_dim=prior.latent_dim,
                    is_gaussian=prior.is_gaussian,
                    prior_parents=tuple(range(j + 1, j + 1 + prior.n_parents)),
                )
                for j, prior in enumerate(priors)
            )
        )

    def with_facet(self, j: int, **statements: Any) -> Structure:
        """The same but for some statements on facet j, by their names."""
        facets = list(self.facets)
        facets[j] = replace(facets[j], **statements)
        return replace(self, facets=tuple(facets))

    @property
    def clustered(self) -> tuple[int, ...]:
        """Facets with clusters."""
        return tuple(j for j, facet in enumerate(self.facets) if facet.has_clusters)

    @property
    def encoded(self) -> tuple[int, ...]:
        """Facets that the encoder has a rung for."""
        return tuple(j for j, facet in enumerate(self.facets) if facet.is_encoded)

    @property
    def decoded(self) -> tuple[int, ...]:
        """Facets that the decoder takes."""
        return tuple(j for j, facet in enumerate(self.facets) if facet.is_decoded)

    @property
    def infers_clusters_first(self) -> bool:
        """Whether a q(z | x, c) is told clusters, which then cannot be inferred from z."""
        return any(facet.posterior_clusters for facet in self.facets)

    @property
    def n_combinations(self) -> int:
        """Passes of encoder and decoder: combinations of the enumerated clusters that they see."""
        told = {i for facet in self.facets for i in facet.posterior_clusters}
        return math.prod(self.facets[i].n_clusters for i in told)

    @property
    def fades_in(self) -> bool:
        """Whether facets can be faded in one after the other, the deepest first.

        Each then has to be decoded and an observation's own, and to depend on no shallower facet,
        which would come in later.
        """
        return all(
            facet.is_decoded
            and not facet.is_shared
            and min((j, *facet.prior_parents, *facet.posterior_parents, *facet.posterior_clusters))
            == j
            for j, facet in enumerate(self.facets)
        )
