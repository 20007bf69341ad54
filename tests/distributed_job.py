"""What tests/test_distributed.py has several processes do: ``python distributed_job.py JOB``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from models import tiny_config

from pyro_mfcvae.config import Config
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.runs import train as experiment
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.training import Callback
from pyro_mfcvae.training.devices.launch import launch
from pyro_mfcvae.training.engine import Engine


class StopAt(Callback):
    """Interrupts a run after a step, from process 0 alone, which alone has callbacks."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, state):
        if state.step == self.step:
            state.interrupted = True


def config(dtype: str = "float64") -> Config:
    """77 observations: in float64 the last batch, of 11, has uneven parts; in float32 others do."""
    batch_size = "22" if dtype == "float64" else "23"
    return tiny_config(**{"training.dtype": dtype, "training.batch_size": batch_size})


def train(engine: Engine) -> None:
    """Two whole runs, the next steps of a halted one, batch norm, and failures of one process."""
    experiment.train(config(), "whole", say=print, engine=engine)
    experiment.train(config("float32"), "whole-32", engine=engine)
    experiment.resume(Run("halted"), [StopAt(14)], engine=engine)
    normed = {"model.encoder.options.batch_norm": "true", "training.epochs_per_step": "[1]"}
    experiment.train(tiny_config(**normed), "normed", say=print, engine=engine)
    parameter = torch.nn.Parameter(torch.full((2,), float(engine.rank)))
    engine.equalise([parameter])
    outcome = {
        "equalised": parameter.tolist(),
        "again": _failure(lambda: experiment.train(config(), "whole", engine=engine)),
        "other": _failure(lambda: engine.on_all(lambda: _fail_on(1, engine))),
        "any": [engine.any(engine.rank == 1), engine.any(False)],
    }
    Path(f"outcome-{engine.rank}.json").write_text(json.dumps(outcome))


def train_as_tasks(engine: Engine) -> None:
    """A whole run, of which every process leaves a trace."""
    Path(f"process-{os.getpid()}").touch()
    experiment.train(config(), "tasks", say=print, engine=engine)


def _fail_on(rank: int, engine: Engine) -> None:
    if engine.rank == rank:
        raise ConfigError(f"process {rank} has no data")


def _failure(work) -> list[str]:
    try:
        work()
    except Exception as error:
        return [type(error).__name__, str(error)]
    return []


if __name__ == "__main__":
    # Under torchrun the number of processes is known.
    work, n_devices = {"train": (train, None), "train-as-tasks": (train_as_tasks, 3)}[sys.argv[1]]
    with launch("cpu", n_devices, timeout=100) as engine:
        work(engine)
