"""VLAC, conditional and not, VLAE and GM-DGM: the contract, and sums over combinations."""

from __future__ import annotations

import itertools

import plain
import pytest
import torch
from model_cases import WrittenOut, noise_of_sites
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.nn.functional import elu, one_hot

from pyro_mfcvae import Noise
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.sites import run_guide
from pyro_mfcvae.testing import LADDER, SHARED
from pyro_mfcvae.testing.case import ALL, SEED

AFTER = ("amortized", "amortized-analytic", "relaxed")  # guides that infer clusters before latents


class TestVLAC(WrittenOut):
    """q(z | x, c): every combination of clusters written out."""

    name = "vlac"
    options = {"width": 7}  # noqa: RUF012
    guides = AFTER
    misfits = tuple(name for name in ALL if name not in AFTER)

    def plain_elbo(self, model, x, guide, eps, fade):
        features = model.cluster_encoder(x)
        heads = zip(model.cluster_heads, features, fade, strict=True)
        log_q = [(head(h) * weight).log_softmax(-1) for head, h, weight in heads]
        if guide == "relaxed":
            temperature = model.guide(guide).temperature
            shares = [
                plain.relaxed(q, eps[f"c_{j}"], temperature) if f"c_{j}" in eps else None
                for j, q in enumerate(log_q)
            ]
            return self.given(model, x, guide, shares, log_q, eps, fade)
        total = 0.0
        for combination in itertools.product(*(range(f.n_clusters) for f in model.facets)):
            shares = [
                one_hot(torch.full((1, len(x)), c), f.n_clusters).double()
                for c, f in zip(combination, model.facets, strict=True)
            ]
            own, chosen = {}, ()
            for j, (c, facet) in enumerate(zip(combination, model.facets, strict=True)):
                chosen = (c, *chosen) if facet.n_clusters > 1 else chosen
                own[f"z_{j}"] = eps[f"z_{j}"][chosen]
            weight = sum(q[:, c] for q, c in zip(log_q, combination, strict=True)).exp()
            total = total + weight * self.given(model, x, guide, shares, log_q, own, fade)
        return total

    def given(self, model, x, guide, shares, log_q, eps, fade):
        """The ELBO at clusters as shares (S, B, K_j), (B,)."""
        zs, costs, h = [], 0.0, x
        for j, facet in enumerate(model.facets):
            h = model.encoder.backbone[j](h)
            hidden = model.ladder.of_features[j](model.encoder.rungs[j](h))
            if facet.n_clusters > 1:
                hidden = hidden + shares[j] @ model.ladder.of_cluster[j].weight.T
                if j + 1 < model.n_facets:
                    h = h + fade[j] * (shares[j] @ model.ladder.shifts[j].weight.T)
            mean, std = plain.normal(model.heads[j](elu(hidden)))
            zs.append(mean + std * eps[f"z_{j}"])
            prior = plain.mixture(facet)
            inferred = plain.Inferred(zs[j], mean, std, prior, log_q[j])
            if facet.n_clusters == 1:
                in_closed_form = guide in plain.ANALYTIC
                cost = plain.kl("vade-analytic" if in_closed_form else "vade", inferred)
            elif guide == "relaxed":
                cost = plain.kl(guide, inferred, shares[j])
            else:
                log_p = plain.relaxed_log_prob(prior, zs[j], shares[j])
                cost = Normal(mean, std).log_prob(zs[j]).sum(-1) - log_p
                if guide in plain.ANALYTIC:
                    loc = shares[j] @ prior.loc
                    tril = torch.einsum("...k,kde->...de", shares[j], prior.tril)
                    q = MultivariateNormal(mean, scale_tril=std.diag_embed())
                    cost = kl_divergence(q, MultivariateNormal(loc, scale_tril=tril))
                cost = cost + (shares[j] * (log_q[j] - prior.log_pi)).sum(-1)
            costs = costs + fade[j] * cost
        return (plain.log_likelihood(model, x, zs, fade) - costs).mean(0)

    def test_latents_and_clusters_that_are_predicted(self):
        """q(c | x) is the networks', with or without samples; z is that of the likeliest ones."""
        model, x = self.build(), self.observations()
        features = model.cluster_encoder(x)
        q = [head(h).softmax(-1) for head, h in zip(model.cluster_heads, features, strict=True)]
        for n_samples in (None, 3):
            for ours, theirs in zip(model.responsibilities(x, n_samples), q, strict=True):
                torch.testing.assert_close(ours, theirs)
        h, posteriors = x, model.encode(x)
        for j, facet in enumerate(model.facets):
            c = one_hot(q[j].argmax(-1), facet.n_clusters).double()
            h = model.encoder.backbone[j](h)
            hidden = model.ladder.of_features[j](h)
            if facet.n_clusters > 1:
                hidden = hidden + c @ model.ladder.of_cluster[j].weight.T
                if j + 1 < model.n_facets:
                    h = h + c @ model.ladder.shifts[j].weight.T
            mean, _ = plain.normal(model.heads[j](elu(hidden)))
            torch.testing.assert_close(posteriors[j].mean, mean)


