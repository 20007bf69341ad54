"""Everything that is measured of a trained model, as one dictionary for JSON."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.evaluation.accuracies import (
    agreement,
    assignment_entropy,
    majority_map,
    occupied_clusters,
    redundancy,
)
from pyro_mfcvae.evaluation.predictions import Predictions, elbo_means, predict
from pyro_mfcvae.inference.weights import Weights
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.models.structure import FacetStructure


def evaluate(
    model: FacetModel,
    dataset: Dataset,
    guide: str = "vade",
    n_samples: int = 1,
    weights: Weights | None = None,
) -> dict[str, Any]:
    """Measure a model on the training and the held-out part of a data set.

    The map from clusters to classes is learnt on the training part; both parts are judged by it
    (``majority_accuracy_training_map``) as well as by a map of their own, which on the training
    part is the same.

    Args:
        model: the model.
        dataset: with labels, if there are any.
        guide: name of the guide, for the ELBO.
        n_samples: S, for the ELBO.
        weights: of the ELBO's terms; None takes the model's fade weights.

    Returns:
        ``{"elbo": {part: {term: value}}, "facets": [{"n_clusters", "latent_dim",
        "occupied_clusters": {part: n}, "assignment_entropy": {part: nats},
        "normalized_assignment_entropy": {part: share of log K}, "factors": {factor: {"n_classes",
        part: {measure: value}}}}], "redundancy": {part: J x J}}`` with the parts ``train`` and
        ``test``; redundancy is the NMI of two facets' clusterings. A facet with one cluster has no
        clustering: its factors are empty, its redundancy is None.

    Raises:
        ValueError: if responsibilities are not finite, as with a model that has diverged.
    """
    parts = {part: dataset.split(part) for part in ("train", "test")}
    predictions = {part: predict(model, x) for part, (x, _) in parts.items()}
    labels = {
        part: {factor: values.cpu().numpy() for factor, values in given.items()}
        for part, (_, given) in parts.items()
    }
    return {
        "n_observations": {part: len(x) for part, (x, _) in parts.items()},
        "elbo": {
            part: elbo_means(model, x, guide, n_samples, weights) for part, (x, _) in parts.items()
        },
        "facets": [
            {
                "n_clusters": facet.n_clusters,
                "latent_dim": facet.latent_dim,
                **_facet(j, facet, predictions, labels),
            }
            for j, facet in enumerate(model.structure.facets)
        ],
        "redundancy": {
            part: _redundancy(p.clusters, model.structure.clustered)
            for part, p in predictions.items()
        },
    }


def _redundancy(
    clusters: Sequence[np.ndarray], clustered: Collection[int]
) -> list[list[float | None]]:
    nmi: list[list[float | None]] = [*redundancy(clusters)]
    for i, row in enumerate(nmi):
        for j in range(len(row)):
            if not {i, j} <= {*clustered}:
                row[j] = None
    return nmi


def _facet(
    j: int,
    facet: FacetStructure,
    predictions: dict[str, Predictions],
    labels: dict[str, dict[str, np.ndarray]],
) -> dict[str, Any]:
    clusters = {part: p.clusters[j] for part, p in predictions.items()}
    factors: dict[str, Any] = {}
    for factor, classes in labels["train"].items() if facet.has_clusters else ():
        cluster_map = majority_map(classes, clusters["train"], facet.n_clusters)
        factors[factor] = {
            "n_classes": int(max(given[factor].max() for given in labels.values())) + 1,
            **{
                part: agreement(
                    labels[part][factor], clusters[part], cluster_map, p.responsibilities[j]
                )
                for part, p in predictions.items()
            },
        }
    return {
        "occupied_clusters": {part: occupied_clusters(c) for part, c in clusters.items()},
        "assignment_entropy": {
            part: assignment_entropy(p.responsibilities[j]) for part, p in predictions.items()
        },
        "normalized_assignment_entropy": {
            part: assignment_entropy(p.responsibilities[j], normalized=True)
            for part, p in predictions.items()
        },
        "factors": factors,
    }
