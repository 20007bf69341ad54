"""Compiled steps, what stands in their way, and which way of taking steps is chosen."""

from __future__ import annotations

from types import SimpleNamespace

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
from pyro_mfcvae.training.devices.compiled import compile_graph
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
        self.is_in_cache = run.is_in_cache
        self.n_taken = 0

    def step(self):
        self.run.now += self.others if self.n_taken else self.first
        self.n_taken += 1
        self.run.state.step += 1


def run_of(monkeypatch, n_steps, seconds, in_cache=False, compiler=True):
    """What a run chooses, how long it takes and what it says, by what each way would take."""
    batches = SimpleNamespace(per_epoch=100, batch_size=10, x=range(1000))
    run = SimpleNamespace(now=0.0, is_in_cache=in_cache, said=[])
    run.state = SimpleNamespace(step=0, n_steps=n_steps, batches=batches)
    ways = {name: _Way(run, *both) for name, both in seconds.items()}
    monkeypatch.setattr(fastest.time, "perf_counter", lambda: run.now)
    monkeypatch.setattr(fastest, "has_compiler", lambda: compiler)
    monkeypatch.setattr(fastest, "Traced", lambda *_, **__: ways["compiled"])
    steps = Fastest(ways["eager"], ways["traced"], run.said.append)
    while run.state.step < n_steps:
        steps.step()
    (run.chosen,) = [name for name, way in ways.items() if way is steps.best]
    run.tried = ways["compiled"].n_taken > 0
    return run


SMALL = {"eager": (0.012, 0.012), "traced": (1, 0.007), "compiled": (60, 0.002)}
LARGE = {"eager": (0.1, 0.1), "traced": (1, 0.098), "compiled": (60, 0.075)}
USELESS = {"eager": (0.1, 0.1), "traced": (3, 0.11), "compiled": (150, 0.2)}


@pytest.mark.parametrize(
    ("seconds", "n_steps", "in_cache", "chosen"),
    [
        (SMALL, 2000, False, "traced"),  # 14 s: compiling would take longer
        (SMALL, 2000, True, "traced"),
        (SMALL, 20_000, True, "compiled"),
        (SMALL, 200_000, False, "compiled"),
        (LARGE, 2000, False, "eager"),
        (LARGE, 20_000, False, "compiled"),
        (USELESS, 30_000, False, "eager"),
    ],
)
def test_the_fastest_way_is_chosen_and_costs_a_tenth_at_most(
    seconds, n_steps, in_cache, chosen, monkeypatch
):
    run = run_of(monkeypatch, n_steps, seconds, in_cache)
    assert run.chosen == chosen
    assert run.now <= 1.1 * n_steps * seconds["eager"][1]


def test_without_a_compiler_that_is_said_once_where_it_would_matter(monkeypatch):
    run = run_of(monkeypatch, 200_000, SMALL, compiler=False)
    assert (run.chosen, run.tried) == ("traced", False)
    assert len(run.said) == 1
    assert run_of(monkeypatch, 2000, SMALL, compiler=False).said == []


def test_a_run_that_tries_is_the_same_bit_for_bit(monkeypatch):
    eager = fit(tiny_config())
    monkeypatch.setattr(stepping, "MIN_STEPS", 1)
    monkeypatch.setattr(fastest, "N_TIMED", 2)
    monkeypatch.setattr(fastest, "has_compiler", lambda: False)
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


def test_a_graph_is_known_again_once_it_was_compiled(monkeypatch):
    import torch._inductor

    from pyro_mfcvae.training.devices.compiled import is_in_cache

    monkeypatch.setattr(torch._inductor, "standalone_compile", lambda module, *_, **__: module)
    module = torch.fx.symbolic_trace(torch.nn.Tanh())
    assert not is_in_cache(module)
    compile_graph(module, [torch.zeros(2)])
    assert is_in_cache(module)
