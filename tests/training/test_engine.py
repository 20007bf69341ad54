"""Engines: parts of batches, their means, what one process is, and what is refused."""

from __future__ import annotations

import math
import sys

import pyro
import pytest
import torch
from click.testing import CliRunner
from models import observations, small_model, tiny_config

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.cli import main
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.noise import Noise
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.testing.values import gradients, relative_error
from pyro_mfcvae.training.checks import check_last_batch
from pyro_mfcvae.training.devices.launch import launch
from pyro_mfcvae.training.engine import ONE_PROCESS, EndedElsewhere, Engine
from pyro_mfcvae.training.objective import Objective


class _One(Engine):
    """One of several processes that are not there."""

    def __init__(self, rank: int, n_processes: int) -> None:
        self.rank, self.n_processes = rank, n_processes


@pytest.mark.parametrize(("n", "n_processes"), [(6, 1), (6, 2), (7, 3), (5, 5), (11, 4)])
def test_parts_of_a_batch(n, n_processes):
    parts = [_One(rank, n_processes).part(n) for rank in range(n_processes)]
    rows = [row for part in parts for row in range(part.start, part.stop)]
    assert rows == list(range(n))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for part, size in zip(parts, sizes, strict=True):
        assert part.share == size * n_processes / n
        assert part.rows == (part.start, n)


class _Costly(MFCVAE):
    """A model with a cost that the batch has once."""

    def model(self, x):
        pyro.factor("prior", -self.weight.square())
        super().model(x)


def _costly() -> _Costly:
    model = small_model()
    model.__class__ = _Costly
    model.weight = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    return model


@pytest.mark.parametrize("guide", ["vade", "enumerate"])
def test_means_over_parts_are_those_of_the_batch(guide):
    """Loss, terms and gradients, in float64, with a cost that the batch has once."""
    config = tiny_config(**{"guide.name": guide, "guide.n_samples": "3"})
    objective = Objective(_costly(), config)
    x = observations(7)
    objective.model.fade[0] = 0.4
    loss, values = objective(x, Noise(3, 5))
    expected = gradients(objective, loss)
    n, total, terms, grads = 3, 0.0, torch.zeros_like(values), torch.zeros_like(expected)
    for part in (_One(rank, n).part(len(x)) for rank in range(n)):
        own = x[part.start : part.stop]
        loss_part, values_part = objective(own, Noise(3, 5, part.rows), part.share, n)
        total, terms = total + loss_part / n, terms + values_part / n
        grads += gradients(objective, loss_part) / n
    assert math.isclose(total.item(), loss.item(), rel_tol=1e-12)
    assert relative_error(terms, values) < 1e-12
    assert relative_error(grads, expected) < 1e-12


@pytest.mark.parametrize(
    ("n", "batch_size", "n_processes", "batch_norm", "message"),
    [
        (77, 19, 2, False, "last batch holds 1, too few for 2 processes .* such as 18"),
        (77, 25, 3, True, "holds 2, too few for 3 processes with 2 for each.* such as 26"),
        (77, 25, 1, True, None),
        (77, 22, 8, False, None),
        (77, 19, 1, True, "holds 1, too few .*batch norm.* such as 18"),
        (3, 2, 4, False, "holds 1, too few for 4 processes .*choose fewer processes"),
    ],
)
def test_every_process_gets_observations(n, batch_size, n_processes, batch_norm, message):
    model = torch.nn.BatchNorm1d(3) if batch_norm else torch.nn.Linear(3, 3)
    if message is None:
        check_last_batch(model, n, batch_size, "training.batch_size", n_processes)
    else:
        with pytest.raises(ConfigError, match=message):
            check_last_batch(model, n, batch_size, "training.batch_size", n_processes)
    if message and "such as" in message:
        better = int(message.rpartition(" ")[2])
        check_last_batch(model, n, better, "training.batch_size", n_processes)


def test_processes_without_observations_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="with 77 .*training.batch_size=20 .* for 30 processes"):
        train(tiny_config(), tmp_path / "run", engine=_One(0, 30))
    assert not any(tmp_path.iterdir())


