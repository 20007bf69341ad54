"""Measuring a run: its model and its data, opened, evaluated, and its guides compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pyro_mfcvae.data import Dataset, spread_out
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import ConfigError, DataError, OtherDataWarning
from pyro_mfcvae.inference.weights import Weights
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.training.callbacks import Say, quiet
from pyro_mfcvae.training.devices.engine import resolve_device
from pyro_mfcvae.training.state import kl_scale

# Kept while model and data are the same.
_SLOW = ("importance_weighted_bound", "probe", "diversity", "groups", "domains")
_N_WEIGHED = 1000  # observations for the importance-weighted bound
_N_COMPARED = 10_000  # pairs, and samples of the model, for diversity

DISTANCES = ("pixels", "lpips")


@dataclass(frozen=True, eq=False)
class Trained:
    """A run's model, ready to be looked at.

    Attributes:
        model: on the run's device, in evaluation mode.
        dataset: the run's data.
        step: steps done.
        checksum: of the model.
    """

    model: FacetModel
    dataset: Dataset
    step: int
    checksum: str


def open_trained(run: Run, dataset: Dataset | None = None) -> Trained:
    """A run's model at its newest checkpoint, on the run's device, and the data.

    Args:
        run: the run.
        dataset: its data; None loads them again.

    Raises:
        ConfigError: if the data are not such as the model was made for.
    """
    checkpoint = run.checkpoint()
    model = run.model(checkpoint).to(_device_or_cpu(run.config.training.device))
    if dataset is None:
        dataset = run.dataset()
    shape, expected = dataset.observation.shape, model.observation.shape
    if shape != expected:
        raise ConfigError(f"the run's model takes observations {expected}, the data have {shape}")
    if checkpoint.data not in (None, dataset.fingerprint):
        warnings.warn(
            f"these are not the data that {run.path} was trained on: other observations, or "
            "another split, so that held-out observations may have been trained on",
            OtherDataWarning,
            stacklevel=2,
        )
    return Trained(model, dataset, checkpoint.step, checkpoint.model_checksum)


def _weights_of_training(run: Run, trained: Trained) -> Weights:
    """Weights of the last step: what is measured is its objective."""
    training = run.config.training
    per_epoch = -(-len(trained.dataset.train) // training.batch_size)
    scale = kl_scale(training, max(trained.step - 1, 0), per_epoch)
    fade = trained.model.kl_fade
    return Weights(fade, training.kl_floor, None if scale == 1 else fade.new_tensor(scale))


def evaluate_run(
    run: Run,
    dataset: Dataset | None = None,
    probed: bool = False,
    n_importance_samples: int = 0,
    say: Say = quiet,
    distances: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure a run's model and write ``evaluation.json``.

    A probe, an importance-weighted bound and diversity measured earlier are kept, if model and
    data are the same.

    Args:
        run: the run.
        dataset: its data; None loads them again.
        probed: train a classifier of every factor on every facet's latents, too; this may take
            minutes.
        n_importance_samples: S of the importance-weighted bound, which is measured on up to
            1,000 observations of each part, evenly spread; 0 leaves it out.
        say: is told what is going on.
        distances: of random pairs of observations and of random pairs of samples, whose means
            are measured (MFCVAE, Table 7): ``"pixels"``, the root of the mean squared difference,
            and ``"lpips"``, which needs the package of this name. Of streamed observations pairs
            are drawn among 10,000, evenly spread.

    Returns:
        as :func:`~pyro_mfcvae.evaluation.evaluate`, with the model's ``"step"`` of ``"n_steps"``,
        the digests of ``"data"`` and ``"model"`` and, if asked for, ``"probe"``,
        ``"importance_weighted_bound"`` beside the ``"elbo"`` of the same observations, and
        ``"diversity"``.

    Raises:
        ConfigError: if a distance is unknown, its package is not installed, or the model has no
            importance-weighted bound.
        DataError: if a probe is asked for and there are no labels, or LPIPS and its weights are
            missing, or observations are no pictures.
    """
    from pyro_mfcvae import evaluation

    trained = open_trained(run, dataset)
    _check_possible(trained, probed, n_importance_samples, distances)
    guide, before = run.config.guide, run.evaluation() or {}
    results = {"step": trained.step, "n_steps": run.n_steps(len(trained.dataset.train))}
    results |= evaluation.evaluate(
        trained.model,
        trained.dataset,
        guide.name,
        guide.n_samples,
        _weights_of_training(run, trained),
    )
    results |= {"data": trained.dataset.fingerprint, "model": trained.checksum}
    if all(before.get(key) == results[key] for key in ("data", "model")):
        results |= {key: before[key] for key in _SLOW if key in before}
    if n_importance_samples:
        say("weighing samples")
        results["importance_weighted_bound"] = _bound(trained, n_importance_samples)
    if probed:
        n_fits = (trained.model.n_facets + 1) * len(trained.dataset.labels)
        say(f"training {n_fits} classifiers")
        results["probe"] = evaluation.probe(trained.model, trained.dataset)
    if distances:
        say(f"comparing {_N_COMPARED:,} pairs of pictures")
        known = results.get("diversity", {}).get("distances", {})
        results["diversity"] = _diversity(trained, distances, run.config.sampling_temperature)
        results["diversity"]["distances"] = known | results["diversity"]["distances"]
    run.write_evaluation(results)
    return results


