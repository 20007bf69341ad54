"""How every facet agrees with every factor: one matrix (J, F) for each measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyro_mfcvae.evaluation.accuracies import IntArray, majority_map
from pyro_mfcvae.evaluation.measures import agreement

Matrices = dict[str, NDArray[np.float64]]


def agreement_matrices(
    clusters: Sequence[ArrayLike],
    labels: Mapping[str, ArrayLike],
    cluster_maps: Sequence[Mapping[str, IntArray]] | None = None,
    responsibilities: Sequence[ArrayLike] | None = None,
) -> Matrices:
    """All measures of agreement between every facet's clusters and every factor's classes.

    Args:
        clusters: of J facets, (N,) each.
        labels: classes (N,) of F factors.
        cluster_maps: of J facets, classes (K_j,) of the clusters by factor, learnt on other
            observations as by :func:`majority_maps`; adds ``majority_accuracy_training_map``.
        responsibilities: of J facets, (N, K_j), that the clusters are the largest of; adds
            ``exemplar_accuracy``.

    Returns:
        ``{measure: (J, F)}``, factors in the order of the labels.

    Raises:
        ValueError: if there is no facet or no factor, arrays are empty, differ in length or hold
            negative numbers, or a map is missing.
    """
    clusters = list(clusters)
    if not clusters or not labels:
        raise ValueError(
            f"expected at least one facet and one factor, got {len(clusters)} and {len(labels)}"
        )
    maps = [{}] * len(clusters) if cluster_maps is None else list(cluster_maps)
    sure = [None] * len(clusters) if responsibilities is None else responsibilities
    if cluster_maps is not None and [set(m) for m in maps] != [set(labels)] * len(clusters):
        raise ValueError(
            f"expected maps for {', '.join(labels)} of {len(clusters)} facets, got "
            f"{[', '.join(m) for m in maps]}"
        )
    rows = [
        [agreement(classes, found, learnt.get(factor), r) for factor, classes in labels.items()]
        for found, learnt, r in zip(clusters, maps, sure, strict=True)
    ]
    return {
        measure: np.array([[cell[measure] for cell in row] for row in rows], dtype=np.float64)
        for measure in rows[0][0]
    }


def majority_maps(
    clusters: Sequence[ArrayLike], labels: Mapping[str, ArrayLike], n_clusters: Sequence[int]
) -> list[dict[str, IntArray]]:
    """The most frequent class of every cluster, by facet and factor.

    Args:
        clusters: of J facets, (N,) each.
        labels: classes (N,) by factor.
        n_clusters: K_j of the J facets.

    Raises:
        ValueError: if arrays are empty, differ in length or hold negative numbers.
    """
    return [
        {factor: majority_map(classes, found, n) for factor, classes in labels.items()}
        for found, n in zip(clusters, n_clusters, strict=True)
    ]
