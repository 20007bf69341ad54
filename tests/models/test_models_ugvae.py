"""UG-VAE, with either q(z_1 | X), and ML-VAE: the contract, and what batches share."""

from __future__ import annotations

from dataclasses import replace

import plain
import pytest
import torch
from model_cases import WrittenOut
from torch.distributions import Normal

from pyro_mfcvae import Noise
from pyro_mfcvae.config import Component
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.sites import run_guide
from pyro_mfcvae.models import UGVAE
from pyro_mfcvae.nets.experts import product_of_normals
from pyro_mfcvae.testing import LADDER, SHARED
from pyro_mfcvae.testing.case import SEED, first_state, grid
from pyro_mfcvae.training.start.cluster_network import fit_cluster_network
from pyro_mfcvae.training.start.initialise import posterior_means
from pyro_mfcvae.training.state import Eager


class TestUGVAE(WrittenOut):
    name = "ugvae"
    facets, small = "2:3,2:1", "1:3,1:1"
    facet_settings = {}  # noqa: RUF012
    networks = SHARED
    options = {"group_size": 16, "width": 8, "mixture_width": 6}  # noqa: RUF012
    guides = ("amortized", "vade", "enumerate", "posterior-analytic", "relaxed")
    equals_stock = False

    def plain_facets(self, model, x, eps):
        mean, std = plain.normal(model.heads[0](model.encoder(x)[0]))
        z_0 = mean + std * eps["z_0"]
        below = model.encoder if self.options.get("shared_trunk") else model.expert_encoder
        features = below(x)[0].expand(*z_0.shape[:-1], -1)
        logits = None
        if model.structure.clustered:
            logits = model.cluster_heads(z_0)
            features = torch.cat([features, logits.softmax(-1)], -1)
        locs, log_vars = model.experts.layers(features).chunk(2, -1)
        precision = (1 / log_vars.exp()).sum(1, keepdim=True)
        precision = precision + self.options.get("prior_as_factor", False)  # the paper has none
        mean_1 = (locs / log_vars.exp()).sum(1, keepdim=True) / precision
        z_1 = mean_1 + eps["z_1"].reshape(-1, 1, mean_1.shape[-1]) / precision.sqrt()
        own = plain.Inferred(z_0, mean, std, plain.mixture(model.facets[0], z_1), logits)
        return [own, plain.Inferred(z_1.expand(-1, len(x), -1), mean_1, precision**-0.5, None)]

    def plain_kl(self, model, guide, facet, eps):
        if facet.prior is None:  # once for the batch
            return plain.kl_of_standard(facet.mean, facet.std).mean() / facet.z.shape[1]
        return super().plain_kl(model, guide, facet, eps)

    def log_evidence(self, model, x):
        """Log p(X) of the whole batch, ()."""
        zs, step = grid(2)
        own, shared = (z.reshape(281, 281, 1) for z in zs)
        log_own = plain.mixture(model.facets[0], shared).log_prob(own)
        log_joint = plain.log_likelihood(model, x, [own.unsqueeze(2), shared.unsqueeze(2)])
        given_shared = (log_joint + log_own.unsqueeze(-1)).logsumexp(0) + step.sqrt().log()
        log_p = Normal(0.0, 1.0).log_prob(shared[0, :, 0])
        return (given_shared.sum(-1) + log_p).logsumexp(0) + step.sqrt().log()

    def draws(self, model, x, guide):
        """Independent draws of the ELBO of the batch, (R,)."""
        return torch.stack([model(x, guide, 10).elbo.sum() for _ in range(25)])

    def test_the_shared_latent_costs_once(self):
        model, x = self.build(), self.observations()
        with Noise(SEED):
            terms = model(x, "amortized")
        assert (terms.kl_z[:, 1] == terms.kl_z[0, 1]).all()
        with Noise(SEED):
            sites = run_guide(model.guide("amortized"), 1, (x,), {})
        q = next(site["fn"] for site in sites if site["name"] == "z_1")
        assert q.batch_shape == ()
        torch.testing.assert_close(terms.kl_z[:, 1].sum(), plain.kl_of_standard(q.mean, q.stddev))

    def test_the_posterior_of_a_group_is_that_of_a_batch(self):
        """At the means of q(z_0 | x), for as many observations as training has."""
        model, x = self.build(), self.observations(16)
        with Noise({"z_0": torch.zeros(16, 2).to(x), "z_1": torch.zeros(2).to(x)}):
            sites = run_guide(model.guide("vade"), 1, (x,), {})
        of_batch = next(site["fn"] for site in sites if site["name"] == "z_1")
        of_group = model.summarise_group(x.split(5))
        assert of_group.batch_shape == ()
        torch.testing.assert_close(of_group.mean, of_batch.mean)
        torch.testing.assert_close(of_group.stddev, of_batch.stddev)

    def test_neither_order_nor_size_of_a_group_counts(self):
        model, x = self.build(), self.observations(6)
        whole = model.summarise_group([x])
        for other in ([x.flip(0)], [x[:1], x[1:]], [x, x, x]):
            posterior = model.summarise_group(other)
            torch.testing.assert_close(posterior.mean, whole.mean)
            torch.testing.assert_close(posterior.stddev, whole.stddev)

    def test_a_larger_batch_is_surer(self):
        """Precisions add up: twice the same batch has twice the precision."""
        model, x = self.build(), self.observations(6)
        precisions = []
        for batch in (x, torch.cat([x, x])):
            n = len(batch)
            with Noise({"z_0": torch.zeros(n, 2).to(x), "z_1": torch.zeros(2).to(x)}):
                sites = run_guide(model.guide("vade"), 1, (batch,), {})
            q = next(site["fn"] for site in sites if site["name"] == "z_1")
            precisions.append(q.variance.reciprocal() - float(model.prior_as_factor))
        torch.testing.assert_close(precisions[1], 2 * precisions[0])

    def test_observations_of_a_group_are_predicted_with_what_it_shares(self):
        model, x = self.build(), self.observations(6)
        of_six, of_three = model.encode(x)[1], model.encode(x[:3])[1]
        assert of_six.batch_shape == (6,)
        assert not torch.allclose(of_six.mean[:3], of_three.mean)
        group = model.summarise_group(x.split(2))
        torch.testing.assert_close(model.encode(x[:3], group=group)[1].mean, of_six.mean[:3])
        torch.testing.assert_close(model.encode(x[:3])[1].mean, of_three.mean)


