"""Objectives under fade weights, their gradients, and how far two tensors are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from pyro_mfcvae.guides import Guide, build_guide
from pyro_mfcvae.inference.elbo import ElboTerms, Weights, elbo, loss
from pyro_mfcvae.models import FacetModel


def gradients(model: nn.Module, loss: Tensor) -> Tensor:
    """All gradients as one vector; zeros where a parameter has none."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for p, g in zip(parameters, grads, strict=True)
        ]
    )


def relative_error(a: Tensor, b: Tensor) -> float:
    """Largest difference relative to the largest entry of b."""
    return ((a - b).abs().max() / b.abs().max()).item()


@dataclass(frozen=True)
class Weighted:
    """Terms under fade weights, and what they come to."""

    terms: ElboTerms
    weights: Weights

    @property
    def elbo(self) -> Tensor:
        """The weighted ELBO, (B,)."""
        return elbo(self.terms, self.weights)

    @property
    def loss(self) -> Tensor:
        """Minus its mean, ()."""
        return loss(self.terms, self.weights)

    def __getattr__(self, name: str) -> Tensor:
        return getattr(self.terms, name)


def weighted(
    model: FacetModel,
    x: Tensor,
    guide: str | Guide = "vade",
    n_samples: int = 1,
    fade: Tensor | Sequence[float] | None = None,
    **weights: Any,
) -> Weighted:
    """The objective of a model for x (B, *event), whose facets are given fade (J,) first."""
    if fade is not None:
        model.fade.copy_(torch.as_tensor(fade))
    return Weighted(model(x, guide, n_samples), Weights(model.fade.clone(), **weights))


def with_guides(model: FacetModel, *names: str) -> FacetModel:
    """A model that was made with guides; those with networks share one."""
    for name in names:
        model.guides[name] = build_guide(name, model).double()
    guides = [cast(Any, guide) for guide in model.guides.values() if hasattr(guide, "network")]
    for guide in guides:
        guide.network = guides[0].network
    return model
