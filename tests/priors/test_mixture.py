"""The mixture prior against torch's and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prior_contract import PriorContract
from sklearn.mixture import GaussianMixture
from torch.distributions import Dirichlet, MultivariateNormal

from pyro_mfcvae import MixturePrior
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.priors.normal import SMALLEST_SCALE

K, D, N = 7, 3, 50
RTOL = 1e-9


@pytest.fixture(params=["diagonal", "full"])
def prior(request) -> MixturePrior:
    return random_prior(request.param)


def random_prior(covariance: str) -> MixturePrior:
    prior = MixturePrior(K, D, covariance, initial_variance=0.3).double()
    with torch.no_grad():
        prior.logits += torch.randn(K)
        prior.raw_scale += 0.3 * torch.randn_like(prior.raw_scale)
    return prior


class TestFull(PriorContract):
    covariance = "full"

    def build(self):
        return random_prior(self.covariance)

    def components(self, prior, parents):
        log_pi = prior.logits - prior.logits.logsumexp(0)
        return log_pi, MultivariateNormal(prior.loc, scale_tril=prior.scale_tril)


class TestDiagonal(TestFull):
    covariance = "diagonal"


class TestDirichlet(TestFull):
    """The posterior of 40 observations under a Dirichlet prior over the weights."""

    def build(self):
        prior = MixturePrior(K, D, weight_concentration=0.3).double()
        prior.n_observations.fill_(40)
        with torch.no_grad():
            prior.logits += torch.randn(K)
        return prior

    def components(self, prior, parents):
        log_pi = (0.3 + 40 * prior.logits.softmax(0)).digamma().log_softmax(0)
        return log_pi, MultivariateNormal(prior.loc, scale_tril=prior.scale_tril)

    def test_log_probabilities_of_clusters_by_draws(self):
        """E log pi - KL / N, up to five standard errors."""
        prior = self.build()
        q, p = prior.weight_posterior, Dirichlet(torch.full((K,), 0.3).double())
        assert q.concentration.sum().item() == pytest.approx(40 + K * 0.3)
        pi = q.sample((20_000,))
        drawn = pi.log() - ((q.log_prob(pi) - p.log_prob(pi)) / 40).unsqueeze(-1)
        error = 5 * drawn.std(0) / 20_000**0.5
        assert (abs(prior.cluster().log_prob(torch.arange(K)) - drawn.mean(0)) < error).all()

    def test_weights_are_learnt_whatever_else_is_said(self):
        prior = MixturePrior(K, D, learn_weights=False, weight_concentration=1.0)
        assert prior.logits.requires_grad

    def test_sites_have_the_densities_of_the_joint_one(self):
        """Up to one constant: what weights of a posterior lack to 1, and the KL."""
        prior, _, z = self.case(N)
        c = torch.randint(K, (3, len(z)))
        log_prob = prior.cluster().log_prob(c) + prior.component(c).log_prob(z)
        off = log_prob - prior.log_joint(z).gather(1, c.T).T
        assert off.max() < 0
        torch.testing.assert_close(off, off[0, 0].expand_as(off), rtol=1e-9, atol=1e-9)


@pytest.fixture
def z() -> torch.Tensor:
    return 2 * torch.randn(N, D, dtype=torch.float64)


def test_responsibilities_are_those_of_scikit_learn(prior, z):
    mixture = GaussianMixture(K, covariance_type="full")
    covariances = (prior.scale_tril @ prior.scale_tril.mT).detach().numpy()
    mixture.weights_ = prior.log_weights.exp().detach().numpy()
    mixture.means_ = prior.loc.detach().numpy()
    mixture.covariances_ = covariances
    mixture.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(covariances)).transpose(0, 2, 1)
    expected = mixture.predict_proba(z.numpy())
    np.testing.assert_allclose(prior.responsibilities(z).detach(), expected, rtol=RTOL, atol=1e-15)


def test_samples_without_a_cluster_follow_the_weights(prior):
    n = 100_000
    z = prior.sample((n,), temperature=0.0, generator=torch.Generator().manual_seed(2))
    nearest = torch.cdist(z, prior.loc.detach()).argmin(1)
    share = torch.bincount(nearest, minlength=K) / n
    weights = prior.log_weights.exp().detach()
    assert ((share - weights) / (weights * (1 - weights) / n).sqrt()).abs().max() < 5


@pytest.mark.parametrize("n_clusters", [2, 3, K])
@pytest.mark.parametrize("beta", [10.0, 1.0])
def test_initial_variance_and_fixed_weights(n_clusters, beta):
    for covariance in ("diagonal", "full"):
        prior = MixturePrior(
            n_clusters, D, covariance, False, initial_variance=0.01, softplus_beta=beta
        )
        expected = 0.01 * torch.eye(D).expand(n_clusters, D, D)
        torch.testing.assert_close(prior.scale_tril @ prior.scale_tril.mT, expected)
        assert not prior.logits.requires_grad
        expected = torch.full((n_clusters,), 1 / n_clusters)
        torch.testing.assert_close(prior.log_weights.exp(), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 1}, "n_clusters"),
        ({"latent_dim": -1}, "latent_dim"),
        ({"covariance": "spherical"}, "'spherical'"),
        ({"initial_variance": 0.0}, "above 0"),
        ({"softplus_beta": -1.0}, "above 0"),
        ({"softplus_beta": 0.0}, "above 0"),
        ({"weight_concentration": 0.0}, "weight_concentration"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        MixturePrior(**({"n_clusters": K, "latent_dim": D} | settings))


def test_the_smallest_mixture():
    prior = MixturePrior(2, 1, weight_concentration=1.0)
    assert (prior.n_clusters, prior.latent_dim) == (2, 1)
    assert prior.n_observations == 1
    assert MixturePrior(2, 1).n_observations is None


def test_bad_sampling_is_refused(prior):
    with pytest.raises(ValueError, match=r"0\.\.6"):
        prior.sample((2,), c=K)
    with pytest.raises(ValueError, match="temperature"):
        prior.sample((2,), temperature=-1)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("raw", [-10.5, -1e4])
def test_a_component_of_no_width_leaves_densities_and_gradients_finite(covariance, raw):
    prior = MixturePrior(3, 2, covariance)
    with torch.no_grad():
        values = prior.raw_scale[0]
        (values.diagonal() if covariance == "full" else values).fill_(raw)
    widths = prior.scale_tril.diagonal(dim1=-2, dim2=-1).detach()
    torch.testing.assert_close(widths[0], torch.full((2,), SMALLEST_SCALE), rtol=1e-6, atol=0)
    torch.testing.assert_close(widths[1:], torch.full((2, 2), 0.1))
    at_the_mean, elsewhere = prior.loc[:1].detach(), torch.full((1, 2), 30.0)
    z = torch.cat([at_the_mean, elsewhere]).requires_grad_()
    log_prob = prior.log_prob(z)
    assert log_prob.isfinite().all()
    assert prior.responsibilities(z)[0].argmax() == 0
    gradients = torch.autograd.grad(log_prob.sum(), [z, prior.loc, prior.raw_scale])
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("variance", [1e-12, 0.01, 1.0])
def test_widths_that_occur_are_those_of_the_softplus(variance):
    prior = MixturePrior(3, 2, initial_variance=variance, softplus_beta=1.0)
    softplus = torch.nn.functional.softplus(prior.raw_scale)
    assert torch.equal(prior.scale, softplus.sqrt())
