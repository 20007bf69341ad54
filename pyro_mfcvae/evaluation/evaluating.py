"""Everything that is measured of a trained model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from torch import Tensor

from pyro_mfcvae.data.categories import indicator_names, with_indicators
from pyro_mfcvae.data.observations import Dataset, Observations, as_float, random_split, select
from pyro_mfcvae.evaluation.accuracies import majority_map
from pyro_mfcvae.evaluation.cluster_facts import facts_of, largest_first, largest_values
from pyro_mfcvae.evaluation.health import examine, examine_elbo
from pyro_mfcvae.evaluation.measures import Part, View, measures_of
from pyro_mfcvae.evaluation.predictions import elbo_means, predict
from pyro_mfcvae.evaluation.results import (
    ClusterResults,
    Evaluation,
    FacetResults,
    FactorResults,
    Values,
)
from pyro_mfcvae.inference.elbo import Weights
from pyro_mfcvae.models.base import FacetModel

_PARTS: tuple[Part, ...] = ("train", "test")
_MOST_ROWS, _MOST_VALUES = 10_000, 2**24  # that clusters are described by


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
        dataset: with labels, if there are any; where they are missing they are left out.
        guide: name of the guide, for the ELBO.
        n_samples: S, for the ELBO.
        weights: of the ELBO's terms; None takes the model's fade weights.

    Returns:
        every measure of the table that is not slow.

    Raises:
        ValueError: if responsibilities are not finite, as with a model that has diverged.
    """
    parts = {
        part: _measure(model, *dataset.split(part), guide, n_samples, weights) for part in _PARTS
    }
    elbo: dict[str, float] = {part: found.elbo["elbo"] for part, found in parts.items()}
    health = examine_elbo(elbo, model.observation) or examine(model, dataset.x)
    found = replace(_results(model, parts), health=tuple(health))
    if dataset.observation.kind != "table":
        return found
    clusters = _describe_clusters(dataset, parts["test"].views)
    facets = zip(found.facets, clusters, strict=True)
    return replace(found, facets=[replace(facet, clusters=own) for facet, own in facets])


def evaluate_halves(
    model: FacetModel,
    dataset: Dataset,
    guide: str = "vade",
    n_samples: int = 1,
    weights: Weights | None = None,
) -> tuple[Evaluation, Evaluation]:
    """Measure a model twice, each time on a random half of the held-out part.

    Who chooses among models by the first half reports the second: the best of many numbers on the
    same rows is too good. The halves are the same for all models.

    Args:
        model: the model.
        dataset: with two held-out observations or more, and labels, if there are any.
        guide: as for :func:`evaluate`.
        n_samples: likewise.
        weights: likewise.

    Raises:
        ValueError: as of :func:`evaluate`.
    """
    x, labels = dataset.split("test")
    train = _measure(model, *dataset.split("train"), guide, n_samples, weights)
    first, second = (
        _results(model, {"train": train, "test": _measure(model, *half, guide, n_samples, weights)})
        for half in (
            (select(x, rows), {factor: values[rows] for factor, values in labels.items()})
            for rows in random_split(len(x), 0.5, 0)
        )
    )
    return first, second


@dataclass(frozen=True, eq=False)
class _Measured:
    """One part of the data: what the model says of it, and labels (N,) by factor."""

    x: Observations
    labels: dict[str, np.ndarray]
    views: list[View]
    elbo: dict[str, float]


def _measure(
    model: FacetModel,
    x: Observations,
    labels: Mapping[str, Tensor],
    guide: str,
    n_samples: int,
    weights: Weights | None,
) -> _Measured:
    found = {factor: values.cpu().numpy() for factor, values in labels.items()}
    views = facet_views(model, x)
    return _Measured(x, found, views, elbo_means(model, x, guide, n_samples, weights))


def _results(model: FacetModel, parts: Mapping[Part, _Measured]) -> Evaluation:
    views = {part: found.views for part, found in parts.items()}
    labels = {part: found.labels for part, found in parts.items()}
    clustered = {*model.structure.clustered}
    return Evaluation(
        n_observations={part: len(found.x) for part, found in parts.items()},
        elbo={part: found.elbo for part, found in parts.items()},
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
            row.name: {
                part: row.measure(View(model=model, x=found.x)) for part, found in parts.items()
            }
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


def _describe_clusters(dataset: Dataset, views: Sequence[View]) -> Iterator[list[ClusterResults]]:
    """What sets the clusters of each facet apart, among up to 10,000 held-out rows of a table."""
    n = min(len(dataset.test), _MOST_ROWS, max(_MOST_VALUES // dataset.observation.n_values, 1))
    rows = np.linspace(0, len(dataset.test) - 1, n).astype(np.int64)
    x = as_float(dataset.x[dataset.test[rows]]).cpu().numpy()
    columns = dataset.feature_names or [f"column {i}" for i in range(x.shape[1])]
    x = with_indicators(x, columns, dataset.categories)
    known = ~np.isnan(x).all(0)
    names = list(compress(indicator_names(columns, dataset.categories), known))
    for view in views:
        q, z = (np.asarray(values)[rows] for values in (view.responsibilities, view.z_mean))
        facts = facts_of(q, z, x[:, known], None)
        yield [
            ClusterResults(
                k,
                int(facts.sizes[k]),
                float(facts.sureness[k]),
                dict(largest_values(facts.differences[k], names)),
            )
            for k in largest_first(facts.sizes)
            if len(facts.sizes) > 1
        ]


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
    judged = {part: view.judged_by(labels[part][factor]) for part, view in views.items()}
    cluster_map = majority_map(judged["train"].labels, judged["train"].clusters, k)
    found: dict[Part, Values] = {}
    for part, view in judged.items():
        view = replace(view, cluster_map=cluster_map)
        found[part] = {
            row.name: row.measure(view) for row in measures_of("factor") if row.function is not None
        }
    n_classes = int(max(given[factor].max() for given in labels.values())) + 1
    return FactorResults(n_classes, **found)
