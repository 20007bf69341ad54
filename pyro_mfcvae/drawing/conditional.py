"""Components that depend on another latent, while that moves: pictures of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyro_mfcvae import evaluation, figures
from pyro_mfcvae.drawing.held_out import HeldOut
from pyro_mfcvae.drawing.intervention import Intervention

OFFSETS = (-2.0, -1.0, 0.0, 1.0, 2.0)


def condition_moved(
    seen: HeldOut, n_dimensions: int = 2, offsets: Sequence[float] = OFFSETS, title: str = ""
) -> Intervention:
    """Means of every cluster of facet 0 that has members, along dimensions of facet 1.

    Args:
        seen: a model such as a GMVAE, and observations.
        n_dimensions: of facet 1, those that change the pictures most.
        offsets: in standard deviations of its prior.
        title: above all, before what the figure shows.

    Raises:
        ValueError: if the clusters depend on nothing, or there is nothing to draw.
    """
    clusters = figures.cluster_order(seen.predictions.responsibilities[0])
    dimensions, pictures = evaluation.traverse_condition(
        seen.model, clusters, n_dimensions, offsets
    )
    shown = seen.drawable(pictures)
    labels = [f"cluster {k}" for k in clusters]
    heads = ["0" if offset == 0 else f"{offset:+g} sd" for offset in offsets]
    panels = [
        figures.Panel([list(row) for row in shown[:, i]], labels, heads, title=f"dimension {d}")
        for i, d in enumerate(dimensions)
    ]
    what = "means of components of facet 0 while facet 1, which they depend on, moves"
    arrays = {"pictures": pictures, "clusters": np.array(clusters), "dimensions": dimensions}
    return Intervention(arrays, figures.picture_panels(panels, f"{title}: {what}".lstrip(": ")))
