"""Compiled steps, what stands in their way, and which way of taking steps is chosen."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import models
import pytest
import torch
from models import tiny_config

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.config import override
from pyro_mfcvae.errors import SlowStepWarning
from pyro_mfcvae.models import MODELS
from pyro_mfcvae.testing.case import first_state
from pyro_mfcvae.training import fit
from pyro_mfcvae.training.devices import fastest, stepping, traced
from pyro_mfcvae.training.devices.fastest import MIN_STEPS, Fastest
from pyro_mfcvae.training.devices.stepping import stepper
from pyro_mfcvae.training.devices.together import Together

SHORT = {"training.epochs_per_step": "[1,1]"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))


def equal(a, b):
    pairs = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return all(torch.equal(p, q) for p, q in pairs)


@pytest.mark.slow
def test_compiled_steps_are_the_same_to_rounding():
    """Batch norm and float64 too; a second run takes what is in the cache."""
    normed = {"model.encoder.options.batch_norm": "true", "training.dtype": "float64"}
    config = tiny_config(**SHORT, **normed)
    eager, said = fit(config), []
    compiled = fit(override(config, ["training.step=compiled"]), say=said.append)
    assert said.count("compiling the step") == 1
    for a, b in zip(
        eager.model.state_dict().values(), compiled.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-8)


def _read_only_cache(tmp_path, monkeypatch):
    from torch._inductor import codecache

    def refuse(path, *_, **__):
        raise PermissionError(f"Permission denied: {path}")

    monkeypatch.setattr(codecache, "write_atomic", refuse)


def _no_compiler(tmp_path, monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (None, str(tmp_path / "nothing")))


def _broken_compiler(tmp_path, monkeypatch):
    def broken(module, arguments):
        return lambda *tensors: [
            None if values is None else 1.01 * values for values in module(*tensors)
        ]

    monkeypatch.setattr(traced, "compile_graph", broken)


@pytest.mark.parametrize("broken", [_read_only_cache, _no_compiler, _broken_compiler])
def test_what_cannot_be_compiled_is_traced_and_told_once(broken, tmp_path, monkeypatch):
    broken(tmp_path, monkeypatch)
    eager = fit(tiny_config(**SHORT))
    with pytest.warns(SlowStepWarning, match=r"training\.step.*traced, as compiling") as warned:
        other = fit(tiny_config(**SHORT, **{"training.step": "compiled"}))
    assert len([w for w in warned if w.category is SlowStepWarning]) == 1
    assert equal(eager, other)


def test_a_cache_folder_that_cannot_be_written_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    bad, used = str(tmp_path / "file" / "cache"), []

    def compiled(module, arguments):
        used.append(Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]))
        return module

    monkeypatch.setattr(traced, "compile_graph", compiled)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", bad)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SlowStepWarning)
        eager = fit(tiny_config(**SHORT, **{"training.step": "eager"}))
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] != bad  # torch's first optimiser would fail
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", bad)
    with pytest.warns(SlowStepWarning, match="TORCHINDUCTOR_CACHE_DIR=.*file.cache") as warned:
        other = fit(tiny_config(**SHORT, **{"training.step": "compiled"}))
    assert len(warned) == 1
    assert [folder.is_dir() for folder in used] == [True]
    assert equal(eager, other)


_COMPILED = """
import torch
from models import tiny_config
from pyro_mfcvae.training import fit
settings = {"training.epochs_per_step": "[1,1]", "training.step": "compiled"}
state = fit(tiny_config(**settings)).model.state_dict()
print([values.double().sum().item() for values in state.values()])
"""


@pytest.mark.slow
def test_two_processes_share_a_cache():
    path = os.pathsep.join([str(Path(models.__file__).parent), *sys.path])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _COMPILED],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    (first, error), other = (process.communicate(timeout=600) for process in started)
    assert (first, b"") == other
    assert (bool(first), error) == (True, b"")


def test_whole_batches_alone_are_compiled(monkeypatch):
    sizes = []

    def compiled(module, arguments):
        sizes.append(arguments[-3].shape[0])
        return module

    monkeypatch.setattr(traced, "compile_graph", compiled)
    fit(tiny_config(**SHORT, **{"training.step": "compiled"}))
    assert sizes == [20]


class _Way:
    """A way of taking steps on a clock of its own: seconds of the first step and of the others."""

    def __init__(self, run, first, others):
        self.run, self.first, self.others = run, first, others
        self.steps = SimpleNamespace(states=[run.state])
        self.n_taken = 0

    def step(self):
        self.run.now += self.others if self.n_taken else self.first
        self.n_taken += 1
        self.run.state.step += 1


@pytest.mark.parametrize(
    ("eager", "first", "traced", "chosen"),
    [(0.012, 1, 0.007, "traced"), (0.1, 1, 0.098, "eager"), (0.1, 3, 0.11, "eager")],
)
@pytest.mark.parametrize("n_steps", [2000, 20_000])
def test_the_faster_way_is_chosen_and_costs_a_tenth_at_most(
    eager, first, traced, chosen, n_steps, monkeypatch
):
    batches = SimpleNamespace(per_epoch=100, batch_size=10, x=range(1000))
    run = SimpleNamespace(now=0.0)
    run.state = SimpleNamespace(step=0, n_steps=n_steps, batches=batches)
    ways = {"eager": _Way(run, eager, eager), "traced": _Way(run, first, traced)}
    monkeypatch.setattr(fastest.time, "perf_counter", lambda: run.now)
    steps = Fastest(ways["eager"], ways["traced"])
    while run.state.step < n_steps:
        steps.step()
    assert steps.best is ways[chosen]
    assert run.now <= 1.1 * n_steps * eager


def test_a_run_that_tries_is_the_same_bit_for_bit(monkeypatch):
    eager = fit(tiny_config())
    monkeypatch.setattr(stepping, "MIN_STEPS", 1)
    monkeypatch.setattr(fastest, "N_TIMED", 2)
    assert equal(eager, fit(tiny_config()))


def test_which_runs_try():
    long = {"training.epochs_per_step": str(MIN_STEPS // 4)}  # of 4 steps an epoch
    assert isinstance(stepper(first_state(tiny_config(**long))).__self__, Fastest)
    for settings in ({}, long | {"training.step": "eager"}):
        assert not isinstance(stepper(first_state(tiny_config(**settings))).__self__, Fastest)
    states = [first_state(tiny_config(seed=str(seed), **long)) for seed in (0, 1)]
    tried = stepping.stepper_of_all(states).__self__
    assert isinstance(tried, Fastest)
    assert isinstance(tried.best, Together)


def test_a_person_s_own_model_does_not_try(monkeypatch):
    class Own(MFCVAE):
        pass

    monkeypatch.setitem(MODELS, "own", Own)
    config = tiny_config(**{"training.epochs_per_step": str(MIN_STEPS)})
    state = first_state(override(config, ["model.name=own"]))
    assert not isinstance(stepper(state).__self__, Fastest)
