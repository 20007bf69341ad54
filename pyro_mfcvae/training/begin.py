"""A run before its first step: its data, its model, what must fit, and where both start from."""

from __future__ import annotations

import time

import torch

from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset, load_dataset
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.noise import derive_seed
from pyro_mfcvae.inference.threads import one_thread
from pyro_mfcvae.nets.likelihoods import Likelihood
from pyro_mfcvae.plugins import build_model, guide_class, model_class
from pyro_mfcvae.training.devices.compiled import make_cache_folder
from pyro_mfcvae.training.devices.launch import resolve_device
from pyro_mfcvae.training.engine import ONE_PROCESS, Engine
from pyro_mfcvae.training.loop import cpu_threads
from pyro_mfcvae.training.preflight import check
from pyro_mfcvae.training.say import Say, quiet
from pyro_mfcvae.training.start.initialise import initialise_mixtures, initialise_networks
from pyro_mfcvae.training.start.pretrain import pretrain, pretraining_stages
from pyro_mfcvae.training.state import TrainingState, new_state
from pyro_mfcvae.training.trackers import check_trackers


def begin(
    config: Config, dataset: Dataset | None = None, say: Say = quiet, engine: Engine = ONE_PROCESS
) -> tuple[Dataset, TrainingState, float | None]:
    """Prepare, check and initialise a run; arguments and errors as for :func:`prepare`.

    Returns:
        the data, the state before the first step, and what :func:`initialise` returns.
    """
    say("preparing the data")
    dataset, state = engine.on_all(lambda: prepare(config, dataset, engine))
    check(state, say)
    return dataset, state, engine.on_all(lambda: initialise(state, say))


def prepare(
    config: Config, dataset: Dataset | None = None, engine: Engine = ONE_PROCESS
) -> tuple[Dataset, TrainingState]:
    """Load the data and build, check and initialise everything for the first step.

    Nothing is written, and nothing long is begun before all settings have been checked against
    the data.

    Args:
        config: the settings.
        dataset: its data; None loads them.
        engine: the processes that will share the batches.

    Raises:
        ConfigError: if the settings do not fit each other, the data or the processes.
        DataError: if the data cannot be used.
    """
    device = engine.device or resolve_device(config.training.device)
    model_class(config.model)
    guide_class(config.guide)
    check_trackers(config)
    make_cache_folder(config.training.step == "compiled")
    if dataset is None:
        dataset = load_dataset(config.data)
    _check_clusters(config, dataset)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        model = build_model(config.model, dataset.observation, config.guide)
        _check_categories(model.likelihood, config, dataset)
        if not model.likelihood.takes_missing:
            dataset.check_complete()
        if config.training.pretraining is not None:
            pretraining_stages(model, config.training.pretraining, len(dataset.train))
        model.to(device, getattr(torch, config.training.dtype))
        x = dataset.split("train")[0]
        state = new_state(model, x, config, engine, dataset.train_strata)
        state.data = dataset.fingerprint
        how, spread = config.model.initialisation, config.model.initial_spread
        initialise_networks(model, state.batches.x, how, spread, config.seed)
    return dataset, state


def initialise(state: TrainingState, say: Say) -> float | None:
    """Pretrain where the settings ask for it, and place the mixtures.

    Returns:
        seconds of pretraining and placing, if there was any pretraining.
    """
    model, config, x = state.model, state.config, state.batches.x
    pretraining = config.training.pretraining
    began = time.monotonic()
    with cpu_threads(config.training.n_threads):
        if pretraining is not None:
            say("pretraining")
            stages = pretraining_stages(model, pretraining, len(x))
            pretrain(model, x, stages, config.seed, say)
        say("placing the mixtures")
        initialise_mixtures(model, x, config.model.mixture_initialisation, config.seed)
    return None if pretraining is None else time.monotonic() - began


def _check_categories(likelihood: Likelihood, config: Config, dataset: Dataset) -> None:
    """Raise a ConfigError if categories would be taken for numbers, or for other categories."""
    for i, n in dataset.n_categories.items():
        if likelihood.n_categories.get(i) != n:
            raise ConfigError(
                f"column {dataset.feature_names[i]!r} has {n} categories, which likelihood "
                f"{config.model.likelihood.name!r} would take for numbers or for other categories; "
                f"set model.likelihood=columns, with categorical:{n} in place {i} of its kinds, or "
                "without kinds for mfcvae train, which then takes those of the data"
            )


def _check_clusters(config: Config, dataset: Dataset) -> None:
    most = max(facet.n_clusters for facet in config.model.facets)
    if most > len(dataset.train):
        raise ConfigError(
            f"a facet has {most} clusters but there are only {len(dataset.train)} training "
            "observations; give fewer clusters with --facets D:K,D:K"
        )
