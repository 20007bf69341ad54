"""Training from several starts, of which held-out observations choose one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.data.observations import Observations
from pyro_mfcvae.evaluation import normalized_mutual_information, predict
from pyro_mfcvae.evaluation.held_out import KeepBest
from pyro_mfcvae.evaluation.predictions import batches
from pyro_mfcvae.guides import NetworkGuide
from pyro_mfcvae.inference.noise import SameNoise, derive_seed
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.priors.conditional import ConditionalMixture
from pyro_mfcvae.priors.mixture import MixturePrior
from pyro_mfcvae.training.callbacks import Callback
from pyro_mfcvae.training.fitted import fit_all

_N_SAMPLES = 16  # of z for each observation


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


def best_of(
    config: Config, dataset: Dataset, n_starts: int, callbacks: Sequence[Callback] = ()
) -> Chosen:
    """Train from several starts and take the one with the best held-out ELBO. No label is read.

    Raises:
        ConfigError, DataError: if something does not fit.
        TrainingError: if every start breaks down.
        KeyboardInterrupt: if the training was asked to stop.
    """
    held_out = dataset.split("test")[0]
    seeds = [derive_seed(config.seed, "start", i) % 2**31 for i in range(n_starts)]
    own: list[list[Callback]] = [[KeepBest(held_out)] for _ in seeds]
    own[0].extend(callbacks)
    fitted = fit_all([replace(config, seed=seed) for seed in seeds], dataset, own)
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


def elbo_of_rows(model: FacetModel, x: Observations, guide: str) -> NDArray[np.float64]:
    """The ELBO of every observation, (N,), in nats, each under the same noise."""
    parts = []
    with torch.no_grad():
        for batch in batches(model, x):
            with SameNoise(0):
                parts.append(model(batch, guide, _N_SAMPLES).elbo.cpu().numpy())
    return np.concatenate(parts)


def matched(
    facets: Sequence[NDArray[np.int64]], others: Sequence[Sequence[NDArray[np.int64]]]
) -> NDArray[np.float64]:
    """Mean NMI of each facet's clusters with those of its match in other starts, (J,); NaN of none.

    Facets are matched one to one, so that their NMIs sum to the most.
    """
    from scipy.optimize import linear_sum_assignment

    found = np.full((len(others), len(facets)), np.nan)
    for i, start in enumerate(others):
        nmi = np.array([[normalized_mutual_information(a, b) for b in start] for a in facets])
        rows, columns = linear_sum_assignment(nmi, maximize=True)
        found[i, rows] = nmi[rows, columns]
    return found.mean(0) if len(others) else np.full(len(facets), np.nan)
