"""The training step that the benchmark has as its reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from models import SHAPE, observations, small_model, tiny_config

from benchmarks import candidates
from benchmarks.candidates import deviation
from benchmarks.reference import HandWritten, HandWrittenMixture, HandWrittenTraining
from benchmarks.steps import bench_steps
from benchmarks.workload import TABLE, settings, workload
from pyro_mfcvae import Noise
from pyro_mfcvae.config import Component, override
from pyro_mfcvae.errors import ConfigError, TrainingError
from pyro_mfcvae.testing.values import relative_error, weighted

EXACT = 1e-10  # of sums of some hundred terms in float64


def _gaussian(**options) -> Component:
    return Component(name="gaussian", options=options)


def _differences(model, guide: str, n_samples: int) -> list[float]:
    """Relative differences of loss and gradients between the library and the hand-written code."""
    x, hand = observations(), HandWritten(model)
    fade = torch.linspace(0.3, 1.0, model.n_facets, dtype=torch.float64)
    batch = (n_samples, len(x)) if n_samples > 1 else (len(x),)
    noise = [torch.randn(*batch, f.latent_dim, dtype=torch.float64) for f in model.facets]
    with Noise({f"z_{j}": eps for j, eps in enumerate(noise)}):
        theirs = weighted(model, x, guide, n_samples, fade).loss
    ours = hand(x, fade, n_samples, noise)
    pairs = zip(
        [ours, *candidates.gradients(hand, ours)],
        [theirs, *candidates.gradients(model, theirs)],
        strict=True,
    )
    return [relative_error(a, b) for a, b in pairs]


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("n_facets", [1, 2, 3])
@pytest.mark.parametrize(("guide", "n_samples"), [("enumerate", 1), ("enumerate", 3), ("vade", 1)])
def test_the_reference_is_the_objective(covariance, n_facets, guide, n_samples):
    model = small_model(n_facets, covariance)
    assert max(_differences(model, guide, n_samples)) < EXACT


@pytest.mark.parametrize(
    "likelihood",
    [_gaussian(scale=0.3), _gaussian(scale=0.3, learn_scale=True, output_activation="sigmoid")],
)
@pytest.mark.parametrize("learn_weights", [False, True])
def test_the_reference_knows_the_likelihoods(likelihood, learn_weights):
    model = small_model(likelihood=likelihood, learn_weights=learn_weights)
    assert max(_differences(model, "enumerate", 3)) < EXACT


def test_the_reference_refuses_another_likelihood():
    model = small_model()
    model.likelihood = torch.nn.Identity()
    with pytest.raises(ConfigError, match="bernoulli and gaussian, got Identity"):
        HandWritten(model)


def test_the_reference_takes_every_observation_once_an_epoch():
    model = small_model()
    x = torch.randint(0, 256, (10, *SHAPE), dtype=torch.uint8)
    hand, seen = HandWritten(model), []
    training = replace(tiny_config().training, batch_size=4)
    step = HandWrittenTraining(hand, x, training, torch.ones(2, dtype=torch.float64)).step
    hand.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for _ in range(3):
        step()
    assert [len(batch) for batch in seen] == [4, 4, 2]
    rows = torch.cat(seen).mul(255).round().to(torch.uint8).flatten(1).tolist()
    assert sorted(rows) == sorted(x.flatten(1).tolist())


def test_the_reference_steps_as_adam_does():
    """The first step of Adam moves a parameter by the learning rate against its gradient's sign."""
    model, x = small_model(), observations(6).float().mul(255).to(torch.uint8)
    hand = HandWritten(model)
    before = [p.detach().clone() for p in hand.mixtures.parameters()]
    grads = []
    hand.mixtures[0].loc.register_hook(grads.append)
    training = replace(tiny_config().training, batch_size=6, learning_rate=1e-3)
    HandWrittenTraining(hand, x, training, torch.ones(2, dtype=torch.float64)).step()
    moved = hand.mixtures[0].loc.detach() - model.facets[0].loc.detach()
    torch.testing.assert_close(moved, -1e-3 * grads[0].sign(), rtol=1e-3, atol=0.0)
    assert all(p.grad is None for p in hand.parameters())
    assert len(before) == 6


def test_the_table_is_one_that_the_reference_knows():
    config = override(settings(TABLE), ["training.device=cpu"])
    assert deviation(workload(config, torch.device("cpu"))) < EXACT


def test_the_reference_is_checked_before_it_is_timed(monkeypatch):
    load = workload(tiny_config(), torch.device("cpu"))
    assert deviation(load) < EXACT
    log_prob = HandWrittenMixture._full
    monkeypatch.setattr(HandWrittenMixture, "_full", lambda self, z: 1.001 * log_prob(self, z))
    assert deviation(load) > 1e-5
    with pytest.raises(TrainingError, match="is not the library's: relative difference"):
        bench_steps(load, 1, 0.0)
