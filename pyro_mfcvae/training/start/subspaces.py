r"""Facets that begin as subspaces of the data, each with clusters of its own.

Looked for is an orthonormal basis :math:`V = [V_0, ..., V_J]`, of which the facets get the first J
parts and noise the last one, with which clusters in each subspace are as narrow as can be:

.. math::
    \min_{V, c, \mu} \sum_j \sum_n \big\| V_j^\top (x_n - \mu_{j, c_j(n)}) \big\|^2

Steps of k-means in each subspace take turns with rotations of each pair of them, which are
eigenvectors of the difference of their scatters within clusters. Facets without clusters get the
principal components of what is then left to noise.

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
from pyro_mfcvae.models.structure import FacetStructure
from pyro_mfcvae.nets.dense import SharedDecoder, SharedEncoder
from pyro_mfcvae.nets.heads import PosteriorHead

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
        cost: mean squared distance from the clusters' means, over all dimensions but those of
            facets without clusters.
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
    sizes = [*zip(n_clusters, latent_dims, strict=True)]
    dims = [dim for k, dim in sizes if k > 1]
    ends = np.cumsum([0, *dims, z.shape[1] - sum(dims)])
    parts = [slice(start, stop) for start, stop in pairwise(ends)]
    some = [*(k for k in n_clusters if k > 1), 1]
    generator = np.random.default_rng(seed)
    found = (_search(z, some, parts, generator) for _ in range(n_searches))
    # Of few rows, the checks of k-means take a quarter of the time.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        best = min(found, key=lambda subspaces: subspaces.cost)
    *clustered, noise = (best.basis[:, part] for part in parts)
    components, variances = _principal_components(z, noise)
    rest = np.cumsum([dim for k, dim in sizes if k == 1])
    own, others = iter(clustered), iter(np.split(components, rest, 1))
    basis = np.concatenate([next(own if k > 1 else others) for k in n_clusters], 1)
    return Subspaces(basis, best.cost - float(variances[: sum(latent_dims) - sum(dims)].sum()))


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
    _check_networks(model)
    rows = as_float(x[:].to(next(model.parameters()).device), torch.float64)
    working = model.likelihood.working_values(rows)
    if working is None:
        raise ConfigError(
            "model.initialisation=subspaces needs a likelihood whose parameters can begin as a "
            "linear map of the latents, such as gaussian without output_activation, or columns; "
            "choose another likelihood or initialisation"
        )
    values = _array(working.values)
    found = _search_many(values, model.structure.facets, seed)
    mean = values.mean(0)
    code = (values - mean) @ found.basis
    least = _LEAST_NOISE * float(values.std())
    spread = np.maximum(code.std(0), least)
    noise = max(math.sqrt(max(found.cost, 0.0) / values.shape[1]), least)
    model.likelihood.begin_with_noise(noise)
    inputs = _array(model.likelihood.encoder_input(rows).flatten(1))
    _begin_encoder(model, _linear_map(inputs, code / spread), noise / spread)
    offset, scale = _array(working.offset), _array(working.scale)
    with torch.no_grad():
        decoder = cast(SharedDecoder, model.decoder)
        assert decoder.linear is not None
        decoder.linear.weight.copy_(torch.from_numpy(scale[:, None] * found.basis * spread))
        decoder.output.weight.zero_()
        decoder.output.bias.copy_(torch.from_numpy(offset + scale * mean))


def _search_many(values: Array, facets: Sequence[FacetStructure], seed: int) -> Subspaces:
    """Subspaces of values (N, H) among their principal components; the cost is of all H."""
    from sklearn.decomposition import PCA

    latent_dims = [facet.latent_dim for facet in facets]
    most = min(len(values) - 1, values.shape[1])
    if sum(latent_dims) > most:
        raise ConfigError(
            f"model.initialisation=subspaces needs as many values and observations as there are "
            f"latents in all facets ({sum(latent_dims)}), got {most}; give fewer with "
            "--facets D:K,D:K"
        )
    n_components = min(max(_N_COMPONENTS, sum(latent_dims)), most)
    components = PCA(n_components, random_state=0).fit(values).components_
    values = values - values.mean(0)
    points = values @ components.T
    n_clusters = [facet.n_clusters for facet in facets]
    found = find_subspaces(points, n_clusters, latent_dims, seed, _N_SEARCHES)
    left = float(np.square(values).sum() - np.square(points).sum()) / len(values)
    return Subspaces(components.T @ found.basis, found.cost + left)


def _array(values: Tensor) -> Array:
    return values.detach().double().cpu().numpy()


def _linear_map(inputs: Array, targets: Array) -> tuple[Array, Array]:
    """Weights (M, D) and bias (D,) of the least map, in squares, from (N, M) to (N, D)."""
    mean = inputs.mean(0)
    weight = np.linalg.lstsq(inputs - mean, targets - targets.mean(0), rcond=None)[0]
    return weight, targets.mean(0) - mean @ weight


@torch.no_grad()
def _begin_encoder(model: FacetModel, linear: tuple[Array, Array], noise: Array) -> None:
    """Means of q(z | x) by a linear map of the encoder's input, standard deviations (D,)."""
    weight, bias = (torch.from_numpy(part) for part in linear)
    log_variance = torch.from_numpy(2 * np.log(noise))
    start = 0
    for part, facet in zip(model.heads, model.structure.facets, strict=True):
        head, dim = cast(PosteriorHead, part), facet.latent_dim
        own = slice(start, start + dim)
        head.weight.zero_()
        head.weight[:dim, -len(weight) :] = weight[:, own].T.to(head.weight)
        head.bias[:dim], head.bias[dim:] = bias[own].to(head.bias), log_variance[own].to(head.bias)
        start += dim


def _check_networks(model: FacetModel) -> None:
    """Raise a ConfigError if a model has other networks or facets."""
    networks = (model.encoder, SharedEncoder), (model.decoder, SharedDecoder)
    if not all(isinstance(part, kind) and part.linear for part, kind in networks):
        raise ConfigError(
            "model.initialisation=subspaces needs encoder and decoder shared, both with the option "
            "linear=true; choose them, or another initialisation"
        )
    facets = model.structure.facets
    if not all(f.is_encoded and f.is_decoded and not f.is_shared for f in facets):
        raise ConfigError(
            "model.initialisation=subspaces needs facets that are all latents of one observation; "
            "choose another initialisation"
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


def _principal_components(z: Array, basis: Array) -> tuple[Array, Array]:
    """Those of z (N, M) in the space of a basis (M, D): columns (M, D) and variances (D,)."""
    within = z @ basis
    variances, turn = np.linalg.eigh(within.T @ within / len(z))
    return basis @ turn[:, ::-1], variances[::-1]


def _means(
    z: Array, labels: NDArray[np.int64], n_clusters: int, generator: np.random.Generator
) -> Array:
    """Means (K, M) of the clusters of z (N, M); an empty one gets a point in their place."""
    counts = np.bincount(labels, minlength=n_clusters)
    means = np.eye(n_clusters)[labels].T @ z / np.maximum(counts, 1)[:, None]
    empty = np.flatnonzero(counts == 0)
    means[empty] = z[generator.integers(len(z), size=len(empty))]
    return means
