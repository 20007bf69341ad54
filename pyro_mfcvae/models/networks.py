"""The networks of a model: from observations to q(z | x), from latents to p(x | z)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar

import torch
from pyro.distributions import Independent
from torch import Tensor, nn

from pyro_mfcvae.config import Component
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.nets.heads import ClusterHeads, HeadGivenOthers, PosteriorHead, diagonal_normal
from pyro_mfcvae.nets.registry import DECODERS, ENCODERS, LIKELIHOODS, build
from pyro_mfcvae.registry import Registry

Part = str | Component


class FacetNetworks(nn.Module):
    """Encoder, decoder and likelihood of a model, with as many rungs as it has facets.

    Args:
        observation: what one observation looks like.
        facets: the facets' priors, shallow first.
        likelihood: name, or name and options, of p(x | z).
        encoder: likewise of the network below q(z | x).
        decoder: likewise of the network below p(x | z).
        posterior: ``"independent"`` or ``"autoregressive"`` facets in q(z | x).

    Raises:
        ConfigError: if a part is unknown or does not fit.
        DataError: if the likelihood cannot describe the observations.
    """

    encoded_facets: ClassVar[tuple[int, ...] | None] = None
    """Facets that the encoder has a rung for; None means all."""
    decoded_facets: ClassVar[tuple[int, ...] | None] = None
    """Facets that the decoder takes, from 0 on without a gap; None means all."""

    def __init__(
        self,
        observation: ObservationSpec,
        facets: Sequence[nn.Module],
        likelihood: Part,
        encoder: Part,
        decoder: Part,
        posterior: str,
    ) -> None:
        super().__init__()
        self.observation = observation
        self.facets = nn.ModuleList(facets)
        shape, dims = observation.shape, [facet.latent_dim for facet in facets]
        encoded = range(len(dims)) if self.encoded_facets is None else self.encoded_facets
        decoded = range(len(dims)) if self.decoded_facets is None else self.decoded_facets
        self.encoder = build_part(ENCODERS, encoder, shape, len(encoded))
        self.heads = nn.ModuleList(
            PosteriorHead(n, dims[j]) for n, j in zip(self.encoder.n_features, encoded, strict=True)
        )
        self.decoder = build_part(DECODERS, decoder, shape, [dims[j] for j in decoded])
        self.likelihood = build_part(LIKELIHOODS, likelihood)
        self.likelihood.check(observation)
        self.heads_given_others = _heads_given_others(posterior, dims)
        self.cluster_heads: nn.Module | None = None
        self.cluster_encoder: nn.Module | None = None  # None: q(c | x) shares that of q(z | x)
        self._network_dtype: torch.dtype | None = None
        self._seen: tuple[Tensor, Collection[int]] | None = None

    @property
    def n_facets(self) -> int:
        """J."""
        return len(self.facets)

    @property
    def posterior_networks(self) -> list[nn.Module]:
        """The networks below q(z | x)."""
        others = [] if self.heads_given_others is None else [self.heads_given_others]
        return [self.encoder, self.heads, *others]

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


def build_part(table: Registry[type[nn.Module]], part: Part, *args: object) -> nn.Module:
    """A registered network from its name, or its name and options."""
    name, options = (part, {}) if isinstance(part, str) else (part.name, part.options)
    return build(table, name, options, *args)


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
