"""What every model with mixture facets has, and what its generative story is told with."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import pyro
import torch
from pyro.distributions import Independent
from torch import Tensor, nn

from pyro_mfcvae.config import FacetConfig, parse_facets
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import Guide, Inferred, build_guide
from pyro_mfcvae.inference.elbo import ElboTerms, FacetELBO
from pyro_mfcvae.inference.sites import Fade
from pyro_mfcvae.models.networks import FacetNetworks, Part, Seen
from pyro_mfcvae.models.structure import Structure
from pyro_mfcvae.priors.base import Prior
from pyro_mfcvae.priors.densities import LatentDistribution, Mixture
from pyro_mfcvae.priors.mixture import MixturePrior
from pyro_mfcvae.priors.standard_normal import StandardNormal
from pyro_mfcvae.registry import Registry

MODELS: Registry[type[FacetModel]] = Registry("model", "one of your own with --model FILE.py:Name")

register_model = MODELS.register
"""Class decorator: make a model known by name to settings and the command line."""


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
        for facet, stated in zip(facets, structure.facets, strict=True):
            given = ("weight_concentration", "learn_weights")
            wished = next((name for name in given if getattr(facet, name)), None)
            if wished and stated.has_clusters and not stated.learns_components:
                raise ConfigError(
                    f"{wished} is {getattr(facet, wished)}, but the weights of a mixture are 1/K "
                    f"in the story of {type(self).__name__}; leave it out, or choose another "
                    "model, such as mfcvae"
                )
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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("model", "sample_posterior", "encode", "decode", "forward"):
            if "fade" in inspect.signature(getattr(cls, name)).parameters:
                raise ConfigError(
                    f"{cls.__name__}.{name} takes fade, which is a buffer of the model now: leave "
                    "the argument out, write self.facet(j) in place of fading(j, fade), and call "
                    "decode, encode and super() without it"
                )

    def describe(self, priors: Sequence[Prior]) -> Structure:
        """What the model states of its facets; called before there are any networks.

        Args:
            priors: of the facets, shallow first.
        """
        return Structure.of(priors)

    @abstractmethod
    def model(self, x: Tensor) -> None:
        """The generative story as a Pyro program.

        Args:
            x: observations, shape (B, *event).
        """

    @property
    def kl_fade(self) -> Tensor:
        """Fade weights of the facets' KL terms, shape (J,)."""
        return self.fade

    def facet(self, j: int) -> Fade:
        """Handler that gives the sites inside to facet j, weighed with its fade weight."""
        return Fade(j, self.fade[j] if self.structure.fades_in else None)

    def guide(self, name: str = "vade") -> Guide:
        """The guide called name: the model's own, or one without parameters, made for the moment.

        Raises:
            ConfigError: if the guide is unknown, does not fit, or has parameters or buffers: then
                it is made with the model, by :func:`~pyro_mfcvae.plugins.build_model`, or by a
                person, who gives it to the model in place of its name.
        """
        if name in self.guides:
            return cast(Guide, self.guides[name])
        guide = build_guide(name, self)
        if guide.state_dict():
            raise ConfigError(
                f"guide {name!r} has parameters of its own, and this model was not made with it; "
                "give build_model the settings of the guide, or make the guide of the model and "
                "give that: model(x, guide=guide)"
            )
        return guide

    def prior(self, j: int, zs: Sequence[Tensor] | Mapping[int, Tensor]) -> LatentDistribution:
        """p(z_j) at the values of the latents that it depends on.

        Args:
            j: the facet.
            zs: latents by facet, each (..., D_i); those of its parents suffice.
        """
        return self.facets[j]([zs[i] for i in self.structure.facets[j].prior_parents])

    def sample_posterior(self, x: Tensor, guide: Guide, seen: Seen | None = None) -> None:
        """The sites z and c of a guide, as a Pyro program.

        Args:
            x: observations, shape (B, *event).
            guide: has what happens at each site.
            seen: what the encoder of each facet sees in their place; None means x.
        """
        features = self.features(x, seen)
        parameters = self._of_heads(features)
        zs: list[Tensor] = []
        posteriors: list[Independent] = []
        with data_plate(x):
            for j in reversed(range(self.n_facets)):
                with self.facet(j):
                    posteriors.insert(0, self._posterior(j, parameters, zs))
                    zs.insert(0, guide.latent(j, posteriors[0]))
            for j in self.structure.clustered:
                with self.facet(j):
                    prior = cast(Mixture, self.prior(j, zs))
                    guide.cluster(j, Inferred(j, prior, zs[j], posteriors[j], features[j]))

    def cluster_logits(self, x: Tensor, zs: Sequence[Tensor]) -> list[Tensor] | None:
        """Log q(c_j | x) up to a constant, of a network that belongs to the model's posterior.

        Args:
            x: observations, shape (B, *event).
            zs: latents of all facets, each (B, D_j).

        Returns:
            J tensors (B, K_j); None where such a network is a guide's own.
        """
        return None

    @property
    def cluster_networks(self) -> list[nn.Module]:
        """The networks behind :meth:`cluster_logits`."""
        return []

    def forward(
        self, x: Tensor, guide: str | Guide = "vade", n_samples: int = 1, seen: Seen | None = None
    ) -> ElboTerms:
        """The whole objective for one batch, as terms under no weights.

        Args:
            x: observations, shape (B, *event).
            guide: a guide or its name.
            n_samples: S, samples of z per observation.
            seen: what the encoder of each facet sees in their place; None means x.
        """
        if isinstance(guide, str):
            guide = self.guide(guide)
        program = guide if seen is None else functools.partial(guide, seen=seen)
        return FacetELBO(n_samples, self.n_facets).terms(self.model, program, x)

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

    def summarise_group(self, batches: Iterable[Tensor]) -> Independent | None:
        """What :meth:`encode` is told of a group of observations, where groups share a latent.

        Args:
            batches: of all observations of the group, each (B, *event).

        Returns:
            the posterior of the shared latent, of batch shape (); None where observations are
            independent.
        """
        return None


def data_plate(x: Tensor) -> pyro.plate:
    """The plate over the observations of a batch, at dim -1."""
    return pyro.plate("data", len(x), dim=-1)


def sample_facet(j: int, p: LatentDistribution) -> Tensor:
    """The sites of a facet: its cluster c_j, to be enumerated, if it has any, and z_j."""
    clusters = p.cluster()
    c = None
    if clusters is not None:
        c = pyro.sample(f"c_{j}", clusters, infer={"enumerate": "parallel"})
    return pyro.sample(f"z_{j}", p.component(c))
