r"""Facets that begin as subspaces of the data, each with clusters of its own.

Looked for is an orthonormal basis :math:`V = [V_0, ..., V_J]`, of which the facets get the first J
parts and noise the last one, with which clusters in each subspace are as narrow as can be:

.. math::
    \min_{V, c, \mu} \sum_j \sum_n \big\| V_j^\top (x_n - \mu_{j, c_j(n)}) \big\|^2

Steps of k-means in each subspace take turns with rotations of each pair of them, which are
eigenvectors of the difference of their scatters within clusters.

Source: Mautz et al., "Discovering Non-Redundant K-means Clusterings in Optimal Subspaces", KDD
2018, here for subspaces of given sizes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae.data.observations import Observations, as_float
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.nets.dense import SharedDecoder, SharedEncoder
from pyro_mfcvae.nets.heads import PosteriorHead
from pyro_mfcvae.nets.likelihoods import GaussianLikelihood

Array = NDArray[np.float64]

MOST_SEARCHED = 2000
"""Observations that subspaces are looked for with."""

_N_COMPONENTS = 20  # principal ones, in which subspaces lie
_N_SEARCHES = 60
_N_TURNS = 40
_LEAST_GAIN = 1e-5  # of a turn, over the cost
_LEAST_NOISE = 1e-3  # over the standard deviation of x


class Subspaces(NamedTuple):
    """What was found.

    Attributes:
        basis: orthonormal columns (M, D_0 + ... + D_{J-1}), facet by facet.
        cost: mean squared distance from the clusters' means, over all dimensions.
    """

    basis: Array
    cost: float


def find_subspaces(
    z: Array, n_clusters: Sequence[int], latent_dims: Sequence[int], seed: int, n_searches: int = 1
) -> Subspaces:
    """Subspaces whose clusters are as narrow as can be: the best of several searches.

    Args:
        z: points (N, M).
        n_clusters: K_j of each facet.
        latent_dims: D_j, at most M in all.
        seed: of the rotations and clusters that searches begin with.
        n_searches: how many.
    """
    from sklearn import config_context

    z = z - z.mean(0)
    ends = np.cumsum([0, *latent_dims, z.shape[1] - sum(latent_dims)])
    parts = [slice(start, stop) for start, stop in pairwise(ends)]
    generator = np.random.default_rng(seed)
    found = (_search(z, [*n_clusters, 1], parts, generator) for _ in range(n_searches))
    # Of few rows, the checks of k-means take a quarter of the time.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        best = min(found, key=lambda subspaces: subspaces.cost)
    return Subspaces(best.basis[:, : ends[-2]], best.cost)


def start_in_subspaces(model: FacetModel, x: Observations, seed: int) -> None:
    """Begin with linear maps to and from subspaces of x, and with trunks that add nothing.

    Of a facet's latents each has mean 0 and variance 1 over x, and q(z | x) the variance that the
    noise leaves. The noise, from which a learnt scale begins, too, is what x is away from the means
    of its clusters in all subspaces. The mixtures are placed later.

    Args:
        model: with encoder and decoder ``shared``, both ``linear``.
        x: observations (N, *event).
        seed: of the search.

    Raises:
        ConfigError: if the model has other networks, priors or likelihoods, or more latents than
            there are values or observations.
    """
    from sklearn.decomposition import PCA

    parameter = next(model.parameters())
    values = as_float(x[:], torch.float64).flatten(1).cpu().numpy()
    facets = model.structure.facets
    latent_dims = [facet.latent_dim for facet in facets]
    _check(model, min(len(values) - 1, values.shape[1]))
    most = min(max(_N_COMPONENTS, sum(latent_dims)), len(values) - 1, values.shape[1])
    components = PCA(most, random_state=0).fit(values).components_
    mean = values.mean(0)
    n_clusters = [facet.n_clusters for facet in facets]
    points = (values - mean) @ components.T
    found = find_subspaces(points, n_clusters, latent_dims, seed, _N_SEARCHES)
    basis = components.T @ found.basis
    code = (values - mean) @ basis
    spread = np.maximum(code.std(0), _LEAST_NOISE * values.std())
    left = float(np.square(values - mean).sum() - np.square(points).sum()) / len(values)
    noise = math.sqrt(max(found.cost + left, 0.0) / values.shape[1])
    noise = max(noise, _LEAST_NOISE * float(values.std()))
    model.likelihood.begin_with_noise(noise)

    def tensor(array: Array) -> Tensor:
        return torch.tensor(array, dtype=parameter.dtype, device=parameter.device)

    n_values = values.shape[1]
    ends = np.cumsum([0, *latent_dims])
    with torch.no_grad():
        for part, (start, stop) in zip(model.heads, pairwise(ends), strict=True):
            head, dim = cast(PosteriorHead, part), stop - start
            own = basis[:, start:stop] / spread[start:stop]
            head.weight.zero_()
            head.weight[:dim, -n_values:] = tensor(own.T)
            head.bias[:dim] = tensor(-mean @ own)
            head.bias[dim:] = tensor(2 * np.log(noise / spread[start:stop]))
        decoder = cast(SharedDecoder, model.decoder)
        assert decoder.linear is not None
        decoder.linear.weight.copy_(tensor(basis * spread))
        decoder.output.weight.zero_()
        decoder.output.bias.copy_(tensor(mean))


def _check(model: FacetModel, most: int) -> None:
    """Raise a ConfigError if a model cannot begin in subspaces of so many dimensions in all."""
    networks = (model.encoder, SharedEncoder), (model.decoder, SharedDecoder)
    if not all(isinstance(part, kind) and part.linear for part, kind in networks):
        raise ConfigError(
            "model.initialisation=subspaces needs encoder and decoder shared, both with the option "
            "linear=true; choose them, or another initialisation"
        )
    likelihood, facets = model.likelihood, model.structure.facets
    if not isinstance(likelihood, GaussianLikelihood) or likelihood.output_activation:
        raise ConfigError(
            "model.initialisation=subspaces needs the likelihood gaussian without "
            "output_activation: the mean of p(x | z) begins as a linear map; choose another one"
        )
    if not all(f.is_encoded and f.is_decoded and not f.is_shared for f in facets):
        raise ConfigError(
            "model.initialisation=subspaces needs facets that are all latents of one observation; "
            "choose another initialisation"
        )
    n_latents = sum(facet.latent_dim for facet in facets)
    if n_latents > most:
        raise ConfigError(
            f"model.initialisation=subspaces needs as many values and observations as there are "
            f"latents in all facets ({n_latents}), got {most}; give fewer with --facets D:K,D:K"
        )


def _search(
    z: Array, n_clusters: Sequence[int], parts: Sequence[slice], generator: np.random.Generator
) -> Subspaces:
    dims = np.arange(z.shape[1])
    basis = np.linalg.qr(generator.normal(size=(len(dims), len(dims))))[0]
    means: list[Array | None] = [None] * len(parts)
    last = math.inf
    for _ in range(_N_TURNS):
        scatters, cost = [], 0.0
        for j, (k, part) in enumerate(zip(n_clusters, parts, strict=True)):
            own, before = basis[:, part], means[j]
            labels = _clusters(z @ own, k, None if before is None else before @ own, generator)
            means[j] = centers = _means(z, labels, k, generator)
            off = z - centers[labels]
            scatters.append(off.T @ off)
            cost += float(np.square(off @ own).sum()) / len(z)
        if last - cost <= _LEAST_GAIN * cost:
            break
        last = cost
        pairs = [*combinations(range(len(parts)), 2)]
        for i, j in (pairs[n] for n in generator.permutation(len(pairs))):
            both = np.concatenate([dims[parts[i]], dims[parts[j]]])
            plane = basis[:, both]
            _, turn = np.linalg.eigh(plane.T @ (scatters[i] - scatters[j]) @ plane)
            basis[:, both] = plane @ turn
    return Subspaces(basis, cost)


def _clusters(
    z: Array, n_clusters: int, start: Array | None, generator: np.random.Generator
) -> NDArray[np.int64]:
    """A few steps of k-means: z (N, D) -> labels (N,)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if n_clusters == 1:
        return np.zeros(len(z), dtype=np.int64)
    seed = int(generator.integers(2**31))
    init, n_steps = ("k-means++", 5) if start is None else (start, 3)
    found = KMeans(n_clusters, init=init, n_init=1, max_iter=n_steps, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # rows may be equal
        return found.fit_predict(z)


def _means(
    z: Array, labels: NDArray[np.int64], n_clusters: int, generator: np.random.Generator
) -> Array:
    """Means (K, M) of the clusters of z (N, M); an empty one gets a point in their place."""
    counts = np.bincount(labels, minlength=n_clusters)
    means = np.eye(n_clusters)[labels].T @ z / np.maximum(counts, 1)[:, None]
    empty = np.flatnonzero(counts == 0)
    means[empty] = z[generator.integers(len(z), size=len(empty))]
    return means
