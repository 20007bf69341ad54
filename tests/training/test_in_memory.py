"""Training in memory is the training of a run folder, without the folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from distributed_job import StopAt
from models import tiny_config
from safetensors.torch import load_file, save_file

from pyro_mfcvae.config import override
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.errors import RunError, TrainingError
from pyro_mfcvae.evaluation import elbo_means, evaluate
from pyro_mfcvae.evaluation.held_out import KeepBest
from pyro_mfcvae.runs.complete import complete, finish
from pyro_mfcvae.runs.measure import evaluate_run, lacking
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.signals import Interrupted
from pyro_mfcvae.training import Callback, fit
from pyro_mfcvae.training.fitted import fit_all

PRETRAINED = {"training.pretraining": '{"name": "autoencoder", "options": {"epochs": 1}}'}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("settings", [{}, PRETRAINED, {"training.refit_mixtures": "[1]"}])
def test_it_is_the_run_of_a_folder_bit_for_bit_and_touches_no_file(settings):
    config = tiny_config(**settings)
    dataset = load_dataset(config.data)
    fitted = fit(config, dataset)
    assert not list(Path().iterdir())
    run, state, _ = train(config, "run", dataset=dataset)
    ours, theirs = fitted.model.state_dict(), state.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert fitted.log == [record for record in run.metrics() if record["split"] == "train"]
    assert not fitted.interrupted
    assert not fitted.model.training
    results = evaluate(fitted.model, fitted.dataset, config.guide.name)
    assert results.elbo == evaluate_run(run, dataset).elbo


def test_it_loads_the_data_and_stops_where_it_is_told():
    fitted = fit(tiny_config(), callbacks=[StopAt(5)])
    assert fitted.interrupted
    assert fitted.state.step == 5
    assert [record["step"] for record in fitted.log] == [3]


def test_an_orchestrated_run_goes_on_and_is_measured_once(monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", lambda *_: pytest.fail("not asked for"))
    config = tiny_config(**{"training.evaluate_every": "3"})
    dataset = load_dataset(config.data)
    with pytest.raises(Interrupted):
        finish(config, Path("run"), dataset, [StopAt(7)])
    run = finish(config, Path("run"), dataset, judged=("train", "test"))
    assert finish(config, Path("run"), dataset).step() == 24
    assert {record["split"] for record in run.metrics()} == {"train", "test", "train_clusters"}
    assert lacking(run) is not None
    said: list[str] = []
    first = complete(run, dataset, said.append, anew=False, draw=False)
    assert lacking(run, dataset) is None
    assert complete(run, dataset, said.append, anew=False, draw=False) == first
    assert said == ["evaluating"]
    assert lacking(run, dataset, {"probe": True}) == {"probe": True}
    assert lacking(run, dataset, {"diversity": ["pixels"]}) == {"diversity": ["pixels"]}


def test_several_runs_in_memory_are_those_that_train_alone():
    configs = [replace(tiny_config(**{"training.dtype": "float64"}), seed=seed) for seed in (0, 3)]
    dataset = load_dataset(configs[0].data)
    for config, one in zip(configs, fit_all(configs, dataset), strict=True):
        alone = fit(config, dataset).model.state_dict()
        for name, value in one.model.state_dict().items():
            torch.testing.assert_close(value, alone[name], rtol=1e-4, atol=1e-6)


def test_runs_that_break_down_are_left_out_unless_all_do():
    good, bad = tiny_config(), override(tiny_config(), ["training.learning_rate=1e30"])
    dataset = load_dataset(good.data)
    (left,) = fit_all([bad, good], dataset)
    assert left.state.config == good
    with pytest.raises(TrainingError):
        fit_all([bad, replace(bad, seed=1)], dataset)


class _Kept(Callback):
    def __init__(self):
        self.tensors = {}

    def on_step(self, state):
        self.tensors[state.step] = {k: v.clone() for k, v in state.model.state_dict().items()}


def test_the_parameters_that_were_best_held_out_are_kept():
    # A learning rate that does harm: the best step is not the last one.
    config = tiny_config(**{"training.learning_rate": "0.03", "training.epochs_per_step": "6"})
    dataset = load_dataset(config.data)
    kept, best = _Kept(), KeepBest(dataset.split("test")[0], n_times=12)
    fitted = fit(config, dataset, [kept, best])
    model, found = fitted.model, fitted.state.best
    ours = model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in kept.tensors[found.step].items())
    elbo = elbo_means(model, dataset.split("test")[0])["elbo"]
    assert found.elbo == pytest.approx(elbo, rel=1e-5)
    for step, tensors in kept.tensors.items():
        if step % 2 == 0:
            model.load_state_dict(tensors)
            assert elbo_means(model, dataset.split("test")[0])["elbo"] <= elbo + 1e-3


def test_nothing_is_best_before_all_terms_have_their_full_weight():
    weak = {"training.kl_start": "0.1", "training.kl_warm_up": "[1,3]"}
    config = tiny_config(**{"training.epochs_per_step": "4"} | weak)
    dataset = load_dataset(config.data)
    best = KeepBest(dataset.split("test")[0], n_times=1000)
    state = fit(config, dataset, [best]).state
    assert state.best.step > 3 * state.batches.per_epoch


HARMFUL = {
    "training.learning_rate": "0.03",
    "training.epochs_per_step": "14",
    "training.keep_best": "true",
}


def test_a_resumed_run_ends_with_the_best_of_all_its_parts():
    # The best step comes before the interruption.
    config = tiny_config(**HARMFUL, **{"training.checkpoint_every": "1"})
    _, whole, _ = train(config, "whole")
    stop = whole.best.step + 1
    assert stop < whole.n_steps
    run, _, _ = train(config, "parts", [StopAt(stop)])
    assert run.checkpoint().best_step == whole.best.step
    state, _ = resume(run)
    assert run.metrics() == Run(Path("whole")).metrics()
    for folder in ("whole", "parts"):
        tensors = Run(Path(folder)).checkpoint().model_tensors()
        assert all(torch.equal(tensors[name], t) for name, t in whole.best.tensors.items())
    assert all(torch.equal(a, state.model.state_dict()[n]) for n, a in whole.best.tensors.items())


def test_what_did_best_must_be_whole_in_a_checkpoint():
    config = tiny_config(**HARMFUL)
    run, state, _ = train(config, "run", [StopAt(9)])
    file = run.checkpoint().path / "optimizer.safetensors"
    tensors = load_file(file)
    del tensors[f"best.{next(iter(state.best.tensors))}"]
    save_file(tensors, file)
    told = json.loads((file.parent / "state.json").read_text())
    told["checksums"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    del told["checksum"]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    (file.parent / "state.json").write_text(json.dumps({**told, "checksum": digest}))
    with pytest.raises(RunError, match="optimizer.safetensors"):
        resume(run)
