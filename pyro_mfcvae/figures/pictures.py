"""Grids of pictures: cluster examples, samples of clusters, reconstructions, swaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pyro_mfcvae.figures.grids import Array, Panel, in_columns, picture_grid, picture_panels

_N_ROWS = 40  # of clusters, before the next ones stand beside them


class Chosen(Protocol):
    """An array of pictures, or anything else that gives (n, *event) for indices (n,)."""

    def __getitem__(self, indices: NDArray[np.int64]) -> Array: ...


def cluster_examples(
    x: Chosen,
    responsibilities: Array,
    n_clusters: int | None = 10,
    n_examples: int = 10,
    title: str = "",
    n_rows: int = _N_ROWS,
) -> Figure:
    """The most typical observations of one facet's clusters.

    Clusters (rows) are sorted by the mean probability of their members' assignment,
    observations (columns) by their own, both falling. Each row is labelled with its cluster,
    its mean probability and its number of members. Source: MFCVAE, Figure 4.

    Args:
        x: observations (N, *event), values in [0, 1].
        responsibilities: of the facet, (N, K).
        n_clusters: how many at most; None takes all that have members.
        n_examples: observations of each at most.
        title: above the grid.
        n_rows: clusters that stand below each other at most; more stand beside them.
    """
    panel = _examples(x, responsibilities, n_clusters, n_examples)
    return picture_panels(in_columns(panel, n_rows), title)


def facet_examples(
    x: Chosen,
    responsibilities: Sequence[Array],
    n_clusters: int | None = 10,
    n_examples: int = 10,
    title: str = "",
    n_rows: int = _N_ROWS,
) -> Figure:
    """As :func:`cluster_examples` for J facets side by side.

    Source: MFCVAE, Figure 4, and with all clusters Figures 13 to 16.

    Args:
        x: observations (N, *event), values in [0, 1].
        responsibilities: J arrays (N, K_j).
        n_clusters: of each facet at most; None takes all that have members.
        n_examples: observations of each cluster at most.
        title: above all.
        n_rows: clusters that stand below each other at most; more stand beside them.
    """
    panels = [
        panel
        for j, r in enumerate(responsibilities)
        for panel in in_columns(_examples(x, r, n_clusters, n_examples, f"facet {j}"), n_rows)
    ]
    return picture_panels(panels, title)


def _examples(
    x: Chosen, responsibilities: Array, n_clusters: int | None, n_examples: int, title: str = ""
) -> Panel:
    rows, labels = [], []
    for cluster in cluster_order(responsibilities)[:n_clusters]:
        members = cluster_members(responsibilities, cluster)
        rows.append(list(x[members[:n_examples]]))
        labels.append(typical_label(responsibilities, cluster))
    return Panel(rows, labels, title=title)


def typical_label(responsibilities: Array, cluster: int) -> str:
    """A cluster's number, the mean probability of its members and how many it has."""
    members = cluster_members(responsibilities, cluster)
    return f"{cluster}  p {responsibilities[members, cluster].mean():.2f}  n {len(members)}"


def cluster_order(responsibilities: Array) -> list[int]:
    """Occupied clusters by the mean probability of their members' assignment, falling."""
    clusters, confidence = responsibilities.argmax(1), responsibilities.max(1)
    counts = np.bincount(clusters, minlength=responsibilities.shape[1])
    sums = np.bincount(clusters, weights=confidence, minlength=responsibilities.shape[1])
    means = np.divide(sums, counts, out=np.full(len(counts), -1.0), where=counts > 0)
    return [int(k) for k in np.argsort(-means, kind="stable") if counts[k]]


def cluster_members(responsibilities: Array, cluster: int) -> NDArray[np.int64]:
    """Indices of a cluster's members, the surest first."""
    members = np.flatnonzero(responsibilities.argmax(1) == cluster)
    return members[np.argsort(-responsibilities[members, cluster], kind="stable")]


def cluster_samples(
    pictures: Array, clusters: Sequence[int], title: str = "", n_rows: int = _N_ROWS
) -> Figure:
    """Pictures drawn from clusters of one facet, one row each. Source: MFCVAE, Figure 6.

    Args:
        pictures: (R, n, *event).
        clusters: R of them.
        title: above the grid.
        n_rows: clusters that stand below each other at most; more stand beside them.
    """
    return picture_panels(in_columns(_samples(pictures, clusters), n_rows), title)


def facet_samples(
    pictures: Sequence[Array],
    clusters: Sequence[Sequence[int]],
    facets: Sequence[int],
    title: str = "",
    n_rows: int = _N_ROWS,
) -> Figure:
    """As :func:`cluster_samples` for several facets side by side.

    Source: MFCVAE, Figure 6, and with all clusters Figures 21 to 24.

    Args:
        pictures: an array (R_j, n, *event) for each facet.
        clusters: R_j of each facet.
        facets: their numbers.
        title: above all.
        n_rows: clusters that stand below each other at most; more stand beside them.
    """
    panels = [
        panel
        for drawn, chosen, j in zip(pictures, clusters, facets, strict=True)
        for panel in in_columns(_samples(drawn, chosen, f"facet {j}"), n_rows)
    ]
    return picture_panels(panels, title)


def _samples(pictures: Array, clusters: Sequence[int], title: str = "") -> Panel:
    labels = [f"cluster {cluster}" for cluster in clusters]
    return Panel([list(row) for row in pictures], labels, title=title)


def reconstructions(x: Array, x_mean: Array, n_columns: int = 12, title: str = "") -> Figure:
    """Observations above their reconstructions, in pairs of rows, (N, *event) each."""
    grid, labels = [], []
    for start in range(0, len(x), n_columns):
        grid += [list(x[start : start + n_columns]), list(x_mean[start : start + n_columns])]
        labels += ["input", "reconstruction"]
    return picture_grid(grid, labels, title)


def swaps(x: Array, donors: Array, swapped: Array, title: str = "") -> Figure:
    """Observations redrawn with one facet from each of some donors. Source: MFCVAE, Figure 5.

    Args:
        x: observations (N, *event), in the first column.
        donors: observations (M, *event), in the first row.
        swapped: pictures (N, M, *event).
        title: above the grid.
    """
    grid = [[None, *donors]]
    grid += [[row, *pictures] for row, pictures in zip(x, swapped, strict=True)]
    return picture_grid(grid, ["donors", *["input"] * len(x)], title)
