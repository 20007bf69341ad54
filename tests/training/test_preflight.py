"""The objective is tried before a run folder is made: guides that do not fit are told then."""

from __future__ import annotations

import math
import random
import warnings
from dataclasses import replace

import numpy as np
import pyro
import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT
from distributed_job import StopAt
from models import tiny_config
from test_no_effect import warned
from variants import load

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.cli import main
from pyro_mfcvae.errors import ConfigError, NoEffectWarning
from pyro_mfcvae.guides import GUIDES
from pyro_mfcvae.models import MODELS
from pyro_mfcvae.models.stand_in import check_fit
from pyro_mfcvae.priors.clusters import ClusterCategorical
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import prepare, resume, train
from pyro_mfcvae.studies.many_runs import seeds_and_settings, train_together
from pyro_mfcvae.training import preflight as trial
from pyro_mfcvae.training.preflight import check_trial


class Hierarchical(MFCVAE):
    """As in README.md: a table is looked up at a cluster, and both facets are summed out."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        n_rows, n_columns = (facet.n_clusters for facet in self.facets)
        self.table = torch.nn.Parameter(torch.zeros(n_rows, n_columns))

    def model(self, x, fade=None):
        first = self.facets[0]
        mark = {"enumerate": "parallel"}
        with pyro.plate("data", len(x), dim=-1):
            c_0 = pyro.sample("c_0", first.cluster(), infer=mark)
            c_1 = pyro.sample("c_1", ClusterCategorical(logits=self.table[c_0]), infer=mark)
            zs = [
                pyro.sample(f"z_{j}", facet.component(c))
                for j, (facet, c) in enumerate(zip(self.facets, (c_0, c_1), strict=True))
            ]
            pyro.sample("x", self.decode(zs, fade), obs=x)


class WithoutFade(Hierarchical):
    """Its objective has no fade weights at all."""

    def decode(self, zs, fade=None):
        return super().decode(zs)


class Stateful(MFCVAE):
    """Draws from every source of randomness, and sets parameters at its first call."""

    n_calls, is_set = 0, False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.shift = torch.nn.Parameter(torch.zeros(()))

    def decode(self, zs, fade=None):
        Stateful.n_calls += 1
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
        pyro.param("stored", torch.ones(()))
        if not self.is_set:
            self.shift.data.fill_(7.0)
            self.is_set = True
        return super().decode([z + self.shift for z in zs], fade)


class WholeBatches(MFCVAE):
    """Takes batches of twenty observations and of the rest only."""

    def decode(self, zs, fade=None):
        assert len(zs[0]) in (20, 17), "whole batches, please"
        return super().decode(zs, fade)


class Gated(Hierarchical):
    """Facets come in at once and whole: no gradient reaches their weights."""

    def model(self, x, fade=None):
        super().model(x, None if fade is None else (fade > 0).to(x))

    def sample_posterior(self, x, fade, guide):
        super().sample_posterior(x, None, guide)


class Closed(MFCVAE):
    """Holds a closure and a hook, which a copy shares with it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("largest", torch.zeros(()))
        self.counted = lambda: self.count.add_(1)

        def enlarge():
            self.largest = self.count + 1

        self.enlarge = enlarge

    def decode(self, zs, fade=None):
        self.counted()
        self.enlarge()
        return super().decode(zs, fade)


class NotANumber(MFCVAE):
    """Decodes to something without a density."""

    def decode(self, zs, fade=None):
        return super().decode([z * math.nan for z in zs], fade)


@pytest.fixture(autouse=True)
def _models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for model in (Hierarchical, WithoutFade, Stateful, WholeBatches, Gated, Closed, NotANumber):
        monkeypatch.setitem(MODELS, model.__name__.lower(), model)
    student_t = load("student_t_mixture").StudentTMixtures
    monkeypatch.setitem(MODELS, "student-t", student_t)


def _config(model: str, guide: str = "enumerate", **settings: str):
    return tiny_config(**{"model.name": model, "guide.name": guide} | settings)


