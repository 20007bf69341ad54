"""Training the runs of experiments. A run serves every experiment that has its settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pyro_mfcvae.config import Component, Config, config_to_dict
from pyro_mfcvae.data import Dataset, in_folder, load_dataset, reads_files
from pyro_mfcvae.errors import RunError
from pyro_mfcvae.runs.complete import complete, finish, is_finished
from pyro_mfcvae.runs.measure import is_measured
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.studies.papers.definition import Arm, Measure, Outcome
from pyro_mfcvae.training import Callback
from pyro_mfcvae.training.callbacks import Say
from pyro_mfcvae.training.devices.engine import resolve_device


def run_folder(out: Path, config: Config) -> Path:
    """Where the run with these settings lives, whatever experiment asks for it.

    Its name tells apart what comes out, not where, how fast or under which name it was trained.
    """
    data = {key: value for key, value in config.data.options.items() if key != "data_dir"}
    training = replace(config.training, device="auto", n_threads=0, checkpoint_every=0, log_every=1)
    essence = replace(
        config.without_folders(),
        preset=None,
        seed=0,
        data=replace(config.data, options=data),
        training=training,
        sampling_temperature=1.0,
    )
    text = json.dumps(config_to_dict(essence, defaults=False), sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return out / "runs" / f"{config.model.name}-{config.data.name}-{digest}-seed-{config.seed}"


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
    return finish(config, folder, dataset, callbacks, say, ("test", "train"))


def measured(
    run: Run,
    dataset: Dataset,
    probed: bool = False,
    distances: Sequence[str] = (),
    further: Collection[str] = (),
) -> bool:
    """Whether a run's evaluation is that of its model and data, and has all that is asked for."""
    known = run.evaluation() or {}
    return is_measured(run, dataset, probed, distances=distances) and all(
        name in known for name in further
    )


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
    complete(run, dataset, say, anew=False, draw=False, probed=probed, distances=distances)
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
