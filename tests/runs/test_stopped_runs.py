"""Runs that a cluster stops, which sends SIGTERM and kills soon after."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import torch
from models import tiny_config

from benchmarks.kills import contents
from pyro_mfcvae.config import Config, override
from pyro_mfcvae.evaluation import held_out
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.together import resume_together, train_together
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.signals import Interrupted
from pyro_mfcvae.training import loop
from pyro_mfcvae.training.devices import traced

pytestmark = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals need the main thread"
)
PATIENCE, LONG = 0.1, 60.0  # seconds


@pytest.fixture(autouse=True)
def _impatient(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "_PATIENCE", PATIENCE)


def _config(**more: str) -> Config:
    """Two epochs of four steps, then four; each is measured, and none is saved before the end."""
    settings = {"training.evaluate_every": "1", "training.checkpoint_every": "0"} | more
    return override(tiny_config(), [f"{path}={value}" for path, value in settings.items()])


def _stopped_in(patch, owner, name: str, nth: int, number: int = signal.SIGTERM) -> None:
    """Let a function's nth call be asked to stop, and take long."""
    own, calls = getattr(owner, name), []

    def act(*given, **named):
        calls.append(None)
        if len(calls) == nth:
            os.kill(os.getpid(), number)
            time.sleep(LONG)
        return own(*given, **named)

    patch.setattr(owner, name, act)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_evaluation_is_given_up_and_done_when_the_run_goes_on(monkeypatch, number):
    train(_config(), "whole/run")
    before = signal.signal(number, signal.SIG_DFL)  # nohup has SIGHUP ignored
    began = time.monotonic()
    with monkeypatch.context() as patch:
        _stopped_in(patch, held_out, "held_out_metrics", 3, number)
        run, state, _ = train(_config(), "stopped/run")
    signal.signal(number, before)
    assert time.monotonic() - began < LONG / 2
    assert (state.interrupted, state.pending, state.stop_signal) == (True, True, number)
    assert run.step() == 12
    for _ in range(2):  # what is still to be measured after a kill is measured again
        with monkeypatch.context() as patch:
            patch.setattr("pyro_mfcvae.training.checkpoints.Checkpoints.on_end", lambda *_: None)
            resume(run)
    resume(run)
    assert contents(run.path) == contents(Run("whole/run").path)


def test_runs_that_are_trained_together_are_all_saved(monkeypatch):
    configs = {str(seed): _config(seed=str(seed)) for seed in (1, 2)}
    train_together(configs, "whole")
    with monkeypatch.context() as patch:
        _stopped_in(patch, held_out, "held_out_metrics", 3)  # of the first one in the second epoch
        runs, states, _ = train_together(configs, "stopped")
    assert [(run.step(), state.pending) for run, state in zip(runs, states, strict=True)] == [
        (8, True),
        (8, True),
    ]
    resume_together(runs)
    for name, run in zip(configs, runs, strict=True):
        whole = Run(f"whole/{name}")
        assert run.metrics() == whole.metrics()
        states = [each.model().state_dict() for each in (run, whole)]
        assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])


def test_a_compiler_is_given_up_and_the_step_is_saved(monkeypatch):
    config = _config(**{"training.step": "compiled"})
    with monkeypatch.context() as patch:
        patch.setattr(traced, "compile_graph", lambda module, _: module)
        _stopped_in(patch, traced, "compile_graph", 1)
        run, state, _ = train(config, "stopped")
    assert (state.interrupted, state.pending, run.step()) == (True, False, 1)


def test_after_the_last_step_the_last_checkpoint_is_kept(monkeypatch):
    config = _config(**{"training.checkpoint_every": "2"})
    with monkeypatch.context() as patch:
        _stopped_in(patch, held_out, "held_out_metrics", 6)
        with pytest.raises(Interrupted):
            train(config, "stopped")
    run = Run("stopped")
    assert run.step() == 16
    resume(run)
    assert run.step() == 24


def test_ctrl_c_waits_for_what_is_under_way(monkeypatch):
    monkeypatch.setattr("test_stopped_runs.LONG", 3 * PATIENCE)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    _stopped_in(monkeypatch, held_out, "held_out_metrics", 3, signal.SIGINT)
    _, state, _ = train(_config(), "stopped")
    signal.signal(signal.SIGINT, before)
    assert (state.interrupted, state.pending, state.step) == (True, False, 12)