def test_a_guide_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    fitting = ("amortized", "enumerate", "expectation", "posterior", "vade")
    with pytest.raises(ConfigError) as refused:
        train(_config("hierarchical", "relaxed"), "run")
    message = str(refused.value)
    assert message.startswith("model 'hierarchical' cannot be trained with guide 'relaxed'; ")
    named = message.partition("(--guide): ")[2].partition(".")[0].split(", ")
    assert set(fitting) <= set(named) <= GUIDES.keys() - {"relaxed"}
    assert "\n" not in message
    assert "failed with IndexError: " in message
    assert isinstance(refused.value.__cause__, IndexError)
    assert not list(tmp_path.iterdir())


def test_every_guide_that_is_named_fits():
    with pytest.raises(ConfigError) as refused:
        train(_config("hierarchical", "relaxed"), "run")
    named = str(refused.value).partition("(--guide): ")[2].partition(".")[0].split(", ")
    for name in sorted(GUIDES.keys() - {"relaxed"}):
        _, state = prepare(_config("hierarchical", name))
        state.model.train()
        try:
            state.train_step()
        except Exception:
            assert name not in named
        else:
            assert name in named


def test_a_model_that_fits_no_guide_is_told_so(monkeypatch):
    def model(self, x, fade=None):
        raise KeyError("nowhere")

    monkeypatch.setattr(Hierarchical, "model", model)
    with pytest.raises(ConfigError, match=r"no other guide fits.*with KeyError: 'nowhere'"):
        train(_config("hierarchical"), "run")


def test_the_command_line_says_it_in_one_message(tmp_path):
    own = f"{ROOT}/examples/hierarchical_facets.py:HierarchicalFacets"
    np.savez("mine.npz", x=np.random.default_rng(0).random((60, 4), np.float32))
    words = ["train", "--model", own, "--data", "mine.npz", "--guide", "relaxed", "--out", "run"]
    words += ["--facets", "2:3,2:4", "--device", "cpu", "--set", "training.n_threads=1"]
    for more in ([], ["--runs", "2"]):
        done = CliRunner().invoke(main, [*words, *more], prog_name="mfcvae")
        assert done.exit_code == 2, done.output
        text = " ".join(done.output.split())
        assert "'HierarchicalFacets' cannot be trained with guide 'relaxed'" in text
        assert "RelaxedGuide does not enumerate clusters" in text
    assert [path.name for path in tmp_path.iterdir()] == ["mine.npz"]


def test_runs_together_are_refused_before_any_folder(tmp_path):
    configs = seeds_and_settings(_config("hierarchical", "relaxed"), 2)
    with pytest.raises(ConfigError, match="cannot be trained with guide 'relaxed'"):
        train_together(configs, "runs")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("guide", ["vade-analytic", "expectation-analytic", "posterior-analytic"])
def test_densities_without_a_closed_form_are_told_before_the_data(guide):
    config = _config("student-t", guide)
    with pytest.raises(ConfigError, match=r"facet 0, 1 has no closed form; choose.*vade"):
        check_fit(config)
    check_fit(replace(config, guide=replace(config.guide, name="vade")))


def test_a_trial_changes_nothing():
    _, state = prepare(_config("stateful", "vade", **{"model.encoder.options.batch_norm": "true"}))
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    pyro.param("mine", torch.zeros(()))
    states = pyro.util.get_rng_state()
    n_calls = Stateful.n_calls
    assert check_trial(state)
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
    for check in (check_trial, lambda state: True):
        monkeypatch.setattr("pyro_mfcvae.runs.train.check_trial", check)
        _, state, _ = train(_config("stateful", "vade", **settings), f"run-{len(trained)}")
        trained.append(state.model.state_dict())
        pyro.clear_param_store()
    first, second = trained
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_trial_takes_one_evaluation_of_a_few_observations(monkeypatch):
    decoded, decode = [], MFCVAE.decode

    def counted(self, zs, fade=None):
        decoded.append(zs[0].shape[-2])
        return decode(self, zs, fade)

    _, state = prepare(tiny_config())
    monkeypatch.setattr(MFCVAE, "decode", counted)
    check_trial(state)
    assert decoded == [4]


