"""Grids of pictures: cluster examples, reconstructions, samples.

Observations come as arrays (..., *event): pictures with channels first are drawn as they are (in
grey unless there are 3 or 4 channels), rows of a table as strips of colour, one cell per feature.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Array = NDArray[np.floating]

_CELL = 0.55  # inches


def cluster_examples(
    x: Array, responsibilities: Array, n_clusters: int = 10, n_examples: int = 10, title: str = ""
) -> Figure:
    """The most typical observations of one facet's clusters.

    Clusters (rows) are sorted by the mean probability of their members' assignment,
    observations (columns) by their own, both falling. Each row is labelled with its cluster,
    its mean probability and its number of members. Source: MFCVAE, Figure 4.

    Args:
        x: observations (N, *event), values in [0, 1].
        responsibilities: of the facet, (N, K).
        n_clusters: rows at most.
        n_examples: columns at most.
        title: above the grid.
    """
    rows = cluster_order(responsibilities)[:n_clusters]
    confidence = responsibilities.max(1)
    grid, labels = [], []
    for cluster in rows:
        members = cluster_members(responsibilities, cluster)
        grid.append(list(x[members[:n_examples]]))
        labels.append(f"{cluster}  p {confidence[members].mean():.2f}  n {len(members)}")
    return picture_grid(grid, labels, title)


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


def reconstructions(x: Array, x_mean: Array, n_columns: int = 12, title: str = "") -> Figure:
    """Observations above their reconstructions, in pairs of rows, (N, *event) each."""
    grid, labels = [], []
    for start in range(0, len(x), n_columns):
        grid += [list(x[start : start + n_columns]), list(x_mean[start : start + n_columns])]
        labels += ["input", "reconstruction"]
    return picture_grid(grid, labels, title)


def cluster_samples(pictures: Array, clusters: Sequence[int], title: str = "") -> Figure:
    """Pictures drawn from clusters, one row each: (R, n, *event). Source: MFCVAE, Figure 6."""
    labels = [f"cluster {cluster}" for cluster in clusters]
    return picture_grid([list(row) for row in pictures], labels, title)


def picture_grid(
    grid: Sequence[Sequence[Array | None]], labels: Sequence[str], title: str
) -> Figure:
    """Rows of observations, each row with a label to its left.

    Rows may differ in length; None leaves a place empty, but not the last of the first row.
    """
    n_rows, n_columns = len(grid), max(map(len, grid))
    example = _drawable(grid[0][-1])
    height, width = _cell_size(example, n_columns)
    left, top = 1.6, 0.45
    size = (left + n_columns * width + 0.1, top + n_rows * height + 0.1)
    figure = Figure(figsize=size, layout="none")
    for i, row in enumerate(grid):
        bottom = 1 - (top + (i + 1) * height) / size[1]
        for k, picture in enumerate(row):
            if picture is None:
                continue
            box = ((left + k * width) / size[0], bottom, width / size[0], height / size[1])
            axes = figure.add_axes(_shrunk(box, 0.04))
            axes.imshow(_drawable(picture), cmap="gray", vmin=0, vmax=1, aspect="auto",
                        interpolation="nearest")  # fmt: skip
            axes.set_axis_off()
        figure.text((left - 0.1) / size[0], bottom + 0.5 * height / size[1], labels[i],
                    ha="right", va="center", fontsize=8)  # fmt: skip
    figure.text(0.1 / size[0], 1 - 0.22 / size[1], title, ha="left", va="center", fontsize=10)
    return figure


def _drawable(picture: Array) -> Array:
    """(C, H, W) or (D,) -> what imshow takes, clipped to [0, 1]."""
    if picture.ndim == 1:
        return mpl.colormaps["viridis"](np.clip(picture, 0, 1))[None, :, :3]
    if picture.shape[0] not in (3, 4):  # no colours: show the mean of the channels
        return np.clip(picture.mean(0), 0, 1)
    return np.clip(np.moveaxis(picture, 0, -1), 0, 1)


def _cell_size(example: Array, n_columns: int) -> tuple[float, float]:
    """Height and width in inches."""
    rows, columns = example.shape[:2]
    if rows == 1:
        return 0.3, max(_CELL, 8 / n_columns)
    return _CELL, _CELL * columns / rows


def _shrunk(box: tuple[float, float, float, float], by: float) -> tuple[float, ...]:
    x, y, width, height = box
    return (x + by * width, y + by * height, (1 - 2 * by) * width, (1 - 2 * by) * height)
