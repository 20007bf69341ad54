"""What every model with mixture facets has."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from pyro.distributions import Independent
from torch import Tensor, nn

from pyro_mfcvae.config import FacetConfig, parse_facets
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import Guide, Inferred, build_guide
from pyro_mfcvae.inference.elbo import ElboTerms, FacetELBO
from pyro_mfcvae.models.networks import FacetNetworks, Part
from pyro_mfcvae.models.sites import data_plate, fading
from pyro_mfcvae.priors.densities import MixtureDensities
from pyro_mfcvae.priors.mixture import MixturePrior


class FacetModel(FacetNetworks, ABC):
    """A variational auto-encoder whose latents are facets with mixture priors.

    A model is two Pyro programs, :meth:`model` and a guide, and the networks between them.
    Its parameters are ordinary ``torch.nn`` parameters. A subclass tells the generative story;
    one whose latents depend on each other also says how they are inferred, in
    :meth:`sample_posterior`, and of what, in :meth:`prior`.

    Args:
        observation: what one observation looks like, or just its shape.
        facets: the facets' priors, shallow first, or ``"D:K,D:K"``. A facet with one cluster has
            the plain prior N(0, I).
        likelihood: name, or name and options, of p(x | z).
        encoder: likewise of the network below q(z | x).
        decoder: likewise of the network below p(x | z).
        posterior: ``"independent"`` facets in q(z | x), or ``"autoregressive"``: each given those
            deeper than it, q(z_j | x, z_{j+1}, ..., z_{J-1}), so that whatever is faded in later
            leaves the others as they were.

    Raises:
        ConfigError: if a part is unknown or does not fit.
        DataError: if the likelihood cannot describe the observations.
    """

    latents_given_clusters: bool = False
    """Whether q(z | x, c) needs the clusters, which are then inferred before the latents."""
    fades_in: bool = True
    """Whether facets can be faded in one after the other; not where they depend on each other."""
    max_combinations: int = 300
    """Passes that encoder and decoder may take, one for each combination of clusters."""
    group_size: int | None = None
    """B, where observations of a batch share a latent; None where they are independent."""
    learns_weights: bool = True
    """Whether the weights of mixtures can be learnt; not where they are 1/K by the story."""

    def __init__(
        self,
        observation: ObservationSpec | Sequence[int],
        facets: Sequence[FacetConfig] | str,
        likelihood: Part = "bernoulli",
        encoder: Part = "ladder",
        decoder: Part = "ladder",
        *,
        posterior: Literal["independent", "autoregressive"] = "independent",
    ) -> None:
        if not isinstance(observation, ObservationSpec):
            observation = ObservationSpec(tuple(observation))
        if isinstance(facets, str):
            facets = parse_facets(facets)
        if not facets:
            raise ConfigError("a model needs at least one facet")
        if not self.learns_weights and any(facet.learn_weights for facet in facets):
            raise ConfigError(
                f"learn_weights is true, but the weights of mixtures are 1/K in the story of "
                f"{type(self).__name__}; leave it out, or choose another model, such as mfcvae"
            )
        priors = self._priors(facets)
        super().__init__(observation, priors, likelihood, encoder, decoder, posterior)
        self.guides = nn.ModuleDict()

    def _priors(self, facets: Sequence[FacetConfig]) -> list[nn.Module]:
        """The facets' priors, shallow first."""
        return [
            MixturePrior(
                facet.n_clusters,
                facet.latent_dim,
                facet.covariance,
                facet.learn_weights is not False,
                facet.initial_variance,
                facet.softplus_beta,
            )
            for facet in facets
        ]

    @abstractmethod
    def model(self, x: Tensor, fade: Tensor | None = None) -> None:
        """The generative story as a Pyro program.

        Args:
            x: observations, shape (B, *event).
            fade: weights of the facets, shape (J,); None means ones.
        """

    @property
    def n_combinations(self) -> int:
        """Passes of encoder and decoder with enumerated clusters."""
        if not self.latents_given_clusters:
            return 1
        return math.prod(facet.n_clusters for facet in self.facets)

    @property
    def unread_options(self) -> tuple[str, ...]:
        """Options that have no effect beside the others and with these facets."""
        return ()

    def guide(self, name: str = "vade") -> Guide:
        """The guide called name; made at its first use, then owned and saved by the model."""
        if name not in self.guides:
            guide = build_guide(name, self)
            parameter = next(self.parameters())
            self.guides[name] = guide.to(parameter.device, parameter.dtype)
        return self.guides[name]

    def prior(self, j: int, zs: Sequence[Tensor]) -> MixtureDensities:
        """The mixture of facet j, at the values of the latents that it depends on.

        Args:
            j: the facet.
            zs: latents of all facets, each (..., D_j).
        """
        return self.facets[j]

    def sample_posterior(self, x: Tensor, fade: Tensor | None, guide: Guide) -> None:
        """The sites z and c of a guide, as a Pyro program; arguments as for :meth:`model`.

        Args:
            x: observations, shape (B, *event).
            fade: weights of the facets, shape (J,); None means ones.
            guide: has what happens at each site.
        """
        features = self.features(x, fade)
        parameters = self._of_heads(features)
        zs: list[Tensor] = []
        posteriors: list[Independent] = []
        logits = functools.cache(lambda: self.cluster_logits(features, zs))
        with data_plate(x):
            for j in reversed(range(self.n_facets)):
                with fading(j, fade):
                    posteriors.insert(0, self._posterior(j, parameters, zs))
                    zs.insert(0, guide.latent(j, posteriors[0]))
            for j, facet in enumerate(self.facets):
                if facet.n_clusters > 1:
                    with fading(j, fade):
                        inferred = Inferred(
                            self.prior(j, zs), zs[j], posteriors[j], lambda j=j: logits()[j]
                        )
                        guide.cluster(j, inferred)

    def forward(
        self, x: Tensor, fade: Tensor | None = None, guide: str | Guide = "vade", n_samples: int = 1
    ) -> ElboTerms:
        """The whole objective for one batch.

        Args:
            x: observations, shape (B, *event).
            fade: weights of the facets, shape (J,); None means ones.
            guide: a guide or its name.
            n_samples: S, samples of z per observation.
        """
        if isinstance(guide, str):
            guide = self.guide(guide)
        return FacetELBO(n_samples).terms(self.model, guide, x, fade)

    def elbo(
        self,
        x: Tensor,
        guide: str | Guide = "vade",
        n_samples: int = 1,
        fade: Tensor | Sequence[float] | None = None,
    ) -> ElboTerms:
        """As :meth:`forward`, with the arguments in a person's order; fade may be a list."""
        if fade is not None:
            fade = torch.as_tensor(fade, dtype=x.dtype, device=x.device)
            if fade.shape != (self.n_facets,):
                raise ValueError(
                    f"fade needs one weight per facet ({self.n_facets}), got {tuple(fade.shape)}"
                )
        return self(x, fade, guide, n_samples)

    @torch.no_grad()
    def responsibilities(self, x: Tensor, n_samples: int | None = None) -> list[Tensor]:
        """The assignment of observations to the clusters of every facet.

        Args:
            x: observations, shape (B, *event).
            n_samples: S samples of z to form q(c | x) from (MFCVAE, Eq. 59); None takes the mean
                of q(z | x) instead.

        Returns:
            J tensors (B, K_j), each row summing to 1.
        """
        return self.assign(
            x, [q.mean if n_samples is None else q.sample((n_samples,)) for q in self.encode(x)]
        )

    def assign(self, x: Tensor, zs: Sequence[Tensor]) -> list[Tensor]:
        """The assignment of observations whose latents are known: J tensors (B, K_j).

        Args:
            x: observations, shape (B, *event).
            zs: latents of every facet, each (B, D_j), or of S samples (S, B, D_j).
        """
        return [self.prior(j, zs).assigned(z) for j, z in enumerate(zs)]

    @torch.no_grad()
    def sample_prior(
        self,
        shape: tuple[int, ...],
        clusters: Mapping[int, Tensor] | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> list[Tensor]:
        """Latents of every facet, drawn from the prior: J tensors (*shape, D_j).

        Args:
            shape: of the draws.
            clusters: {facet: clusters to draw from, broadcast with shape}; others are drawn.
            temperature: tau; every component's covariance becomes tau * Sigma.
            generator: source of randomness, on the CPU.
        """
        clusters = clusters or {}
        zs: list[Tensor] = [torch.empty(0)] * self.n_facets
        for j in reversed(range(self.n_facets)):  # a facet may depend on deeper ones
            zs[j] = self.prior(j, zs).sample(shape, clusters.get(j), temperature, generator)
        return zs

    def as_group(self, batches: Iterable[Tensor]) -> AbstractContextManager:
        """Take observations for one group meanwhile, where groups share a latent.

        Args:
            batches: of all observations of the group, each (B, *event).
        """
        return nullcontext()
