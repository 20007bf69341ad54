"""Training in a run folder: created, locked, logged and saved, gone on with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout

from pyro_mfcvae.allocator import is_out_of_memory
from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset, in_folder
from pyro_mfcvae.errors import RunError, TrainingError, explain_os
from pyro_mfcvae.files import remove_leftovers
from pyro_mfcvae.runs.columns import columns_of
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.training import Callback, TrainingState, take_steps
from pyro_mfcvae.training.begin import begin, prepare
from pyro_mfcvae.training.callbacks import MetricsLog, StopAtNonsense, Timings, add_timing
from pyro_mfcvae.training.checkpoints import (
    Checkpoints,
    newest_checkpoint,
    read_checkpoint,
    remove_damaged,
    restore,
)
from pyro_mfcvae.training.engine import ONE_PROCESS, EndedElsewhere, Engine
from pyro_mfcvae.training.say import Say, quiet
from pyro_mfcvae.training.trackers import trackings

if TYPE_CHECKING:
    from pathlib import Path

Parts = Sequence[Literal["train", "test"]]


def train(
    config: Config,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    say: Say = quiet,
    *,
    dataset: Dataset | None = None,
    judged: Parts = ("test",),
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
        dataset: the data; None loads those that the settings name.
        judged: parts of the data that are measured as often as ``training.evaluate_every`` says.
        engine: this process and those that share the batches with it, from
            ``training.devices.launch``. Process 0 alone writes, speaks
            and has callbacks.

    Returns:
        the run, the state after its last step, and the data.

    Raises:
        ConfigError, DataError: before anything is written, if something does not fit.
        TrainingError: if pretraining or training breaks down, or another process does.
    """
    say = say if engine.is_writer else quiet
    engine.on_writer(lambda: Run.check_path(out))
    dataset, state, seconds = begin(config, dataset, say, engine)
    columns = columns_of(dataset)
    run = Run(engine.on_writer(lambda: Run.create(config, out, columns=columns).path))
    if seconds is not None and engine.is_writer:
        add_timing(run.timings_path, state, 0, seconds)
    say(f"training in {run.path}")
    with lock(run, engine):
        _take_steps(run, state, [*run_callbacks(run, dataset, judged, say), *callbacks], say)
    return run, state, dataset


def resume(
    run: Run,
    callbacks: Sequence[Callback] = (),
    say: Say = quiet,
    data_dir: Path | str | None = None,
    device: str | None = None,
    *,
    dataset: Dataset | None = None,
    judged: Parts = ("test",),
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
        dataset: the data; None loads them.
        judged: as for :func:`train`.
        engine: as for :func:`train`.

    Raises:
        ConfigError, DataError: if the new places do not fit; the settings stay as they were.
        RunError: if there is no checkpoint to go on from, the settings or the data have changed,
            or another process is training this run.
        TrainingError: if training breaks down, on this process or another one.
    """
    say = say if engine.is_writer else quiet
    config = elsewhere(run.config, data_dir, device)
    with lock(run, engine):
        newest = engine.on_writer(lambda: newest_checkpoint(run.checkpoints).path)
        checkpoint = engine.on_all(lambda: read_checkpoint(newest))
        engine.on_all(lambda: checkpoint.check_settings(config))
        say("preparing the data")
        if dataset is None:
            dataset = engine.on_all(lambda: run.dataset(data_dir))
        dataset, state = engine.on_all(lambda: prepare(config, dataset, engine))
        if checkpoint.step < state.n_steps:
            engine.on_all(lambda: restore(state, checkpoint))
        engine.on_writer(lambda: run.change(config))
        engine.on_writer(lambda: remove_damaged(run.checkpoints, checkpoint.step))
        if checkpoint.step == state.n_steps:
            say(f"{run.path} is finished: nothing is left to train")
            state.model.load_state_dict(run.model(checkpoint).state_dict())
            state.step = state.n_steps
            return state, dataset
        say(f"going on at step {state.step} of {state.n_steps} in {run.path}")
        _take_steps(run, state, [*run_callbacks(run, dataset, judged, say), *callbacks], say)
        return state, dataset


def _take_steps(run: Run, state: TrainingState, callbacks: Sequence[Callback], say: Say) -> None:
    try:
        take_steps(state, callbacks, say)
    except EndedElsewhere as error:
        raise EndedElsewhere(f"{error}. {how_to_go_on(run)}, with any number of devices") from error
    except TrainingError as error:
        raise type(error)(f"{error}{last_good(run)}") from error
    except OSError as error:
        raise TrainingError(f"{explain_os(error)}. {how_to_go_on(run)}") from error
    except Exception as error:
        if is_out_of_memory(error):
            error.add_note(how_to_go_on(run))
        raise


def last_good(*runs: Run) -> str:
    """What a message adds once the training of runs has broken down."""
    kept = []
    for run in runs:
        with suppress(RunError):
            kept.append(f"{run.path} at step {run.step()}")
    return f". The last good checkpoint is kept: {', '.join(kept)}" if kept else ""


def how_to_go_on(*runs: Run) -> str:
    """What a message says once the training of runs has ended too early."""
    if gone := [str(run.path) for run in runs if not run.path.exists()]:
        return f"{', '.join(gone)} has been removed while it was trained: train a new run"
    folders = [word for run in runs for word in ("--resume", str(run.path))]
    return f"The last checkpoint is kept: go on with {shlex.join(['mfcvae', 'train', *folders])}"


def elsewhere(config: Config, data_dir: Path | str | None, device: str | None) -> Config:
    """The same settings with the data's files in another folder, or on another device."""
    if data_dir is not None:
        config = replace(config, data=in_folder(config.data, data_dir))
    if device is not None:
        config = replace(config, training=replace(config.training, device=device))
    return config


@contextmanager
def lock(run: Run, engine: Engine = ONE_PROCESS) -> Iterator[None]:
    """Keep other trainings from the same run.

    Raises:
        RunError: if another process is training it.
    """
    file = FileLock(run.path / ".lock", timeout=0)

    def take() -> None:
        try:
            file.acquire()
        except Timeout:
            raise RunError(
                f"another process is training {run.path}; wait for its end, or interrupt it"
            ) from None
        remove_leftovers(run.path)
        remove_leftovers(run.figures)

    engine.on_writer(take)
    try:
        yield
    finally:
        file.release()


def run_callbacks(
    run: Run, dataset: Dataset, judged: Parts = ("test",), say: Say = quiet
) -> list[Callback]:
    """What logs, measures and saves a run.

    Args:
        run: its folder.
        dataset: its data.
        judged: as for :func:`train`.
        say: is told what is wrong with the model.
    """
    from pyro_mfcvae.evaluation import HealthWatch, HeldOutLog, best_kept

    log = MetricsLog(run.metrics_path)
    return [
        StopAtNonsense(log),
        log,
        HealthWatch(dataset.x, log, say),
        *(HeldOutLog(dataset, log, part) for part in sorted(judged)),
        *best_kept(run.config, dataset),
        *trackings(run.config, log, run.path.name, run.path),
        Checkpoints(run.checkpoints, log=run.metrics_path),
        Timings(run.timings_path),
    ]
