"""Several processes: the steps of one, one writer, and ends that leave no process behind."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import distributed_job
import pytest
import torch
from distributed_job import StopAt
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from models import tiny_config

from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.testing.values import relative_error
from pyro_mfcvae.training.devices import processes

JOB = [str(Path(distributed_job.__file__))]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
RESUMED = ["train", "--resume", "long", "--devices", "2"]
LIMIT = 150  # seconds that anything here may take on a busy machine


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@contextmanager
def _started(*arguments: str, **variables: str):
    """A Python process that is gone in the end, as are those that it has started."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _done(*arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a Python process."""
    with _started(*arguments) as process:
        out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out, err


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == pid:
            found.append(int(path.name))
    return found


def _wait_until(condition) -> None:
    until = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def _check_same(run: Run, expected: Run, tolerance: float) -> None:
    """The same log points, and the same parameters up to that share of the largest."""
    log_points = list(zip(run.metrics(), expected.metrics(), strict=True))
    assert log_points
    for ours, theirs in log_points:
        assert (ours["step"], ours["values"].keys()) == (theirs["step"], theirs["values"].keys())
        for name, value in ours["values"].items():
            assert math.isclose(value, theirs["values"][name], rel_tol=tolerance, abs_tol=tolerance)
    ours, theirs = (
        torch.nn.utils.parameters_to_vector(r.model().parameters()) for r in (run, expected)
    )
    assert relative_error(ours, theirs) < tolerance


def test_two_processes_are_one():
    """Rounding differs by a few times 1e-16 or 6e-8 a step; 24 steps of Adam spread it."""
    config = distributed_job.config()
    halted, _, _ = train(config, "halted", [StopAt(7)])  # between log points
    status, out, err = _done(*TORCHRUN, *JOB, "train")
    assert status == 0, err
    whole = Run("whole")
    single, _, _ = train(config, "single")
    single_32, _, _ = train(distributed_job.config("float32"), "single-32")
    _check_same(whole, single, 1e-10)
    _check_same(Run("whole-32"), single_32, 1e-5)
    assert _files(whole.path) == _files(single.path)
    assert whole.environment()["n_processes"] == 2
    assert single.environment()["n_processes"] == 1

    warning = "warning: on CPUs batch norm takes its statistics from each process's part"
    lines = ["preparing the data", "placing the mixtures", "training in whole"]
    assert out.splitlines()[:3] == lines
    assert [line.startswith(warning) for line in out.splitlines()[3:]].count(True) == 1
    assert len(out.splitlines()) == 2 * len(lines) + 1

    first, second = (json.loads(Path(f"outcome-{rank}.json").read_text()) for rank in (0, 1))
    assert first["again"] == ["ConfigError", "whole exists already; choose a new folder"]
    assert second["again"][0] == "EndedElsewhere"
    message = "process 1 failed: process 1 has no data"
    assert first["other"] == second["other"] == ["EndedElsewhere", message]
    assert first["equalised"] == second["equalised"] == [0.0, 0.0]
    assert first["any"] == second["any"] == [True, False]

    assert halted.step() == 14  # with sums of the terms, too
    resume(halted)
    _check_same(halted, single, 1e-10)


def test_tasks_of_srun_take_their_places():
    """The variables are those that srun sets."""
    step = {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_TASKS_PER_NODE": "3",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NODEID": "0",
        "MASTER_PORT": str(find_free_network_port()),
    }
    with ExitStack() as stack:
        tasks = [
            stack.enter_context(_started(*JOB, "train-as-tasks", SLURM_LOCALID=str(i), **step))
            for i in range(3)
        ]
        said = [task.communicate(timeout=LIMIT) for task in tasks]
    assert ([task.returncode for task in tasks], [err for _, err in said]) == ([0] * 3, [""] * 3)
    assert {path.name for path in Path().iterdir()} == {
        "tasks",
        *(f"process-{task.pid}" for task in tasks),
    }
    assert [bool(out) for out, _ in said] == [True, False, False]
    single, _, _ = train(distributed_job.config(), "single")
    _check_same(Run("tasks"), single, 1e-10)
    assert Run("tasks").environment()["n_processes"] == 3


