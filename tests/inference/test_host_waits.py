"""A training step never waits for the device, checked without one.

Operations that read a value on the host, or whose result's shape depends on the data, make a
CUDA program wait. They are recognised by name as the step runs.
"""

from __future__ import annotations

import pyro
import pytest
import torch
from models import observations, small_model, tiny_config
from pyro.infer import TraceEnum_ELBO
from torch.utils._python_dispatch import _get_current_dispatch_mode

from pyro_mfcvae import Noise
from pyro_mfcvae.config import override
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.testing.no_waiting import NoWaiting
from pyro_mfcvae.testing.values import weighted
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.state import Eager

READING = ("tolist", "numpy", "cpu", "item")


@pytest.fixture(autouse=True)
def _no_reading(monkeypatch):
    """Methods that hand a tensor to the host bypass the dispatcher on a CPU."""

    def refuse(name, original):
        def method(tensor, *args, **kwargs):
            if _get_current_dispatch_mode() is not None:
                raise AssertionError(f"{name} waits for the device")
            return original(tensor, *args, **kwargs)

        return method

    for name in READING:
        monkeypatch.setattr(torch.Tensor, name, refuse(name, getattr(torch.Tensor, name)))


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("guide", ["vade", "enumerate", "vade-analytic", "expectation-analytic"])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_objective_and_gradient(covariance, guide, n_samples):
    model, x = small_model(covariance=covariance), observations()
    fade = torch.tensor([0.0, 1.0], dtype=torch.float64)
    with NoWaiting(), pyro.validation_enabled(False), Noise(0):
        weighted(model, x, guide, n_samples, fade).loss.backward()
    assert (model.facets[1].loc.grad != 0).any()


@pytest.mark.parametrize("guide", ["vade", "enumerate"])
def test_whole_training_steps(guide):
    config = override(
        get_preset("shapes").config,
        [
            'data.options={"size": 8, "factors": {"wall_hue": [5], "object_hue": [6],'
            ' "scale": [0, 7], "shape": [0, 2], "orientation": [0, 7, 14]}}',
            'model.facets=[{"n_clusters": 5, "latent_dim": 3, "covariance": "full"},'
            ' {"n_clusters": 4, "latent_dim": 2}]',
            "training.batch_size=40",
            "training.epochs_per_step=[1,1]",
            "training.n_fade_in_batches=4",
            "training.device=cpu",
            f"guide.name={guide}",
        ],
    )
    _, state = prepare(config)
    state.model.train()
    Eager(state).step()
    with NoWaiting():
        while state.step < state.n_steps:
            Eager(state).step()
    assert state.fade.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    "wait",
    [
        lambda t: t.item(),
        lambda t: t.tolist(),
        lambda t: t.cpu(),
        lambda t: t.numpy(),
        lambda t: t[t > 0],
        lambda t: bool((t > 0).all()),
        lambda t: t.nonzero(),
    ],
)
def test_the_check_sees_waiting(wait):
    """Otherwise the tests above could not fail."""
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        wait(torch.ones(1))


def test_the_check_sees_the_stock_objective_wait():
    model, x = small_model(), observations()
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        TraceEnum_ELBO().differentiable_loss(model.model, model.guide("vade"), x).backward()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("guide", ["vade", "enumerate"])
def test_training_steps_on_a_cuda_device(guide):
    _, state = prepare(tiny_config(**{"training.device": "cuda", "guide.name": guide}))
    state.model.train()
    Eager(state).step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            Eager(state).step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert state.step == 3
