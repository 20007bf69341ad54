"""Training several runs at once in run folders: seeds, or settings of equal shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from pyro_mfcvae.allocator import is_out_of_memory
from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import ConfigError, RunError, TrainingError, explain_os
from pyro_mfcvae.runs.columns import columns_of
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import Parts, elsewhere, how_to_go_on, last_good, lock, run_callbacks
from pyro_mfcvae.training import Callback, TrainingState
from pyro_mfcvae.training.begin import initialise, prepare
from pyro_mfcvae.training.callbacks import add_timing
from pyro_mfcvae.training.checkpoints import newest_checkpoint, remove_damaged, restore
from pyro_mfcvae.training.devices.launch import check_one_process
from pyro_mfcvae.training.devices.lockstep import take_steps_together
from pyro_mfcvae.training.devices.stepping import check_noise
from pyro_mfcvae.training.devices.together import check_alike, check_together
from pyro_mfcvae.training.preflight import check
from pyro_mfcvae.training.say import Say, quiet

Trained = tuple[list[Run], list[TrainingState], Dataset]


def train_together(
    configs: Mapping[str, Config],
    out: str | Path | Mapping[str, Path] | None = None,
    callbacks: Sequence[Callback] = (),
    say: Say = quiet,
    dataset: Dataset | None = None,
    judged: Parts = ("test",),
) -> Trained:
    """Train several models from the beginning, each in a run folder of its own.

    Run r takes the steps that it would take alone, to the accuracy of the arithmetic. On a CUDA
    device all runs are computed in one pass.

    Args:
        configs: settings of the runs by name, which differ as
            :func:`~pyro_mfcvae.training.devices.together.check_alike` allows.
        out: the runs are ``out/NAME``; it must not exist. None numbers them under ``runs``, and a
            mapping gives the folder of each.
        callbacks: of the training loop, called for the first run.
        say: is told what is going on.
        dataset: their data; None loads them.
        judged: as for :func:`~pyro_mfcvae.runs.train.train`.

    Returns:
        runs, states after their last steps, and the data, which the runs share.

    Raises:
        ConfigError, DataError: before anything is written, if something does not fit.
        TrainingError: once the others have ended, if a run breaks down.
    """
    check_one_process()
    check_alike(list(configs.values()))
    if isinstance(out, Mapping):
        folders: Mapping[str, Path | None] = out
    else:
        Run.check_path(out)
        folders = {name: None if out is None else Path(out) / name for name in configs}
    say("preparing the data")
    states, dataset = _prepare(configs.values(), dataset)
    check(states[0], say)  # they differ in nothing that it depends on
    check_noise(states)
    seconds = [
        initialise(state, lambda text, name=name: say(f"{name}: {text}"))  # type: ignore[misc]
        for name, state in zip(configs, states, strict=True)
    ]
    columns = columns_of(dataset)
    runs = [Run.create(config, folders[name], columns=columns) for name, config in configs.items()]
    for run, state, spent in zip(runs, states, seconds, strict=True):
        if spent is not None:
            add_timing(run.timings_path, state, 0, spent)
    say(f"training {len(runs)} runs, {runs[0].path} to {runs[-1].path}")
    with ExitStack() as locks:
        for run in runs:
            locks.enter_context(lock(run))
        _take_steps(runs, states, dataset, callbacks, say, judged)
    return runs, states, dataset


def resume_together(
    runs: Sequence[Run],
    callbacks: Sequence[Callback] = (),
    say: Say = quiet,
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
    with ExitStack() as locks:
        for run in runs:
            locks.enter_context(lock(run))
        checkpoints = [newest_checkpoint(run.checkpoints) for run in runs]
        for checkpoint, config in zip(checkpoints, configs, strict=True):
            checkpoint.check_settings(config)
        say("preparing the data")
        states, dataset = _prepare(configs, runs[0].dataset(data_dir))
        for run, state, checkpoint in zip(runs, states, checkpoints, strict=True):
            if checkpoint.step == state.n_steps:
                raise RunError(f"{run.path} is finished; leave it out")
            restore(state, checkpoint)
        check_together(states)
        for run, config in zip(runs, configs, strict=True):
            run.change(config)
            remove_damaged(run.checkpoints, states[0].step)
        say(f"going on at step {states[0].step} of {states[0].n_steps} with {len(runs)} runs")
        _take_steps(runs, states, dataset, callbacks, say)
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


def _take_steps(
    runs: Sequence[Run],
    states: Sequence[TrainingState],
    dataset: Dataset,
    callbacks: Sequence[Callback],
    say: Say,
    judged: Parts = ("test",),
) -> None:
    own = [
        run_callbacks(run, dataset, judged, lambda text, name=run.path.name: say(f"{name}: {text}"))  # type: ignore[misc]
        for run in runs
    ]
    own[0] += callbacks
    try:
        take_steps_together(states, own, say)
    except OSError as error:
        raise TrainingError(f"{explain_os(error)}. {how_to_go_on(*runs)}") from error
    except TrainingError as error:
        broken = [str(r.path) for r, state in zip(runs, states, strict=True) if state.failed]
        others = [str(r.path) for r, state in zip(runs, states, strict=True) if not state.failed]
        saved = f". Saved are {', '.join(others)}: see mfcvae evaluate" if others else ""
        kept = last_good(*(r for r, s in zip(runs, states, strict=True) if s.failed))
        raise TrainingError(f"{', '.join(broken)}: {error}{kept}{saved}") from error
    except Exception as error:
        if is_out_of_memory(error):
            error.add_note(how_to_go_on(*runs))
        raise
