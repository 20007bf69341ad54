"""Programs of several threads give what each gives alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pyro
import pytest
import torch
from models import observations, small_model, tiny_config

from pyro_mfcvae import Noise
from pyro_mfcvae.inference import threads
from pyro_mfcvae.training import fit


def test_objectives_in_threads_are_those_of_one_thread():
    model, x = small_model(), observations()

    def elbo(seed: int) -> float:
        with torch.no_grad(), Noise(seed), threads.without_validation():
            return model(x).elbo.sum().item()

    alone = [elbo(seed) for seed in range(20)]
    before = pyro.settings.get("validate_infer")
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(elbo, range(20))) == alone
    assert pyro.settings.get("validate_infer") == before


def test_trainings_in_threads_are_those_of_one_thread():
    config = tiny_config(**{"training.epochs_per_step": "[1,1]"})

    def parameters(_: int) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in fit(config).model.parameters()])

    alone = parameters(0)
    with ThreadPoolExecutor(2) as pool:
        assert all(torch.equal(found, alone) for found in pool.map(parameters, range(2)))


def test_a_thread_that_nobody_can_wait_for_is_told_of(monkeypatch):
    monkeypatch.setattr(threads, "_PATIENCE", 0.01)
    model, x, failed = small_model(), observations(), []

    def compute() -> None:
        with pytest.raises(RuntimeError, match="thread"):
            model(x)
        failed.append(True)

    with Noise(0):
        other = threading.Thread(target=compute)
        other.start()
        other.join()
    assert failed
    model(x)  # the block of noise has ended
