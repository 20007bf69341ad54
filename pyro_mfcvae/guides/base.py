"""What every guide has, and the registry of guides."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pyro
import torch
from pyro.distributions import Independent
from torch import Tensor, nn

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.parameters import announce_parameters
from pyro_mfcvae.priors.clusters import ClusterCategorical
from pyro_mfcvae.registry import Registry

if TYPE_CHECKING:
    from pyro_mfcvae.models.base import FacetModel
    from pyro_mfcvae.priors.densities import Mixture

GUIDES: Registry[type[Guide]] = Registry("guide", "one of your own with --guide FILE.py:Name")

register_guide = GUIDES.register
"""Class decorator: make a guide known by name to models and the command line."""


def build_guide(name: str, model: FacetModel) -> Guide:
    """The guide called ``name`` for a model, if :func:`check_guide` lets it pass.

    Raises:
        ConfigError: if its ``__init__`` fails, or it is not what :class:`Guide` says.
    """
    check_guide(name, model)
    try:
        guide = GUIDES[name](model)
    except (ConfigError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of whatever a person's guide may do
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"guide {name!r} cannot be made: its __init__ failed with {told}; it is called with "
            "the model alone, so mend it, or choose another guide"
        ) from error
    if any(module is model for module in guide.modules()):
        raise ConfigError(
            f"guide {name!r} holds the model as a submodule, but the model owns its guides; leave "
            "such an assignment out: Guide.__init__ sets self.model, which is no submodule"
        )
    _check_temperature(name, guide)
    return guide


def temperature_of(guide: nn.Module) -> Tensor | None:
    """The buffer ``temperature`` of a guide, shape (), which training lowers; None without one."""
    return dict(guide.named_buffers(recurse=False)).get("temperature")


def _check_temperature(name: str, guide: Guide) -> None:
    given = getattr(guide, "temperature", None)
    tensor = isinstance(given, Tensor)
    is_buffer = tensor and temperature_of(guide) is given
    if given is None or (is_buffer and given.shape == () and given.is_floating_point()):
        return
    kind = f"buffer of {given.dtype}" if is_buffer else type(given).__name__
    came = f"{kind} of shape {tuple(given.shape)}" if tensor else kind
    raise ConfigError(
        f"guide {name!r} has an attribute temperature, which training sets as guide.temperature "
        f"says: expected a buffer of shape () of floating point, got {came}; register it with "
        'self.register_buffer("temperature", torch.ones(())), or give it another name'
    )


def check_guide(name: str, model: FacetModel | None) -> None:
    """Raise a ConfigError if no guide has this name, or it does not fit the model, if given."""
    guide = GUIDES[name]
    if model is not None and (misfit := guide.misfit(model)):
        raise ConfigError(f"guide {name!r} does not fit this model: {misfit}")


@dataclass(frozen=True, eq=False)
class Inferred:
    """What there is to infer the cluster of a facet from.

    Attributes:
        facet: j.
        prior: its mixture, at the values of the latents that it depends on.
        z: sample of its latent, (B, D) or (S, B, D); None where the latent comes after c.
        posterior: q(z | x), of batch shape (B,) or (S, B); None likewise.
        features: of the encoder, (B, F_j), for a network of the guide; None where the model's
            posterior has a network q(c | x) of its own.
        logits: gives log q(c | x) of that one up to a constant, (B, K) or (S, B, K).
    """

    facet: int
    prior: Mixture
    z: Tensor | None
    posterior: Independent | None
    features: Tensor | None
    logits: Callable[[], Tensor] | None = None


class Guide(nn.Module, ABC):
    """What happens at the sites of q(z, c | x); which sites there are, the model says.

    Subclasses define :meth:`logits`, where clusters are to be inferred, and may define
    :meth:`latent`, :meth:`cluster` and :meth:`misfit`. A guide with a network of its own owns its
    parameters. The name ``temperature`` is kept for a buffer of shape (), which training lowers as
    ``guide.temperature`` says; anything else that a guide calls so is refused.

    Args:
        model: the model whose encoder and facets the guide uses. It is not a submodule of the
            guide: the model owns its guides, not the other way round.
    """

    model: FacetModel

    def __init__(self, model: FacetModel) -> None:
        super().__init__()
        self.__dict__["model"] = model

    def forward(self, x: Tensor, seen: Sequence[Tensor] | None = None) -> None:
        """The Pyro program.

        Args:
            x: observations, shape (B, *event).
            seen: what the encoder of each facet sees in their place, J tensors of the shape of x,
                such as warped pictures; None means x.
        """
        announce_parameters(self.model, "model")
        announce_parameters(self, "guide")
        if seen is None:
            self.model.sample_posterior(x, self)
        else:
            self.model.sample_posterior(x, self, seen)

    @classmethod
    def misfit(cls, model: FacetModel) -> str:
        """Why the guide does not fit a model; empty if it does."""
        if model.structure.infers_clusters_first:
            return (
                "its q(z | x, c) needs the clusters first, which this guide infers from z; choose "
                "amortized or relaxed, or --set model.options.conditional=false"
            )
        return ""

    def latent(self, j: int, posterior: Independent) -> Tensor:
        """The site z_j; posterior is q(z_j | x), of batch shape (B,) or (S, B)."""
        return pyro.sample(f"z_{j}", posterior)

    def cluster(self, j: int, inferred: Inferred) -> Tensor | None:
        """The site c_j and its value, if the guide has one."""
        logits = self.logits(inferred)
        return None if logits is None else enumerated_cluster(j, logits)

    def logits(self, inferred: Inferred) -> Tensor | None:
        """Log q(c | x) up to a constant, (..., B, K); None where the model sums c out."""
        raise ConfigError(
            f"{type(self).__name__} does not enumerate clusters, as it defines no logits; choose "
            "guide vade"
        )


def enumerated_cluster(j: int, logits: Tensor) -> Tensor:
    """The site c_j, enumerated; logits are log q(c_j | x) up to a constant, (..., B, K)."""
    return pyro.sample(
        f"c_{j}",
        ClusterCategorical(logits=logits, validate_args=False),
        infer=cast(Any, {"enumerate": "parallel", "facet": j}),
    )
