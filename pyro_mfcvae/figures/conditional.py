"""Components that depend on another latent, while that moves."""

from __future__ import annotations

from matplotlib.figure import Figure

from pyro_mfcvae import evaluation
from pyro_mfcvae.figures.grids import Panel
from pyro_mfcvae.figures.names import describe_steps
from pyro_mfcvae.figures.seen import Seen

OFFSETS = (-2.0, -1.0, 0.0, 1.0, 2.0)


def draw_moved_condition(seen: Seen, title: str, n_dimensions: int = 2) -> Figure:
    """Means of every cluster of facet 0 that has members, along dimensions of facet 1.

    Source: Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
    Autoencoders", 2016, Figure 5b.

    Args:
        seen: a model such as a GMVAE, and observations.
        title: above all, before what the figure shows.
        n_dimensions: of facet 1, those that change the pictures most.

    Raises:
        ValueError: if the clusters depend on nothing, or there is nothing to draw.
    """
    clusters, heads = seen.surest(0), describe_steps(OFFSETS)
    dimensions, pictures = evaluation.traverse_condition(
        seen.model, clusters, n_dimensions, OFFSETS
    )
    labels = [f"cluster {k}" for k in clusters]
    panels = [
        Panel([list(row) for row in of_dimension], labels, heads, title=f"dimension {d}")
        for d, of_dimension in zip(dimensions, pictures.swapaxes(0, 1), strict=True)
    ]
    what = "means of components of facet 0 while facet 1, which they depend on, moves"
    return seen.pictures.draw_panels(panels, f"{title}: {what}")
