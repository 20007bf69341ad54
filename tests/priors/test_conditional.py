"""Mixtures that depend on another latent, and relaxed clusters, against torch's distributions."""

from __future__ import annotations

import plain
import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    kl_divergence,
)

from pyro_mfcvae import MixturePrior
from pyro_mfcvae.priors.components import ClusterCategorical, RelaxedCluster
from pyro_mfcvae.priors.conditional import ConditionalMixture, GivenMixture

K, D, W, N = 4, 3, 2, 5


@pytest.fixture(params=[(True, "exp"), (False, "exp"), (False, "exp-tanh")], ids=str)
def prior(request):
    return ConditionalMixture(K, D, W, 6, *request.param).double()


@pytest.fixture
def given(prior):
    return prior.given(torch.randn(2, N, W, dtype=torch.float64))


@pytest.fixture
def z():
    return torch.randn(2, N, D, dtype=torch.float64)


def _components(given) -> Independent:
    return Independent(Normal(given.loc, given.scale), 1)


def test_the_networks_written_out(prior):
    w = torch.randn(2, N, W, dtype=torch.float64)
    given, expected = prior.given(w), plain.mixture(prior, w)
    torch.testing.assert_close(given.loc, expected.loc)
    torch.testing.assert_close(given.scale_tril, expected.tril)
    if prior.variance == "exp-tanh":
        assert (given.scale.square().log().abs() < 1).all()


def test_its_own_densities_are_those_at_zero(prior, z):
    central = prior.given(torch.zeros(W, dtype=torch.float64))
    for name in ("loc", "scale", "scale_tril", "log_weights"):
        torch.testing.assert_close(getattr(prior, name), getattr(central, name))
    torch.testing.assert_close(prior.log_prob(z), central.log_prob(z))
    assert not prior.is_learnt


def test_densities_are_those_of_torch(given, z):
    components, weights = _components(given), Categorical(logits=given.log_weights)
    shape = torch.Size((2, N))
    mixture = MixtureSameFamily(weights.expand(shape), components)
    torch.testing.assert_close(given.log_prob(z), mixture.log_prob(z))
    every = components.log_prob(z.unsqueeze(-2))
    torch.testing.assert_close(given.component_log_prob(z), every)
    c = torch.randint(K, (2, N))
    looked_up = every.gather(-1, c.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(given.component_log_prob_at(z, c), looked_up)
    support = given.cluster().enumerate_support(expand=False)
    enumerated = given.component(support.reshape(K, 1, 1)).log_prob(z)
    torch.testing.assert_close(enumerated, every.movedim(-1, 0))


def test_expectations_are_cross_entropies(given, z):
    """E_q log p = -KL(q || p) - H(q), with torch's KL."""
    q = Independent(Normal(z, torch.rand_like(z) + 0.1), 1)
    wide = Independent(Normal(*(v.unsqueeze(-2) for v in (q.mean, q.stddev))), 1)
    expected = -kl_divergence(wide, _components(given)) - wide.entropy()
    ours = given.expected_component_log_prob(q.mean, q.stddev)
    torch.testing.assert_close(ours, expected)


def test_gradients_reach_the_networks_as_torch_s_do(prior, z):
    w = torch.randn(2, N, W, dtype=torch.float64)
    parameters = list(prior.parameters())
    ours = torch.autograd.grad(prior.given(w).log_prob(z).sum(), parameters)
    theirs = torch.autograd.grad(plain.mixture(prior, w).log_prob(z).sum(), parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_samples_of_a_component(prior):
    n, w = 50_000, torch.randn(W, dtype=torch.float64)
    given = prior.given(w)
    z = given.sample((n,), 2, 0.25, torch.Generator().manual_seed(1))
    white = (z - given.loc[2].detach()) / given.scale[2].detach()
    assert (white.mean(0) / (0.5 / n**0.5)).abs().max() < 5
    assert ((white.square().mean(0) - 0.25) / (0.25 * (2 / n) ** 0.5)).abs().max() < 5


# --- relaxed clusters ---


def _priors():
    full = MixturePrior(K, D, "full", initial_variance=0.4).double()
    with torch.no_grad():
        full.raw_scale += 0.3 * torch.randn_like(full.raw_scale)
    yield full
    yield MixturePrior(K, D, initial_variance=0.4).double()
    loc = torch.randn(K, D, dtype=torch.float64)
    yield GivenMixture(loc, loc.exp(), torch.zeros(K).double().log_softmax(-1))


def test_components_of_relaxed_clusters_have_average_parameters(z):
    for prior in _priors():
        c = torch.randn(2, N, K, dtype=torch.float64).softmax(-1)
        loc = torch.einsum("...k,kd->...d", c, prior.loc)
        tril = torch.einsum("...k,kde->...de", c, prior.scale_tril)
        expected = MultivariateNormal(loc, scale_tril=tril).log_prob(z)
        component = prior.component(c)
        assert component.batch_shape == (2, N)
        torch.testing.assert_close(component.log_prob(z), expected)


def test_relaxed_clusters_that_are_certain_are_those_clusters(z):
    for prior in _priors():
        c = torch.randint(K, (2, N))
        certain = torch.nn.functional.one_hot(c, K).double()
        ours = prior.component(certain).log_prob(z)
        torch.testing.assert_close(ours, prior.component(c).log_prob(z))
        averaged = prior.component(certain).expected_log_prob(z, z.exp())
        torch.testing.assert_close(averaged, prior.component(c).expected_log_prob(z, z.exp()))


def test_a_relaxed_sample_has_the_discrete_frequencies():
    """The largest share is the sample of the Gumbel-max trick, whatever the temperature."""
    n, logits = 100_000, torch.randn(K, dtype=torch.float64)
    q = RelaxedCluster(torch.tensor(0.7), logits=logits.expand(n, K), validate_args=False)
    c = q.from_normal(torch.randn(n, K, dtype=torch.float64))
    torch.testing.assert_close(c.sum(-1), torch.ones(n, dtype=torch.float64))
    p = logits.softmax(-1)
    share = torch.bincount(c.argmax(-1), minlength=K) / n
    assert ((share - p) / (p * (1 - p) / n).sqrt()).abs().max() < 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_relaxed_samples_of_extreme_noise_are_finite(dtype):
    eps = torch.linspace(-9, 9, 19, dtype=dtype)
    q = RelaxedCluster(torch.tensor(0.5, dtype=dtype), logits=torch.zeros(19, dtype=dtype))
    expected = -(-torch.special.log_ndtr(eps)).log()
    ours = q.from_normal(eps)
    assert ours.isfinite().all()
    torch.testing.assert_close(ours, (expected / 0.5).softmax(-1))


def test_the_kl_of_relaxed_clusters_is_the_discrete_one():
    logits = torch.randn(N, K, dtype=torch.float64)
    q = RelaxedCluster(torch.tensor(0.5), logits=logits, validate_args=False)
    p = ClusterCategorical(logits=torch.randn(K, dtype=torch.float64))
    ours = q.expected_log_prob(q) - q.expected_log_prob(p)
    expected = kl_divergence(OneHotCategorical(logits=logits), OneHotCategorical(logits=p.logits))
    torch.testing.assert_close(ours, expected)
    with pytest.raises(ValueError, match="no probability of their own: use FacetELBO"):
        p.log_prob(torch.full((K,), 1 / K))
