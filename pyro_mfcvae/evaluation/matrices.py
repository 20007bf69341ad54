"""How every facet agrees with every factor: one matrix (J, F) for each measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyro_mfcvae.evaluation.accuracies import IntArray, agreement, majority_map

Matrices = dict[str, NDArray[np.float64]]

TITLES = {
    "majority_accuracy_training_map": "majority accuracy, training map",
    "majority_accuracy": "majority accuracy, own map",
    "class_weighted_accuracy": "class-weighted accuracy",
    "exemplar_accuracy": "exemplar accuracy",
    "hungarian_accuracy": "Hungarian accuracy",
    "nmi": "NMI",
    "ari": "ARI",
    "homogeneity": "homogeneity",
    "probe_accuracy": "probe accuracy",
}


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
    return _matrices(
        [agreement(classes, found, learnt.get(factor), r) for factor, classes in labels.items()]
        for found, learnt, r in zip(clusters, maps, sure, strict=True)
    )


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


def stored_matrices(results: Mapping[str, Any], part: str = "test") -> Matrices:
    """The same from an evaluation, as ``evaluation.json`` keeps it.

    Args:
        results: of :func:`~pyro_mfcvae.evaluation.evaluate` or of a run.
        part: ``"train"`` or ``"test"``. For ``"test"`` the accuracies of a probe, where there was
            one, are added as ``probe_accuracy``.

    Returns:
        ``{measure: (J, F)}`` in the order of ``TITLES``, factors in the order of
        :func:`stored_factors`; nothing where there were no labels. A facet with one cluster has no
        clustering: its row is nan, but for ``probe_accuracy``.

    Raises:
        ValueError: if the part is unknown, or these are no results of an evaluation.
    """
    if part not in ("train", "test"):
        raise ValueError(f"expected the part 'train' or 'test', got {part!r}")
    factors = stored_factors(results)
    if not factors:
        return {}
    try:
        rows = [
            [
                facet["factors"][factor][part] if facet["n_clusters"] > 1 else dict(_NO_CLUSTERING)
                for factor in factors
            ]
            for facet in results["facets"]
        ]
        if part == "test" and "probe" in results:
            rows = [
                [
                    {**cell, "probe_accuracy": probed[factor]}
                    for cell, factor in zip(row, factors, strict=True)
                ]
                for row, probed in zip(rows, results["probe"]["facets"], strict=True)
            ]
        return _matrices(rows)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{_NO_RESULTS} ({error!r})") from None


def stored_factors(results: Mapping[str, Any]) -> list[str]:
    """Names of the factors that an evaluation has, in order.

    Raises:
        ValueError: if these are no results of an evaluation.
    """
    try:
        first, *others = [facet["factors"] for facet in results["facets"]]
        probed = results.get("probe", {}).get("all_facets", {})
        return list(dict.fromkeys(name for names in (first, *others, probed) for name in names))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{_NO_RESULTS} ({error!r})") from None


_NO_CLUSTERING = {measure: np.nan for measure in TITLES if measure != "probe_accuracy"}
_NO_RESULTS = "these are no whole results of an evaluation; evaluate the run again"


def _matrices(cells: Any) -> Matrices:
    """Rows of cells {measure: value} as a matrix per measure that all cells have, not all nan."""
    rows = [list(row) for row in cells]
    found = {
        measure: np.array([[cell[measure] for cell in row] for row in rows], dtype=np.float64)
        for measure in TITLES
        if all(measure in cell for row in rows for cell in row)
    }
    return {measure: values for measure, values in found.items() if not np.isnan(values).all()}
