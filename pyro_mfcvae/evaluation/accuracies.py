"""How well clusters and classes agree: several accuracies, which are not interchangeable.

All take labels and clusters as integer arrays (N,), counted from 0. Each metric has its own
name, because the literature calls all of them accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

IntArray = NDArray[np.int64]

NO_CLASS = -1


def contingency(
    labels: ArrayLike,
    clusters: ArrayLike,
    n_classes: int | None = None,
    n_clusters: int | None = None,
) -> IntArray:
    """How often each cluster meets each class.

    Args:
        labels: classes (N,).
        clusters: clusters (N,).
        n_classes: number of classes; None takes the largest label.
        n_clusters: number of clusters; None takes the largest cluster.

    Returns:
        counts (n_clusters, n_classes).

    Raises:
        ValueError: if the arrays are empty, differ in length, or hold negative numbers.
    """
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if labels.ndim != 1 or labels.shape != clusters.shape or not len(labels):
        raise ValueError(
            f"expected labels and clusters of one length above 0, got shapes {labels.shape} and "
            f"{clusters.shape}"
        )
    for name, values in (("labels", labels), ("clusters", clusters)):
        if not np.issubdtype(values.dtype, np.integer) or values.min() < 0:
            raise ValueError(f"{name} must be whole numbers from 0, got {values.dtype}")
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
    """Share of observations whose cluster's class, learnt elsewhere, is theirs.

    Raises:
        ValueError: if a cluster has no entry in the map.
    """
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if len(clusters) and clusters.max() >= len(cluster_map):
        raise ValueError(
            f"the map covers {len(cluster_map)} clusters, but cluster {clusters.max()} occurs"
        )
    return float((cluster_map[clusters] == labels).mean())


def majority_accuracy(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Accuracy where each cluster stands for its most frequent class among these observations.

    Several clusters may stand for one class, so this grows with the number of clusters. It is
    the accuracy of the MFCVAE paper (Appendix E.5).
    """
    counts = contingency(labels, clusters)
    return float(counts.max(1).sum() / counts.sum())


def class_weighted_accuracy(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Majority accuracy averaged over classes, each counting the same, absent ones left out."""
    counts = contingency(labels, clusters)
    classes = counts.argmax(1)
    right = np.bincount(classes, weights=counts.max(1), minlength=counts.shape[1])
    sizes = counts.sum(0)
    return float((right[sizes > 0] / sizes[sizes > 0]).mean())


def hungarian_accuracy(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Accuracy under the best one-to-one assignment of clusters to classes.

    Clusters beyond the number of classes count as wrong. It is the accuracy of VaDE and DEC.
    """
    counts = contingency(labels, clusters)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum() / counts.sum())


def normalized_mutual_information(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Mutual information over the mean of both entropies, from 0 to 1."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(labels, clusters))


def homogeneity(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Share of the labels' entropy that the clusters tell, from 0 to 1."""
    from sklearn.metrics import homogeneity_score

    return float(homogeneity_score(labels, clusters))


def redundancy(clusters: Sequence[ArrayLike]) -> list[list[float]]:
    """How much facets say the same: the NMI of the clusterings of every two of them.

    Args:
        clusters: of J facets, (N,) each.

    Returns:
        J x J numbers from 0 to 1, 1 on the diagonal.
    """
    return [
        [1.0 if i == j else normalized_mutual_information(a, b) for j, b in enumerate(clusters)]
        for i, a in enumerate(clusters)
    ]


def occupied_clusters(clusters: ArrayLike) -> int:
    """Number of clusters that have at least one member."""
    return len(np.unique(np.asarray(clusters)))


def agreement(
    labels: ArrayLike, clusters: ArrayLike, cluster_map: IntArray | None = None
) -> dict[str, float]:
    """All measures of agreement by name.

    Args:
        labels: classes (N,).
        clusters: clusters (N,).
        cluster_map: classes of the clusters (K,), learnt on other observations; adds
            ``majority_accuracy_training_map``.
    """
    from sklearn.metrics import adjusted_rand_score

    result = {
        "majority_accuracy": majority_accuracy(labels, clusters),
        "class_weighted_accuracy": class_weighted_accuracy(labels, clusters),
        "hungarian_accuracy": hungarian_accuracy(labels, clusters),
        "nmi": normalized_mutual_information(labels, clusters),
        "homogeneity": homogeneity(labels, clusters),
        "ari": float(adjusted_rand_score(labels, clusters)),
    }
    if cluster_map is not None:
        result["majority_accuracy_training_map"] = mapped_accuracy(labels, clusters, cluster_map)
    return result
