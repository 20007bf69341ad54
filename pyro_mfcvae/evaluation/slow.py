"""Measurements that take long: made when asked for, kept while model and data are the same.

Each is one row, stored under its name in ``evaluation.json``; its numbers are measures of the table
or have tables of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from pyro_mfcvae.config import Config
from pyro_mfcvae.data.observations import Dataset, spread
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.evaluation.bound import importance_weighted_bound, unweighable
from pyro_mfcvae.evaluation.diversity import pixel_diversity
from pyro_mfcvae.evaluation.evaluating import evaluate_halves
from pyro_mfcvae.evaluation.measures import Part
from pyro_mfcvae.evaluation.perceptual import check_pictures, perceptual_diversity, require_lpips
from pyro_mfcvae.evaluation.predictions import elbo_of_rows, predict, sample
from pyro_mfcvae.evaluation.probing import probe
from pyro_mfcvae.evaluation.results import Bound, Diversity, Evaluation, Probe
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.registry import unknown

_N_WEIGHED = 1000  # observations for the importance-weighted bound
_N_COMPARED = 10_000  # rows; pairs, and samples of the model, for diversity

ROWS = "rows"  # to compare runs by, row by row
HALVES = "held_out_halves"  # to choose among runs by one, and to report the other

DISTANCES = {"pixels": pixel_diversity, "lpips": perceptual_diversity}


@dataclass(frozen=True, eq=False)
class Trained:
    """A run's model, ready to be looked at."""

    config: Config  # the run's settings
    model: FacetModel  # on the run's device, in evaluation mode
    dataset: Dataset  # the run's data
    step: int  # steps done
    checksum: str  # of the model


@dataclass(frozen=True)
class SlowMeasurement:
    """One row.

    Attributes:
        name: in ``evaluation.json``.
        measure: of a trained model, what was asked for (True, a number, names), and what is known
            already; gives what is stored.
        check: raises an error if it cannot be measured, before anything is.
        covers: whether what is stored holds all that is asked for.
    """

    name: str
    measure: Callable[[Trained, Any, Evaluation], Any]
    check: Callable[[Trained, Any], None] = lambda trained, asked: None
    covers: Callable[[Any, Any], bool] = lambda stored, asked: True


SLOW: dict[str, SlowMeasurement] = {}


def register_slow(row: SlowMeasurement) -> None:
    """Add a row; one of the same name is replaced."""
    SLOW[row.name] = row


def check_slow(trained: Trained, asked: Mapping[str, Any]) -> None:
    """Refuse what cannot be measured, before anything is; what is asked for comes by row's name.

    Raises:
        ConfigError: if a name or a distance is unknown, a package is not installed, or the model
            has no importance-weighted bound.
        DataError: if there are no labels to probe by, LPIPS's weights are missing, or observations
            are no pictures.
    """
    for name, value in asked.items():
        if name not in SLOW:
            raise unknown("slow measurement", name, SLOW)
        SLOW[name].check(trained, value)


def _check_probe(trained: Trained, asked: bool) -> None:
    if not trained.dataset.labels:
        raise DataError(f"{trained.dataset.name}: a probe needs labels, and there are none")


def _probe(trained: Trained, asked: bool, known: Evaluation) -> Probe:
    return probe(trained.model, trained.dataset)


def _check_bound(trained: Trained, n_samples: int) -> None:
    if reason := unweighable(trained.model):
        raise ConfigError(f"no importance-weighted bound: {reason}; leave it out")


def _bound(trained: Trained, n_samples: int, known: Evaluation) -> Bound:
    """Means over up to 1,000 observations of each part, evenly spread, beside their ELBO."""
    parts: tuple[Part, ...] = ("train", "test")
    xs = {part: spread(trained.dataset.split(part)[0], _N_WEIGHED) for part in parts}

    def means(n: int) -> dict[Part, float]:
        return {
            part: importance_weighted_bound(trained.model, x, n).mean().item()
            for part, x in xs.items()
        }

    bounds, elbo = means(n_samples), means(1)  # with one sample they are equal
    return Bound(n_samples, {part: len(x) for part, x in xs.items()}, **bounds, elbo=elbo)


def _halves(trained: Trained, asked: bool, known: Evaluation) -> dict[str, Any]:
    """Evaluations, as ``evaluation.json`` holds one, whose ELBO has all KLs at weight 1."""
    guide = trained.config.guide
    found = evaluate_halves(trained.model, trained.dataset, guide.name, guide.n_samples)
    return {
        name: replace(half, step=known.step, n_steps=known.n_steps).to_dict()
        for name, half in zip(("choice", "report"), found, strict=True)
    }


def _rows(trained: Trained, asked: bool, known: Evaluation) -> dict[str, Any]:
    """The ELBO of held-out rows, and the clusters of all rows in each facet; of 10,000 at most."""
    x, guide = trained.dataset.split("test")[0], trained.config.guide.name
    clusters = predict(trained.model, spread(trained.dataset.x, _N_COMPARED)).clusters
    return {
        "elbo": elbo_of_rows(trained.model, spread(x, _N_COMPARED), guide).tolist(),
        "clusters": [facet.tolist() for facet in clusters],
    }


def _check_diversity(trained: Trained, distances: tuple[str, ...]) -> None:
    for distance in distances:
        if distance not in DISTANCES:
            raise unknown("distance", distance, DISTANCES)
    if "lpips" in distances:
        check_pictures(trained.model.observation.shape)
        require_lpips()


def _diversity(trained: Trained, distances: tuple[str, ...], known: Evaluation) -> Diversity:
    """Mean distances of random pairs, of the data and of as many samples (MFCVAE, Table 7).

    Of streamed observations pairs are drawn among 10,000, evenly spread.
    """
    model, observation = trained.model, trained.dataset.observation
    temperature = trained.config.sampling_temperature
    samples = torch.from_numpy(sample(model, _N_COMPARED, temperature))
    x = trained.dataset.x
    if isinstance(x, StreamedObservations):
        x = spread(x, _N_COMPARED)  # pairs of all of them would be read from all over the file
    pictures = {"data": x, "samples": samples}
    if x.is_floating_point():
        low, width = observation.low, (observation.high - observation.low) or 1.0
        pictures = {name: (x - low) / width for name, x in pictures.items()}
    pictures["samples"] = pictures["samples"].clamp(0, 1)  # as they are drawn
    device = next(model.parameters()).device
    found = {
        name: {of: DISTANCES[name](x, _N_COMPARED, device=device) for of, x in pictures.items()}
        for name in distances
    }
    before = known.diversity.distances if known.diversity else {}
    return Diversity(_N_COMPARED, before | found, _N_COMPARED, temperature)


for _row in (
    SlowMeasurement(
        "importance_weighted_bound", _bound, _check_bound, lambda stored, n: stored.n_samples == n
    ),
    SlowMeasurement("probe", _probe, _check_probe),
    SlowMeasurement(
        "diversity",
        _diversity,
        _check_diversity,
        lambda stored, asked: {*asked} <= stored.distances.keys(),
    ),
    SlowMeasurement(HALVES, _halves),
    SlowMeasurement(ROWS, _rows),
):
    register_slow(_row)
