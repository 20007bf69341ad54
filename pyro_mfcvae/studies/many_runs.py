"""Training several runs at once: seeds, or settings of equal shapes, as one program."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

from typing_extensions import override

from pyro_mfcvae.config import Config, identity
from pyro_mfcvae.config import override as change
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import ConfigError, RunError, TrainingError
from pyro_mfcvae.models.stand_in import check_given
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import (
    alone,
    elsewhere,
    initialise,
    prepare,
    run_callbacks,
    warn_of_what_comes_too_late,
)
from pyro_mfcvae.studies.engine import Interrupted, begun, judge_on_training
from pyro_mfcvae.studies.execution import attempt
from pyro_mfcvae.studies.jobs import Datasets, Execution, Job, Watch
from pyro_mfcvae.training import Callback, TrainingState, fit_together
from pyro_mfcvae.training.callbacks import Say, add_timing
from pyro_mfcvae.training.checkpoints import newest_checkpoint, restore
from pyro_mfcvae.training.devices.engine import check_one_process
from pyro_mfcvae.training.devices.stepping import check_noise
from pyro_mfcvae.training.devices.together import check_alike, check_together, shared_settings
from pyro_mfcvae.training.no_effect import warn_of_no_effect
from pyro_mfcvae.training.preflight import check_trial

Trained = tuple[list[Run], list[TrainingState], Dataset]


class AsOne(Execution):
    """Jobs of equal shapes as one program; one that was begun before goes on by itself.

    Args:
        callbacks: of the training loop.
        say: is told what is going on.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), say: Say = lambda _: None) -> None:
        self.callbacks, self.say = callbacks, say

    @override
    def run(self, jobs: Sequence[Job], watch: Watch, datasets: Datasets) -> None:
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            is_new = begun(job.folder) is None
            key = json.dumps(shared_settings(job.config), sort_keys=True) if is_new else job.name
            groups.setdefault(key, []).append(job)
        for group in groups.values():
            for job in group:
                watch.on_begin(job)
            if len(group) > 1:
                self._train(group, datasets.load(group[0].config.data))
            for job in group:  # measures it, or tells why it failed
                watch.on_end(job, attempt(job, datasets, self.callbacks, say=self.say))

    def _train(self, group: Sequence[Job], dataset: Dataset) -> None:
        configs = {job.name: job.config for job in group}
        folders = {job.name: job.folder for job in group}
        measuring = judge_on_training
        try:
            _, states, _ = _train(configs, folders, self.callbacks, self.say, dataset, measuring)
        except (ValueError, TrainingError) as error:
            self.say(f"one after the other: {error}")
        else:
            if states[0].interrupted or states[0].stop_requested:
                raise Interrupted


def seeds_and_settings(
    config: Config, n_seeds: int, varied: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Config]:
    """Settings of several runs by their names, such as ``learning_rate-0.002-seed-3``.

    Args:
        config: of all runs; its seed is the first one.
        n_seeds: R, seeds of each setting, counted on from there.
        varied: {dotted path: values}, of which every combination is taken.

    Raises:
        ConfigError: if a path or value is wrong, two runs would be the same, or they could not be
            trained together.
    """
    paths = dict(varied or {})
    configs = {}
    for values in product(*paths.values()):
        assignments = [f"{path}={value}" for path, value in zip(paths, values, strict=True)]
        changed = change(config, assignments)
        check_given(changed, assignments)
        parts = [
            f"{path.rpartition('.')[2]}-{value}"
            for path, value in zip(paths, values, strict=True)
            if path != "seed"
        ]
        for seed in range(changed.seed, changed.seed + n_seeds):
            name, one = "-".join([*parts, f"seed-{seed}"]), replace(changed, seed=seed)
            if identity(one) in map(identity, configs.values()):
                raise ConfigError(f"{name} would be trained twice; give each value once")
            configs[name] = one
    check_alike(list(configs.values()))
    return configs


def train_together(
    configs: Mapping[str, Config],
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    say: Say = lambda _: None,
) -> Trained:
    """Train several models from the beginning, each in a run folder of its own.

    Run r takes the steps that it would take alone, to the accuracy of the arithmetic. On a CUDA
    device all runs are computed in one pass.

    Args:
        configs: settings of the runs by name, which differ as
            :func:`~pyro_mfcvae.training.devices.together.check_alike` allows.
        out: the runs are ``out/NAME``; it must not exist. None numbers them under ``runs``.
        callbacks: of the training loop, called for the first run.
        say: is told what is going on.

    Returns:
        runs, states after their last steps, and the data, which the runs share.

    Raises:
        ConfigError, DataError: before anything is written, if something does not fit.
        TrainingError: once the others have ended, if a run breaks down.
    """
    Run.check_path(out)
    folders = {name: None if out is None else Path(out) / name for name in configs}
    return _train(configs, folders, callbacks, say)


