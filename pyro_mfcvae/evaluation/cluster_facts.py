"""What is said of clusters: how large and sure they are, and what sets them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_mfcvae.naming import Names, cluster_name

_TYPICAL = 3  # rows named of each cluster
_MOST_NAMED = 3  # features

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Facts:
    """Of one facet's clusters, among some rows.

    Attributes:
        sizes: rows of each cluster, (K,).
        sureness: mean probability of their own cluster, (K,); NaN without rows.
        typical: the rows next to the middle of each, by their names in X's index, else by number.
        differences: mean of each cluster minus that of all rows, in their standard deviation,
            (K, *event); NaN without rows, or where all of them miss a value.
    """

    sizes: NDArray[np.int64]
    sureness: Array
    typical: list[list[Any]]
    differences: Array

    @property
    def shares(self) -> Array:
        """Of all rows, (K,)."""
        return self.sizes / self.sizes.sum()

    @property
    def sure(self) -> float:
        """Mean probability of the rows' own clusters."""
        return float((self.shares * np.nan_to_num(self.sureness)).sum())

    @property
    def told(self) -> Array:
        """Share of each value's variance that the clusters tell, (*event): eta squared."""
        shares = self.shares.reshape(-1, *(1,) * (self.differences.ndim - 1))
        return (shares * np.nan_to_num(self.differences) ** 2).sum(0)


def facts_of(responsibilities: Array, z: Array, values: np.ndarray, index: Any) -> Facts:
    """The facts of one facet.

    Args:
        responsibilities: (N, K).
        z: latents (N, D).
        values: (N, *event), in any units.
        index: names of the rows, or None.
    """
    labels, k = responsibilities.argmax(1), responsibilities.shape[1]
    mean, deviation = np.nanmean(values, 0), np.nanstd(values, 0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    sureness, typical = np.full(k, np.nan), list[list[Any]]()
    differences = np.full((k, *values.shape[1:]), np.nan)
    for c in range(k):
        rows = np.flatnonzero(labels == c)
        if not len(rows):
            typical.append([])
            continue
        sureness[c] = responsibilities[rows, c].mean()
        known = ~np.isnan(values[rows]).all(0)
        own_mean = np.nanmean(values[rows][:, known], 0)
        differences[c][known] = (own_mean - mean[known]) / deviation[known]
        own = z[rows] - z[rows].mean(0)
        middle = np.argsort((own**2).sum(1), kind="stable")[:_TYPICAL]
        named = rows[middle] if index is None else index[rows[middle]]
        typical.append(named.tolist())
    return Facts(np.bincount(labels, minlength=k), sureness, typical, differences)


def cluster_rows(
    facts: Facts, names: Names, feature_names: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """What is said of each cluster that has rows, the largest first, by its name.

    Args:
        facts: of one facet.
        names: of its clusters.
        feature_names: of the values of a row; none names pixels by their place.
    """
    rows = {}
    for k in largest_first(facts.sizes):
        apart = largest_values(facts.differences[k], feature_names)
        rows[cluster_name(names, k)] = {
            "size": int(facts.sizes[k]),
            "share": float(facts.shares[k]),
            "sure": float(facts.sureness[k]),
            "typical": facts.typical[k],
            "apart": ", ".join(f"{name} {value:+.1f}" for name, value in apart),
        }
    return rows


def largest_first(sizes: NDArray[np.int64]) -> list[int]:
    """Clusters that have rows, the largest first, of their sizes (K,)."""
    return [int(k) for k in np.argsort(-sizes, kind="stable") if sizes[k]]


def largest_values(values: np.ndarray, feature_names: Sequence[str]) -> list[tuple[str, float]]:
    """Names of the features whose values (*event) are largest, either way, with these."""
    flat, names = values.ravel(), feature_names
    if values.ndim > 1:
        places = np.indices(values.shape).reshape(values.ndim, -1).T
        names = [f"pixel {tuple(int(i) for i in place[1:])}" for place in places]
    order = np.argsort(-np.abs(flat), kind="stable")[:_MOST_NAMED]
    return [(names[i], float(flat[i])) for i in order if not np.isnan(flat[i])]
