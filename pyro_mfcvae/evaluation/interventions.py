"""Changing one facet and leaving the others: swaps, traversals, interpolation, cluster means.

All return means of p(x | z) as arrays, for any number of facets. Where a facet that changes is not
decoded, what depends on it follows: each observation keeps its cluster, and the decoded latents
stand at the mean of that cluster given the changed facet. Where observations of a group share a
latent, those that come in one tensor are one group, but for donors, each of which is one.

Source: MFCVAE, Section 4.4 and Appendix E (Figures 5, 6, 13 to 24); for a facet that others depend
on, Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
Autoencoders", 2016, Figure 5.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae.evaluation.predictions import (
    Array,
    check_facet,
    decode_means,
    latent_means,
    predict,
)
from pyro_mfcvae.models.base import FacetModel


def swap_facets(model: FacetModel, x: Tensor, donors: Tensor, facet: int) -> Array:
    """Observations x (N, *event) redrawn with facet j (from 0) of each of some donors (M, *event).

    All other facets stay those of x. Source: MFCVAE, Figure 5.

    Returns:
        pictures (N, M, *event).

    Raises:
        ValueError: if the facet does not exist.
    """
    check_facet(model, facet)
    own, given = latent_means(model, x), _latents_of_each(model, donors)
    n, m = len(x), len(donors)
    zs = [
        (given[j].expand(n, m, -1) if j == facet else own[j].unsqueeze(1).expand(n, m, -1))
        for j in range(model.n_facets)
    ]
    return _decode(model, zs, [facet], x)


def swap_pairs(model: FacetModel, first: Tensor, second: Tensor, facet: int) -> Array:
    """Pairs of observations (N, *event) and (N, *event) redrawn after exchanging facet j (from 0).

    Source: MFCVAE, Section 4.2, Appendix E.4 and Figure 17.

    Returns:
        pictures (N, 2, *event): the first with the second's facet, the second with the first's.

    Raises:
        ValueError: if the facet does not exist, or there are not as many of one as of the other.
    """
    check_facet(model, facet)
    if first.shape != second.shape:
        raise ValueError(
            "expected as many first as second observations, got shapes "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    both = [_latents_of_each(model, x) for x in (first, second)]
    pairs = [torch.stack(pair, 1) for pair in zip(*both, strict=True)]
    zs = [z.flip(1) if j == facet else z for j, z in enumerate(pairs)]
    return _decode(model, zs, [facet], torch.stack([first, second], 1).flatten(0, 1))


def traverse(
    model: FacetModel,
    x: Tensor,
    facet: int,
    dimension: int,
    offsets: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
) -> Array:
    """Observations x (N, *event) redrawn with one dimension (from 0) of facet j (from 0) moved.

    The M offsets are steps away from the mean of q(z_j | x), in standard deviations of z_j under
    its prior.

    Returns:
        pictures (N, M, *event).

    Raises:
        ValueError: if the facet or the dimension does not exist.
    """
    check_facet(model, facet)
    prior = model.facets[facet]
    if not 0 <= dimension < prior.latent_dim:
        raise ValueError(
            f"expected a dimension of facet {facet} from 0 to {prior.latent_dim - 1}, got "
            f"{dimension}"
        )
    with torch.no_grad():
        deviation = prior.at_origin().variance.sqrt()[dimension]
        zs = [z.unsqueeze(1).repeat(1, len(offsets), 1) for z in latent_means(model, x)]
        zs[facet][..., dimension] += deviation * torch.tensor(offsets).to(deviation)
    return _decode(model, zs, [facet], x)


def traverse_dimensions(
    model: FacetModel,
    x: Tensor,
    facet: int,
    n_dimensions: int | None = None,
    offsets: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
) -> tuple[list[int], Array]:
    """Each dimension of facet j moved as by :func:`traverse`, those that change most first.

    Returns:
        R dimensions (at most n_dimensions; None takes all) by the variance over the steps, averaged
        over pixels and observations, falling; and pictures (R, N, M, *event).

    Raises:
        ValueError: if the facet does not exist.
    """
    check_facet(model, facet)
    dimensions = range(model.facets[facet].latent_dim)
    pictures = np.stack([traverse(model, x, facet, d, offsets) for d in dimensions])
    change = pictures.var(axis=2).reshape(len(pictures), -1).mean(1)
    order = np.argsort(-change, kind="stable")[:n_dimensions]
    return order.tolist(), pictures[order]


def interpolate(
    model: FacetModel,
    start: Tensor,
    end: Tensor,
    n_steps: int = 8,
    facets: Sequence[int] | None = None,
) -> Array:
    """Straight lines between the latents of pairs of observations, (N, *event) and (N, *event).

    The given facets move, or all for None; the others stay those of ``start``.

    Returns:
        pictures (N, n_steps, *event), start and end included.

    Raises:
        ValueError: if a facet does not exist, start and end differ in shape, or there are fewer
            than two steps.
    """
    if n_steps < 2 or start.shape != end.shape:
        raise ValueError(
            "expected at least 2 steps between as many starts as ends, got "
            f"{n_steps} between {tuple(start.shape)} and {tuple(end.shape)}"
        )
    moving = range(model.n_facets) if facets is None else facets
    for facet in moving:
        check_facet(model, facet)
    first, last = latent_means(model, start), latent_means(model, end)
    shares = torch.linspace(0, 1, n_steps).to(first[0]).unsqueeze(-1)
    zs = [
        a.unsqueeze(1) + (shares if j in moving else 0 * shares) * (b - a).unsqueeze(1)
        for j, (a, b) in enumerate(zip(first, last, strict=True))
    ]
    return _decode(model, zs, moving, start)


def cluster_means(
    model: FacetModel, facets: Sequence[int], clusters: Sequence[Sequence[int]]
) -> Array:
    """Pictures at the means of clusters of one facet, of pairs of facets, and so on.

    Facets that are not named stand at the mean of their prior.

    Args:
        model: the model.
        facets: R of them.
        clusters: of each of these facets, n_1, ..., n_R of them.

    Returns:
        pictures (n_1, ..., n_R, *event), one for each combination.

    Raises:
        ValueError: if a facet or cluster does not exist, or a facet is named twice.
    """
    if len(set(facets)) != len(facets) or len(facets) != len(clusters) or not facets:
        raise ValueError(
            f"expected different facets and clusters of each, got facets {list(facets)} and "
            f"clusters of {len(clusters)}"
        )
    for facet, chosen in zip(facets, clusters, strict=True):
        check_facet(model, facet)
        n_clusters = model.facets[facet].n_clusters
        if not all(0 <= k < n_clusters for k in chosen) or not len(chosen):
            raise ValueError(
                f"expected clusters of facet {facet} from 0 to {n_clusters - 1}, got {list(chosen)}"
            )
    combinations = torch.tensor(list(product(*clusters)))
    zs = []
    with torch.no_grad():
        for j, prior in enumerate(model.facets):
            p = prior.at_origin()
            if j in facets:
                zs.append(p.loc[combinations[:, list(facets).index(j)]])
            else:
                zs.append(p.mean.expand(len(combinations), -1))
    pictures = decode_means(model, zs)
    return pictures.reshape(*map(len, clusters), *pictures.shape[1:])


def _decode(model: FacetModel, zs: Sequence[Tensor], changed: Collection[int], x: Tensor) -> Array:
    """Pictures at latents (N, M, D_j) in which some facets were changed.

    Everything else is of observations x, (N, *event) or (N * M, *event).
    """
    decoded = model.structure.decoded
    if not set(changed) & set(decoded):
        clusters = predict(model, x).clusters
        with torch.no_grad():
            zs = [_mean(model, j, zs, clusters[j]) if j in decoded else z for j, z in enumerate(zs)]
    return decode_means(model, zs)


def _mean(model: FacetModel, j: int, zs: Sequence[Tensor], clusters: NDArray[np.int64]) -> Tensor:
    """Means (N, M, D_j) of clusters (N,) or (N * M,) of facet j, at what it depends on."""
    c = torch.from_numpy(clusters).to(zs[j].device).reshape(len(zs[j]), -1)
    return model.prior(j, zs).transform(torch.zeros_like(zs[j]), c)


def _latents_of_each(model: FacetModel, x: Tensor) -> list[Tensor]:
    """Means of q(z_j | x), J tensors (N, D_j), of observations each of which is a group."""
    if model.structure.group_size is None:
        return latent_means(model, x)
    parts = [latent_means(model, one) for one in x.split(1)]
    return [torch.cat(facet) for facet in zip(*parts, strict=True)]
