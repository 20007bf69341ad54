"""What each layer of a ladder holds: one facet drawn from its prior, the others held still.

All return means of p(x | z) as arrays. Source: Willetts et al., "Disentangling to Cluster:
Gaussian Mixture Variational Ladder Autoencoders", 2019, Figures 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pyro_mfcvae.evaluation.predictions import (
    Array,
    check_draws,
    check_facet,
    decode_means,
    latent_means,
)
from pyro_mfcvae.models.base import FacetModel


def resample_facets(
    model: FacetModel, x: Tensor, n_samples: int, temperature: float = 1.0, seed: int = 0
) -> Array:
    """Observations x (N, *event) redrawn with each facet in turn drawn from its prior, S times.

    The other facets stay at the means of q(z | x). A prior that depends on other latents is taken
    at those. Every component's covariance becomes temperature times Sigma. Source: VLAC, Figure 2.

    Returns:
        pictures (J, N, S, *event): first with facet 0 drawn, then facet 1, and so on.

    Raises:
        ValueError: if there is nothing to draw, or the temperature is negative or not finite.
    """
    check_draws(len(x), n_samples, temperature, "observation")
    generator = torch.Generator().manual_seed(seed)
    own = [z.unsqueeze(1) for z in latent_means(model, x)]
    shape = (len(x), n_samples)
    pictures = []
    for j in range(model.n_facets):
        drawn = model.prior(j, own).sample(shape, None, temperature, generator)
        zs = [drawn if i == j else z.expand(*shape, -1) for i, z in enumerate(own)]
        pictures.append(decode_means(model, zs))
    return np.stack(pictures)


def sample_components(
    model: FacetModel,
    facet: int,
    clusters: Sequence[int],
    n_samples: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> Array:
    """Pictures drawn from R clusters of facet j (from 0), with one draw of the others for all.

    Unlike :func:`~pyro_mfcvae.evaluation.sample_clusters`, which draws the others anew for every
    picture: here what differs is due to this facet alone. Every component's covariance becomes
    temperature times Sigma. Source: VLAC, Figure 3.

    Returns:
        pictures (R, n_samples, *event).

    Raises:
        ValueError: as for :func:`~pyro_mfcvae.evaluation.sample_clusters`.
    """
    check_facet(model, facet)
    check_draws(len(clusters), n_samples, temperature, "cluster")
    generator = torch.Generator().manual_seed(seed)
    others = model.sample_prior((), temperature=temperature, generator=generator)
    shape = (len(clusters), n_samples)
    chosen = torch.tensor(clusters).unsqueeze(-1)
    drawn = model.prior(facet, others).sample(shape, chosen, temperature, generator)
    zs = [drawn if j == facet else z.expand(*shape, -1) for j, z in enumerate(others)]
    return decode_means(model, zs)
