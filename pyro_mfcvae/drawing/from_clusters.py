"""Pictures from clusters alone: samples of them, and their means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyro_mfcvae import evaluation, figures
from pyro_mfcvae.drawing.held_out import HeldOut
from pyro_mfcvae.drawing.intervention import Choice, Intervention, in_words, part_of
from pyro_mfcvae.evaluation.predictions import check_facet


def generate(
    seen: HeldOut,
    facets: Choice = None,
    clusters: Choice = None,
    n_clusters: int | None = 10,
    n_samples: int = 10,
    temperature: float | None = None,
    seed: int = 0,
) -> Intervention:
    """Pictures drawn from clusters of one facet each, other facets from their priors.

    Args:
        seen: model and observations.
        facets: beside each other; None takes all that have clusters.
        clusters: of the only facet; None takes the surest ones of each.
        n_clusters: how many of these at most; None takes all that have members.
        n_samples: pictures of each cluster.
        temperature: tau; None takes that of the run.
        seed: of the draws.

    Raises:
        ValueError: if a facet or cluster does not exist, clusters are given for several facets, or
            the number or the temperature is out of range.
    """
    facets = list((seen.clustered or [0]) if facets is None else facets)
    for facet in facets:
        check_facet(seen.model, facet)
    if clusters is not None and len(facets) != 1:
        raise ValueError(f"expected one facet that the clusters belong to, got {in_words(facets)}")
    temperature = seen.temperature if temperature is None else temperature
    arrays, chosen, used = {}, [], []
    for j in facets:
        order = figures.cluster_order(seen.predictions.responsibilities[j])
        chosen.append(order[:n_clusters] if clusters is None else list(clusters))
        used.append(len(order))
        arrays[f"pictures_{j}"] = evaluation.sample_clusters(
            seen.model, j, chosen[-1], n_samples, temperature, seed
        )
        arrays[f"clusters_{j}"] = np.array(chosen[-1])
    which = "; ".join(
        f"facet {j}: {len(k)} clusters"
        if clusters is not None
        else f"facet {j}: {part_of(len(k), n, 'clusters in use', 'surest')}"
        for j, k, n in zip(facets, chosen, used, strict=True)
    )
    title = f"samples of {which}{seen.others('from their priors')}, temperature {temperature:g}"
    pictures = [seen.drawable(arrays[f"pictures_{j}"]) for j in facets]
    return Intervention(arrays, seen.figures.facet_samples(pictures, chosen, facets, title))


def means(
    seen: HeldOut, facets: Sequence[int], clusters: Sequence[Choice] = (), n: int | None = None
) -> Intervention:
    """Pictures at the means of clusters of one facet, or of pairs of clusters of two facets.

    Args:
        seen: model and observations.
        facets: one or two of them.
        clusters: of each of these; None, or nothing at the end, takes the most used ones.
        n: how many of these at most; None takes all for one facet, 12 for two.

    Raises:
        ValueError: if a facet or cluster does not exist, or there are not one or two facets.
    """
    if len(facets) not in (1, 2) or len(clusters) > len(facets):
        raise ValueError(
            "expected one or two facets and at most as many lists of clusters, got "
            f"{len(facets)} and {len(clusters)}"
        )
    chosen, which = [], []
    for j, given in zip(facets, [*clusters, None, None], strict=False):
        used = seen.most_used(j)
        most = n if n is not None or len(facets) == 1 else 12
        chosen.append(used[:most] if given is None else list(given))
        how_many = (
            part_of(len(chosen[-1]), len(used), "clusters in use", "most used")
            if given is None
            else f"{len(given)} clusters"
        )
        which.append(f"facet {j}, {how_many}")
    pictures = evaluation.cluster_means(seen.model, facets, chosen)
    shown = seen.drawable(pictures)
    rest = ", other facets at the means of their priors"
    rest *= seen.model.n_facets > len(facets)
    if len(facets) == 1:
        figure = seen.figures.cluster_mean_grid(shown, *chosen, title=f"means of {which[0]}{rest}")
    else:
        title = f"means of rows: {which[0]}; columns: {which[1]}{rest}"
        figure = seen.figures.cluster_mean_matrix(shown, *chosen, title=title)
    arrays = {f"clusters_{j}": np.array(k) for j, k in zip(facets, chosen, strict=True)}
    return Intervention({"pictures": pictures} | arrays, figure)
