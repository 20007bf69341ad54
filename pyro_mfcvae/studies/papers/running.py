"""Training the runs of experiments. A run serves every experiment that has its settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from pyro_mfcvae.config import Component, Config, digest
from pyro_mfcvae.data import Dataset, in_folder, load_dataset, reads_files
from pyro_mfcvae.errors import RunError
from pyro_mfcvae.evaluation import HeldOutLog
from pyro_mfcvae.runs.measure import evaluate_run
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resolve_device, resume, train
from pyro_mfcvae.studies.papers.definition import ON_TRAINING, Arm, Measure, Outcome
from pyro_mfcvae.training import Callback
from pyro_mfcvae.training.callbacks import Say
from pyro_mfcvae.training.checkpoints import checkpoints


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop; everything so far is saved."""


def run_folder(out: Path, config: Config) -> Path:
    """Where the run with these settings lives, whatever experiment asks for it.

    Its name tells apart what comes out, not where, how fast or under which name it was trained.
    """
    return (
        out / "runs" / f"{config.model.name}-{config.data.name}-{digest(config)}-seed-{config.seed}"
    )


def finish_run(
    config: Config,
    folder: Path,
    dataset: Dataset,
    callbacks: Sequence[Callback] = (),
    say: Say = lambda _: None,
) -> Run:
    """Train a run to its end, unless that was done; an interrupted one goes on.

    Its clusters are judged on the training part, too, each time they are on held-out data.

    Args:
        config: the settings; of a run that exists only the places may be others.
        folder: of the run.
        dataset: its data.
        callbacks: of the training loop.
        say: is told what is going on.

    Raises:
        Interrupted: if Ctrl-C or SIGTERM ended the training.
        RunError: if another process is at it, or the folder holds another run.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    measuring = [_JudgedOnTraining(dataset, folder / "metrics.jsonl")]
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            run = _begun(folder)
            if run is None:
                run, state, _ = train(config, folder, callbacks, say, measuring)
            elif is_finished(run, dataset):
                return run
            else:
                places = (config.data.options.get("data_dir"), config.training.device)
                state, _ = resume(run, callbacks, say, *places, measuring)
    except Timeout:
        raise RunError(
            f"another process is training {folder}; wait for its end, or interrupt it"
        ) from None
    if state.interrupted or state.stop_requested:
        raise Interrupted
    return run


def is_finished(run: Run, dataset: Dataset) -> bool:
    """Whether all steps were done."""
    return run.step() >= run.n_steps(len(dataset.train))


def measured(
    run: Run,
    dataset: Dataset,
    probed: bool = False,
    distances: Sequence[str] = (),
    further: Collection[str] = (),
) -> bool:
    """Whether a run's evaluation is that of its model and data, and has all that is asked for."""
    known = run.evaluation() or {}
    same = (known.get("model"), known.get("data")) == (
        run.checkpoint().model_checksum,
        dataset.fingerprint,
    )
    found = known.get("diversity", {}).get("distances", {})
    complete = all(name in known for name in (*further, *(("probe",) if probed else ())))
    return same and complete and all(d in found for d in distances)


def measure_run(
    arm: Arm,
    run: Run,
    dataset: Dataset,
    probed: bool = False,
    distances: Sequence[str] = (),
    say: Say = lambda _: None,
    further: Mapping[str, Measure] | None = None,
) -> Outcome:
    """Measure a finished run, unless that was done.

    Args:
        arm: that the run is of.
        run: the run.
        dataset: its data.
        probed: whether classifiers are trained on its latents.
        distances: of pictures, for the diversity of data and samples.
        say: is told what is going on.
        further: what else is measured, by name.
    """
    further = further or {}
    if not measured(run, dataset, probed, distances):
        say(f"measuring {run.path.name}")
        lacks_probe = probed and not measured(run, dataset, probed)
        evaluate_run(run, dataset, lacks_probe, say=say, distances=distances)
    for name, measure in further.items():
        if not measured(run, dataset, further=[name]):
            say(f"measuring {name} of {run.path.name}")
            run.write_evaluation((run.evaluation() or {}) | {name: measure(run, dataset)})
    return Outcome(arm, run.config.seed, run, dataset, run.evaluation() or {})


def finished_outcome(
    arm: Arm,
    folder: Path,
    dataset: Dataset,
    probed: bool = False,
    distances: Sequence[str] = (),
    further: Collection[str] = (),
) -> Outcome | None:
    """The run in a folder if it is finished and measured; others may be at it right now.

    Args:
        arm: that the run is of.
        folder: of the run, which may not exist.
        dataset: its data.
        probed: whether it must have been probed.
        distances: that must have been measured.
        further: names of what else must have been.
    """
    try:
        run = Run(folder)
        if is_finished(run, dataset) and measured(run, dataset, probed, distances, further):
            return Outcome(arm, run.config.seed, run, dataset, run.evaluation() or {})
    except RunError:
        pass
    return None


class Datasets:
    """The data of several runs, loaded once for all that share them."""

    def __init__(self) -> None:
        self._loaded: dict[str, Dataset] = {}

    def load(self, data: Component) -> Dataset:
        """The data of some settings."""
        key = json.dumps([data.name, data.options], sort_keys=True)
        if key not in self._loaded:
            self._loaded[key] = load_dataset(data)
        return self._loaded[key]


def placed(config: Config, data_dir: Path | None, device: str | None) -> Config:
    """Settings with the folder of the data's files, where they have any, and the device.

    Args:
        config: the settings.
        data_dir: None leaves the folder as it is.
        device: None leaves the device as it is.

    Raises:
        ConfigError: if the device cannot be used here.
    """
    if device is not None:
        resolve_device(device)
        config = replace(config, training=replace(config.training, device=device))
    if data_dir is not None and reads_files(config.data.name):
        config = replace(config, data=in_folder(config.data, data_dir))
    return config


class _JudgedOnTraining(HeldOutLog):
    """Judges clusters on the training part each time they are judged on held-out data."""

    part = "train"
    split = ON_TRAINING


def _begun(folder: Path) -> Run | None:
    """The run in a folder, if there is one; what was killed before its first step is removed."""
    if not folder.exists():
        return None
    if not checkpoints(folder / "checkpoints"):
        shutil.rmtree(folder)
        return None
    return Run(folder)
