"""What every model with mixture facets has, and the registry of models."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar, Literal

import pyro
import torch
from pyro.distributions import Independent
from torch import Tensor, nn

from pyro_mfcvae.config import Component, FacetConfig, ModelConfig, parse_facets
from pyro_mfcvae.data.observations import ObservationSpec
from pyro_mfcvae.densities import MixtureDensities
from pyro_mfcvae.elbo import ElboTerms, FacetELBO
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.fade_in import Fade
from pyro_mfcvae.guides import Guide, Inferred, build_guide
from pyro_mfcvae.mixture import MixturePrior
from pyro_mfcvae.models.registry import MODELS, model_class
from pyro_mfcvae.nets.heads import ClusterHeads, HeadGivenOthers, PosteriorHead, diagonal_normal
from pyro_mfcvae.nets.registry import DECODERS, ENCODERS, LIKELIHOODS, build
from pyro_mfcvae.options import check_options

Part = str | Component


def register_model(name: str) -> Callable[[type[FacetModel]], type[FacetModel]]:
    """Class decorator: make a model known as ``name`` to settings and the command line."""

    def register(model: type[FacetModel]) -> type[FacetModel]:
        MODELS[name] = model
        return model

    return register


def build_model(config: ModelConfig, observation: ObservationSpec) -> FacetModel:
    """The model that the settings describe, for observations of this kind.

    Raises:
        ConfigError: if the model or one of its parts is unknown or does not fit.
        DataError: if the likelihood cannot describe the observations.
    """
    model = model_class(config)
    check_options(model, config.options, f"model {config.name!r}", n_given=5)
    return model(
        observation,
        config.facets,
        config.likelihood,
        config.encoder,
        config.decoder,
        **config.options,
    )


class FacetModel(nn.Module, ABC):
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

    encoded_facets: ClassVar[tuple[int, ...] | None] = None
    """Facets that the encoder has a rung for; None means all."""
    decoded_facets: ClassVar[tuple[int, ...] | None] = None
    """Facets that the decoder takes, from 0 on without a gap; None means all."""
    latents_given_clusters: bool = False
    """Whether q(z | x, c) needs the clusters, which are then inferred before the latents."""
    fades_in: bool = True
    """Whether facets can be faded in one after the other; not where they depend on each other."""
    max_combinations: int = 300
    """Passes that encoder and decoder may take, one for each combination of clusters."""
    group_size: int | None = None
    """B, where observations of a batch share a latent; None where they are independent."""

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
        super().__init__()
        if not isinstance(observation, ObservationSpec):
            observation = ObservationSpec(tuple(observation))
        if isinstance(facets, str):
            facets = parse_facets(facets)
        if not facets:
            raise ConfigError("a model needs at least one facet")
        self.observation = observation
        self.facets = nn.ModuleList(self._priors(facets))
        shape, dims = observation.shape, [facet.latent_dim for facet in facets]
        encoded = range(len(dims)) if self.encoded_facets is None else self.encoded_facets
        decoded = range(len(dims)) if self.decoded_facets is None else self.decoded_facets
        self.encoder = build_part(ENCODERS, "encoder", encoder, shape, len(encoded))
        self.heads = nn.ModuleList(
            PosteriorHead(n, dims[j]) for n, j in zip(self.encoder.n_features, encoded, strict=True)
        )
        self.decoder = build_part(DECODERS, "decoder", decoder, shape, [dims[j] for j in decoded])
        self.likelihood = build_part(LIKELIHOODS, "likelihood", likelihood)
        self.likelihood.check(observation)
        self.heads_given_others = _heads_given_others(posterior, dims)
        self.cluster_heads: nn.Module | None = None
        self.cluster_encoder: nn.Module | None = None  # None: q(c | x) shares that of q(z | x)
        self.guides = nn.ModuleDict()
        self._network_dtype: torch.dtype | None = None
        self._seen: tuple[Tensor, Collection[int]] | None = None

    def _priors(self, facets: Sequence[FacetConfig]) -> list[nn.Module]:
        """The facets' priors, shallow first."""
        return [
            MixturePrior(
                facet.n_clusters,
                facet.latent_dim,
                facet.covariance,
                facet.learn_weights,
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
    def n_facets(self) -> int:
        """J."""
        return len(self.facets)

    @property
    def n_combinations(self) -> int:
        """Passes of encoder and decoder with enumerated clusters."""
        if not self.latents_given_clusters:
            return 1
        return math.prod(facet.n_clusters for facet in self.facets)

    @property
    def posterior_networks(self) -> list[nn.Module]:
        """The networks below q(z | x)."""
        others = [] if self.heads_given_others is None else [self.heads_given_others]
        return [self.encoder, self.heads, *others]

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

    def encode(self, x: Tensor, fade: Tensor | None = None) -> list[Independent]:
        """q(z_j | x) of every facet, at the means of those that it depends on.

        Args:
            x: observations, shape (B, *event).
            fade: weights of the facets' rungs, shape (J,), for an encoder that fades them; None
                means ones.

        Returns:
            J distributions of batch shape (B,) and event shape (D_j,).
        """
        parameters, posteriors = self._of_heads(self.features(x, fade)), []
        zs: list[Tensor] = []
        for j in reversed(range(len(parameters))):
            posteriors.insert(0, self._posterior(j, parameters, zs))
            zs.insert(0, posteriors[0].mean)
        return posteriors

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
        with data_plate(x):
            for j in reversed(range(self.n_facets)):
                with fading(j, fade):
                    posteriors.insert(0, self._posterior(j, parameters, zs))
                    zs.insert(0, guide.latent(j, posteriors[0]))
            for j, facet in enumerate(self.facets):
                if facet.n_clusters > 1:
                    with fading(j, fade):
                        inferred = Inferred(
                            self.prior(j, zs),
                            zs[j],
                            posteriors[j],
                            lambda j=j: self.cluster_logits(features, zs)[j],
                        )
                        guide.cluster(j, inferred)

    def need_cluster_network(self) -> None:
        """Make the network q(c | x), if there is none yet; the model then owns and saves it."""
        if self.cluster_heads is None and any(facet.n_clusters > 1 for facet in self.facets):
            parameter = next(self.parameters())
            heads = ClusterHeads(
                self.encoder.n_features, [facet.n_clusters for facet in self.facets]
            )
            self.cluster_heads = heads.to(parameter.device, parameter.dtype)

    def cluster_logits(self, features: Sequence[Tensor], zs: Sequence[Tensor]) -> list[Tensor]:
        """Log q(c_j | x) of the network, up to a constant: J tensors (B, K_j).

        Args:
            features: of the encoder, J tensors (B, F_j).
            zs: samples of the latents, J tensors (..., D_j).
        """
        assert self.cluster_heads is not None
        return self.cluster_heads(features)

    def features(self, x: Tensor, fade: Tensor | None = None) -> list[Tensor]:
        """What the encoder makes of observations (B, *event): features (B, F_j)."""
        self._check(x)
        seen, facets = (x, range(self.n_facets)) if self._seen is None else self._seen
        features = self._encoded(seen, fade)
        if not all(j in facets for j in range(len(features))):
            plain = self._encoded(x, fade)
            features = [h if j in facets else plain[j] for j, h in enumerate(features)]
        return features

    def _encoded(self, x: Tensor, fade: Tensor | None) -> list[Tensor]:
        with self._autocast(x):
            return self.encoder(x, fade)

    def _of_heads(self, features: Sequence[Tensor]) -> list[Tensor]:
        dtype = next(self.heads.parameters()).dtype
        with self._autocast(features[0]):
            parameters = [head(h) for head, h in zip(self.heads, features, strict=True)]
        return [p.to(dtype) for p in parameters]

    def _posterior(
        self, j: int, parameters: Sequence[Tensor], deeper: Sequence[Tensor]
    ) -> Independent:
        """q(z_j | x), or q(z_j | x, z_{j+1}, ...) where the facets depend on each other."""
        if self.heads_given_others is None or not deeper:
            return diagonal_normal(parameters[j])
        return diagonal_normal(parameters[j] + self.heads_given_others[j](deeper))

    def decode(self, zs: Sequence[Tensor], fade: Tensor | None = None) -> Independent:
        """p(x | z); its ``mean`` is the picture.

        Args:
            zs: latents of every facet, each (..., D_j).
            fade: weights of the facets' rungs, shape (J,); None means ones.

        Returns:
            a distribution of batch shape (...) and the observations' event shape.
        """
        if len(zs) != self.n_facets:
            raise ValueError(f"expected latents of {self.n_facets} facets, got {len(zs)}")
        if self.decoded_facets is not None:
            zs = [zs[j] for j in self.decoded_facets]
        with self._autocast(zs[0]):
            parameters = self.decoder(zs, fade)
        return self.likelihood(parameters.to(zs[0].dtype), len(self.observation.shape))

    def forward(
        self,
        x: Tensor,
        fade: Tensor | None = None,
        guide: str | Guide = "vade",
        n_samples: int = 1,
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

    @contextmanager
    def evaluating(self, *, gradients: bool = False) -> Iterator[None]:
        """Evaluation mode; afterwards the mode is what it was.

        Args:
            gradients: whether they can be taken meanwhile.
        """
        was_training = self.training
        self.eval()
        try:
            with torch.set_grad_enabled(gradients):
                yield
        finally:
            self.train(was_training)

    @contextmanager
    def networks_in(self, dtype: torch.dtype | None) -> Iterator[None]:
        """Let encoder and decoder compute with fewer bits meanwhile; densities keep theirs.

        Args:
            dtype: such as ``torch.bfloat16``; None leaves the networks as they are.
        """
        before, self._network_dtype = self._network_dtype, dtype
        try:
            yield
        finally:
            self._network_dtype = before

    @contextmanager
    def seeing(self, seen: Tensor | None, facets: Collection[int]) -> Iterator[None]:
        """Let some facets' encoder see other observations meanwhile, such as warped pictures.

        The ELBO stays a bound on log p(x), for whatever q(z | seen) is (Im et al., "Denoising
        Criterion for Variational Auto-Encoding Framework", AAAI 2017, Eq. 4).

        Args:
            seen: of the shape of those that are encoded; None changes nothing.
            facets: which.
        """
        before, self._seen = self._seen, None if seen is None else (seen, facets)
        try:
            yield
        finally:
            self._seen = before

    def _autocast(self, like: Tensor) -> AbstractContextManager:
        if self._network_dtype is None:
            return nullcontext()
        return torch.autocast(like.device.type, self._network_dtype)

    def _check(self, x: Tensor) -> None:
        if x.shape[1:] != self.observation.shape:
            raise ValueError(
                f"expected observations of shape (B, {', '.join(map(str, self.observation.shape))})"
                f", got {tuple(x.shape)}"
            )
        if not x.is_floating_point():
            raise TypeError(f"expected floating-point observations, got {x.dtype}")


def data_plate(x: Tensor) -> pyro.plate:
    """The plate over the observations of a batch, at dim -1."""
    return pyro.plate("data", len(x), dim=-1)


def cluster_site(j: int, prior: MixtureDensities) -> Tensor:
    """The site c_j ~ p(c), to be enumerated; where there is one cluster only, that, and no site."""
    if prior.n_clusters == 1:
        return torch.zeros((), dtype=torch.long, device=prior.loc.device)
    return pyro.sample(f"c_{j}", prior.cluster(), infer={"enumerate": "parallel"})


def fading(j: int, fade: Tensor | None) -> Fade:
    """Gives the sites inside to facet j, with its weight of fade, (J,); None tags only."""
    return Fade(j, None if fade is None else fade[j])


def _heads_given_others(posterior: str, dims: Sequence[int]) -> nn.ModuleList | None:
    if posterior not in ("independent", "autoregressive"):
        raise ConfigError(f'posterior is "independent" or "autoregressive", got {posterior!r}')
    if posterior == "independent":
        return None
    if len(dims) < 2:
        raise ConfigError(
            "an autoregressive posterior has facets depend on deeper ones, but there is only one; "
            'give more facets, or posterior "independent"'
        )
    return nn.ModuleList(HeadGivenOthers(sum(dims[j + 1 :]), dim) for j, dim in enumerate(dims))


def build_part(
    table: Mapping[str, type[nn.Module]], what: str, part: Part, *args: object
) -> nn.Module:
    """A registered network from its name, or its name and options."""
    name, options = (part, {}) if isinstance(part, str) else (part.name, part.options)
    return build(table, what, name, options, *args)
