"""Mixtures that depend on another latent, and relaxed clusters, against torch's distributions."""

from __future__ import annotations

import plain
import pytest
import torch
from prior_contract import PriorContract
from torch.distributions import (
    Independent,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    kl_divergence,
)

from pyro_mfcvae import MixturePrior
from pyro_mfcvae.config import FacetConfig
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.priors.clusters import RelaxedCluster
from pyro_mfcvae.priors.conditional import (
    ConditionalMixture,
    DiagonalMixture,
    _Layers,
    conditional_priors,
)
from pyro_mfcvae.priors.densities import ClusterCategorical
from pyro_mfcvae.priors.standard_normal import StandardNormal

K, D, W, N = 4, 3, 2, 5


class TestSharedLayer(PriorContract):
    parent_dims = (W,)
    options: tuple[bool | str, ...] = (True, "exp")

    def build(self):
        return ConditionalMixture(K, D, W, 6, *self.options).double()

    def components(self, prior, parents):
        written_out = plain.mixture(prior, *parents)
        return written_out.log_pi, MultivariateNormal(written_out.loc, scale_tril=written_out.tril)

    def test_its_parent_is_needed(self):
        with pytest.raises(ValueError, match="0 parents"):
            self.build()()


class TestOwnLayers(TestSharedLayer):
    options = (False, "exp")


class TestBoundedVariances(TestSharedLayer):
    options = (False, "exp-tanh")

    def test_variances_are_between_1_over_e_and_e(self):
        p = self.build()([100 * torch.randn(50, W, dtype=torch.float64)])
        assert (p.scale.square().log().abs() <= 1).all()


class TestRectified(TestSharedLayer):
    options = (False, "exp", "relu")


@pytest.fixture
def given():
    w = torch.randn(2, N, W, dtype=torch.float64)
    return ConditionalMixture(K, D, W, 6).double()([w])


@pytest.fixture
def z():
    return torch.randn(2, N, D, dtype=torch.float64)


def _components(given) -> Independent:
    return Independent(Normal(given.loc, given.scale), 1)


