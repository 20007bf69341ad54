"""Watching how a model does on held-out observations while it trains."""

from __future__ import annotations

from typing import Literal

import torch
from typing_extensions import override

from pyro_mfcvae.data.observations import Dataset, select, spread_out
from pyro_mfcvae.evaluation.accuracies import (
    exemplar_accuracy,
    majority_accuracy,
    normalized_mutual_information,
    occupied_clusters,
)
from pyro_mfcvae.evaluation.predictions import elbo_means, predict
from pyro_mfcvae.guides import Guide
from pyro_mfcvae.inference.weights import Weights
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.training.callbacks import Callback, Metrics, MetricsLog
from pyro_mfcvae.training.state import TrainingState

ON_TRAINING = "train_clusters"
"""The split of log points that judge training observations by their clusters."""


class HeldOutLog(Callback):
    """Measures the model on one part of the data every few epochs.

    Nothing of it reaches the training. Its place is before the checkpoints, so that a checkpoint
    never lies after a measurement that is still to come.

    Args:
        dataset: the data, with labels if there are any.
        log: to which log points are added.
        part: of the data, by default the held-out one.
    """

    def __init__(
        self, dataset: Dataset, log: MetricsLog, part: Literal["train", "test"] = "test"
    ) -> None:
        self.dataset = dataset
        self.log = log
        self.part = part

    @override
    def on_epoch(self, state: TrainingState, metrics: Metrics) -> None:
        every = state.config.training.evaluate_every
        if every and (state.epoch % every == 0 or state.step == state.n_steps):
            objective = state.objective  # of the last step
            values = held_out_metrics(
                state.model,
                self.dataset,
                objective.guide,
                objective.n_samples,
                objective.weights,
                self.part,
            )
            self.log.add(state, ON_TRAINING if self.part == "train" else self.part, values)


def held_out_metrics(
    model: FacetModel,
    dataset: Dataset,
    guide: str | Guide = "vade",
    n_samples: int = 1,
    weights: Weights | None = None,
    part: Literal["train", "test"] = "test",
    max_observations: int = 10_000,
) -> Metrics:
    """The ELBO's terms, and per facet its clusters in use and their agreement with each factor.

    Args:
        model: the model, on any device.
        dataset: of which one part is taken.
        guide: a guide or its name, for the ELBO.
        n_samples: S, for the ELBO.
        weights: of the ELBO's terms; None takes the model's fade weights.
        part: of the data.
        max_observations: of the training part take so many, evenly spread.

    Returns:
        the terms under their own names and, of facets with clusters, ``occupied_clusters_J``,
        ``majority_accuracy_J_FACTOR``, ``exemplar_accuracy_J_FACTOR`` and ``nmi_J_FACTOR``.
    """
    x, labels = dataset.split(part)
    if part == "train" and len(x) > max_observations:
        rows = spread_out(torch.arange(len(x)), max_observations)
        x, labels = select(x, rows), {factor: classes[rows] for factor, classes in labels.items()}
    values = elbo_means(model, x, guide, n_samples, weights)
    seen = predict(model, x)
    for j, (clusters, r) in enumerate(zip(seen.clusters, seen.responsibilities, strict=True)):
        if j not in model.structure.clustered:
            continue
        values[f"occupied_clusters_{j}"] = occupied_clusters(clusters)
        for factor, classes in labels.items():
            classes = classes.cpu().numpy()
            values[f"majority_accuracy_{j}_{factor}"] = majority_accuracy(classes, clusters)
            values[f"exemplar_accuracy_{j}_{factor}"] = exemplar_accuracy(classes, r)
            values[f"nmi_{j}_{factor}"] = normalized_mutual_information(classes, clusters)
    return values
