"""Ray Tune as what trains the jobs of a study, on one machine or a cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from typing_extensions import override

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.plugins import loaded_files
from pyro_mfcvae.plugins.files import Files
from pyro_mfcvae.signals import Interrupted
from pyro_mfcvae.studies.execution import attempt
from pyro_mfcvae.studies.jobs import Datasets, Execution, Job, Watch
from pyro_mfcvae.training.loop import cpu_threads

# Tune's own log files and tables of progress would tell the same once more.
_QUIET = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}


class OnRay(Execution):
    """As many jobs at a time as Ray has room for, each in a worker of its own.

    A cluster that was joined with ``ray.init`` before is used; all of its machines must see the
    folder of the runs, the data and files with code of one's own under the same paths.

    Args:
        storage: folder of Tune's own records.
        cpus_per_trial: CPUs that each job takes, and its threads, unless the settings say how
            many there are.
        gpus_per_trial: GPUs that each job takes; parts of one are shared, and 0 hides all.

    Raises:
        ConfigError: if Ray Tune is not installed.
    """

    def __init__(self, storage: Path, cpus_per_trial: float = 1, gpus_per_trial: float = 0) -> None:
        self.tune = _tune()
        self.storage = storage
        self.cpus_per_trial = cpus_per_trial
        self.gpus_per_trial = gpus_per_trial

    @override
    def run(self, jobs: Sequence[Job], watch: Watch, datasets: Datasets) -> None:
        if not jobs:
            return
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        ended: set[int] = set()
        n_threads = max(1, int(self.cpus_per_trial))
        self.tune.run(
            partial(
                _train,
                jobs=list(jobs),
                files=loaded_files(),
                n_threads=n_threads,
                folder=os.getcwd(),
            ),
            config={"job": self.tune.grid_search(list(range(len(jobs))))},
            resources_per_trial={"cpu": self.cpus_per_trial, "gpu": self.gpus_per_trial},
            callbacks=[_reporter(self.tune, jobs, watch, ended)],
            name="tune",
            storage_path=str(self.storage.resolve()),
            raise_on_failed_trial=False,
            verbose=0,
        )
        if len(ended) < len(jobs):  # Tune ends quietly on Ctrl-C
            raise Interrupted


def _train(
    config: dict[str, int], jobs: Sequence[Job], files: Files, n_threads: int, folder: str
) -> dict[str, Any]:
    """What a worker does."""
    os.chdir(folder)  # Tune begins elsewhere, where relative paths lead nowhere
    with cpu_threads(n_threads):
        return {"error": attempt(jobs[config["job"]], Datasets(), files=files)}


def _reporter(tune: Any, jobs: Sequence[Job], watch: Watch, ended: set[int]) -> object:
    """A callback of Tune that passes on what happens."""

    class Reporter(tune.Callback):
        def on_trial_start(self, *, trial: Any, **_: Any) -> None:
            watch.on_begin(jobs[trial.config["job"]])

        def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
            self._end(trial, trial.last_result.get("error"))

        def on_trial_error(self, *, trial: Any, **_: Any) -> None:
            self._end(trial, f"its Ray worker failed, as is told in {trial.error_file}")

        def _end(self, trial: Any, error: str | None) -> None:
            ended.add(trial.config["job"])
            watch.on_end(jobs[trial.config["job"]], error)

    return Reporter()


def _tune() -> ModuleType:
    try:
        from ray import tune
    except ImportError:
        raise ConfigError(
            'the engine "ray" needs Ray Tune; install it with pip install "pyro_mfcvae[sweep]" '
            'or "ray[tune]", or take the engine "local"'
        ) from None
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    return tune
