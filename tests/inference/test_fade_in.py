"""The schedule and the handler; the first authors' table is in test_golden.py."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from models import observations, small_model
from pyro import poutine

from pyro_mfcvae import Fade, FadeInSchedule, Noise
from pyro_mfcvae.config import Component
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.elbo import Weights, term_means
from pyro_mfcvae.testing.values import weighted


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


@pytest.mark.parametrize("n_fade_in", [0, 4])
def test_the_step_from_which_a_facet_is_whole(n_fade_in):
    schedule = FadeInSchedule((10, 10, 10), n_fade_in)
    for j in range(3):
        whole = [step for step in range(40) if schedule(step)[j] == 1]
        assert schedule.full_from(j) == whole[0]


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
    with Noise(0):
        raised = weighted(model, x, guide, fade=[0.0, 0.5, 1.0], floor=0.2)
    torch.testing.assert_close(raised.weights.kl, torch.tensor([0.2, 0.6, 1.0]).double())
    expected = raised.reconstruction - ((raised.kl_z + raised.kl_c) * raised.weights.kl).sum(-1)
    torch.testing.assert_close(raised.elbo, expected)
    means = term_means(raised.terms, raised.weights)
    assert [means[f"fade_{j}"] for j in range(3)] == [0.0, 0.5, 1.0]
    assert means["kl_weight_0"] == 0.2
    # The facet whose turn has not come: its posterior and prior move, its decoder rung does not.
    raised.loss.backward()
    assert model.heads[0].weight.grad.abs().max() > 0
    assert model.facets[0].loc.grad.abs().max() > 0
    assert model.decoder.rungs[0][0].weight.grad.abs().max() == 0


def test_a_kl_floor_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"floor.*1\.5"):
        Weights(torch.ones(1), 1.5)


@pytest.mark.parametrize(
    ("name", "options"), [("ladder", {"rungs": 7, "batch_norm": True}), ("conv-ladder", {})]
)
def test_an_encoder_that_fades_weighs_what_its_rungs_give(name, options):
    """Weight 0 leaves a facet with its head's bias, 1 changes nothing, also with batch norm."""
    model = small_model(encoder=Component(name=name, options=options | {"fade": True}))
    x = observations()
    plain, means = [q.mean for q in model.encode(x)], {}
    for weight in (0.0, 0.01, 0.5, 1.0):
        model.fade[0] = weight
        means[weight] = [q.mean for q in model.encode(x)]
    bias = model.heads[0].bias.chunk(2)[0]
    for weight, (faded, other) in means.items():
        torch.testing.assert_close(faded, bias + weight * (plain[0] - bias))
        torch.testing.assert_close(other, plain[1])
    with Noise(0):
        loss = weighted(model, x, fade=[0.0, 1.0]).loss
    gradients_ = torch.autograd.grad(loss, list(model.encoder.rungs[0].parameters()))
    assert all(gradient.abs().max() == 0 for gradient in gradients_)


def test_an_encoder_fades_only_if_asked():
    model, x = small_model(), observations()
    plain = model.encode(x)
    model.fade[0] = 0.0
    for faded, unfaded in zip(model.encode(x), plain, strict=True):
        assert torch.equal(faded.mean, unfaded.mean)