class TestPublished(TestUGVAE):
    """Linear experts on the trunk of q(z_0 | x), ReLU below mu and sigma."""

    options = TestUGVAE.options | {
        "linear_experts": True,
        "shared_trunk": True,
        "mixture_activation": "relu",
    }
    guides = ("amortized-analytic", "amortized", "vade")

    def test_experts_are_linear_in_features_and_clusters(self):
        """What they say of halved inputs lies halfway to what they say of zeros."""
        model = self.build()
        assert model.expert_encoder is None
        features = torch.rand(2, 8 + 3).double()
        (loc, precision), (loc_0, precision_0), (loc_half, precision_half) = (
            model.experts(part) for part in (features, 0 * features, features / 2)
        )
        torch.testing.assert_close(loc_half, (loc + loc_0) / 2)
        torch.testing.assert_close(precision_half, (precision * precision_0).sqrt())

    def test_the_trunk_learns_from_the_experts(self):
        model, x = self.build(), self.observations()
        group = model.encode(x)[1]
        group.mean.sum().backward()
        assert all(p.grad.abs().max() > 0 for p in model.encoder.parameters())


class TestPriorAsFactor(TestUGVAE):
    options = TestUGVAE.options | {"prior_as_factor": True}
    guides = ("vade", "amortized")


class TestMLVAE(TestUGVAE):
    facets, small = "2:1,2:1", "1:1,1:1"
    guides = ("amortized", "vade", "vade-analytic", "amortized-analytic")

    def test_it_has_no_clusters(self):
        model = self.build()
        assert model.cluster_heads is None
        assert model.structure.clustered == ()
        assert not list(model.facets.parameters())


@pytest.mark.parametrize("with_standard", [False, True])
def test_product_of_normals_by_brute_force(with_standard):
    """Against the product of the densities on a grid, normalised there."""
    means, precisions = torch.randn(4, 2).double(), 0.2 + torch.rand(4, 2).double()
    q = product_of_normals(means, precisions, with_standard)
    z = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    for d in range(2):
        log_p = Normal(means[:, d, None], precisions[:, d, None] ** -0.5).log_prob(z).sum(0)
        if with_standard:
            log_p = log_p + Normal(0.0, 1.0).log_prob(z)
        p = log_p.softmax(0)
        mean = (p * z).sum()
        torch.testing.assert_close(q.mean[d], mean)
        torch.testing.assert_close(q.variance[d], (p * (z - mean) ** 2).sum())


