"""Measuring a run: its model and its data, opened, evaluated, and its guides compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from pyro_mfcvae import evaluation
from pyro_mfcvae.data import Dataset, spread
from pyro_mfcvae.errors import ConfigError, OtherDataWarning
from pyro_mfcvae.evaluation.results import Comparison, Evaluation
from pyro_mfcvae.evaluation.slow import SLOW, Trained, check_slow
from pyro_mfcvae.inference.elbo import Weights
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.training.checkpoints import Checkpoint
from pyro_mfcvae.training.devices.launch import resolve_device
from pyro_mfcvae.training.say import Say, quiet
from pyro_mfcvae.training.schedules import kl_scale


def open_model(run: Run) -> tuple[FacetModel, Checkpoint]:
    """A run's model at its newest checkpoint, on the run's device, and the checkpoint."""
    model, checkpoint = run.newest()
    return model.to(_device_or_cpu(run.config.training.device)), checkpoint


def open_trained(run: Run, dataset: Dataset | None = None) -> Trained:
    """A run's model at its newest checkpoint, on the run's device, and the data.

    Args:
        run: the run.
        dataset: its data; None loads them again.

    Raises:
        ConfigError: if the data are not such as the model was made for.
    """
    model, checkpoint = open_model(run)
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
    return Trained(run.config, model, dataset, checkpoint.step, checkpoint.model_checksum)


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
    slow: Mapping[str, Any] | None = None,
    say: Say = quiet,
) -> Evaluation:
    """Measure a run's model and write ``evaluation.json``.

    What was measured earlier and takes long is kept, if model and data are the same.

    Args:
        run: the run.
        dataset: its data; None loads them again.
        slow: what else is measured, by name in ``evaluation.slow.SLOW``:
            ``{"probe": True}`` trains a classifier of every factor on every facet's latents,
            ``{"importance_weighted_bound": S}`` takes S samples, and ``{"diversity": ("pixels",
            "lpips")}`` compares random pairs of observations, and of samples. What is False, 0 or
            empty is left out.
        say: is told what is going on.

    Raises:
        ConfigError: if something is unknown, its package is not installed, or it cannot be
            measured of this model.
        DataError: if something cannot be measured of these data.
    """
    trained = open_trained(run, dataset)
    asked = {name: value for name, value in (slow or {}).items() if value}
    check_slow(trained, asked)
    guide, before = run.config.guide, run.evaluation()
    weights = _weights_of_training(run, trained)
    found = evaluation.evaluate(
        trained.model, trained.dataset, guide.name, guide.n_samples, weights
    )
    found = replace(
        found,
        step=trained.step,
        n_steps=run.n_steps(len(trained.dataset.train)),
        data=trained.dataset.fingerprint,
        model=trained.checksum,
        facet_names=run.facet_names(),
    )
    if before and (before.data, before.model) == (found.data, found.model):
        found = found.with_slow(before.slow)
    for name, value in asked.items():
        say(f"measuring {name.replace('_', ' ')}")
        found = found.with_slow({name: SLOW[name].measure(trained, value, found)})
    run.write_evaluation(found)
    return found


def lacking(
    run: Run, dataset: Dataset | None = None, slow: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """What has to be measured to know all that is asked of a run's newest checkpoint.

    Args:
        run: the run.
        dataset: its data; None takes it that they are those that were evaluated.
        slow: what is asked besides, as for :func:`evaluate_run`.

    Returns:
        what is lacking of ``slow``, which may be empty; None where nothing has to be measured.
    """
    asked = {name: value for name, value in (slow or {}).items() if value}
    known, checkpoint = run.evaluation(), run.checkpoint()
    if (
        known is None
        or known.step != checkpoint.step
        or known.model not in (None, checkpoint.model_checksum)
        or (dataset is not None and known.data != dataset.fingerprint)
    ):
        return asked
    lacks = {
        name: value
        for name, value in asked.items()
        if name not in known.slow or not SLOW[name].covers(known.slow[name], value)
    }
    return lacks or None


def compare_run(
    run: Run,
    dataset: Dataset | None = None,
    guides: Sequence[str] | None = None,
    n_samples: Sequence[int] = (1, 2, 8, 32),
    n_observations: int = 100,
    n_draws: int = 20,
    on_pass: Callable[[int, int], None] = lambda n_done, n_all: None,
) -> Comparison:
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
    """
    trained = open_trained(run, dataset)
    group_size = trained.model.structure.group_size
    x = spread(trained.dataset.split("test")[0], group_size or n_observations)
    weights = _weights_of_training(run, trained)
    results = evaluation.compare_guides(
        trained.model, x, guides, n_samples, n_draws, weights, run.config.seed, on_pass
    )
    results = replace(results, step=trained.step)
    run.write_comparison(results)
    return results


def _device_or_cpu(name: str) -> torch.device:
    """The device that a run was trained on, or the CPU where there is none like it."""
    try:
        return resolve_device(name)
    except ConfigError:
        return torch.device("cpu")