def test_one_process_needs_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    monkeypatch.delitem(sys.modules, "pyro_mfcvae.training.devices.distributed", raising=False)
    with launch("cpu") as engine:
        assert engine is ONE_PROCESS
    message = r"needs lightning-fabric.*\n.*pyro_mfcvae\[distributed"
    with pytest.raises(ConfigError, match=message), launch("cpu", 2):
        pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_devices": 0}, "--devices must be 1 or more, got 0"),
        ({"n_nodes": -1}, "--nodes must be 1 or more, got -1"),
        ({"n_nodes": 2}, "--nodes=2 needs MASTER_ADDR, MASTER_PORT, NODE_RANK in the environment"),
        ({"n_devices": 2, "device": "cuda:1"}, "expected cpu or cuda, got 'cuda:1'"),
        ({"n_devices": 64, "device": "cuda"}, "--devices=64 but this machine has [0-9]+ CUDA"),
        ({"n_devices": 9999, "device": "cpu"}, "--devices=9999 but this machine has [0-9]+ CPUs"),
    ],
)
def test_impossible_numbers_and_devices(arguments, message, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=message), launch(**{"device": "cpu", **arguments}):
        pass


def test_other_numbers_than_those_of_torchrun(monkeypatch):
    variables = {"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match="--devices=3 but torchrun has started 2"),
        launch("cpu", 3),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="--nodes=1 but torchrun has started 2"),
        launch("cpu", 2, 1),
    ):
        pass


STEP = {
    "SLURM_JOB_ID": "123456",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_NODELIST": "node[01-08]",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "0",
}


@pytest.mark.parametrize(
    ("changes", "numbers", "message"),
    [
        ({}, (4, 2), "--devices=4 but srun has started 2"),
        ({}, (2, 4), "--nodes=4 but srun has started 2"),
        ({}, (1, None), "--devices=1 but srun has started 2"),
        ({"SLURM_STEP_TASKS_PER_NODE": "3,1"}, (2, 2), "--devices: .* --ntasks-per-node"),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"}, (1, 2), "--nodes=2 needs MASTER"),
        ({"SLURM_STEP_NUM_TASKS": "2", "NODE_RANK": "1"}, (1, 2), "--nodes=2 needs MASTER"),
    ],
    ids=["devices", "machines", "one", "uneven", "one-task", "one-task-each"],
)
def test_other_numbers_than_those_of_srun(changes, numbers, message, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (STEP | changes).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message), launch("cpu", *numbers):
        pass
    if "srun" in message:
        monkeypatch.setenv("SLURM_LOCALID", "1")  # the first on its machine has said it
        with pytest.raises(SystemExit) as end, launch("cpu", *numbers):
            pass
        assert end.value.code == 1


def test_a_task_of_srun_knows_its_place(monkeypatch):
    from pyro_mfcvae.training.devices.distributed import Distributed

    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    engine = Distributed("cpu", 2, 2, 7.0, "srun")
    assert (engine.rank, engine.leads_machine) == (2, True)
    assert engine._environment.main_address == "node07"
    assert engine._environment.main_port == 15_000 + 4562
    with launch("cpu") as engine:  # without numbers, tasks are runs of their own
        assert engine is ONE_PROCESS


def test_a_lost_connection_is_told_from_other_errors():
    from pyro_mfcvae.training.devices.distributed import Distributed

    engine = Distributed("cpu", 2, 1, 7.0)
    assert (engine.rank, engine.n_processes, engine.device) == (0, 2, torch.device("cpu"))
    for error in (
        RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer"),
        torch.distributed.DistNetworkError("it has gone"),
    ):
        message = "has ended, or has not answered for 7 seconds"
        with pytest.raises(EndedElsewhere, match=message), engine.alert():
            raise error
    for error in (RuntimeError("out of memory"), EndedElsewhere("gloo")):
        with pytest.raises(type(error), match=str(error)), engine.alert():
            raise error


def test_several_runs_at_once_share_one_device():
    result = CliRunner().invoke(main, ["train", "--runs", "2", "--devices", "2"])
    assert result.exit_code == 2
    assert "several runs at once share one device" in result.output