def test_a_model_that_needs_whole_batches_is_let_pass():
    _, state = prepare(_config("wholebatches", "vade"))
    assert check_trial(state)


def test_a_model_that_cannot_be_copied_is_let_pass(monkeypatch):
    def refuse(self, memo):
        raise TypeError("not me")

    _, state = prepare(_config("hierarchical", "relaxed"))
    monkeypatch.setattr(Hierarchical, "__deepcopy__", refuse, raising=False)
    assert check_trial(state)


def test_lack_of_memory_is_no_misfit(monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("full")

    _, state = prepare(_config("hierarchical"))
    monkeypatch.setattr(trial, "_evaluated", fail)
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        check_trial(state)


def test_a_run_that_goes_on_is_not_tried(monkeypatch):
    train(_config("hierarchical"), "run", [StopAt(7)])
    tried = []
    monkeypatch.setattr("pyro_mfcvae.runs.train.check_trial", tried.append)
    state, _ = resume(Run("run"))
    assert state.step == state.n_steps
    assert not tried


def test_a_minimum_of_information_that_reaches_no_clusters(monkeypatch):
    class Silent(GUIDES["enumerate"]):
        """Sums clusters out, under another name."""

    monkeypatch.setitem(GUIDES, "silent", Silent)
    with pytest.raises(ConfigError, match=r"those of facet 0, 1 do not have under guide 'silent'"):
        train(tiny_config(**{"guide.name": "silent", "training.min_information": "0.5"}), "run")


def test_clusters_that_tell_nothing_at_first_may_have_a_minimum_of_information():
    config = tiny_config(**{"guide.name": "amortized", "training.min_information": "0.5"})
    _, state = prepare(config)
    for head in state.model.cluster_heads:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    tried = trial._tried(state, trial._copied(state, "amortized"), "amortized")
    assert tried.terms["kl_c_0"] == 0
    assert check_trial(state)


def test_a_model_without_fade_weights_is_not_warned_of_them():
    settings = {"training.n_fade_in_batches": "50", "training.epochs_per_step": "[1,1]"}
    for model, fades in (("hierarchical", True), ("withoutfade", False)):
        said: list[str] = []
        config = _config(model, **settings)
        _, state = prepare(config)
        assert check_trial(state) is fades
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoEffectWarning)
            train(config, model, say=said.append)
        assert any("facet 0 will have a fade weight" in text for text in said) is fades
    assert any("fade weights have no part" in text for text in warned(config))


def test_a_hard_gate_is_a_part_of_fade_weights():
    _, state = prepare(_config("gated", "vade"))
    tried = trial._tried(state, trial._copied(state, "vade"), "vade")
    assert not tried.fades
    states = pyro.util.get_rng_state()["torch"]
    assert check_trial(state)
    assert torch.equal(states, pyro.util.get_rng_state()["torch"])


def test_fade_weights_have_no_part_in_what_only_draws_anew(monkeypatch):
    def decode(self, zs, fade=None):
        shaken = [z + torch.randn_like(z) for z in zs]
        self.shift.data += 1
        return MFCVAE.decode(self, [z + self.shift for z in shaken])

    _, state = prepare(_config("withoutfade", **{"training.n_fade_in_batches": "3"}))
    state.model.shift = torch.nn.Parameter(torch.zeros(()))
    monkeypatch.setattr(WithoutFade, "decode", decode)
    assert not check_trial(state)


def test_epochs_are_not_called_without_effect():
    """Their sum is the run's length, whatever fade weights do."""
    config = _config("withoutfade", **{"training.epochs_per_step": "[7,9]"})
    assert not any("epochs_per_step" in text.partition(":")[0] for text in warned(config))


def test_a_trial_does_not_change_what_closures_hold():
    _, state = prepare(_config("closed", "vade"))
    count, largest = state.model.count, state.model.largest
    assert check_trial(state)
    assert state.model.count is count
    assert state.model.largest is largest
    assert (count.item(), largest.item()) == (0, 0)


def test_a_loss_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="the loss is NaN, and so are its terms .*reconstr"):
        train(_config("notanumber", "vade"), "run")
    assert not list(tmp_path.iterdir())
