"""Training in memory is the training of a run folder, without the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from distributed_job import StopAt
from models import tiny_config

from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.evaluation import evaluate
from pyro_mfcvae.runs.complete import Interrupted, complete, finish
from pyro_mfcvae.runs.measure import evaluate_run, lacking
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.training import fit

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
