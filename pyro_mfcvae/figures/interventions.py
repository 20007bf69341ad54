"""One facet changed and the others left: pairs, traversals, interpolations, cluster means.

Observations and pictures come as arrays with values in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from pyro_mfcvae.figures.grids import Array, Panel, picture_panels


def swapped_pairs(inputs: Array, swapped: Array, title: str = "", n_columns: int = 6) -> Figure:
    """Pairs of observations above the two pictures with one facet exchanged between them.

    Source: MFCVAE, Figures 5 and 17.

    Args:
        inputs: pairs (N, 2, *event).
        swapped: pictures (N, 2, *event); the first has the second input's facet, and the other
            way round.
        title: above all.
        n_columns: pairs beside each other at most.

    Raises:
        ValueError: if these are no pairs, or not as many of one as of the other.
    """
    if inputs.shape != swapped.shape or inputs.shape[1:2] != (2,):
        raise ValueError(
            "expected pairs (N, 2, ...) and as many swapped ones, got shapes "
            f"{inputs.shape} and {swapped.shape}"
        )
    rows, labels = [], []
    for start in range(0, len(inputs), n_columns):
        stop = start + n_columns
        rows += [[x for pair in part[start:stop] for x in pair] for part in (inputs, swapped)]
        labels += ["inputs", "swapped"]
    return picture_panels([Panel(rows, labels, together=(2, 2))], title)


def traversal(
    pictures: Array,
    offsets: Sequence[float],
    labels: Sequence[str],
    title: str = "",
    inputs: Sequence[Array | None] = (),
) -> Figure:
    """One latent dimension moved in each row: of some observation each, or some dimension each.

    Args:
        pictures: (R, M, *event).
        offsets: M of them, above the columns, in standard deviations under the prior.
        labels: R of them, of the rows.
        title: above all.
        inputs: observations (*event) to the left of the R rows; None leaves a place empty.

    Raises:
        ValueError: if there are not as many labels and offsets as rows and columns.
    """
    if pictures.shape[:2] != (len(labels), len(offsets)):
        raise ValueError(
            f"expected pictures ({len(labels)}, {len(offsets)}, ...) for the labels and offsets, "
            f"got shape {pictures.shape}"
        )
    heads = ["0" if offset == 0 else f"{offset:+g} sd" for offset in offsets]
    rows = [list(row) for row in pictures]
    if inputs:
        heads = ["input", *heads]
        rows = [[x, *row] for x, row in zip(inputs, rows, strict=True)]
    return picture_panels([Panel(rows, labels, heads)], title)


def interpolation(
    start: Array, end: Array, pictures: Array, labels: Sequence[str], title: str = ""
) -> Figure:
    """Straight lines between the latents of pairs of observations, which stand at both sides.

    Args:
        start: observations (N, *event), to the left.
        end: observations (N, *event), to the right.
        pictures: (N, M, *event), from the start to the end.
        labels: N of them, of the rows.
        title: above all.

    Raises:
        ValueError: if there are not as many starts, ends and labels as rows.
    """
    if not len(start) == len(end) == len(labels) == len(pictures):
        raise ValueError(
            f"expected as many starts, ends and labels as rows of pictures, got {len(start)}, "
            f"{len(end)}, {len(labels)} and {len(pictures)}"
        )
    n_steps = pictures.shape[1]
    shares = [f"{100 * step / max(n_steps - 1, 1):.0f} %" for step in range(n_steps)]
    rows = [[a, *row, b] for a, row, b in zip(start, pictures, end, strict=True)]
    return picture_panels([Panel(rows, labels, ["from", *shares, "to"])], title)


def cluster_mean_grid(
    pictures: Array, clusters: Sequence[int], title: str = "", n_columns: int | None = None
) -> Figure:
    """Pictures at the means of one facet's clusters, each below its cluster's number.

    Args:
        pictures: (R, *event).
        clusters: R of them.
        title: above all.
        n_columns: pictures in a row; None makes a grid about twice as wide as high.
    """
    n_columns = n_columns or max(math.ceil(math.sqrt(2 * len(pictures))), 1)
    starts = range(0, len(pictures), n_columns)
    rows = [list(pictures[start : start + n_columns]) for start in starts]
    captions = [[str(k) for k in clusters[start : start + n_columns]] for start in starts]
    return picture_panels([Panel(rows, [""] * len(rows), captions=captions)], title)


def cluster_mean_matrix(
    pictures: Array, rows: Sequence[int], columns: Sequence[int], title: str = ""
) -> Figure:
    """Pictures at the means of pairs of clusters, one of each of two facets.

    Args:
        pictures: (R, C, *event).
        rows: R clusters of one facet.
        columns: C clusters of the other facet.
        title: above all.

    Raises:
        ValueError: if there are not as many clusters as rows and columns.
    """
    if pictures.shape[:2] != (len(rows), len(columns)):
        raise ValueError(
            f"expected pictures ({len(rows)}, {len(columns)}, ...) for the clusters, got shape "
            f"{pictures.shape}"
        )
    grid = [list(row) for row in pictures]
    labels = [str(k) for k in rows]
    return picture_panels([Panel(grid, labels, [str(k) for k in columns])], title)
