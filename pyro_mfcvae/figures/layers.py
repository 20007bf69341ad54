"""What each layer of a ladder holds: facets drawn anew one at a time, and one facet's clusters.

Observations and pictures come as arrays with values in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from pyro_mfcvae.figures.grids import Array, Panel, picture_panels


def resampled_facets(
    x: Array, pictures: Array, labels: Sequence[str], titles: Sequence[str], title: str = ""
) -> Figure:
    """Observations, and beside them what becomes of each as one facet after the other is drawn.

    Source: VLAC, Figure 2.

    Args:
        x: observations (N, *event), to the left.
        pictures: (J, N, S, *event), the drawn facet first.
        labels: N of them, of the rows.
        titles: J of them, of the facets.
        title: above all.

    Raises:
        ValueError: if there are not as many observations, labels or titles as pictures.
    """
    if (len(titles), len(x), len(x)) != (*pictures.shape[:2], len(labels)):
        raise ValueError(
            f"expected pictures ({len(titles)}, {len(x)}, ...) and {len(x)} labels for the titles "
            f"and observations, got shape {pictures.shape} and {len(labels)} labels"
        )
    inputs = Panel([[row] for row in x], labels, title="input")
    drawn = [
        Panel([list(row) for row in rows], [""] * len(rows), title=name)
        for rows, name in zip(pictures, titles, strict=True)
    ]
    return picture_panels([inputs, *drawn], title)


def component_columns(pictures: Array, clusters: Sequence[int], title: str = "") -> Figure:
    """Pictures drawn from clusters of one facet, one column for each, below its number.

    Source: VLAC, Figure 3.

    Args:
        pictures: (R, S, *event).
        clusters: R of them.
        title: above all.

    Raises:
        ValueError: if there are not as many clusters as pictures.
    """
    if len(clusters) != len(pictures):
        raise ValueError(
            f"expected pictures of {len(clusters)} clusters, got shape {pictures.shape}"
        )
    rows = [list(row) for row in pictures.swapaxes(0, 1)]
    return picture_panels([Panel(rows, [""] * len(rows), [str(k) for k in clusters])], title)
