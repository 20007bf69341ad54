"""The methods: each takes a table, how many clusters its facets have, and a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from benchmarks.peers.tables import Table
from pyro_mfcvae import FacetClustering

Labels = NDArray[np.int64]
Method = Callable[[Table, Sequence[int], int], Labels]
_COMPONENTS = 10  # principal ones, at most


def _ours(table: Table, n_clusters: Sequence[int], seed: int) -> Labels:
    model = FacetClustering(n_clusters, standardize=table.standardize, random_state=seed)
    return model.fit(table.x).labels_


def _kmeans(table: Table, n_clusters: Sequence[int], seed: int) -> Labels:
    x = table.standardized()
    each = [KMeans(k, n_init=10, random_state=seed).fit(x).labels_ for k in n_clusters]
    return np.stack(each, 1)


def _mixture(table: Table, n_clusters: Sequence[int], seed: int) -> Labels:
    x = table.standardized()
    x = PCA(min(_COMPONENTS, *x.shape), random_state=seed).fit_transform(x)
    each = [GaussianMixture(k, n_init=10, random_state=seed).fit_predict(x) for k in n_clusters]
    return np.stack(each, 1)


def _nr_kmeans(table: Table, n_clusters: Sequence[int], seed: int) -> Labels:
    from clustpy.alternative import NrKmeans

    # one more space, without clusters, for what tells no facet apart
    return _spaces(NrKmeans([*n_clusters, 1], n_init=10, random_state=seed), table)


def _auto_nr(table: Table, n_clusters: Sequence[int], seed: int) -> Labels:
    from clustpy.alternative import AutoNR

    return _spaces(AutoNR(random_state=seed), table)


def _enrc(table: Table, n_clusters: Sequence[int], seed: int) -> Labels:
    from clustpy.deep import ENRC

    return _spaces(ENRC([*n_clusters, 1], random_state=seed), table)


def _spaces(method: Any, table: Table) -> Labels:
    labels = np.asarray(method.fit(table.standardized()).labels_).reshape(len(table.x), -1)
    return labels - min(labels.min(), 0)  # AutoNR's outliers, -1, are a cluster of their own


METHODS: dict[str, Method] = {
    "FacetClustering": _ours,
    "k-means": _kmeans,
    "Gaussian mixture": _mixture,
    "NrKmeans": _nr_kmeans,
    "AutoNR": _auto_nr,
    "ENRC": _enrc,
}
"""By name: labels (N, J). All but AutoNR are told the numbers of clusters."""
