"""What every model with mixture facets has, and the registry of models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pyro
import torch
from pyro.distributions import Independent
from torch import Tensor, nn

from pyro_mfcvae.config import Component, FacetConfig, ModelConfig, parse_facets
from pyro_mfcvae.data.observations import ObservationSpec
from pyro_mfcvae.elbo import ElboTerms, FacetELBO
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import Guide, build_guide
from pyro_mfcvae.mixture import MixturePrior
from pyro_mfcvae.nets.heads import PosteriorHead, diagonal_normal
from pyro_mfcvae.nets.registry import DECODERS, ENCODERS, LIKELIHOODS, build

MODELS: dict[str, type[FacetModel]] = {}

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
    if config.name not in MODELS:
        raise ConfigError(
            f"unknown model {config.name!r}; choose one of {', '.join(sorted(MODELS))}"
        )
    return MODELS[config.name](
        observation, config.facets, config.likelihood, config.encoder, config.decoder
    )


class FacetModel(nn.Module, ABC):
    """A variational auto-encoder whose latents are facets with mixture priors.

    A model is two Pyro programs, :meth:`model` and a guide, and the networks between them.
    Its parameters are ordinary ``torch.nn`` parameters. A subclass tells the generative story.

    Args:
        observation: what one observation looks like, or just its shape.
        facets: the facets' priors, shallow first, or ``"D:K,D:K"``.
        likelihood: name, or name and options, of p(x | z).
        encoder: likewise of the network below q(z | x).
        decoder: likewise of the network below p(x | z).

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
    ) -> None:
        super().__init__()
        if not isinstance(observation, ObservationSpec):
            observation = ObservationSpec(tuple(observation))
        if isinstance(facets, str):
            facets = parse_facets(facets)
        if not facets:
            raise ConfigError("a model needs at least one facet")
        self.observation = observation
        self.facets = nn.ModuleList(
            MixturePrior(
                facet.n_clusters,
                facet.latent_dim,
                facet.covariance,
                facet.learn_weights,
                facet.initial_variance,
                facet.softplus_beta,
            )
            for facet in facets
        )
        shape, dims = observation.shape, [facet.latent_dim for facet in facets]
        self.encoder = _build(ENCODERS, "encoder", encoder, shape, len(dims))
        self.heads = nn.ModuleList(
            PosteriorHead(n, dim) for n, dim in zip(self.encoder.n_features, dims, strict=True)
        )
        self.decoder = _build(DECODERS, "decoder", decoder, shape, dims)
        self.likelihood = _build(LIKELIHOODS, "likelihood", likelihood)
        self.likelihood.check(observation)
        self.guides = nn.ModuleDict()
        self._network_dtype: torch.dtype | None = None
        self._seen: tuple[Tensor, Collection[int]] | None = None

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

    def guide(self, name: str = "vade") -> Guide:
        """The guide called name; made at its first use, then owned and saved by the model."""
        if name not in self.guides:
            guide = build_guide(name, self)
            parameter = next(self.parameters())
            self.guides[name] = guide.to(parameter.device, parameter.dtype)
        return self.guides[name]

    def encode(self, x: Tensor, fade: Tensor | None = None) -> list[Independent]:
        """q(z_j | x) of every facet.

        Args:
            x: observations, shape (B, *event).
            fade: weights of the facets' rungs, shape (J,), for an encoder that fades them; None
                means ones.

        Returns:
            J distributions of batch shape (B,) and event shape (D_j,).
        """
        self._check(x)
        seen, facets = (x, range(self.n_facets)) if self._seen is None else self._seen
        parameters = self._posterior_parameters(seen, fade)
        if not all(j in facets for j in range(self.n_facets)):
            plain = self._posterior_parameters(x, fade)
            parameters = [p if j in facets else plain[j] for j, p in enumerate(parameters)]
        return [diagonal_normal(p) for p in parameters]

    def _posterior_parameters(self, x: Tensor, fade: Tensor | None) -> list[Tensor]:
        with self._autocast(x):
            features = self.encoder(x, fade)
            parameters = [head(h) for head, h in zip(self.heads, features, strict=True)]
        return [p.to(x.dtype) for p in parameters]

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
        result = []
        for facet, posterior in zip(self.facets, self.encode(x), strict=True):
            if n_samples is None:
                result.append(facet.responsibilities(posterior.mean))
            else:
                z = posterior.sample((n_samples,))
                result.append(facet.log_responsibilities(z).mean(0).softmax(-1))
        return result

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


def _build(table: Mapping[str, type[nn.Module]], what: str, part: Part, *args: object) -> nn.Module:
    name, options = (part, {}) if isinstance(part, str) else (part.name, part.options)
    return build(table, what, name, options, *args)