@pytest.mark.parametrize(
    ("facets", "message"),
    [
        ("2:3", r"UGVAE has two facets, .* got 2:3"),
        ("2:3,2:2", r"the second with one cluster, such as --facets 20:10,10:1; got 2:3,2:2"),
    ],
)
def test_other_facets_are_refused(facets, message):
    with pytest.raises(ConfigError, match=message):
        TestUGVAE().build(facets)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"group_size": 0}, "group_size and width must be 1 or more, got 0 and 256"),
        ({"width": 0}, "group_size and width must be 1 or more, got 128 and 0"),
        ({"mixture_width": 0}, "hidden layer needs a width of 1 or more, got 0"),
    ],
)
def test_options_out_of_range_are_refused(option, message):
    case = TestUGVAE()
    case.options = option
    with pytest.raises(ConfigError, match=message):
        case.build()


def test_the_network_of_clusters_follows_its_mixture():
    """It takes latents, where other models' networks take features."""
    model, x = TestUGVAE().build(), TestUGVAE().observations(200)
    zs = posterior_means(model, x)
    targets = model.assign(x, zs)[0].detach()
    others = [p.clone() for p in model.encoder.parameters()]

    def cross_entropy():
        with torch.no_grad():
            return -(targets * model.cluster_heads(zs[0]).log_softmax(-1)).sum(-1).mean().item()

    first = cross_entropy()
    for _ in range(20):
        fit_cluster_network(model, model.guides["amortized"], x, [0])
    entropy = -torch.special.xlogy(targets, targets).sum(-1).mean().item()
    assert cross_entropy() - entropy < 0.5 * (first - entropy)
    assert all(map(torch.equal, model.encoder.parameters(), others))


def test_a_run_refits_its_mixture_and_the_network():
    config = TestUGVAE().config(
        **{"guide.name": "amortized", "training.refit_mixtures": [1], "model.options.width": 8}
    )
    state = first_state(config)
    while state.step < state.n_steps:
        Eager(state).step()
    assert torch.isfinite(state.totals).all()


@pytest.mark.parametrize("case", [TestUGVAE, TestPublished])
def test_each_facet_sees_what_it_is_shown(case):
    """The experts are facet 1's; what they are told of z_0 is what facet 0 saw."""
    model, x = case().build(), case().observations()
    shown, other = x + 1, x - 1
    own, group = model.encode(x, [shown, other])
    assert torch.equal(own.mean, model.encode(shown)[0].mean)
    logits = model.cluster_heads(own.mean)
    below = model.expert_encoder or model.encoder
    features = torch.cat([below(other)[0], logits.softmax(-1)], -1)
    expected = model.grouped(*model.experts(features))
    torch.testing.assert_close(group.mean[0], expected.mean)
    assert not torch.allclose(group.mean, model.encode(shown)[1].mean)


def test_the_smallest_sizes_make_a_model():
    case = TestUGVAE()
    case.options = {"group_size": 1, "width": 1, "mixture_width": 1}
    terms = case.build()(case.observations(1), "amortized")
    assert torch.isfinite(terms.elbo).all()


@pytest.mark.parametrize(
    ("is_linear", "experts"), [(False, [(4 + 3, 7), (7, 6)]), (True, [(7, 6)])]
)
def test_hidden_layers_are_those_that_were_asked_for(is_linear, experts):
    """Experts on 4 features and 3 clusters; below mu and sigma a network for every cluster."""
    encoder = Component(name="shared", options={"widths": [4]})
    sizes = {"width": 7, "mixture_width": 5, "linear_experts": is_linear}
    model = UGVAE((2,), "2:3,3:1", encoder=encoder, **sizes)
    layers = [each for each in model.experts.layers if isinstance(each, torch.nn.Linear)]
    assert [(each.in_features, each.out_features) for each in layers] == experts
    shapes = [tuple(parameter.shape) for parameter in model.facets[0].parameters()]
    assert shapes == [(3, 3, 5), (3, 5), (3, 5, 2 * 2), (3, 2 * 2)]


def test_the_experts_ladder_has_a_rung_for_facet_1_alone():
    case = TestUGVAE()
    case.networks = {"encoder": LADDER["encoder"], "decoder": SHARED["decoder"]}
    assert len(case.build().expert_encoder.rungs) == 1


def test_full_covariances_are_refused():
    config = TestUGVAE().config()
    local, shared = config.model.facets
    with pytest.raises(ConfigError, match="components of UGVAE have diagonal covariances, got ful"):
        UGVAE((2,), [replace(local, covariance="full"), shared])


def test_batches_of_another_size_are_refused():
    config = TestUGVAE().config(**{"training.batch_size": 20})
    with pytest.raises(ConfigError, match=r"batch_size \(20\) and model.options.group_size \(16\)"):
        first_state(config)
