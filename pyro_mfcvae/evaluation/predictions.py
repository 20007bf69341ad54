"""A trained model's view of many observations, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae.data.observations import as_float
from pyro_mfcvae.guides import Guide
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.noise import Noise

Array = NDArray[np.floating]

BATCH_SIZE = 500


@dataclass(frozen=True, eq=False)
class Predictions:
    """Per facet, for N observations.

    Attributes:
        responsibilities: J arrays (N, K_j), q(c_j | x) from the mean of q(z_j | x).
        z_mean: J arrays (N, D_j).
    """

    responsibilities: list[Array]
    z_mean: list[Array]

    @property
    def clusters(self) -> list[NDArray[np.int64]]:
        """The most probable cluster of each facet, J arrays (N,)."""
        return [r.argmax(1) for r in self.responsibilities]


def predict(
    model: FacetModel,
    x: Tensor,
    batch_size: int = BATCH_SIZE,
    fade: Sequence[float] | None = None,
) -> Predictions:
    """Clusters and latents of all observations, in evaluation mode.

    Args:
        model: the model, on any device.
        x: observations, uint8 or floating point, (N, *event), on any device.
        batch_size: observations at a time; without influence on the result.
        fade: weights of the facets, for an encoder that fades them; None means ones.
    """
    weights = fade_weights(model, fade)
    responsibilities: list[list[Tensor]] = [[] for _ in model.facets]
    means: list[list[Tensor]] = [[] for _ in model.facets]
    for batch in _batches(model, x, batch_size):
        for j, posterior in enumerate(model.encode(batch, weights)):
            means[j].append(posterior.mean)
            responsibilities[j].append(model.facets[j].responsibilities(posterior.mean))
    return Predictions(
        [torch.cat(parts).cpu().numpy() for parts in responsibilities],
        [torch.cat(parts).cpu().numpy() for parts in means],
    )


def elbo_means(
    model: FacetModel,
    x: Tensor,
    guide: str | Guide = "vade",
    n_samples: int = 1,
    fade: Sequence[float] | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> dict[str, float]:
    """Every term of the ELBO, averaged over all observations (N, *event).

    Args:
        model: the model.
        x: observations.
        guide: a guide or its name.
        n_samples: S.
        fade: weights of the facets; None means ones.
        seed: of the noise.
        batch_size: observations at a time.
    """
    totals: dict[str, float] = {}
    weights = fade_weights(model, fade)
    for step, batch in enumerate(_batches(model, x, batch_size)):
        with Noise(seed, step):
            terms = model(batch, weights, guide, n_samples)
        for name, value in terms.means().items():
            totals[name] = totals.get(name, 0.0) + value.item() * len(batch)
    return {name: total / len(x) for name, total in totals.items()}


def reconstruct(model: FacetModel, x: Tensor, fade: Sequence[float] | None = None) -> Array:
    """Means of p(x | z) at the means of q(z | x): (N, *event) -> (N, *event)."""
    weights = fade_weights(model, fade)
    parts = [
        model.decode([q.mean for q in model.encode(batch, weights)], weights).mean
        for batch in _batches(model, x, BATCH_SIZE)
    ]
    return torch.cat(parts).cpu().numpy()


def sample_clusters(
    model: FacetModel,
    facet: int,
    clusters: Sequence[int],
    n_samples: int,
    temperature: float = 1.0,
    seed: int = 0,
    fade: Sequence[float] | None = None,
) -> Array:
    """Pictures drawn from clusters of one facet, with the other facets from their priors.

    Source: MFCVAE, Section 4.4 and Figure 6.

    Args:
        model: the model.
        facet: j, from 0.
        clusters: clusters of this facet, R of them.
        n_samples: pictures of each.
        temperature: tau; every component's covariance becomes tau * Sigma.
        seed: of the draws.
        fade: weights of the facets' rungs; None means ones.

    Returns:
        means of p(x | z), (R, n_samples, *event).

    Raises:
        ValueError: if the facet does not exist.
    """
    if not 0 <= facet < model.n_facets:
        raise ValueError(f"expected a facet from 0 to {model.n_facets - 1}, got {facet}")
    generator = torch.Generator().manual_seed(seed)
    shape = (len(clusters), n_samples)
    chosen = torch.tensor(clusters).unsqueeze(-1)
    zs = [
        prior.sample(
            shape, c=chosen if j == facet else None, temperature=temperature, generator=generator
        )
        for j, prior in enumerate(model.facets)
    ]
    with model.evaluating():
        return model.decode(zs, fade_weights(model, fade)).mean.cpu().numpy()


def _batches(model: FacetModel, x: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Batches as the model takes them, with the model in evaluation mode in between."""
    with model.evaluating():
        for batch in x.split(batch_size):
            yield as_model_input(model, batch)


def as_model_input(model: FacetModel, x: Tensor) -> Tensor:
    """Observations (B, *event), uint8 or floating point, as the model takes them."""
    parameter = next(model.parameters())
    return as_float(x.to(parameter.device), parameter.dtype)


def fade_weights(model: FacetModel, fade: Sequence[float] | None) -> Tensor | None:
    """Weights of the facets as a tensor (J,) on the model's device; None stays None."""
    return None if fade is None else torch.tensor(fade).to(next(model.parameters()))
