"""Pictures of the papers on VLAC and GMVAE, which runs do not have by themselves.

VLAC: Willetts et al., "Disentangling to Cluster: Gaussian Mixture Variational Ladder Autoencoders",
2019, Figures 2 and 3. GMVAE: Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian
Mixture Variational Autoencoders", 2016, Figure 5b.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from pyro_mfcvae import evaluation
from pyro_mfcvae.figures.grids import Panel
from pyro_mfcvae.figures.names import describe_part, describe_steps
from pyro_mfcvae.figures.seen import Seen
from pyro_mfcvae.naming import cluster_title

OFFSETS = (-2.0, -1.0, 0.0, 1.0, 2.0)


def draw_resampled_facets(seen: Seen, n: int = 6, n_samples: int = 5) -> Figure:
    """At most n observations, and what becomes of each as one facet after the other is drawn.

    Args:
        seen: model and observations, which are spread evenly.
        n: inputs at most.
        n_samples: draws of each facet.
    """
    rows = seen.choose(None, n)
    pictures = evaluation.resample_facets(seen.model, seen.take(rows), n_samples, seen.temperature)
    panels = [
        Panel([[x] for x in seen.observed(rows)], [f"input {i}" for i in rows], title="input")
    ]
    for j, (prior, of_facet) in enumerate(zip(seen.model.facets, pictures, strict=True)):
        name = f"{seen.facet_title(j)}, K = {prior.n_clusters}"
        panels.append(Panel([list(row) for row in of_facet], [""] * len(rows), title=name))
    others = seen.describe_others("unchanged")
    title = f"one facet drawn from its prior{others}, temperature {seen.temperature:g}"
    return seen.pictures.draw_panels(panels, title)


def draw_components(
    seen: Seen, facet: int, n_clusters: int | None = 25, n_samples: int = 8
) -> Figure:
    """Samples of clusters in columns, with one draw of the other facets for all of them.

    Args:
        seen: model and observations.
        facet: j.
        n_clusters: the most used ones at most; None takes all that have members.
        n_samples: pictures of each cluster.
    """
    used = seen.most_used(facet)
    chosen = used[:n_clusters]
    pictures = evaluation.sample_components(seen.model, facet, chosen, n_samples, seen.temperature)
    which = describe_part(len(chosen), len(used), "cluster in use", "most used")
    others = seen.describe_others("at one draw from their priors")
    title = f"{seen.facet_title(facet)}: samples of {which}{others}"
    title += f", temperature {seen.temperature:g}"
    rows = [list(row) for row in pictures.swapaxes(0, 1)]
    panel = Panel(rows, [""] * len(rows), [str(k) for k in chosen])
    return seen.pictures.draw_panels([panel], title)


def draw_moved_condition(seen: Seen, title: str, n_dimensions: int = 2) -> Figure:
    """Means of every cluster of facet 0 that has members, along dimensions of facet 1.

    Source: GMVAE, Figure 5b.

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
    labels = [cluster_title(seen.names(0), k) for k in clusters]
    panels = [
        Panel([list(row) for row in of_dimension], labels, heads, title=f"dimension {d}")
        for d, of_dimension in zip(dimensions, pictures.swapaxes(0, 1), strict=True)
    ]
    what = "means of components of facet 0 while facet 1, which they depend on, moves"
    return seen.pictures.draw_panels(panels, f"{title}: {what}")
