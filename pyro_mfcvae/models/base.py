"""What every model with mixture facets has."""

from __future__ import annotations

import functools
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
from pyro_mfcvae.models.structure import Structure
from pyro_mfcvae.priors.base import Prior
from pyro_mfcvae.priors.densities import LatentDistribution
from pyro_mfcvae.priors.mixture import MixturePrior
from pyro_mfcvae.priors.standard_normal import StandardNormal


class FacetModel(FacetNetworks, ABC):
    """A variational auto-encoder whose latents are facets with mixture priors.

    A model is two Pyro programs, :meth:`model` and a guide, and the networks between them.
    Its parameters are ordinary ``torch.nn`` parameters. A subclass tells the generative story;
    one whose latents depend on each other also says how they are inferred, in
    :meth:`sample_posterior`, and states in :meth:`describe` what is not so of all its facets.

    Args:
        observation: what one observation looks like, or just its shape.
        facets: the facets' priors, shallow first, or ``"D:K,D:K"``. A facet with one cluster has
            none: its prior is N(0, I).
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
        priors = self._priors(facets)
        structure = self.describe(priors)
        if posterior == "autoregressive":
            for j in range(len(priors)):
                deeper = tuple(range(j + 1, len(priors)))
                structure = structure.with_facet(j, posterior_parents=deeper)
        super().__init__(observation, priors, structure, likelihood, encoder, decoder, posterior)
        self.guides = nn.ModuleDict()

    def _priors(self, facets: Sequence[FacetConfig]) -> list[Prior]:
        """The facets' priors, shallow first."""
        return [
            MixturePrior(**vars(f)) if f.has_clusters else StandardNormal(f.latent_dim)
            for f in facets
        ]

    def describe(self, priors: Sequence[Prior]) -> Structure:
        """What the model states of its facets; called before there are any networks.

        Args:
            priors: of the facets, shallow first.
        """
        return Structure.of(priors)

    @abstractmethod
    def model(self, x: Tensor, fade: Tensor | None = None) -> None:
        """The generative story as a Pyro program.

        Args:
            x: observations, shape (B, *event).
            fade: weights of the facets, shape (J,); None means ones.
        """

    def guide(self, name: str = "vade") -> Guide:
        """The guide called name; made at its first use, then owned and saved by the model."""
        if name not in self.guides:
            guide = build_guide(name, self)
            parameter = next(self.parameters())
            self.guides[name] = guide.to(parameter.device, parameter.dtype)
        return self.guides[name]

    def prior(self, j: int, zs: Sequence[Tensor] | Mapping[int, Tensor]) -> LatentDistribution:
        """p(z_j) at the values of the latents that it depends on.

        Args:
            j: the facet.
            zs: latents by facet, each (..., D_i); those of its parents suffice.
        """
        return self.facets[j]([zs[i] for i in self.structure.facets[j].prior_parents])

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
            for j in self.structure.clustered:
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
        return [self.prior(j, zs).assign(z) for j, z in enumerate(zs)]

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
