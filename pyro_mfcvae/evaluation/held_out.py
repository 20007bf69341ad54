"""Watching how a model does on held-out observations while it trains."""

from __future__ import annotations

import math
from typing import Literal

import torch
from typing_extensions import override

from pyro_mfcvae.config import Config
from pyro_mfcvae.config.observation import MISSING
from pyro_mfcvae.data.observations import Dataset, Observations, select, spread
from pyro_mfcvae.evaluation.evaluating import facet_views
from pyro_mfcvae.evaluation.measures import measures_of
from pyro_mfcvae.evaluation.predictions import elbo_means
from pyro_mfcvae.evaluation.results import log_name
from pyro_mfcvae.guides import Guide
from pyro_mfcvae.inference.elbo import Weights
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.training.callbacks import Callback, Metrics, MetricsLog
from pyro_mfcvae.training.state import Best, TrainingState

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


class KeepBest(Callback):
    """Early stopping without stopping: the model ends with the parameters that were best held out.

    It is measured by the ELBO, and only once all terms have their full weight. The best so far is
    ``state.best``, which checkpoints hold, so that a resumed run ends as an uninterrupted one.

    Args:
        x: held-out observations (N, *event).
        n_times: how often to measure, at least.
        max_observations: take so many, evenly spread.
    """

    def __init__(self, x: Observations, n_times: int = 50, max_observations: int = 1000) -> None:
        self.x = spread(x, max_observations)
        self.n_times = n_times

    @override
    def on_step(self, state: TrainingState) -> None:
        every = max(state.n_steps // self.n_times, 1)
        if state.step % every and state.step != state.n_steps:
            return
        objective = state.objective
        full = state.config.training.kl_weight
        if not bool((objective.weights.kl == full).all()):
            return
        elbo = elbo_means(
            state.model, self.x, objective.guide, objective.n_samples, objective.weights
        )["elbo"]
        if elbo > (-math.inf if state.best is None else state.best.elbo):
            tensors = {name: t.clone() for name, t in state.model.state_dict().items()}
            state.best = Best(elbo, state.step, tensors)
        if state.best is not None and state.step == state.n_steps:
            state.model.load_state_dict(state.best.tensors)


def best_kept(config: Config, dataset: Dataset) -> list[Callback]:
    """What keeps a run's best parameters, if its settings say so."""
    return [KeepBest(dataset.split("test")[0])] if config.training.keep_best else []


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
        the terms under their own names and, of facets with clusters, every measure that is logged,
        under the names of :func:`~pyro_mfcvae.evaluation.results.log_name`.
    """
    x, labels = dataset.split(part)
    if part == "train" and len(x) > max_observations:
        rows = spread(torch.arange(len(x)), max_observations)
        x, labels = select(x, rows), {factor: classes[rows] for factor, classes in labels.items()}
    values = elbo_means(model, x, guide, n_samples, weights)
    for j, view in enumerate(facet_views(model, x)):
        if j not in model.structure.clustered:
            continue
        for row in measures_of("facet", is_logged=True):
            values[log_name(row.name, j)] = row.measure(view)
        for factor, classes in labels.items():
            if (classes == MISSING).all():  # of the few that were taken
                continue
            judged = view.judged_by(classes.cpu().numpy())
            for row in measures_of("factor", is_logged=True):
                values[log_name(row.name, j, factor)] = row.measure(judged)
    return values
