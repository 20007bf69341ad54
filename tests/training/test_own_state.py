"""What a model of one's own may hold beside plain parameters: shared, infinite, and no tensors."""

from __future__ import annotations

import math

import pytest
import torch
from distributed_job import StopAt
from models import tiny_config
from torch import nn

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.models import MODELS
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resume, train


class Tied(MFCVAE):
    """Two layers of one weight, one that nothing uses, shared buffers, and an infinite mask."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        n = self.observation.n_values
        self.first, self.second = nn.Linear(n, n, bias=False), nn.Linear(n, n, bias=False)
        self.second.weight = self.first.weight
        self.unused = nn.Linear(2, 2)  # it has no gradient, and so no moments
        table = torch.arange(8.0)
        self.register_buffer("head", table[:5])
        self.register_buffer("tail", table[3:])
        self.register_buffer("mask", torch.full((2,), -math.inf))

    def features(self, x, seen=None):
        mixed = self.second(self.first(x.flatten(1))).reshape(x.shape)
        return super().features(x + 1e-3 * mixed, seen)


class Worded(MFCVAE):
    """Has a part of its state in words."""

    def get_extra_state(self):
        return "words"


@pytest.fixture(autouse=True)
def _models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODELS, "tied", Tied)
    monkeypatch.setitem(MODELS, "worded", Worded)


def test_tied_weights_and_infinite_buffers_are_saved_and_stay_what_they_are():
    config = tiny_config(**{"model.name": "tied"})
    _, whole, _ = train(config, "whole")
    train(config, "run", [StopAt(7)])
    resume(Run("run"))
    model = Run("run").model()
    assert model.second.weight is model.first.weight
    assert torch.equal(model.mask, torch.full((2,), -math.inf))
    trained = whole.model.state_dict()
    assert all(torch.equal(trained[name], value) for name, value in model.state_dict().items())


def test_a_state_that_is_no_tensor_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="_extra_state"):
        train(tiny_config(**{"model.name": "worded"}), "run")
    assert not list(tmp_path.iterdir())
