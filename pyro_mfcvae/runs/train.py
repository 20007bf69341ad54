"""Training a whole run: data, model, first step to last."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from filelock import FileLock, Timeout

from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset, as_float, in_folder, load_dataset
from pyro_mfcvae.errors import ConfigError, RunError
from pyro_mfcvae.inference.noise import derived_seed
from pyro_mfcvae.models import build_model
from pyro_mfcvae.models.stand_in import check_fit
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.training import Callback, TrainingState, fit, new_state
from pyro_mfcvae.training.callbacks import MetricsLog, Say, StopAtNonsense, Timings, add_timing
from pyro_mfcvae.training.checkpoints import (
    Checkpoints,
    newest_checkpoint,
    read_checkpoint,
    restore,
)
from pyro_mfcvae.training.checks import has_batch_norm
from pyro_mfcvae.training.devices.engine import ONE_PROCESS, EndedElsewhere, Engine
from pyro_mfcvae.training.loop import cpu_threads
from pyro_mfcvae.training.no_effect import warn_of_no_effect
from pyro_mfcvae.training.preflight import check_trial
from pyro_mfcvae.training.start.initialise import initialise_mixtures, initialise_networks
from pyro_mfcvae.training.start.pretrain import pretrain, pretraining_stages

if TYPE_CHECKING:
    from pathlib import Path

_N_LOOKED_AT = 64  # observations, which may be read from a file
_LARGE = 100.0  # for a value


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


def prepare(
    config: Config, dataset: Dataset | None = None, engine: Engine = ONE_PROCESS
) -> tuple[Dataset, TrainingState]:
    """Load the data and build, check and initialise everything for the first step.

    Nothing is written, and nothing long is begun before all settings have been checked against
    the data.

    Args:
        config: the settings.
        dataset: its data, where they are loaded already.
        engine: the processes that will share the batches.

    Raises:
        ConfigError: if the settings do not fit each other, the data or the processes.
        DataError: if the data cannot be used.
    """
    device = engine.device or resolve_device(config.training.device)
    if dataset is None:
        check_fit(config)
        dataset = load_dataset(config.data)
    _check_clusters(config, dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "weights"))
        model = build_model(config.model, dataset.observation, config.guide)
        if config.training.pretraining is not None:
            pretraining_stages(model, config.training.pretraining, len(dataset.train))
        model.to(device, getattr(torch, config.training.dtype))
        x = dataset.split("train")[0]
        state = new_state(model, x, config, engine, dataset.train_strata)
        state.data = dataset.fingerprint
        initialise_networks(
            model, state.batches.x, config.model.initialisation, config.model.initial_spread
        )
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


def train(
    config: Config,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    say: Say = lambda _: None,
    measuring: Sequence[Callback] = (),
    engine: Engine = ONE_PROCESS,
) -> tuple[Run, TrainingState, Dataset]:
    """Train a model from the beginning, in a new run folder.

    Of several processes each calls this with the same arguments. They pretrain and place the
    mixtures alike, each for itself; process 0's are what they go on with.

    Args:
        config: the settings.
        out: the run folder, which must not exist; None numbers one under ``runs``.
        callbacks: of the training loop, after those that log and save.
        say: is told what is going on.
        measuring: callbacks that log, before those that save: a checkpoint must not lie after a
            measurement that is still to come.
        engine: this process and those that share the batches with it, from
            :func:`~pyro_mfcvae.training.devices.engine.launched`. Process 0 alone writes, speaks
            and has callbacks.

    Returns:
        the run, the state after its last step, and the data.

    Raises:
        ConfigError, DataError: before anything is written, if something does not fit.
        TrainingError: if pretraining or training breaks down, or another process does.
    """
    say = _of_writer(say, engine)
    engine.on_writer(lambda: Run.check_path(out))
    say("preparing the data")
    dataset, state = engine.on_all(lambda: prepare(config, engine=engine))
    _warn_of_large_values(state, say)
    fades = engine.on_all(lambda: check_trial(state))
    engine.on_writer(lambda: warn_of_no_effect(state, fades))
    warn_of_what_comes_too_late(state, say, fades)
    _warn_of_batch_norm(state, say)
    seconds = engine.on_all(lambda: initialise(state, say))
    run = Run(engine.on_writer(lambda: Run.create(config, out).path))
    if seconds is not None and engine.is_writer:
        add_timing(run.timings_path, state, 0, seconds)
    say(f"training in {run.path}")
    with alone(run, engine):
        _fit(run, state, [*run_callbacks(run, dataset, measuring), *callbacks])
    return run, state, dataset


def resume(
    run: Run,
    callbacks: Sequence[Callback] = (),
    say: Say = lambda _: None,
    data_dir: Path | str | None = None,
    device: str | None = None,
    measuring: Sequence[Callback] = (),
    engine: Engine = ONE_PROCESS,
) -> tuple[TrainingState, Dataset]:
    """Go on with an interrupted run where its newest whole checkpoint left it.

    The number of processes need not be what it was; they must all see the run's folder.

    Args:
        run: the run.
        callbacks: of the training loop, after those that log and save.
        say: is told what is going on.
        data_dir: folder where the data's files are by now; None leaves the settings as they are.
        device: to train on from now on; None leaves the settings as they are.
        measuring: callbacks that log, before those that save.
        engine: as for :func:`train`.

    Raises:
        ConfigError, DataError: if the new places do not fit; the settings stay as they were.
        RunError: if there is no checkpoint to go on from, the settings or the data have changed,
            or another process is training this run.
        TrainingError: if training breaks down, on this process or another one.
    """
    say = _of_writer(say, engine)
    config = elsewhere(run.config, data_dir, device)
    with alone(run, engine):
        newest = engine.on_writer(lambda: newest_checkpoint(run.checkpoints).path)
        checkpoint = engine.on_all(lambda: read_checkpoint(newest))
        engine.on_all(lambda: checkpoint.check_settings(config))
        say("preparing the data")
        dataset, state = engine.on_all(lambda: prepare(config, engine=engine))
        if checkpoint.step < state.n_steps:
            engine.on_all(lambda: restore(state, checkpoint))
        engine.on_writer(lambda: run.change(config))
        if checkpoint.step == state.n_steps:
            say(f"{run.path} is finished: nothing is left to train")
            state.model.load_state_dict(run.model(checkpoint).state_dict())
            state.step = state.n_steps
            return state, dataset
        say(f"going on at step {state.step} of {state.n_steps} in {run.path}")
        _fit(run, state, [*run_callbacks(run, dataset, measuring), *callbacks])
        return state, dataset


def _fit(run: Run, state: TrainingState, callbacks: Sequence[Callback]) -> None:
    try:
        fit(state, callbacks)
    except EndedElsewhere as error:
        raise EndedElsewhere(
            f"{error}. The last checkpoint is kept: go on with mfcvae train --resume {run.path}, "
            "with any number of devices"
        ) from error


def elsewhere(config: Config, data_dir: Path | str | None, device: str | None) -> Config:
    """The same settings with the data's files in another folder, or on another device."""
    if data_dir is not None:
        config = replace(config, data=in_folder(config.data, data_dir))
    if device is not None:
        config = replace(config, training=replace(config.training, device=device))
    return config


