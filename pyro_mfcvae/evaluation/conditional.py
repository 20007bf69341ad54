"""What a model says whose clusters depend on another latent: its density, and that latent moved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae.evaluation.predictions import Array, as_model_input, decode_means
from pyro_mfcvae.models.base import FacetModel

_PAIRS = 2_000_000  # of observations and samples that are held at a time


def prior_log_density(
    model: FacetModel, x: Tensor, n_samples: int = 10_000, seed: int = 0
) -> NDArray[np.float64]:
    r"""Log p(x), (N,), with latents drawn from the prior, for observations x (N, D) with few D.

    .. math::
        \log p(x) \approx \log \frac1S \sum_s p(x \mid z^{(s)}), \qquad z^{(s)} \sim p(z)

    The average is unbiased; its spread is small where many samples lie within the likelihood's
    scale of x, which pictures are out of reach of.

    Raises:
        ValueError: if observations are no rows of numbers, or there are no samples.
    """
    if x.dim() != 2 or n_samples < 1:
        raise ValueError(
            "expected observations (N, D) and at least one sample, got shape "
            f"{tuple(x.shape)} and {n_samples}"
        )
    generator = torch.Generator().manual_seed(seed)
    x = as_model_input(model, x)
    with model.evaluating():
        of_samples = model.decode(model.sample_prior((n_samples,), generator=generator))
        parts = [
            of_samples.log_prob(rows.unsqueeze(1)).logsumexp(1) - math.log(n_samples)
            for rows in x.split(max(_PAIRS // n_samples, 1))
        ]
    return torch.cat(parts).double().cpu().numpy()


def traverse_condition(
    model: FacetModel,
    clusters: Sequence[int],
    n_dimensions: int = 2,
    offsets: Sequence[float] = (-2.0, -1.0, 0.0, 1.0, 2.0),
) -> tuple[NDArray[np.int64], Array]:
    """Pictures at means of R clusters of facet 0 while facet 1, which they depend on, moves.

    Of facet 1 those dimensions move that change the pictures of these clusters most. The M offsets
    are from its prior's mean, in standard deviations. Source: Dilokthanakul et al., "Deep
    Unsupervised Clustering with Gaussian Mixture Variational Autoencoders", 2016, Figure 5b.

    Returns:
        the dimensions (n,), and pictures (R, n, M, *event).

    Raises:
        ValueError: if clusters depend on nothing, or do not exist, or there is nothing to draw.
    """
    facet = model.structure.facets[0]
    if facet.prior_parents != (1,):
        raise ValueError(
            f"clusters of facet 0 depend on no other latent in {type(model).__name__}; give a "
            "GMVAE, or another model with such clusters"
        )
    if not len(clusters) or not all(0 <= k < facet.n_clusters for k in clusters):
        raise ValueError(f"expected clusters from 0 to {facet.n_clusters - 1}, got {[*clusters]}")
    if n_dimensions < 1 or not len(offsets):
        raise ValueError(
            f"expected at least one dimension and one offset, got {n_dimensions} and {len(offsets)}"
        )
    axes = torch.eye(model.structure.facets[1].latent_dim).to(next(model.parameters()))
    ends = axes.unsqueeze(1) * torch.tensor([-1.0, 1.0]).to(axes).unsqueeze(-1)
    moved = _at_means(model, clusters, ends)  # (R, W, 2, *event)
    effects = ((moved[:, :, 1] - moved[:, :, 0]) ** 2).swapaxes(0, 1).reshape(len(axes), -1).mean(1)
    chosen = np.argsort(-effects, kind="stable")[:n_dimensions]
    steps = torch.tensor([*offsets]).to(axes).unsqueeze(-1)
    return chosen, _at_means(model, clusters, axes[chosen].unsqueeze(1) * steps)


@torch.no_grad()
def _at_means(model: FacetModel, clusters: Sequence[int], w: Tensor) -> Array:
    """Pictures of R clusters at values w (n, M, W) of what they depend on: (R, n, M, *event)."""
    z = model.prior(0, {1: w}).loc[..., list(clusters), :].movedim(-2, 0)
    return decode_means(model, [z, w.expand(len(clusters), *w.shape)])
