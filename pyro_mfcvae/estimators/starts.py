"""Training from several starts, of which held-out observations choose one."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.data.observations import Observations
from pyro_mfcvae.estimators.notebook import Progress
from pyro_mfcvae.evaluation import HealthWatch, predict
from pyro_mfcvae.evaluation.held_out import best_kept
from pyro_mfcvae.evaluation.predictions import elbo_of_rows
from pyro_mfcvae.evaluation.ranking import matched
from pyro_mfcvae.guides import NetworkGuide
from pyro_mfcvae.inference.noise import start_seeds
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.priors.conditional import ConditionalMixture
from pyro_mfcvae.priors.mixture import MixturePrior
from pyro_mfcvae.training.callbacks import Callback, MetricsLog
from pyro_mfcvae.training.fitted import fit_all
from pyro_mfcvae.training.say import quiet


@dataclass(frozen=True, eq=False)
class Chosen:
    """The best of several starts.

    Attributes:
        model: in float64 and evaluation mode.
        history: its log points.
        scores: held-out ELBO of every start.
        stability: (J,), how far the other starts find the same: NMI of matched facets.
    """

    model: FacetModel
    history: list[dict[str, Any]]
    scores: list[float]
    stability: NDArray[np.float64]


def best_of(config: Config, dataset: Dataset, n_starts: int, verbose: bool = False) -> Chosen:
    """Train from several starts and take the one with the best held-out ELBO. No label is read.

    What is wrong with a start is found while it trains, and stands in its log.

    Args:
        config: the settings.
        dataset: the data.
        n_starts: how many.
        verbose: show the progress of the first start, and say what is wrong with any.

    Raises:
        ConfigError, DataError: if something does not fit.
        TrainingError: if every start breaks down.
        KeyboardInterrupt: if the training was asked to stop.
    """
    held_out = dataset.split("test")[0]
    configs = [replace(config, seed=seed) for seed in start_seeds(config.seed, n_starts)]

    def callbacks(i: int, log: MetricsLog) -> list[Callback]:
        say = partial(_say_of_start, i) if verbose else quiet
        shown = [Progress()] if verbose and i == 0 else []
        return [HealthWatch(dataset.x, log, say), *best_kept(config, dataset), *shown]

    fitted = fit_all(configs, dataset, callbacks)
    if any(one.interrupted for one in fitted):
        raise KeyboardInterrupt
    models = [one.model.double() for one in fitted]
    scores = [float(elbo_of_rows(m, held_out, config.guide.name).mean()) for m in models]
    best = int(np.nanargmax(scores))
    x = dataset.x
    number_by_size(models[best], x)
    labels = [predict(model, x).clusters for model in models]
    others = [found for i, found in enumerate(labels) if i != best]
    return Chosen(models[best], fitted[best].log, scores, matched(labels[best], others))


def _say_of_start(i: int, what: str) -> None:
    tqdm.write(f"start {i}, {what}", file=sys.stderr)


def number_by_size(model: FacetModel, x: Observations) -> None:
    """Number the clusters of every facet by their rows in x: the largest is 0, empty ones are last.

    Where a network says q(c | x) the clusters stay as they are.
    """
    if any(isinstance(guide, NetworkGuide) for guide in model.guides.values()):
        return
    for facet, labels in zip(model.facets, predict(model, x).clusters, strict=True):
        if isinstance(facet, MixturePrior | ConditionalMixture):
            counts = np.bincount(labels, minlength=facet.n_clusters)
            order = np.argsort(-counts, kind="stable")
            facet.reorder(torch.from_numpy(order).to(model.fade.device))