class TestOneLayerClusters(TestVLAC):
    """Clusters in one layer only, as published on SVHN."""

    facets, small = "2:1,1:2", "1:1,1:2"


class TestGMDGM(TestVLAC):
    facets, small = "2:4", "1:3"


class TestUnconditional(WrittenOut):
    name = "vlac"
    options = {"conditional": False}  # noqa: RUF012
    guides = ("vade", "amortized", "relaxed")


class TestVLAE(WrittenOut):
    name = "vlac"
    facets, small = "2:1,1:1", "1:1,1:1"
    guides = ("vade", "vade-analytic", "amortized", "relaxed")

    def test_it_is_a_ladder_with_closed_form_kls(self):
        """All guides are one of two: KLs sampled or not; with more samples they meet."""
        model, x = self.build(), self.observations()
        elbos = {}
        for name in ALL:
            with Noise(SEED):
                elbos[name] = model(x, name, 2)
        for name, terms in elbos.items():
            like = "vade-analytic" if name in plain.ANALYTIC else "vade"
            torch.testing.assert_close(terms.elbo, elbos[like].elbo)
        for j, q in enumerate(model.encode(x)):
            expected = plain.kl_of_standard(q.mean, q.stddev)
            torch.testing.assert_close(elbos["vade-analytic"].kl_z[:, j], expected)
        assert not any(p.requires_grad for p in model.facets.parameters())


def test_too_many_combinations_are_refused():
    case = TestVLAC()
    case.options = {"width": 7, "max_combinations": 5}
    case.guides = ("relaxed",)
    with pytest.raises(ConfigError, match="take 6 passes, .* max_combinations is 5; raise it"):
        case.build().guide("amortized")
    case.options = {"width": 7, "max_combinations": 6}
    case.build().guide("amortized")


@pytest.mark.parametrize("option", ["width", "max_combinations"])
def test_options_out_of_range_are_refused(option):
    case = TestVLAC()
    case.options = {option: 0}
    with pytest.raises(ConfigError, match="width and max_combinations must be 1 or more, got"):
        case.build()


def test_clusters_need_a_ladder_to_enter():
    case = TestVLAC()
    case.networks = SHARED
    with pytest.raises(ConfigError, match="which needs a ladder; choose encoder ladder or conv"):
        case.build()


@pytest.mark.parametrize("backbone", [[[], [8]], [[8], []]])
def test_a_stage_of_the_ladder_may_be_empty(backbone):
    case = TestVLAC()
    options = LADDER["encoder"]["options"] | {"backbone": backbone}
    case.networks = LADDER | {"encoder": {"name": "ladder", "options": options}}
    terms = case.build()(case.observations(), "amortized")
    assert torch.isfinite(terms.elbo).all()


def test_an_encoder_that_fades_does_so_for_layers_given_clusters():
    case = TestVLAC()
    options = LADDER["encoder"]["options"] | {"fade": True}
    case.networks = LADDER | {"encoder": {"name": "ladder", "options": options}}
    model, x = case.build("2:1,1:2"), case.observations()
    whole = model.encode(x)[1].mean
    model.fade[0] = 0.0
    unseen, seen = (q.mean for q in model.encode(x))
    torch.testing.assert_close(unseen, unseen[:1].expand_as(unseen))
    torch.testing.assert_close(seen, whole)


def test_layers_that_see_other_observations_are_refused():
    model, x = TestVLAC().build(), torch.zeros(2, 2, dtype=torch.float64)
    with pytest.raises(ConfigError, match=r"training\.warp\.facets"):
        model(x, "amortized", seen=[x, x.clone()])
    seen = model.encode(x, 2 * [x + 1])[1].mean
    torch.testing.assert_close(seen, model.encode(x + 1)[1].mean)


def test_cold_relaxed_clusters_are_discrete_ones():
    """The limit of the temperature: one cluster each, with the discrete KL."""
    case = TestVLAC()
    model, x = case.build(), case.observations()
    guide = model.guide("relaxed")
    guide.temperature.fill_(1e-9)
    with Noise(SEED) as noise:
        terms = model(x, guide)
    with Noise(SEED):
        sampled = {site["name"]: site["value"] for site in run_guide(guide, 1, (x,), {})}
    eps = noise_of_sites(noise, x)
    q = model.responsibilities(x)
    for j, facet in enumerate(model.facets):
        entropy = -(q[j] * q[j].log()).sum(-1)
        pi = facet.log_weights
        torch.testing.assert_close(terms.kl_c[:, j], -entropy - (q[j] * pi).sum(-1))
        gumbel = -(-Normal(0.0, 1.0).cdf(eps[f"c_{j}"][0]).log()).log()
        chosen = (q[j].log() + gumbel).argmax(-1)
        assert (chosen.unsqueeze(-1) == sampled[f"c_{j}"].round().argmax(-1, True)).all()
        assert (sampled[f"c_{j}"].amax(-1) == 1).all()
