"""The models that come with the library are the runs that the results tell of."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import ROOT

from pyro_mfcvae import open_pretrained
from pyro_mfcvae.config import config_to_json, override
from pyro_mfcvae.errors import ConfigError, RunError
from pyro_mfcvae.evaluation import majority_accuracy, predict, sample_clusters
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.pretrained import pretrained_models
from pyro_mfcvae.runs.train import resume

RESULTS = json.loads((ROOT / "examples/results/mnist.json").read_text())


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return open_pretrained("mnist")


def test_it_is_the_published_preset_trained_to_its_end(run):
    assert run.path.name == "mnist-pretrained-001"
    assert run.config == override(get_preset("mnist").config, ["training.n_threads=1"])
    assert run.step() == run.n_steps(60_000) == 401 * 118
    assert run.fade() == (1, 1)
    source = pretrained_models()["mnist"].path
    assert sum(file.stat().st_size for file in source.rglob("*.safetensors")) < 8e6


def test_its_evaluation_is_in_the_results(run):
    (measured,) = (entry for entry in RESULTS["runs"] if entry["seed"] == run.config.seed)
    for facet, results in zip(run.evaluation().facets, measured["facets"], strict=True):
        for measure, value in results["factors"]["digit"].items():
            assert facet.factors["digit"].test[measure] == pytest.approx(value, abs=1e-3)


def test_it_draws_digits(run):
    pictures = sample_clusters(run.model(), 1, [0, 1], n_samples=3)
    assert pictures.shape == (2, 3, 1, 28, 28)
    assert 0.05 < pictures.mean() < 0.3
    ink = pictures.reshape(2, 3, -1)
    assert (ink.max(-1) > 0.9).all()


def test_it_clusters_held_out_digits_as_measured(run, mnist_folder):
    dataset = run.dataset(mnist_folder)
    x, labels = dataset.split("test")
    predictions = predict(run.model(), x)
    for j, facet in enumerate(run.evaluation().facets):
        expected = facet.factors["digit"].test["majority_accuracy"]
        accuracy = majority_accuracy(labels["digit"].numpy(), predictions.clusters[j])
        assert accuracy == pytest.approx(expected, abs=1e-3)
        assert predictions.responsibilities[j].shape == (10_000, 25)
        np.testing.assert_allclose(predictions.responsibilities[j].sum(1), 1, rtol=1e-5)


def test_it_is_not_trained_further_and_not_overwritten(run, mnist_folder):
    with pytest.raises(ConfigError, match="exists already"):
        open_pretrained("mnist", run.path)
    again = open_pretrained("mnist", data_dir=mnist_folder)
    assert again.path.name == "mnist-pretrained-002"
    assert again.config.data.options["data_dir"] == str(mnist_folder)
    state, _ = resume(again)
    assert state.step == state.n_steps
    for name, value in again.model().state_dict().items():
        torch.testing.assert_close(state.model.state_dict()[name].cpu(), value)
    longer = override(again.config, ["training.epochs_per_step=[200,202]"])
    (again.path / "config.json").write_text(config_to_json(longer))
    with pytest.raises(RunError, match="without its optimiser"):
        resume(type(again)(again.path))
