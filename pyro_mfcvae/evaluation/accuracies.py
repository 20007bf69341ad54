"""How well clusters and classes agree: several accuracies, which are not interchangeable.

All take labels and clusters as integer arrays (N,), counted from 0. Each metric has its own
name, because the literature calls all of them accuracy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]

NO_CLASS = -1

_SUM_TOLERANCE = 1e-2  # that of a softmax with 16 bits


def contingency(
    labels: ArrayLike,
    clusters: ArrayLike,
    n_classes: int | None = None,
    n_clusters: int | None = None,
) -> IntArray:
    """How often each cluster meets each class: counts (n_clusters, n_classes).

    A number that is not given is taken from the largest label or cluster.

    Raises:
        ValueError: if the arrays are empty, differ in length, or hold negative numbers.
    """
    labels, clusters = _pair(labels, clusters)
    n_classes = max(int(labels.max()) + 1, n_classes or 0)
    n_clusters = max(int(clusters.max()) + 1, n_clusters or 0)
    joint = clusters.astype(np.int64) * n_classes + labels
    return np.bincount(joint, minlength=n_clusters * n_classes).reshape(n_clusters, n_classes)


def majority_map(labels: ArrayLike, clusters: ArrayLike, n_clusters: int) -> IntArray:
    """The class that is most frequent in each cluster, (n_clusters,).

    The first of several equally frequent ones; ``NO_CLASS`` for a cluster without members.
    """
    counts = contingency(labels, clusters, n_clusters=n_clusters)
    return np.where(counts.sum(1) > 0, counts.argmax(1), NO_CLASS)


def mapped_accuracy(labels: ArrayLike, clusters: ArrayLike, cluster_map: IntArray) -> float:
    """Accuracy where each cluster stands for its most frequent class among other observations.

    Several clusters may stand for one class, so it grows with the number of clusters.

    Raises:
        ValueError: if the arrays are empty, differ in length, or hold negative numbers, or if a
            cluster has no entry in the map.
    """
    labels, clusters = _pair(labels, clusters)
    if clusters.max() >= len(cluster_map):
        raise ValueError(
            f"the map covers {len(cluster_map)} clusters, but cluster {clusters.max()} occurs"
        )
    return float((cluster_map[clusters] == labels).mean())


def majority_accuracy(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Accuracy where each cluster stands for its most frequent class among these observations.

    Several clusters may stand for one class, so this grows with the number of clusters. It is
    the accuracy of the MFCVAE paper (Appendix E.5).

    Example:
        >>> majority_accuracy([0, 0, 1, 1], [0, 1, 2, 2])
        1.0
    """
    counts = contingency(labels, clusters)
    return float(counts.max(1).sum() / counts.sum())


def class_weighted_accuracy(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Majority accuracy (own map) averaged over classes, each counting the same."""
    counts = contingency(labels, clusters)
    classes = counts.argmax(1)
    right = np.bincount(classes, weights=counts.max(1), minlength=counts.shape[1])
    sizes = counts.sum(0)
    return float((right[sizes > 0] / sizes[sizes > 0]).mean())


def hungarian_accuracy(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Accuracy under the best one-to-one assignment; surplus clusters count as wrong.

    It is the accuracy of VaDE and DEC.

    Example:
        >>> hungarian_accuracy([0, 0, 1, 1], [0, 1, 2, 2])
        0.75
    """
    from scipy.optimize import linear_sum_assignment

    counts = contingency(labels, clusters)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum() / counts.sum())


def exemplar_accuracy(labels: ArrayLike, responsibilities: ArrayLike) -> float:
    """Accuracy where each cluster stands for the class of its most confident exemplar.

    Of labels (N,) and responsibilities q(c | x), (N, K). One observation speaks for a whole
    cluster, the first of several that are equally sure. Several clusters may stand for one class.
    It is the accuracy of the GMVAE paper.

    Raises:
        ValueError: if there are none, or lengths differ.
    """
    labels, r = _check_counts("labels", labels), np.asarray(responsibilities)
    if r.ndim != 2 or len(r) != len(labels) or not r.shape[1]:
        raise ValueError(
            f"expected responsibilities (N, K) of the {len(labels)} labels, got shape {r.shape}"
        )
    return mapped_accuracy(labels, r.argmax(1), labels[r.argmax(0)])


def normalized_mutual_information(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Mutual information of clusters and classes over the mean of their entropies."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(*_pair(labels, clusters)))


def adjusted_rand_index(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Adjusted Rand index: pairs on which both agree, 0 on average by chance."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*_pair(labels, clusters)))


def homogeneity(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Share of the classes' entropy that the clusters tell."""
    from sklearn.metrics import homogeneity_score

    return float(homogeneity_score(*_pair(labels, clusters)))


def redundancy(clusters: ArrayLike, other_clusters: ArrayLike) -> float:
    """0 if two facets partition in different ways, 1 if they say the same: NMI of clusterings."""
    if clusters is other_clusters:
        return 1.0
    return normalized_mutual_information(clusters, other_clusters)


def occupied_clusters(clusters: ArrayLike) -> int:
    """Clusters that have at least one member."""
    return len(np.unique(_check_counts("clusters", clusters)))


def assignment_entropy(responsibilities: ArrayLike) -> float:
    """Mean entropy of q(c | x) in nats: 0 is certain, log K is knowing nothing.

    Raises:
        ValueError: if there are no rows (N, K), or one of them is no distribution.
    """
    from scipy.special import entr

    r = np.asarray(responsibilities, dtype=np.float64)
    if r.ndim != 2 or not r.size:
        raise ValueError(f"expected responsibilities of shape (N, K), got {r.shape}")
    off = ~((r >= 0).all(1) & (np.abs(r.sum(1) - 1) < _SUM_TOLERANCE))
    if off.any():
        raise ValueError(
            "expected responsibilities from 0 on whose rows sum to 1, but in "
            f"{off.sum()} of {len(r)} rows they are not, first in row {off.argmax()}: "
            f"{r[off.argmax()]}"
        )
    return float(entr(r).sum(1).mean())


def normalized_assignment_entropy(responsibilities: ArrayLike) -> float:
    """Mean entropy of q(c | x) as a share of log K, from 0 (sure) to 1; 0 for one cluster."""
    entropy, k = assignment_entropy(responsibilities), np.shape(responsibilities)[1]
    return entropy / float(np.log(k)) if k > 1 else 0.0


def _pair(labels: ArrayLike, clusters: ArrayLike) -> tuple[IntArray, IntArray]:
    """Both as arrays, or a ValueError if they cannot be counted against each other."""
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if labels.shape != clusters.shape:
        raise ValueError(
            f"expected labels and clusters of one length, got shapes {labels.shape} and "
            f"{clusters.shape}"
        )
    return _check_counts("labels", labels), _check_counts("clusters", clusters)


def _check_counts(name: str, values: ArrayLike) -> IntArray:
    """The values as an array, or a ValueError if they are no whole numbers (N,) from 0."""
    values = np.asarray(values)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected {name} (N,) of a length above 0, got shape {values.shape}")
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} must be whole numbers from 0, got {values.dtype}")
    if values.min() < 0:
        raise ValueError(f"{name} must be whole numbers from 0, got {values.min()}")
    if values.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must be below 2**63, got {values.max()}")
    return values.astype(np.int64, copy=False)