def _train(
    configs: Mapping[str, Config],
    folders: Mapping[str, Path | None],
    callbacks: Sequence[Callback],
    say: Say,
    dataset: Dataset | None = None,
    measuring: Callable[[Run, Dataset], Sequence[Callback]] = lambda run, dataset: (),
) -> Trained:
    check_one_process()
    check_alike(list(configs.values()))
    say("preparing the data")
    states, dataset = _prepare(configs.values(), dataset)
    fades = check_trial(states[0])  # they differ in nothing that it depends on
    check_noise(states)
    for state in states:
        warn_of_no_effect(state, fades)
    warn_of_what_comes_too_late(states[0], say, fades)
    seconds = []
    for name, state in zip(configs, states, strict=True):
        seconds.append(initialise(state, lambda text, name=name: say(f"{name}: {text}")))
    runs = [Run.create(config, folders[name]) for name, config in configs.items()]
    for run, state, spent in zip(runs, states, seconds, strict=True):
        if spent is not None:
            add_timing(run.timings_path, state, 0, spent)
    say(f"training {len(runs)} runs, {runs[0].path} to {runs[-1].path}")
    with _alone(runs):
        _fit(runs, states, dataset, callbacks, measuring)
    return runs, states, dataset


def resume_together(
    runs: Sequence[Run],
    callbacks: Sequence[Callback] = (),
    say: Say = lambda _: None,
    data_dir: Path | str | None = None,
    device: str | None = None,
) -> Trained:
    """Go on with runs that were interrupted at one step.

    Args:
        runs: the runs.
        callbacks: of the training loop, called for the first run.
        say: is told what is going on.
        data_dir: folder where the data's files are by now; None leaves the settings as they are.
        device: to train on from now on; None leaves the settings as they are.

    Raises:
        ConfigError: if the runs cannot be trained together, stand at different steps, or one is
            given twice.
        RunError: as for :func:`pyro_mfcvae.runs.train.resume`, or if a run is finished.
        TrainingError: once the others have ended, if a run breaks down.
    """
    check_one_process()
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise ConfigError("one of the runs was given twice; give each once")
    configs = [elsewhere(run.config, data_dir, device) for run in runs]
    check_alike(configs)
    with _alone(runs):
        checkpoints = [newest_checkpoint(run.checkpoints) for run in runs]
        for checkpoint, config in zip(checkpoints, configs, strict=True):
            checkpoint.check_settings(config)
        say("preparing the data")
        states, dataset = _prepare(configs)
        for run, state, checkpoint in zip(runs, states, checkpoints, strict=True):
            if checkpoint.step == state.n_steps:
                raise RunError(f"{run.path} is finished; leave it out")
            restore(state, checkpoint)
        check_together(states)
        for run, config in zip(runs, configs, strict=True):
            run.change(config)
        say(f"going on at step {states[0].step} of {states[0].n_steps} with {len(runs)} runs")
        _fit(runs, states, dataset, callbacks)
    return list(runs), states, dataset


def _prepare(
    configs: Iterable[Config], dataset: Dataset | None = None
) -> tuple[list[TrainingState], Dataset]:
    states: list[TrainingState] = []
    for config in configs:
        dataset, state = prepare(config, dataset)
        if states:
            state.batches.x = states[0].batches.x  # once on the device is enough
        states.append(state)
    assert dataset is not None
    return states, dataset


@contextmanager
def _alone(runs: Sequence[Run]) -> Iterator[None]:
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(alone(run))
        yield


def _fit(
    runs: Sequence[Run],
    states: Sequence[TrainingState],
    dataset: Dataset,
    callbacks: Sequence[Callback],
    measuring: Callable[[Run, Dataset], Sequence[Callback]] = lambda run, dataset: (),
) -> None:
    own = [run_callbacks(run, dataset, measuring(run, dataset)) for run in runs]
    own[0] += callbacks
    try:
        fit_together(states, own)
    except TrainingError as error:
        broken = [str(r.path) for r, state in zip(runs, states, strict=True) if state.failed]
        others = [str(r.path) for r, state in zip(runs, states, strict=True) if not state.failed]
        saved = f". Saved are {', '.join(others)}: see mfcvae evaluate" if others else ""
        raise TrainingError(f"{', '.join(broken)}: {error}{saved}") from error