def is_measured(
    run: Run,
    dataset: Dataset | None = None,
    probed: bool = False,
    n_importance_samples: int = 0,
    distances: Sequence[str] = (),
) -> bool:
    """Whether ``evaluation.json`` is that of the run's newest checkpoint, with all that is asked.

    Args:
        run: the run.
        dataset: its data; None takes it that they are those that were evaluated.
        probed: as for :func:`evaluate_run`.
        n_importance_samples: likewise.
        distances: likewise.
    """
    known, checkpoint = run.evaluation(), run.checkpoint()
    if known is None:
        return False
    bound = known.get("importance_weighted_bound", {})
    return (
        known["step"] == checkpoint.step
        and known.get("model", checkpoint.model_checksum) == checkpoint.model_checksum
        and (dataset is None or known.get("data") == dataset.fingerprint)
        and ("probe" in known or not probed)
        and n_importance_samples in (0, bound.get("n_samples"))
        and set(distances) <= set(known.get("diversity", {}).get("distances", {}))
    )


def _check_possible(
    trained: Trained, probed: bool, n_importance_samples: int, distances: Sequence[str]
) -> None:
    """Refuse what cannot be measured before anything is."""
    from pyro_mfcvae.evaluation.bound import unweighable
    from pyro_mfcvae.evaluation.perceptual import check_pictures, require_lpips

    if probed and not trained.dataset.labels:
        raise DataError(f"{trained.dataset.name}: a probe needs labels, and there are none")
    if n_importance_samples and (reason := unweighable(trained.model)):
        raise ConfigError(f"no importance-weighted bound: {reason}; leave it out")
    for distance in distances:
        if distance not in DISTANCES:
            raise unknown("distance", distance, DISTANCES)
    if "lpips" in distances:
        check_pictures(trained.model.observation.shape)
        require_lpips()


def _bound(trained: Trained, n_samples: int) -> dict[str, Any]:
    """The mean importance-weighted bound on both parts of the data, beside the ELBO."""
    from pyro_mfcvae.evaluation import importance_weighted_bound

    bounds: dict[str, Any] = {"n_samples": n_samples, "n_observations": {}, "elbo": {}}
    for part in ("train", "test"):
        x = spread_out(trained.dataset.split(part)[0], _N_WEIGHED)
        bounds["n_observations"][part] = len(x)
        for values, n in ((bounds, n_samples), (bounds["elbo"], 1)):  # with one they are equal
            bound = importance_weighted_bound(trained.model, x, n)
            values[part] = bound.mean().item()
    return bounds


def _diversity(trained: Trained, distances: Sequence[str], temperature: float) -> dict[str, Any]:
    """Mean distances of random pairs, of the data and of as many samples of the model."""
    from pyro_mfcvae import evaluation

    measures = {"pixels": evaluation.pixel_diversity, "lpips": evaluation.perceptual_diversity}
    model, observation = trained.model, trained.dataset.observation
    samples = torch.from_numpy(evaluation.sample(model, _N_COMPARED, temperature))
    x = trained.dataset.x
    if isinstance(x, StreamedObservations):
        x = spread_out(x, _N_COMPARED)  # pairs of all of them would be read from all over the file
    pictures = {"data": x, "samples": samples}
    if x.is_floating_point():
        low, width = observation.low, (observation.high - observation.low) or 1.0
        pictures = {name: (x - low) / width for name, x in pictures.items()}
    pictures["samples"] = pictures["samples"].clamp(0, 1)  # as they are drawn
    device = next(model.parameters()).device
    found = {
        name: {of: measures[name](x, _N_COMPARED, device=device) for of, x in pictures.items()}
        for name in distances
    }
    return {
        "n_samples": _N_COMPARED,
        "n_pairs": _N_COMPARED,
        "temperature": temperature,
        "distances": found,
    }


def compare_run(
    run: Run,
    dataset: Dataset | None = None,
    guides: Sequence[str] | None = None,
    n_samples: Sequence[int] = (1, 2, 8, 32),
    n_observations: int = 100,
    n_draws: int = 20,
    on_pass: Callable[[int, int], None] = lambda n_done, n_all: None,
) -> dict[str, Any]:
    """Compare guides on held-out observations and write ``comparison.json``.

    Args:
        run: the run whose model is taken as it is.
        dataset: its data; None loads them again.
        guides: names; None takes all that fit.
        n_samples: numbers S of samples per observation.
        n_observations: how many held-out observations, evenly spread. Where those of a batch share
            a latent, one batch as in training is taken instead: the bound depends on its size.
        n_draws: draws of the noise.
        on_pass: is told after every pass of one guide how many of how many are done.

    Returns:
        as :func:`~pyro_mfcvae.evaluation.compare_guides`, and the model's ``"step"``.
    """
    from pyro_mfcvae.evaluation import compare_guides

    trained = open_trained(run, dataset)
    x = spread_out(
        trained.dataset.split("test")[0], trained.model.structure.group_size or n_observations
    )
    weights = _weights_of_training(run, trained)
    results = compare_guides(
        trained.model, x, guides, n_samples, n_draws, weights, run.config.seed, on_pass
    )
    results = {"step": trained.step, **results}
    run.write_comparison(results)
    return results


def _device_or_cpu(name: str) -> torch.device:
    """The device that a run was trained on, or the CPU where there is none like it."""
    try:
        return resolve_device(name)
    except ConfigError:
        return torch.device("cpu")
