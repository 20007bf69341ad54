"""The importance-weighted bound against quadrature and against the ELBO."""

from __future__ import annotations

import math

import pytest
import torch
from models import observations, small_model

from pyro_mfcvae import UGVAE, FacetELBO, Noise
from pyro_mfcvae.evaluation import importance_weighted_bound
from pyro_mfcvae.inference.noise import derive_seed
from pyro_mfcvae.testing.values import weighted


def _log_evidence(model, x):
    """Log p(x) of a model with one latent dimension, by the trapezoidal rule, (B,)."""
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64).unsqueeze(-1)
    with torch.no_grad():
        log_prior = model.facets[0].log_prob(z)
        log_joint = torch.stack(
            [model.decode([z]).log_prob(row.expand(len(z), *row.shape)) + log_prior for row in x]
        )
    return log_joint.logsumexp(1) + torch.log(z[1, 0] - z[0, 0])


def test_the_bound_rises_to_the_evidence():
    model, x = small_model(1, latent_dims=(1,)), observations()
    exact = _log_evidence(model, x)
    few, some, many = (
        torch.stack([importance_weighted_bound(model, x, s, seed=seed) for seed in range(30)])
        for s in (1, 20, 1000)
    )
    assert few.mean() < some.mean() < many.mean()
    for draws in (few, some, many):
        assert (draws.mean(0) < exact + 5 * draws.std(0) / 30**0.5).all()
    # Whatever S, the exponential of the bound is an unbiased estimate of the evidence.
    ratios = (many - exact).exp()
    assert ((ratios.mean(0) - 1).abs() < 5 * ratios.std(0) / 30**0.5).all()
    assert (many - exact).abs().max() < 0.5


def test_one_sample_is_the_elbo_with_the_clusters_summed_out():
    model, x = small_model(3), observations()
    with torch.no_grad(), Noise(derive_seed(2, "bound", 0), 0):
        elbo = model(x, "enumerate").elbo
    torch.testing.assert_close(importance_weighted_bound(model, x, 1, seed=2), elbo)


@pytest.mark.parametrize("n_samples", [1, 4])
def test_log_weights_average_to_the_elbo(n_samples):
    model, x = small_model(2), observations()
    elbo, guide = FacetELBO(n_samples), model.guide("enumerate")
    with torch.no_grad():
        with Noise(0):
            weights = elbo.log_weights(model.model, guide, x)
        with Noise(0):
            expected = elbo.terms(model.model, guide, x).elbo
    assert weights.shape == (n_samples, len(x))
    torch.testing.assert_close(weights.mean(0), expected)
    with pytest.raises(ValueError, match="leaves all clusters to the model"):
        elbo.log_weights(model.model, model.guide("vade"), x)


def test_the_weights_of_a_plain_vae():
    """Without clusters nothing is summed out, so that nothing has a dimension to sum over."""
    model, x = small_model(1, clusters=(1,)), observations()
    with torch.no_grad():
        with Noise(0):
            weights = FacetELBO().log_weights(model.model, model.guide("enumerate"), x)
        with Noise(0):
            expected = model(x, "enumerate").elbo
    torch.testing.assert_close(weights, expected.unsqueeze(0))
    assert importance_weighted_bound(model, x, 1).shape == (len(x),)


def test_a_batch_that_shares_a_latent_has_no_such_bound():
    model = UGVAE((2,), "2:3,2:1")
    with pytest.raises(ValueError, match="no importance-weighted bound"):
        importance_weighted_bound(model, torch.randn(4, 2), 3)


def test_fading_changes_the_rungs_and_not_the_densities():
    model, x = small_model(2), observations()
    fade = (0.5, 1.0)
    with torch.no_grad(), Noise(derive_seed(0, "bound", 0), 0):
        terms = weighted(model, x, "enumerate", fade=list(fade))
    expected = terms.reconstruction - terms.kl_z.sum(-1)
    torch.testing.assert_close(importance_weighted_bound(model, x, 1), expected)


def test_samples_in_several_parts_are_all_counted(monkeypatch):
    model, x = small_model(1, latent_dims=(1,)), observations(3)
    monkeypatch.setattr("pyro_mfcvae.evaluation.bound._ROWS", 400)
    draws = torch.stack([importance_weighted_bound(model, x, 1010, seed=s) for s in range(30)])
    ratios = (draws - _log_evidence(model, x)).exp()
    assert ((ratios.mean(0) - 1).abs() < 5 * ratios.std(0) / 30**0.5).all()
    with pytest.raises(ValueError, match="at least one sample"):
        importance_weighted_bound(model, x, 0)


@pytest.mark.parametrize("n_samples", [1, 3, 4, 5, 10])
def test_samples_that_all_weigh_the_same_give_the_evidence(n_samples, monkeypatch):
    """Latents that nothing depends on: log p(x) is that of 16 fair coins, whatever S."""
    monkeypatch.setattr("pyro_mfcvae.evaluation.bound._ROWS", 4)
    model, x = small_model(1, clusters=(1,)), observations(3).round()
    with torch.no_grad():
        for parameter in (*model.heads.parameters(), *model.decoder.parameters()):
            parameter.zero_()
    expected = torch.full((3,), -16 * math.log(2), dtype=torch.float64)
    torch.testing.assert_close(importance_weighted_bound(model, x, n_samples), expected)
