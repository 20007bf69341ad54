"""The mixture prior against torch's and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from pyro_mfcvae import MixturePrior
from pyro_mfcvae.errors import ConfigError

K, D, N = 7, 3, 50
RTOL = 1e-9


@pytest.fixture(params=["diagonal", "full"])
def prior(request) -> MixturePrior:
    prior = MixturePrior(K, D, request.param, initial_variance=0.3).double()
    with torch.no_grad():
        prior.logits += torch.randn(K)
        prior.raw_scale += 0.3 * torch.randn_like(prior.raw_scale)
    return prior


@pytest.fixture
def z() -> torch.Tensor:
    return 2 * torch.randn(N, D, dtype=torch.float64)


def _components(prior) -> MultivariateNormal:
    return MultivariateNormal(prior.loc, scale_tril=prior.scale_tril)


def test_log_prob_is_that_of_torch(prior, z):
    reference = MixtureSameFamily(Categorical(logits=prior.logits), _components(prior))
    torch.testing.assert_close(prior.log_prob(z), reference.log_prob(z), rtol=RTOL, atol=0)


def test_gradient_is_that_of_torch(prior, z):
    reference = MixtureSameFamily(Categorical(logits=prior.logits), _components(prior))
    parameters = [prior.logits, prior.loc, prior.raw_scale]
    ours = torch.autograd.grad(prior.log_prob(z).sum(), parameters)
    theirs = torch.autograd.grad(reference.log_prob(z).sum(), parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=RTOL, atol=1e-10)


def test_responsibilities_are_those_of_scikit_learn(prior, z):
    mixture = GaussianMixture(K, covariance_type="full")
    covariances = (prior.scale_tril @ prior.scale_tril.mT).detach().numpy()
    mixture.weights_ = prior.log_weights.exp().detach().numpy()
    mixture.means_ = prior.loc.detach().numpy()
    mixture.covariances_ = covariances
    mixture.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(covariances)).transpose(0, 2, 1)
    expected = mixture.predict_proba(z.numpy())
    np.testing.assert_allclose(prior.responsibilities(z).detach(), expected, rtol=RTOL, atol=1e-15)


def test_looked_up_and_enumerated_components_agree(prior, z):
    c = torch.randint(K, (N,))
    looked_up = prior.component(c).log_prob(z)
    support = prior.cluster().enumerate_support(expand=False)
    enumerated = prior.component(support.unsqueeze(-1)).log_prob(z)
    every = prior.component_log_prob(z)
    torch.testing.assert_close(looked_up, every[torch.arange(N), c], rtol=RTOL, atol=0)
    torch.testing.assert_close(enumerated, every.mT, rtol=RTOL, atol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_samples_have_the_component_s_moments(prior, temperature):
    n, cluster = 200_000, 2
    generator = torch.Generator().manual_seed(1)
    z = prior.sample((n,), c=cluster, temperature=temperature, generator=generator)
    covariance = temperature * (prior.scale_tril @ prior.scale_tril.mT)[cluster].detach()
    variance = covariance.diagonal()
    mean_error = (z.mean(0) - prior.loc[cluster].detach()) / (variance / n).sqrt()
    assert mean_error.abs().max() < 5
    # Var of a sample covariance of normals: (s_ii s_jj + s_ij^2) / n.
    spread = ((torch.outer(variance, variance) + covariance**2) / n).sqrt()
    assert ((z.T.cov() - covariance) / spread).abs().max() < 5


def test_samples_without_a_cluster_follow_the_weights(prior):
    n = 100_000
    z = prior.sample((n,), temperature=0.0, generator=torch.Generator().manual_seed(2))
    nearest = torch.cdist(z, prior.loc.detach()).argmin(1)
    share = torch.bincount(nearest, minlength=K) / n
    weights = prior.log_weights.exp().detach()
    assert ((share - weights) / (weights * (1 - weights) / n).sqrt()).abs().max() < 5


@pytest.mark.parametrize("beta", [10.0, 1.0])
def test_initial_variance_and_fixed_weights(beta):
    for covariance in ("diagonal", "full"):
        prior = MixturePrior(K, D, covariance, False, initial_variance=0.01, softplus_beta=beta)
        expected = 0.01 * torch.eye(D).expand(K, D, D)
        torch.testing.assert_close(prior.scale_tril @ prior.scale_tril.mT, expected)
        assert not prior.logits.requires_grad
        torch.testing.assert_close(prior.log_weights.exp(), torch.full((K,), 1 / K))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 0}, "at least one cluster"),
        ({"latent_dim": -1}, "at least one cluster"),
        ({"covariance": "spherical"}, "'spherical'"),
        ({"initial_variance": 0.0}, "above 0"),
        ({"softplus_beta": -1.0}, "above 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        MixturePrior(**({"n_clusters": K, "latent_dim": D} | settings))


def test_bad_sampling_is_refused(prior):
    with pytest.raises(ValueError, match=r"0\.\.6"):
        prior.sample((2,), c=K)
    with pytest.raises(ValueError, match="temperature"):
        prior.sample((2,), temperature=-1)
