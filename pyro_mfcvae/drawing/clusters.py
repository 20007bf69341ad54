"""What a facet's clusters hold: pictures, the latent space, agreement with labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from pyro_mfcvae import evaluation, figures
from pyro_mfcvae.drawing.held_out import HeldOut
from pyro_mfcvae.evaluation.prior_weights import prior_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pyro_mfcvae.models.structure import FacetStructure

Named = Iterator[tuple[str, "Figure | str"]]  # a figure, or why it is left out

_N_DRAWN = 15  # clusters in a figure of pictures
_N_RECONSTRUCTED, _N_SAMPLES = (24, 200), (10, 200)  # pictures, or points
_N_FACTORS = 8  # factors in a figure


def draw_pictures(seen: HeldOut) -> Named:
    """Reconstructions; typical members and samples of each facet's clusters."""
    inputs = seen.choose(None, _N_RECONSTRUCTED[seen.in_plane])
    means = evaluation.reconstruct(seen.model, seen.take(inputs))
    yield (
        "reconstructions",
        seen.figures.reconstructions(
            seen.shown[inputs],
            seen.drawable(means),
            title="held-out observations and their reconstructions",
        ),
    )
    for j in seen.clustered:
        responsibilities = seen.predictions.responsibilities[j]
        which = _which(responsibilities)
        yield (
            f"clusters-facet-{j}",
            seen.figures.cluster_examples(
                seen.shown,
                responsibilities,
                n_clusters=_N_DRAWN,
                title=f"facet {j}: typical held-out observations of {which}",
            ),
        )
        clusters = figures.cluster_order(responsibilities)[:_N_DRAWN]
        samples = evaluation.sample_clusters(
            seen.model, j, clusters, _N_SAMPLES[seen.in_plane], temperature=seen.temperature
        )
        yield (
            f"samples-facet-{j}",
            seen.figures.cluster_samples(
                seen.drawable(samples),
                clusters,
                title=f"facet {j}: samples of {which}{seen.others('from their priors')}, "
                f"temperature {seen.temperature:g}",
            ),
        )


@torch.no_grad()
def draw_mixtures(seen: HeldOut) -> Named:
    """The use that is made of the mixtures' components, and where they lie."""
    clusters = seen.predictions.clusters
    if seen.clustered:
        yield "weights", _weights(seen)
    for j, facet in enumerate(seen.model.structure.facets):
        if seen.is_shared(j):
            why = ", which a batch shares" * (seen.model.structure.group_size is not None)
            yield f"latents-facet-{j}", f"all observations have one latent of this facet{why}"
            continue
        p = seen.model.facets[j].at_origin()
        covariances = p.scale_tril @ p.scale_tril.mT
        projection = evaluation.project(
            seen.predictions.z_mean[j], p.loc.cpu().numpy(), covariances.cpu().numpy()
        )
        factor = next(iter(_factors(seen, j)), None)
        labels = (
            {}
            if factor is None
            else {
                "labels": seen.labels[factor],
                "factor": factor,
                "class_names": seen.class_names[factor],
            }
        )
        yield (
            f"latents-facet-{j}",
            figures.latent_space(
                projection,
                clusters[j],
                **labels,
                title=f"facet {j}: held-out observations at the mean of q(z | x)\n"
                f"+ and line around it: mean and one standard deviation of {_component(facet)}",
            ),
        )


def _weights(seen: HeldOut) -> Figure | str:
    """Clusters' shares of the observations beside p(c) as the generative story has it."""
    weights = prior_weights(seen.model)
    if missing := [j for j in seen.clustered if j not in weights]:
        return f"the model draws no site {', '.join(f'c_{j}' for j in missing)}"
    return figures.mixture_weights(
        [seen.predictions.clusters[j] for j in seen.clustered],
        [weights[j] for j in seen.clustered],
        title="mixture components: share of the held-out observations, and p(c)",
        facets=seen.clustered,
    )


def draw_agreement(seen: HeldOut) -> Named:
    """Clusters against classes, by facet."""
    for j in seen.clustered:
        clusters = seen.predictions.clusters[j]
        factors = _factors(seen, j)[:_N_FACTORS]
        if factors:
            yield (
                f"confusion-facet-{j}",
                figures.confusion(
                    {factor: seen.labels[factor] for factor in seen.labels if factor in factors},
                    clusters,
                    seen.class_names,
                    title=f"facet {j}: classes of the held-out observations in each cluster",
                ),
            )


def _factors(seen: HeldOut, j: int) -> list[str]:
    """All factors, those first that agree best with the clusters of facet j."""
    clusters = seen.predictions.clusters[j]
    agreement = {
        factor: evaluation.normalized_mutual_information(classes, clusters)
        for factor, classes in seen.labels.items()
    }
    return sorted(agreement, key=lambda factor: -agreement[factor])


def _component(facet: FacetStructure) -> str:
    if not facet.has_clusters:
        return "the prior"
    where = ", where the facet that it depends on is 0"
    return f"a component{where if facet.prior_parents else ''}"


def _which(responsibilities: np.ndarray) -> str:
    """Which of a facet's clusters a figure shows, in words."""
    n_used = len(np.unique(responsibilities.argmax(1)))
    if n_used == 1:
        return "the only cluster in use"
    if n_used <= _N_DRAWN:
        return f"all {n_used} clusters in use"
    return f"the {_N_DRAWN} surest of {n_used} clusters in use"
