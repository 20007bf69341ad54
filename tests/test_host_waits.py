"""A training step never waits for the device, proven without one.

Operations that read a value on the host, or whose result's shape depends on the data, make a
CUDA program wait. They are recognised by name as the step runs.
"""

from __future__ import annotations

import pyro
import pytest
import torch
from models import observations, small_model
from pyro.infer import TraceEnum_ELBO
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_mfcvae import Noise
from pyro_mfcvae.config import override
from pyro_mfcvae.experiment import prepare
from pyro_mfcvae.presets import get_preset

WAITING = ("_local_scalar_dense", "masked_select", "nonzero", "unique", "is_nonzero", "equal")


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in WAITING:
            raise AssertionError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("guide", ["vade", "enumerate"])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_objective_and_gradient(covariance, guide, n_samples):
    model, x = small_model(covariance=covariance), observations()
    fade = torch.tensor([0.0, 1.0], dtype=torch.float64)
    with NoWaiting(), pyro.validation_enabled(False), Noise(0):
        model(x, fade, guide, n_samples).loss.backward()


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
    state.train_step()
    with NoWaiting():
        while state.step < state.n_steps:
            state.train_step()
    assert state.fade.tolist() == [0.5, 1.0]


def test_the_check_sees_the_stock_objective_wait():
    """Otherwise the tests above could not fail."""
    model, x = small_model(), observations()
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        TraceEnum_ELBO().differentiable_loss(model.model, model.guide("vade"), x).backward()
