"""p(x | z) from the decoder's output. Each likelihood is the one place that reads it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from typing_extensions import override

from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.registry import Registry


class WorkingValues(NamedTuple):
    """Observations as numbers that suit a linear model, around their mean.

    Attributes:
        values: (N, H), of about one unit of noise each; 0 stands for what is missing.
        offset: (H,) and
        scale: (H,): the decoder's parameters that stand for values v are offset + scale * v.
    """

    values: Tensor
    offset: Tensor
    scale: Tensor


class Likelihood(nn.Module):
    """p(x | z) from the decoder's output, and what it asks of encoder and decoder.

    Attributes:
        takes_missing: whether values may be missing, which is told by NaN.
    """

    takes_missing = False

    @property
    def n_categories(self) -> Mapping[int, int]:
        """{column: number of its classes} of those whose values it takes for classes."""
        return {}

    def check(self, observation: ObservationSpec) -> None:
        """Raise a DataError if it cannot describe such observations."""

    def decoder_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the parameters of one observation, which the decoder gives."""
        return tuple(shape)

    def encoder_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of what the encoder sees of one observation."""
        return tuple(shape)

    def encoder_input(self, x: Tensor) -> Tensor:
        """Observations (B, *shape) -> what the encoder sees of them, (B, *encoder_shape)."""
        return x

    def noise(self, x: Tensor) -> Tensor | None:
        """Learnt standard deviations over those of observations x (N, *event); None if none is."""
        return None

    def working_values(self, x: Tensor) -> WorkingValues | None:
        """Observations (N, *event) for a linear model; None where there is none to begin with."""
        return None

    def begin_with_noise(self, scale: float) -> None:
        """Take a standard deviation of the working values to start from, where one is learnt."""


LIKELIHOODS: Registry[type[Likelihood]] = Registry("likelihood")

register_likelihood = LIKELIHOODS.register
"""Class decorator: make a likelihood known by name.

A likelihood is a :class:`Likelihood` that is built as ``cls(**options)`` and maps the decoder's
parameters to p(x | z); ``check`` refuses data that it cannot describe.
"""


@register_likelihood("bernoulli")
class BernoulliLikelihood(Likelihood):
    r"""x_i ~ Bernoulli(sigmoid(h_i)), independently.

    Values between 0 and 1 are allowed and enter the log-density as they are,
    :math:`x_i \log p_i + (1 - x_i) \log(1 - p_i)`, which is no normalised density for grey
    values; the paper treats MNIST so (MFCVAE, Appendix D.4), and so does its code.
    """

    def forward(self, h: Tensor, event_dim: int) -> dist.Independent:
        """Logits (..., *shape) -> p(x | z), with event_dim dimensions in one observation."""
        return dist.Independent(
            dist.Bernoulli(logits=h, validate_args=False), event_dim, validate_args=False
        )

    @override
    def check(self, observation: ObservationSpec) -> None:
        """Raise a DataError for values outside [0, 1]."""
        if observation.low < 0 or observation.high > 1:
            raise DataError(
                "the Bernoulli likelihood needs values in [0, 1], got "
                f"[{observation.low:g}, {observation.high:g}]; rescale the data or choose "
                "likelihood gaussian"
            )


@register_likelihood("gaussian")
class GaussianLikelihood(Likelihood):
    """x_i ~ N(activation(h_i), scale²), independently.

    Args:
        scale: standard deviation, in the unit of the data.
        learn_scale: learn one standard deviation for all values, from ``scale`` on.
        output_activation: ``"sigmoid"`` keeps the mean in [0, 1]; None leaves it free.
    """

    scale: Tensor

    def __init__(
        self,
        scale: float = 0.6,
        learn_scale: bool = False,
        output_activation: Literal["sigmoid"] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
            raise ConfigError(f"the likelihood's scale must be above 0, got {scale}")
        if output_activation not in (None, "sigmoid"):
            raise ConfigError(f'output_activation is "sigmoid" or none, got {output_activation!r}')
        self.output_activation = output_activation
        self.fixed_scale = None if learn_scale else float(scale)
        if learn_scale:
            self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        else:
            self.register_buffer("scale", torch.tensor(float(scale)), persistent=False)

    def forward(self, h: Tensor, event_dim: int) -> dist.Independent:
        """Means (..., *shape) -> p(x | z), with event_dim dimensions in one observation."""
        loc = h.sigmoid() if self.output_activation == "sigmoid" else h
        scale = self.log_scale.exp() if self.fixed_scale is None else self.scale
        normal = dist.Normal(loc, scale, validate_args=False)
        return dist.Independent(normal, event_dim, validate_args=False)

    @override
    def noise(self, x: Tensor) -> Tensor | None:
        if self.fixed_scale is not None:
            return None
        return self.log_scale.exp() / x.var(0, correction=0).mean().sqrt()

    @override
    def working_values(self, x: Tensor) -> WorkingValues | None:
        if self.output_activation:
            return None
        values = x.flatten(1)
        return WorkingValues(values, torch.zeros_like(values[0]), torch.ones_like(values[0]))

    @override
    @torch.no_grad()
    def begin_with_noise(self, scale: float) -> None:
        if self.fixed_scale is None:
            self.log_scale.fill_(math.log(scale))

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        if self.fixed_scale is not None:  # a float32 number would stay off in float64
            self.scale = torch.full_like(self.scale, self.fixed_scale)
        return self

    @override
    def check(self, observation: ObservationSpec) -> None:
        """Raise a DataError where a sigmoid mean cannot reach the data."""
        if self.output_activation == "sigmoid" and (observation.low < 0 or observation.high > 1):
            raise DataError(
                "output_activation sigmoid needs values in [0, 1], got "
                f"[{observation.low:g}, {observation.high:g}]; rescale the data or leave it out"
            )
