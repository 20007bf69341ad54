"""Training a whole run: data, model, first step to last."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from filelock import FileLock, Timeout

from pyro_mfcvae.config import Config, config_to_json
from pyro_mfcvae.data import Dataset, in_folder, load_dataset
from pyro_mfcvae.errors import ConfigError, RunError
from pyro_mfcvae.files import write_whole
from pyro_mfcvae.models import build_model
from pyro_mfcvae.noise import derived_seed
from pyro_mfcvae.runs import Run
from pyro_mfcvae.training import Callback, TrainingState, fit, new_state
from pyro_mfcvae.training.callbacks import (
    MetricsLog,
    Say,
    StopAtNonsense,
    Timings,
    add_timing,
)
from pyro_mfcvae.training.checkpoints import Checkpoints, newest_checkpoint, restore
from pyro_mfcvae.training.initialise import initialise_mixtures, initialise_networks
from pyro_mfcvae.training.loop import cpu_threads
from pyro_mfcvae.training.pretrain import pretrain, pretraining_stages

if TYPE_CHECKING:
    from pathlib import Path


def resolve_device(name: str) -> torch.device:
    """The device called name; ``"auto"`` is CUDA where there is any, else the CPU.

    Raises:
        ConfigError: if it does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used here ({reason}); try cpu") from None
    if device.type == "meta":
        raise ConfigError(f"device {name!r} holds no numbers; try cpu")
    return device


def prepare(config: Config) -> tuple[Dataset, TrainingState]:
    """Load the data and build, check and initialise everything for the first step.

    Nothing is written, and nothing long is begun before all settings have been checked against
    the data.

    Raises:
        ConfigError: if the settings do not fit each other or the data.
        DataError: if the data cannot be used.
    """
    device = resolve_device(config.training.device)
    dataset = load_dataset(config.data)
    _check_clusters(config, dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "weights"))
        model = build_model(config.model, dataset.observation)
        if config.training.pretraining is not None:
            pretraining_stages(model, config.training.pretraining, len(dataset.train))
        model.to(device, getattr(torch, config.training.dtype))
        x = dataset.split("train")[0].to(device)
        state = new_state(model, x, config)
        state.data = dataset.fingerprint
        initialise_networks(model, x, config.model.initialisation, config.model.initial_spread)
    return dataset, state


def train(
    config: Config,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    say: Say = lambda _: None,
    measuring: Sequence[Callback] = (),
) -> tuple[Run, TrainingState, Dataset]:
    """Train a model from the beginning, in a new run folder.

    Args:
        config: the settings.
        out: the run folder, which must not exist; None numbers one under ``runs``.
        callbacks: of the training loop, after those that log and save.
        say: is told what is going on.
        measuring: callbacks that log, before those that save: a checkpoint must not lie after a
            measurement that is still to come.

    Returns:
        the run, the state after its last step, and the data.

    Raises:
        ConfigError, DataError: before anything is written, if something does not fit.
        TrainingError: if pretraining or training breaks down.
    """
    Run.check_path(out)
    say("preparing the data")
    dataset, state = prepare(config)
    _warn_of_unfaded_facets(state, say)
    x, pretraining = state.batches.x, config.training.pretraining
    began = time.monotonic()
    with cpu_threads(config.training.n_threads):
        if pretraining is not None:
            say("pretraining")
            stages = pretraining_stages(state.model, pretraining, len(x))
            pretrain(state.model, x, stages, config.seed, say)
        say("placing the mixtures")
        initialise_mixtures(state.model, x, config.model.mixture_initialisation, config.seed)
    run = Run.create(config, out)
    if pretraining is not None:
        add_timing(run.timings_path, state, 0, time.monotonic() - began)
    say(f"training in {run.path}")
    with _alone(run):
        return run, _fit(run, state, dataset, callbacks, measuring), dataset


def resume(
    run: Run,
    callbacks: Sequence[Callback] = (),
    say: Say = lambda _: None,
    data_dir: Path | str | None = None,
    device: str | None = None,
    measuring: Sequence[Callback] = (),
) -> tuple[TrainingState, Dataset]:
    """Go on with an interrupted run where its newest whole checkpoint left it.

    Args:
        run: the run.
        callbacks: of the training loop, after those that log and save.
        say: is told what is going on.
        data_dir: folder where the data's files are by now; None leaves the settings as they are.
        device: to train on from now on; None leaves the settings as they are.
        measuring: callbacks that log, before those that save.

    Raises:
        ConfigError, DataError: if the new places do not fit; the settings stay as they were.
        RunError: if there is no checkpoint to go on from, the settings or the data have changed,
            or another process is training this run.
        TrainingError: if training breaks down.
    """
    config = run.config
    if data_dir is not None:
        config = replace(config, data=in_folder(config.data, data_dir))
    if device is not None:
        config = replace(config, training=replace(config.training, device=device))
    with _alone(run):
        checkpoint = newest_checkpoint(run.checkpoints)
        checkpoint.check_settings(config)
        say("preparing the data")
        dataset, state = prepare(config)
        if checkpoint.step < state.n_steps:
            restore(state, checkpoint)
        if config != run.config:
            write_whole(run.path / "config.json", config_to_json(config))
            run = Run(run.path)
        if checkpoint.step == state.n_steps:
            say(f"{run.path} is finished: nothing is left to train")
            state.model.load_state_dict(run.model(checkpoint).state_dict())
            state.step = state.n_steps
            return state, dataset
        say(f"going on at step {state.step} of {state.n_steps} in {run.path}")
        return _fit(run, state, dataset, callbacks, measuring), dataset


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Keep other processes from training the same run."""
    try:
        with FileLock(run.path / ".lock", timeout=0):
            yield
    except Timeout:
        raise RunError(
            f"another process is training {run.path}; wait for its end, or interrupt it"
        ) from None


def _fit(
    run: Run,
    state: TrainingState,
    dataset: Dataset,
    callbacks: Sequence[Callback],
    measuring: Sequence[Callback],
) -> TrainingState:
    from pyro_mfcvae.evaluation import HeldOutLog

    own = [
        StopAtNonsense(),
        MetricsLog(run.metrics_path),
        HeldOutLog(dataset, run.metrics_path),
        *measuring,
        Checkpoints(run.checkpoints),
        Timings(run.timings_path),
    ]
    return fit(state, [*own, *callbacks])


def _warn_of_unfaded_facets(state: TrainingState, say: Say) -> None:
    for j, weight in enumerate(state.schedule(state.n_steps - 1)):
        if weight < 1:
            say(
                f"warning: facet {j} will have a fade weight of {weight:.2f} at the end of this "
                "run; train longer (training.epochs_per_step) or lower training.n_fade_in_batches"
            )


def _check_clusters(config: Config, dataset: Dataset) -> None:
    most = max(facet.n_clusters for facet in config.model.facets)
    if most > len(dataset.train):
        raise ConfigError(
            f"a facet has {most} clusters but there are only {len(dataset.train)} training "
            "observations; give fewer clusters with --facets D:K,D:K"
        )