def test_expectations_are_cross_entropies(given, z):
    """E_q log p = -KL(q || p) - H(q), with torch's KL."""
    q = Independent(Normal(z, torch.rand_like(z) + 0.1), 1)
    wide = Independent(Normal(*(v.unsqueeze(-2) for v in (q.mean, q.stddev))), 1)
    expected = -kl_divergence(wide, _components(given)) - wide.entropy()
    ours = given.expected_component_log_prob(q.mean, q.stddev)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("variance", ["exp", "exp-tanh"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_components_from_networks_take_over_a_fit(is_shared, variance, activation):
    prior = ConditionalMixture(3, 2, 4, 5, is_shared, variance, activation).double()
    moved = [prior([w]).loc for w in torch.eye(4, dtype=torch.float64)]
    before = torch.stack([loc - prior.at_origin().loc for loc in moved]).detach()
    loc = torch.randn(3, 2, dtype=torch.float64)
    variances = torch.tensor([[0.5, 1.0], [1.5, 2.0], [0.7, 1.2]], dtype=torch.float64)
    prior.set_components(loc, variances, torch.ones(3) / 3)
    p = prior.at_origin()
    torch.testing.assert_close(p.loc, loc)
    torch.testing.assert_close(p.scale.square(), variances)
    after = torch.stack([prior([w]).loc for w in torch.eye(4, dtype=torch.float64)]) - p.loc
    torch.testing.assert_close(after, 0.1 * before)


def test_a_fit_that_does_not_fit():
    prior = ConditionalMixture(3, 2, 4)
    with pytest.raises(ValueError, match=r"must have shape \(3, 2\), got \(3, 2\) and \(3, 1\)"):
        prior.set_components(torch.zeros(3, 2), torch.ones(3, 1), torch.ones(3))
    with pytest.raises(ValueError, match="variances must be above 0"):
        prior.set_components(torch.zeros(3, 2), torch.zeros(3, 2), torch.ones(3))


@pytest.mark.parametrize("shape", [(3, 4, 1, 5), (3, 4, 6, 5), (6, 5), (1, 5)])
def test_layers_side_by_side_are_linear_layers(shape):
    layers, h = _Layers(6, 5, 8).double(), torch.randn(shape, dtype=torch.float64)
    expected = [
        torch.nn.functional.linear(part, weight.T, bias)
        for part, weight, bias in zip(
            h.expand(*shape[:-2], 6, 5).unbind(-2), layers.weight, layers.bias, strict=True
        )
    ]
    torch.testing.assert_close(layers(h), torch.stack(expected, -2))


def test_layers_begin_as_linear_layers_do():
    """Uniform between +-1 / sqrt(inputs), as torch draws them."""
    layers = _Layers(3, 16, 500)
    for parameter in layers.parameters():
        assert 0.99 / 4 < parameter.max() <= 1 / 4
        assert -1 / 4 <= parameter.min() < -0.99 / 4


def test_the_priors_of_two_facets():
    condition = FacetConfig(n_clusters=1, latent_dim=W)
    for is_shared, n_networks in ((True, 1), (False, K)):
        facets = [FacetConfig(n_clusters=K, latent_dim=D), condition]
        first, last = conditional_priors("it", facets, 1, is_shared, "exp")
        assert (first.n_clusters, first.latent_dim, first.condition_dim) == (K, D, W)
        assert first.hidden.bias.shape == (n_networks, 1)
        assert isinstance(last, StandardNormal)
        assert last.latent_dim == W
    facets = [FacetConfig(n_clusters=1, latent_dim=D), condition]
    first, last = conditional_priors("it", facets, 6, True, "exp")
    assert isinstance(first, StandardNormal)
    assert (first.latent_dim, last.latent_dim) == (D, W)


@pytest.mark.parametrize(
    ("facets", "width", "message"),
    [
        ([(K, D, "diagonal")], 6, "two facets"),
        ([(K, D, "diagonal"), (1, W, "diagonal"), (1, W, "diagonal")], 6, "two facets"),
        ([(K, D, "diagonal"), (K, W, "diagonal")], 6, "two facets"),
        ([(K, D, "full"), (1, W, "diagonal")], 6, "diagonal covariances"),
        ([(K, D, "diagonal"), (1, W, "diagonal")], 0, "width"),
    ],
)
def test_facets_that_cannot_depend_on_each_other(facets, width, message):
    names = ("n_clusters", "latent_dim", "covariance")
    given = [FacetConfig(**dict(zip(names, facet, strict=True))) for facet in facets]
    with pytest.raises(ConfigError, match=message):
        conditional_priors("it", given, width, True, "exp")


# --- relaxed clusters ---


def _priors():
    full = MixturePrior(K, D, "full", initial_variance=0.4).double()
    with torch.no_grad():
        full.raw_scale += 0.3 * torch.randn_like(full.raw_scale)
    yield full
    yield MixturePrior(K, D, initial_variance=0.4).double()
    loc = torch.randn(K, D, dtype=torch.float64)
    yield DiagonalMixture(loc, loc.exp(), torch.zeros(K).double().log_softmax(-1))


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


def test_expectations_under_relaxed_clusters_are_averages(z):
    for prior in _priors():
        c = torch.randn(2, N, K, dtype=torch.float64).softmax(-1)
        each = [prior.component(torch.full((2, N), k)) for k in range(K)]
        expected = torch.stack([p.expected_log_prob(z, z.exp()) for p in each], -1)
        ours = prior.component(c).expected_log_prob(z, z.exp())
        torch.testing.assert_close(ours, (c * expected).sum(-1))


def test_every_cluster_with_a_latent_of_its_own():
    """An enumerated support beside as many latents is a cluster for each."""
    for prior in _priors():
        z, c = torch.randn(K, D, dtype=torch.float64), torch.arange(K)
        every = c.clone()
        every._pyro_categorical_support = 1
        for values in ("log_prob", (z,)), ("expected_log_prob", (z, z.exp())):
            ours, theirs = (
                getattr(prior.component(given), values[0])(*values[1]) for given in (every, c)
            )
            torch.testing.assert_close(ours, theirs)


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