def _long_run() -> Run:
    settings = {"training.epochs_per_step": "[5000,5000]", "training.dtype": "float64"}
    return train(tiny_config(**settings), "long", [StopAt(3)])[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_death_ends_all_processes():
    run = _long_run()
    with _started("-m", "pyro_mfcvae", *RESUMED) as process:
        _wait_until(lambda: len(run.metrics()) > 5 or process.poll() is not None)
        (other,) = _children(process.pid)
        os.kill(other, signal.SIGKILL)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert err.count("Error:") == 1
    assert "another process of this run has ended" in err
    assert "go on with mfcvae train --resume long, with any number of devices" in err
    state, _ = resume(run, [StopAt(run.step() + 1)])
    assert state.interrupted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "to_all", "status"),
    [("SIGINT", False, 130), ("SIGTERM", False, 143), ("SIGTERM", True, 143)],
)
def test_a_signal_to_one_process_or_all_ends_them_after_the_same_step(name, to_all, status):
    run = _long_run()
    with _started(str(Path(sys.executable).with_name("mfcvae")), *RESUMED) as process:
        _wait_until(lambda: len(run.metrics()) > 5 or process.poll() is not None)
        others = _children(process.pid)
        began = time.monotonic()
        send = os.killpg if to_all else os.kill
        send(process.pid, signal.Signals[name])
        out, err = process.communicate(timeout=LIMIT)
    assert time.monotonic() - began < 20  # clusters wait for 10, on machines that do little else
    assert (process.returncode, err, len(others)) == (status, "", 1)
    assert out.count("Interrupted after step") == 1
    assert "mfcvae train --resume long" in out
    assert all(_is_gone(pid) for pid in others)
    step = run.step()
    assert step >= 15
    reference, _, _ = train(run.config, "reference", [StopAt(step)])
    _check_same(run, reference, 1e-8)  # rounding grows over as many steps as there was time for


@pytest.mark.slow
def test_of_two_processes_the_second_does_not_outlive_the_first():
    run = _long_run()
    with _started("-m", "pyro_mfcvae", *RESUMED) as process:
        _wait_until(lambda: len(run.metrics()) > 5 or process.poll() is not None)
        (other,) = _children(process.pid)
        process.kill()
        process.wait()
        _wait_until(lambda: _is_gone(other))


@pytest.mark.slow
def test_an_error_under_torchrun_is_told_once():
    Path("taken").mkdir()
    status, _, err = _done(*TORCHRUN, "-m", "pyro_mfcvae", "train", "--out", "taken")
    assert status == 1
    assert err.count("Error: taken exists already; choose a new folder") == 1


# The launcher's own file imports nothing of the library, so that these processes start at once.
_LAUNCH = f"""
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("processes", {processes.__file__!r})
processes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(processes)
processes.GRACE = processes._FAREWELL = 0.5
rank = int(os.environ.get("LOCAL_RANK", 0))
with processes.start_others(3, {{"MASTER_PORT": "7"}}):
    open(f"{{os.getpid()}}-{{rank}}-{{os.environ.get('MASTER_PORT')}}", "w").close()
    while len([name for name in os.listdir() if name[0].isdigit()]) < 3:
        time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("", 0, ""),
        ("    if rank == 1: sys.exit(3)\n    time.sleep(100)", 1, "go on with mfcvae train"),
        ("    if rank == 0: sys.exit(4)\n    time.sleep(100)", 4, ""),
        ("    processes.GRACE = 1000\n    if rank == 0: os._exit(5)\n    time.sleep(1000)", 5, ""),
    ],
    ids=["none", "another", "this-one", "this-one-at-once"],
)
def test_no_process_outlives_a_failure(body, status, message):
    Path("launch.py").write_text(_LAUNCH + body + "\n")
    returned, _, err = _done("launch.py")
    assert returned == status
    assert message in err
    assert bool(err) == bool(message)
    started = [path.name.split("-") for path in Path().glob("*-*-*")]
    assert sorted((rank, port) for _, rank, port in started) == [
        ("0", "None"),
        ("1", "7"),
        ("2", "7"),
    ]
    _wait_until(lambda: all(_is_gone(int(pid)) for pid, _, _ in started))
