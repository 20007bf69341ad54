"""Everything that is measured of a trained model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pyro_mfcvae.data.observations import Dataset, Observations
from pyro_mfcvae.evaluation.accuracies import majority_map
from pyro_mfcvae.evaluation.measures import Part, View, measures_of
from pyro_mfcvae.evaluation.predictions import elbo_means, predict
from pyro_mfcvae.evaluation.results import Evaluation, FacetResults, FactorResults, Values
from pyro_mfcvae.inference.weights import Weights
from pyro_mfcvae.models.base import FacetModel

_PARTS: tuple[Part, ...] = ("train", "test")


def evaluate(
    model: FacetModel,
    dataset: Dataset,
    guide: str = "vade",
    n_samples: int = 1,
    weights: Weights | None = None,
) -> Evaluation:
    """Measure a model on the training and the held-out part of a data set.

    The map from clusters to classes is learnt on the training part; both parts are judged by it
    (``majority_accuracy_training_map``) as well as by a map of their own, which on the training
    part is the same. A facet with one cluster has no clustering: nothing is measured of it beside
    a factor or another facet.

    Args:
        model: the model.
        dataset: with labels, if there are any.
        guide: name of the guide, for the ELBO.
        n_samples: S, for the ELBO.
        weights: of the ELBO's terms; None takes the model's fade weights.

    Returns:
        every measure of the table that is not slow.

    Raises:
        ValueError: if responsibilities are not finite, as with a model that has diverged.
    """
    data = {part: dataset.split(part) for part in _PARTS}
    views = {part: facet_views(model, x) for part, (x, _) in data.items()}
    labels = {
        part: {factor: values.cpu().numpy() for factor, values in given.items()}
        for part, (_, given) in data.items()
    }
    clustered = {*model.structure.clustered}
    return Evaluation(
        n_observations={part: len(x) for part, (x, _) in data.items()},
        elbo={
            part: elbo_means(model, x, guide, n_samples, weights) for part, (x, _) in data.items()
        },
        facets=[
            FacetResults(
                n_clusters=facet.n_clusters,
                latent_dim=facet.latent_dim,
                measures={
                    row.name: {part: row.measure(own[j]) for part, own in views.items()}
                    for row in measures_of("facet")
                },
                factors={
                    factor: _judge({part: own[j] for part, own in views.items()}, labels, factor)
                    for factor in (labels["train"] if facet.has_clusters else ())
                },
            )
            for j, facet in enumerate(model.structure.facets)
        ],
        measures={
            row.name: {part: row.measure(View(model=model, x=data[part][0])) for part in _PARTS}
            for row in measures_of("run")
            if row.function is not None
        }
        | {
            row.name: {
                part: [
                    [
                        row.measure(replace(view, other_clusters=other.clusters))
                        if {i, j} <= clustered
                        else None
                        for j, other in enumerate(own)
                    ]
                    for i, view in enumerate(own)
                ]
                for part, own in views.items()
            }
            for row in measures_of("pair")
        },
    )


def facet_views(model: FacetModel, x: Observations) -> list[View]:
    """What every facet says of observations (N, *event)."""
    seen = predict(model, x)
    found = zip(seen.clusters, seen.responsibilities, seen.z_mean, strict=True)
    return [
        View(model=model, x=x, clusters=clusters, responsibilities=r, z_mean=z)
        for clusters, r, z in found
    ]


def _judge(
    views: dict[Part, View], labels: dict[Part, dict[str, np.ndarray]], factor: str
) -> FactorResults:
    """Every measure of one facet and one factor."""
    k = np.shape(views["train"].responsibilities)[1]
    cluster_map = majority_map(labels["train"][factor], views["train"].clusters, k)
    found: dict[Part, Values] = {}
    for part, view in views.items():
        view = replace(view, labels=labels[part][factor], cluster_map=cluster_map)
        found[part] = {
            row.name: row.measure(view) for row in measures_of("factor") if row.function is not None
        }
    n_classes = int(max(given[factor].max() for given in labels.values())) + 1
    return FactorResults(n_classes, **found)
