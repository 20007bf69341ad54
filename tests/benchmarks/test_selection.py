"""What a record says of a ranking beside the truth, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.selection import judge


def fitted(n_clusters, elbo, nmi):
    n = len(n_clusters)
    return {
        "n_clusters": n_clusters,
        "latent_dim": [1] * n,
        "elbo": (elbo + np.zeros(10)).tolist(),
        "starts": [elbo],
        "stability": [1.0] * n,
        "redundancy": np.eye(n).tolist(),
        "used": n_clusters,
        "density": "",
        "nmi": nmi,
    }


def test_partitions_are_matched_with_facets_one_to_one():
    single = fitted([6], -1.0, [[0.8], [0.6]])  # has both, but is one facet
    pair = fitted([3, 2], -2.0, [[0.1, 0.9], [0.3, 0.5]])
    worse = fitted([5, 5], -3.0, [[0.1, 0.4], [0.2, 0.4]])
    record = {"data": "penguins", "candidates": [worse, single, pair]}
    judge(record)
    assert single["agreement"] == pytest.approx(0.4)
    assert pair["agreement"] == pytest.approx(0.6)
    assert record["recommended"] == "(6,)"
    assert (record["rank_of_truth"], record["n_candidates"]) == (2, 3)
    assert record["spearman"] == pytest.approx(0.5)
    assert record["spearman_of_equal_facets"] == pytest.approx(1)
    assert (record["rank_among_equal_facets"], record["n_equal_facets"]) == (1, 2)
