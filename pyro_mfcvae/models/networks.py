"""The networks of a model: from observations to q(z | x), from latents to p(x | z)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, cast

import torch
from pyro.distributions import Independent, Normal
from torch import Tensor, nn

from pyro_mfcvae.config import Component
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.models.structure import Structure
from pyro_mfcvae.nets.heads import HeadGivenOthers, PosteriorHead
from pyro_mfcvae.nets.likelihoods import LIKELIHOODS, Likelihood
from pyro_mfcvae.nets.registry import DECODERS, ENCODERS, M, build
from pyro_mfcvae.priors.base import Prior
from pyro_mfcvae.registry import Registry

Part = str | Component
Seen = Sequence[Tensor]
"""What the encoder of each facet sees, J tensors (B, *event)."""


class PriorList(nn.ModuleList):
    """Modules each of which is a prior."""

    if TYPE_CHECKING:  # nn.ModuleList's own return any module

        def __getitem__(self, j: int) -> Prior: ...  # type: ignore[override]

        def __iter__(self) -> Iterator[Prior]: ...


class FacetNetworks(nn.Module):
    """Encoder, decoder and likelihood of a model, with as many rungs as it has facets.

    Attributes:
        fade: weights alpha_j of the facets, shape (J,): the schedule sets them in place, and they
            are saved with the model.
        training_dtype: what encoder and decoder compute with in training mode, such as
            ``torch.bfloat16``; densities keep their own. None leaves it to the parameters.

    Args:
        observation: what one observation looks like.
        facets: the facets' priors, shallow first.
        structure: what the model states of them.
        likelihood: name, or name and options, of p(x | z).
        encoder: likewise of the network below q(z | x).
        decoder: likewise of the network below p(x | z).
        posterior: ``"independent"`` or ``"autoregressive"`` facets in q(z | x).

    Raises:
        ConfigError: if a part is unknown or does not fit.
        DataError: if the likelihood cannot describe the observations.
    """

    facets: PriorList
    likelihood: Likelihood
    fade: Tensor

    def __init__(
        self,
        observation: ObservationSpec,
        facets: Sequence[Prior],
        structure: Structure,
        likelihood: Part,
        encoder: Part,
        decoder: Part,
        posterior: str,
    ) -> None:
        super().__init__()
        self.observation = observation
        self.facets = PriorList(facets)
        self.structure = structure
        encoded, decoded = structure.encoded, structure.decoded
        dims = [facet.latent_dim for facet in structure.facets]
        self.likelihood = _likelihood(likelihood, observation)
        self.encoder = build_part(ENCODERS, encoder, self.encoder_shape, len(encoded))
        self.heads = nn.ModuleList(
            PosteriorHead(n, dims[j]) for n, j in zip(self.n_features, encoded, strict=True)
        )
        self.decoder = build_part(
            DECODERS,
            decoder,
            self.likelihood.decoder_shape(observation.shape),
            [dims[j] for j in decoded],
        )
        self.heads_given_others = _heads_given_others(posterior, dims)
        self.register_buffer("fade", torch.ones(len(dims)))
        self.training_dtype: torch.dtype | None = None

    @property
    def encoder_shape(self) -> tuple[int, ...]:
        """Shape of what encoders see of one observation."""
        return self.likelihood.encoder_shape(self.observation.shape)

    @property
    def n_features(self) -> Sequence[int]:
        """F_j, sizes of the encoder's features."""
        return cast(Sequence[int], self.encoder.n_features)

    @property
    def n_facets(self) -> int:
        """J."""
        return len(self.facets)

    @property
    def posterior_networks(self) -> list[nn.Module]:
        """The networks below q(z | x)."""
        others = [] if self.heads_given_others is None else [self.heads_given_others]
        return [self.encoder, self.heads, *others]

    def encode(
        self, x: Tensor, seen: Seen | None = None, group: Independent | None = None
    ) -> list[Independent]:
        """q(z_j | x) of every facet, at the means of those that it depends on.

        Args:
            x: observations, shape (B, *event).
            seen: what the encoder of each facet sees in their place; None means x.
            group: what is known of the group that they belong to, where groups share a latent;
                None takes them for one group.

        Returns:
            J distributions of batch shape (B,) and event shape (D_j,).
        """
        parameters = self._of_heads(self.features(x, seen))
        posteriors: list[Independent] = []
        zs: list[Tensor] = []
        for j in reversed(range(len(parameters))):
            posteriors.insert(0, self._posterior(j, parameters, zs))
            zs.insert(0, posteriors[0].mean)
        return posteriors

    def decode(self, zs: Sequence[Tensor]) -> Independent:
        """p(x | z); its ``mean`` is the picture.

        Args:
            zs: latents of every facet, each (..., D_j).

        Returns:
            a distribution of batch shape (...) and the observations' event shape.
        """
        if len(zs) != self.n_facets:
            raise ValueError(f"expected latents of {self.n_facets} facets, got {len(zs)}")
        zs = [zs[j] for j in self.structure.decoded]
        batch_shape = torch.broadcast_shapes(*(z.shape[:-1] for z in zs))
        rows = [z.expand(*batch_shape, z.shape[-1]).reshape(-1, z.shape[-1]) for z in zs]
        with self._autocast(zs[0]):
            parameters = self.decoder(rows, self.fade)
        parameters = parameters.reshape(batch_shape + parameters.shape[1:])
        return self.likelihood(parameters.to(zs[0].dtype), len(self.observation.shape))

    def features(self, x: Tensor, seen: Seen | None = None) -> list[Tensor]:
        """What the encoder makes of observations: features (B, F_j).

        The ELBO stays a bound on log p(x) whatever the encoder sees (Im et al., "Denoising
        Criterion for Variational Auto-Encoding Framework", AAAI 2017, Eq. 4).

        Args:
            x: observations, shape (B, *event).
            seen: what the encoder of each facet sees in their place, such as warped pictures: J
                tensors of the shape of x; None means x.
        """
        self._check(x)
        if seen is None:
            return self._encode_with(self.encoder, x)
        features = {}
        for each in reversed(seen):
            if id(each) not in features:
                features[id(each)] = self._encode_with(self.encoder, each)
        n_rungs = len(features[id(seen[0])])
        return [features[id(each)][j] for j, each in enumerate(seen[:n_rungs])]

    def _encode_with(self, encoder: nn.Module, x: Tensor) -> list[Tensor]:
        """Features (B, F_j) of observations (B, *event), which an encoder may fade."""
        inputs = self.likelihood.encoder_input(x).to(x.dtype)  # it may standardise with more bits
        with self._autocast(x):
            return encoder(inputs, self.fade)

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

    def _autocast(self, like: Tensor) -> AbstractContextManager:
        if self.training_dtype is None or not self.training:
            return nullcontext()
        return torch.autocast(like.device.type, self.training_dtype)

    def _check(self, x: Tensor) -> None:
        if x.shape[1:] != self.observation.shape:
            raise ValueError(
                f"expected observations of shape (B, {', '.join(map(str, self.observation.shape))})"
                f", got {tuple(x.shape)}"
            )
        if not x.is_floating_point():
            raise TypeError(f"expected floating-point observations, got {x.dtype}")


def build_part(table: Registry[type[M]], part: Part, *args: object) -> M:
    """A registered network from its name, or its name and options."""
    name, options = (part, {}) if isinstance(part, str) else (part.name, part.options)
    return build(table, name, options, *args)


def _likelihood(part: Part, observation: ObservationSpec) -> Likelihood:
    likelihood = build_part(LIKELIHOODS, part)
    if not isinstance(likelihood, Likelihood):
        raise ConfigError(
            f"likelihood {part!r} must be a subclass of nets.likelihoods.Likelihood, got "
            f"{type(likelihood).__mro__[1].__name__}"
        )
    likelihood.check(observation)
    return likelihood


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


def diagonal_normal(parameters: Tensor) -> Independent:
    """q(z | x) = N(mean, diag(exp(log_var))) from (..., 2 D): batch shape (...), event (D,).

    Source: MFCVAE, Eq. 75.
    """
    loc, log_var = parameters.chunk(2, dim=-1)
    normal = Normal(loc, (0.5 * log_var).exp(), validate_args=False)
    return Independent(normal, 1, validate_args=False)