@contextmanager
def alone(run: Run, engine: Engine = ONE_PROCESS) -> Iterator[None]:
    """Keep other trainings from the same run."""
    lock = FileLock(run.path / ".lock", timeout=0)

    def take() -> None:
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                f"another process is training {run.path}; wait for its end, or interrupt it"
            ) from None

    engine.on_writer(take)
    try:
        yield
    finally:
        lock.release()


def run_callbacks(run: Run, dataset: Dataset, measuring: Sequence[Callback] = ()) -> list[Callback]:
    """What logs, measures and saves a run.

    Args:
        run: its folder.
        dataset: its data.
        measuring: further callbacks that log, which come before those that save.
    """
    from pyro_mfcvae.evaluation import HeldOutLog

    return [
        StopAtNonsense(),
        MetricsLog(run.metrics_path),
        HeldOutLog(dataset, run.metrics_path),
        *measuring,
        Checkpoints(run.checkpoints),
        Timings(run.timings_path),
    ]


def warn_of_what_comes_too_late(state: TrainingState, say: Say, fades: bool) -> None:
    """Say what the run will not have come to by its end.

    Args:
        state: before the first step.
        say: is told.
        fades: whether fade weights have a part in the objective.
    """
    training = state.config.training
    late = [epoch for epoch in training.refit_mixtures if epoch >= training.n_epochs]
    if late:
        say(
            f"warning: training.refit_mixtures has {', '.join(map(str, late))}, but this run ends "
            f"after {training.n_epochs} epochs: those mixtures will not be fitted"
        )
    if training.kl_start < 1 and training.kl_warm_up[1] > training.n_epochs:
        say(
            f"warning: training.kl_warm_up ends at epoch {training.kl_warm_up[1]}, but this run "
            f"after {training.n_epochs}: the KL terms will not have their full weight"
        )
    for j, weight in enumerate(state.schedule(state.n_steps - 1)):
        if fades and weight < 1:
            say(
                f"warning: facet {j} will have a fade weight of {weight:.2f} at the end of this "
                "run; train longer (training.epochs_per_step) or lower training.n_fade_in_batches"
            )


def _of_writer(say: Say, engine: Engine) -> Say:
    return say if engine.is_writer else lambda _: None


def _warn_of_batch_norm(state: TrainingState, say: Say) -> None:
    if has_batch_norm(state.model) and not state.engine.joins_batch_norm:
        say(
            "warning: on CPUs batch norm takes its statistics from each process's part of a batch, "
            "and those of process 0 are saved; the steps are not those of one process"
        )


def _warn_of_large_values(state: TrainingState, say: Say) -> None:
    """Networks start from features of about one, and what is far from that makes them diverge."""
    if state.config.model.likelihood.name != "gaussian":
        return  # counts are what they are
    largest = float(as_float(state.batches.x[:_N_LOOKED_AT], torch.float32).abs().max())
    if largest > _LARGE:
        say(
            f"warning: values of x go up to {largest:,.0f}; training may diverge: standardise them "
            "(mean 0, standard deviation 1), or bring them to [0, 1]"
        )


def _check_clusters(config: Config, dataset: Dataset) -> None:
    most = max(facet.n_clusters for facet in config.model.facets)
    if most > len(dataset.train):
        raise ConfigError(
            f"a facet has {most} clusters but there are only {len(dataset.train)} training "
            "observations; give fewer clusters with --facets D:K,D:K"
        )
