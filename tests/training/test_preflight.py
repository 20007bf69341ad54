"""The objective is evaluated once before a run folder is made: what fails does so at once."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT
from distributed_job import StopAt
from models import tiny_config
from variants import load

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.cli import main
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.guides import GUIDES
from pyro_mfcvae.models import MODELS
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.together import train_together
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.studies.many_runs import seeds_and_settings
from pyro_mfcvae.training import preflight
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.preflight import check_objective_once


class Stateful(MFCVAE):
    """Draws from every source of randomness, and sets parameters at its first call."""

    n_calls, is_set = 0, False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.shift = torch.nn.Parameter(torch.zeros(()))

    def decode(self, zs):
        Stateful.n_calls += 1
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
        pyro.param("stored", torch.ones(()))
        if not self.is_set:
            self.shift.data.fill_(7.0)
            self.is_set = True
        return super().decode([z + self.shift for z in zs])


class WholeBatches(MFCVAE):
    """Takes batches of twenty observations and of the rest only."""

    def decode(self, zs):
        assert len(zs[0]) in (20, 17), "whole batches, please"
        return super().decode(zs)


class NotANumber(MFCVAE):
    """Decodes to something without a density."""

    def decode(self, zs):
        return super().decode([z * math.nan for z in zs])


@pytest.fixture(autouse=True)
def _models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hierarchical = load("hierarchical_facets").HierarchicalFacets
    for model in (Stateful, WholeBatches, NotANumber):
        monkeypatch.setitem(MODELS, model.__name__.lower(), model)
    monkeypatch.setitem(MODELS, "hierarchical", hierarchical)
    monkeypatch.setitem(MODELS, "student-t", load("student_t_mixture").StudentTMixtures)


def _config(model: str, guide: str = "vade", **settings: str):
    return tiny_config(**{"model.name": model, "guide.name": guide} | settings)


@pytest.mark.parametrize(
    ("model", "guide", "named"),
    [
        ("hierarchical", "relaxed", "guide 'relaxed'.*RelaxedGuide does not enumerate"),
        ("notanumber", "vade", "ValueError.*loss of nan.*reconstruction"),
        ("student-t", "vade-analytic", "facet 0, 1 has no closed form; choose.*vade"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    model, guide, named, tmp_path
):
    with pytest.raises(ConfigError, match=named) as refused:
        train(_config(model, guide), "run")
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match=named):
        train_together(seeds_and_settings(_config(model, guide), 2), "runs")
    assert not list(tmp_path.iterdir())


def test_the_command_line_says_it_in_one_message(tmp_path):
    own = f"{ROOT}/examples/hierarchical_facets.py:HierarchicalFacets"
    np.savez("mine.npz", x=np.random.default_rng(0).random((60, 4), np.float32))
    words = ["train", "--model", own, "--data", "mine.npz", "--guide", "relaxed", "--out", "run"]
    words += ["--facets", "2:3,2:4", "--device", "cpu", "--set", "training.n_threads=1"]
    done = CliRunner().invoke(main, words, prog_name="mfcvae")
    assert done.exit_code == 2, done.output
    assert "'HierarchicalFacets' cannot be trained with guide 'relaxed'" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.npz"]


def test_a_trial_changes_nothing():
    _, state = prepare(_config("stateful", **{"model.encoder.options.batch_norm": "true"}))
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    pyro.param("mine", torch.zeros(()))
    states = pyro.util.get_rng_state()
    n_calls = Stateful.n_calls
    check_objective_once(state)
    assert Stateful.n_calls == n_calls + 1
    after = pyro.util.get_rng_state()
    assert torch.equal(states["torch"], after["torch"])
    assert states["random"] == after["random"]
    assert (states["numpy"][1] == after["numpy"][1]).all()
    assert states["numpy"][2:] == after["numpy"][2:]
    assert list(pyro.get_param_store().keys()) == ["mine"]
    pyro.clear_param_store()
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(before[k], value) for k, value in state.model.state_dict().items())
    assert not state.model.is_set
    assert all(p.grad is None for p in state.model.parameters())
    assert state.step == 0
    assert state.totals is None


def test_training_is_what_it_is_without_a_trial(monkeypatch):
    settings = {"model.encoder.options.batch_norm": "true", "training.epochs_per_step": "[1]"}
    trained = []
    for check in (check_objective_once, lambda state: None):
        monkeypatch.setattr(preflight, "check_objective_once", check)
        _, state, _ = train(_config("stateful", **settings), f"run-{len(trained)}")
        trained.append(state.model.state_dict())
        pyro.clear_param_store()
    first, second = trained
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_model_that_needs_whole_batches_is_let_pass():
    _, state = prepare(_config("wholebatches"))
    check_objective_once(state)


def test_a_model_that_cannot_be_copied_is_let_pass(monkeypatch):
    def refuse(self, memo):
        raise TypeError("not me")

    _, state = prepare(_config("hierarchical", "relaxed"))
    monkeypatch.setattr(type(state.model), "__deepcopy__", refuse, raising=False)
    check_objective_once(state)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("full"),
        MemoryError("full"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: full"),
    ],
)
def test_lack_of_memory_is_no_misfit(monkeypatch, error):
    def fail(*_):
        raise error

    _, state = prepare(_config("hierarchical", "enumerate"))
    monkeypatch.setattr(preflight, "Objective", fail)
    with pytest.raises(type(error), match="full"):
        check_objective_once(state)


def test_lack_of_memory_is_told_in_words(monkeypatch):
    def fail(*_):
        raise RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: 64 GB")

    monkeypatch.setattr("pyro_mfcvae.training.begin.load_dataset", fail)
    done = CliRunner().invoke(main, ["train", "--out", "run"], prog_name="mfcvae")
    assert done.exit_code == 1
    assert re.search("memory.*64 GB.*training.batch_size", " ".join(done.output.split()))
    assert "should not happen" not in done.output


@pytest.mark.parametrize("column", [np.finfo(np.float32).max, 1e30, 1e12, 1e5])
@pytest.mark.parametrize("rows", [slice(None), slice(35, 36)])
def test_values_that_cannot_be_trained_on_are_named_before_anything_is_written(
    column, rows, tmp_path
):
    x = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    x[rows, 1] = column
    np.savez("raw.npz", x=x)
    data = '{"name": "file", "options": {"path": "raw.npz"}}'
    with pytest.raises(
        DataError, match="values of x (go up to.*standardise|beyond 1e.18.*column 1)"
    ):
        train(tiny_config(data=data), "run")
    assert [path.name for path in tmp_path.iterdir()] == ["raw.npz"]


def test_a_run_that_goes_on_is_not_tried(monkeypatch):
    train(_config("hierarchical", "enumerate"), "run", [StopAt(7)])
    monkeypatch.setattr(preflight, "check_objective_once", lambda state: pytest.fail("tried"))
    state, _ = resume(Run("run"))
    assert state.step == state.n_steps


def test_a_minimum_of_information_that_reaches_no_clusters(monkeypatch):
    class Silent(GUIDES["enumerate"]):
        """Sums clusters out, under another name."""

    monkeypatch.setitem(GUIDES, "silent", Silent)
    with pytest.raises(ConfigError, match=r"training.min_information.*facet 0, 1.*'silent'"):
        train(tiny_config(**{"guide.name": "silent", "training.min_information": "0.5"}), "run")
    assert not Path("run").exists()
