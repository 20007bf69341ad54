"""What the settings add to the objective: free information, weights of KLs, temperatures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_models_gmvae import TestGMVAE as Contract

from pyro_mfcvae import Noise
from pyro_mfcvae.inference.elbo import Weights, loss
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.testing.case import SEED, first_state
from pyro_mfcvae.training import Callback
from pyro_mfcvae.training.schedules import relaxation


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


ONES = torch.ones(2, dtype=torch.float64)


def terms_of_a_batch():
    case = Contract()
    model, x = case.build(), case.observations()
    with Noise(SEED):
        return model, model(x, "posterior-analytic")


def gradients_of(model, value):
    """Of the prior's networks."""
    grads = torch.autograd.grad(value, [*model.facets[0].parameters()], retain_graph=True)
    return torch.cat([grad.flatten() for grad in grads])


def test_information_below_the_minimum_costs_that_and_has_no_gradient():
    model, terms = terms_of_a_batch()
    minimum = 2 * terms.kl_c[:, 0].mean().item()
    held = loss(terms, Weights(ONES, min_information=torch.tensor([minimum, 0.0]).double()))
    others = -(terms.reconstruction - terms.kl_z.sum(-1)).mean()
    torch.testing.assert_close(held, others + minimum)
    assert gradients_of(model, held - others).abs().max() < 1e-12
    assert gradients_of(model, terms.loss - others).abs().max() > 1e-3


def test_information_above_the_minimum_changes_nothing():
    model, terms = terms_of_a_batch()
    minimum = 0.5 * terms.kl_c[:, 0].mean().item()
    held = loss(terms, Weights(ONES, min_information=torch.tensor([minimum, 0.0]).double()))
    assert torch.equal(held, terms.loss)
    assert not gradients_of(model, held - terms.loss).any()


def test_the_minimum_has_the_weight_of_the_kl():
    _, terms = terms_of_a_batch()
    minimum, weights = 2 * terms.kl_c[:, 0].mean().item(), torch.tensor([0.3, 1.0]).double()
    least = torch.tensor([minimum, 0.0]).double()
    held = loss(terms, Weights(weights, min_information=least))
    others = -(terms.reconstruction - (terms.kl_z * weights).sum(-1)).mean()
    torch.testing.assert_close(held, others + 0.3 * minimum)


def test_a_kl_of_zero_still_costs_the_minimum():
    """Which facets have clusters the model says; that of one may be, or be rounded to, 0."""
    config = Contract().config(
        **{"guide.name": "posterior-analytic", "training.min_information": 0.7}
    )
    state = first_state(config)
    assert state.objective.min_information.tolist() == [0.7, 0.0]
    _, terms = terms_of_a_batch()
    for kl in (0.0, -1e-9):
        collapsed = replace(terms, kl_c=torch.full_like(terms.kl_c, kl) * torch.tensor([1, 0]))
        held = loss(collapsed, state.objective.weights)
        assert (held - collapsed.loss).item() == pytest.approx(0.7 - kl, abs=1e-12)


@pytest.mark.parametrize("minimum", [0.0, 0.7])
def test_settings_reach_the_objective(minimum):
    """A weight of all KLs, as in a beta-VAE, and a minimum of information."""
    config = Contract().config(
        **{
            "guide.name": "posterior-analytic",
            "training.kl_weight": 3.0,
            "training.min_information": minimum,
        }
    )
    state = first_state(config)
    state.begin_step()
    x = state.batches(0)
    value, _ = state.objective(x, Noise(0))
    with Noise(0):
        terms = state.model(x, "posterior-analytic")
    kl_c = terms.kl_c[:, 0].mean().clamp(min=minimum)
    expected = -terms.reconstruction.mean() + 3.0 * (terms.kl_z.sum(-1).mean() + kl_c)
    torch.testing.assert_close(value, expected)


def relaxed_config(**replaced):
    settings = {"guide.name": "relaxed", "guide.temperature": [1.0, 0.25]}
    return Contract().config(**settings | {"training.epochs_per_step": [4]} | replaced)


def test_the_temperature_falls_exponentially():
    config = relaxed_config()
    values = [relaxation(config, step, 3) for step in (0, 6, 12, 20)]
    assert values == pytest.approx([1.0, 0.5, 0.25, 0.25])
    sooner = relaxed_config(**{"guide.temperature_epochs": 2})
    assert [relaxation(sooner, step, 3) for step in (3, 6, 9)] == pytest.approx([0.5, 0.25, 0.25])


class StopAt(Callback):
    def on_step(self, state):
        if state.step == 5:
            state.interrupted = True


def test_a_resumed_run_goes_on_at_its_temperature():
    config = relaxed_config(**{"training.checkpoint_every": 1})
    whole = train(config, "whole")[1]
    run, stopped, _ = train(config, "stopped", [StopAt()])
    assert stopped.step == 5
    saved = Run(run.path).model().guide("relaxed").temperature
    torch.testing.assert_close(saved, torch.tensor(0.25 ** (4 / 12), dtype=saved.dtype))
    resumed = resume(Run(run.path))[0]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    torch.testing.assert_close(
        whole.objective.guide.temperature, torch.tensor(0.25 ** (11 / 12)).to(saved)
    )
