"""The schedule and the handler; the first authors' table is in test_golden.py."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from models import gradients, observations, small_model
from pyro import poutine

from pyro_mfcvae import Fade, FadeInSchedule, Noise
from pyro_mfcvae.config import Component
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.fade_in import KlFloor


def test_three_facets_deepest_first():
    schedule = FadeInSchedule((10, 10, 10), 4)
    assert schedule(0) == (0, 0, 1)
    assert schedule(9) == (0, 0, 1)
    assert schedule(10) == (0, 0, 1)  # exactly 0 at the first batch of a stage
    assert schedule(11) == (0, 0.25, 1)
    assert schedule(14) == (0, 1, 1)
    assert schedule(21) == (0.25, 1, 1)
    assert schedule(1000) == (1, 1, 1)


def test_cosine_starts_and_ends_flat():
    schedule = FadeInSchedule((0, 100), 100, "cosine")
    assert schedule(0) == (0, 1)
    assert schedule(50) == (pytest.approx(0.5), 1)
    assert schedule(25)[0] == pytest.approx(0.5 * (1 - math.cos(math.pi / 4)))
    assert schedule(1)[0] < 0.001 < 0.999 < schedule(99)[0]


def test_no_fade_in_lets_a_facet_in_at_once():
    assert FadeInSchedule((3, 3), 0)(3) == (1, 1)


@pytest.mark.parametrize(
    "settings", [((), 5), ((3, -1), 5), ((3, 3), -1), ((3, 3), 5, "quadratic")]
)
def test_bad_schedules_are_refused(settings):
    with pytest.raises(ConfigError):
        FadeInSchedule(*settings)


def test_fade_scales_and_tags_sites():
    def program():
        with Fade(1, torch.tensor(0.0)):
            pyro.sample("inside", dist.Normal(0.0, 1.0))
        pyro.sample("outside", dist.Normal(0.0, 1.0))

    nodes = poutine.trace(program).get_trace().nodes
    assert nodes["inside"]["infer"]["facet"] == 1
    assert nodes["inside"]["scale"] == 0
    assert "facet" not in nodes["outside"]["infer"]
    assert nodes["outside"]["scale"] == 1


@pytest.mark.parametrize("guide", ["vade", "enumerate"])
def test_a_kl_floor_raises_the_weights_of_the_kls_alone(guide):
    model, x = small_model(3), observations()
    fade = [0.0, 0.5, 1.0]
    with Noise(0):
        plain = model.elbo(x, guide, fade=fade)
    with Noise(0), KlFloor(0.2):
        raised = model.elbo(x, guide, fade=fade)
    torch.testing.assert_close(raised.fade, torch.tensor([0.2, 0.6, 1.0]).double())
    for name in ("reconstruction", "kl_z", "kl_c"):
        assert torch.equal(getattr(raised, name), getattr(plain, name))
    expected = plain.reconstruction - ((plain.kl_z + plain.kl_c) * raised.fade).sum(-1)
    torch.testing.assert_close(raised.elbo, expected)
    # The facet whose turn has not come: its posterior and prior move, its decoder rung does not.
    raised.loss.backward()
    assert model.heads[0].weight.grad.abs().max() > 0
    assert model.facets[0].loc.grad.abs().max() > 0
    assert model.decoder.rungs[0][0].weight.grad.abs().max() == 0


def test_a_kl_floor_reaches_pyros_own_scales():
    def program():
        with Fade(0, torch.tensor(0.5)):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    with KlFloor(0.2):
        assert poutine.trace(program).get_trace().nodes["z"]["scale"] == pytest.approx(0.6)
    with pytest.raises(ConfigError, match=r"from 0 to 1, got 1\.5"):
        KlFloor(1.5)


@pytest.mark.parametrize("name", ["ladder", "conv-ladder"])
def test_an_encoder_that_fades_weighs_what_enters_its_rungs(name):
    """Weight 0 leaves a facet with what its rung makes of nothing, 1 changes nothing."""
    options = {"rungs": 7} if name == "ladder" else {"channels": 2, "batch_norm": False}
    model = small_model(encoder=Component(name=name, options=options | {"fade": True}))
    x = observations()
    plain, halved, left_out = (
        [q.mean for q in model.encode(x, weights)]
        for weights in (None, torch.tensor([0.5, 1.0]).double(), torch.tensor([0.0, 1.0]).double())
    )
    assert torch.equal(halved[1], plain[1])
    assert torch.equal(left_out[1], plain[1])
    assert not torch.allclose(halved[0], plain[0])
    torch.testing.assert_close(left_out[0], left_out[0][:1].expand_as(left_out[0]))
    h = model.encoder.backbone[0](x.flatten(1) if name == "ladder" else x)
    rung = model.heads[0](model.encoder.rungs[0](0.5 * h).flatten(1)).chunk(2, -1)[0]
    torch.testing.assert_close(halved[0], rung)
    with Noise(0):
        loss = model.elbo(x, fade=[0.0, 1.0]).loss
    before = gradients(model, loss)
    assert before.abs().max() > 0
    rungs = torch.autograd.grad(
        model.elbo(x, fade=[0.0, 1.0]).loss, list(model.encoder.rungs[0].parameters())
    )
    assert all(gradient.abs().max() == 0 for gradient in rungs)
