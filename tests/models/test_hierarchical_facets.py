"""Facets that depend on each other: what examples/hierarchical_facets.py says of itself."""

from __future__ import annotations

import pytest
import torch
from models import tiny_config
from variants import X, load, random_model

from pyro_mfcvae import Noise
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import GUIDES, Guide
from pyro_mfcvae.models.pairs import PairsOfClusters
from pyro_mfcvae.training.objective import Objective
from pyro_mfcvae.training.schedules import kl_scale


def _joint(model, zs):
    """p(c_0, c_1 | z) by brute force, (B, K_0, K_1)."""
    first, second = model.facets
    table = torch.empty(len(zs[0]), first.n_clusters, second.n_clusters).double()
    normal = torch.distributions.MultivariateNormal
    for a in range(first.n_clusters):
        for b in range(second.n_clusters):
            table[..., a, b] = (
                first.logits.log_softmax(-1)[a]
                + model.rows[a].log_softmax(-1)[b]
                + normal(first.loc[a], scale_tril=first.scale_tril[a]).log_prob(zs[0])
                + normal(second.loc[b], scale_tril=second.scale_tril[b]).log_prob(zs[1])
            ).exp()
    return table / table.sum((-2, -1), keepdim=True)


def test_hierarchical_responsibilities():
    model = random_model("hierarchical_facets")
    with torch.no_grad():
        table = _joint(model, [q.mean for q in model.encode(X)])
    first, second = model.responsibilities(X)
    torch.testing.assert_close(first, table.sum(-1), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(second, table.sum(-2), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(first, model.facets[0].responsibilities(model.encode(X)[0].mean))


def test_hierarchical_responsibilities_of_samples():
    """Theorem 2 for the table: proportional to the geometric mean of p(c_0, c_1 | z) over them."""
    model, n_samples = random_model("hierarchical_facets"), 5
    with torch.no_grad():
        zs = [torch.randn(n_samples, 12, d, dtype=torch.float64) for d in (2, 3)]
        each = torch.stack([_joint(model, [z[s] for z in zs]) for s in range(n_samples)])
        table = each.log().mean(0).exp()
        table = table / table.sum((-2, -1), keepdim=True)
        for found, over in zip(model.assign(X, zs), (-1, -2), strict=True):
            torch.testing.assert_close(found, table.sum(over), rtol=1e-9, atol=1e-12)


def test_hierarchical_density_at_given_pairs():
    model = random_model("hierarchical_facets")
    pairs: PairsOfClusters = model.pairs()
    z = torch.randn(12, 5, dtype=torch.float64)
    with torch.no_grad():
        found = torch.stack(
            [pairs.component_log_prob_at(z, torch.full((12,), c)) for c in range(12)]
        )
        full = torch.distributions.MultivariateNormal(pairs.loc, scale_tril=pairs.scale_tril)
        torch.testing.assert_close(found.T, full.log_prob(z.unsqueeze(-2)))


def test_hierarchical_table_is_the_optimum():
    """Theorem 3: the gap is -log Z, and no other table comes as near, that of margins included."""
    model = random_model("hierarchical_facets")
    noise = {f"z_{j}": torch.randn(5, 12, d, dtype=torch.float64) for j, d in enumerate((2, 3))}

    def elbo(guide):
        with torch.no_grad(), Noise(noise):
            return model(X, guide=guide, n_samples=5).elbo

    zs = [q.mean + q.stddev * noise[f"z_{j}"] for j, q in enumerate(model.encode(X))]
    with torch.no_grad():
        posterior = torch.stack([_joint(model, [z[s] for z in zs]) for s in range(5)])
    log_z = posterior.log().mean(0).flatten(-2).logsumexp(-1)
    best = elbo("vade")
    torch.testing.assert_close(elbo("enumerate") - best, -log_z, rtol=1e-9, atol=1e-12)

    class Perturbed(GUIDES["vade"]):
        def logits(self, inferred):
            return super().logits(inferred) + 0.1 * torch.randn(12, dtype=torch.float64)

    class Margins(GUIDES["vade"]):
        def logits(self, inferred):
            table = super().logits(inferred).log_softmax(-1).unflatten(-1, (3, 4))
            return (table.logsumexp(-1, True) + table.logsumexp(-2, True)).flatten(-2)

    assert all((elbo(Perturbed(model)) < best).all() for _ in range(5))
    assert (elbo(Margins(model)) < best).all()


def test_hierarchical_facets_have_one_kl_where_they_are_summed_out_together():
    """Log q stands beside log p, so that no facet's weight applies to half a KL."""
    with Noise(0):
        terms = random_model("hierarchical_facets")(X, guide="enumerate")
    assert not terms.kl_z.any()
    assert not terms.kl_c.any()
    (joint,) = terms.other.values()
    torch.testing.assert_close(joint, terms.reconstruction - terms.elbo)


def test_hierarchical_analytic_guide():
    """Its KL is that of the table proportional to exp E log p(c_0, c_1, z): minus a log-sum."""
    model = random_model("hierarchical_facets", "diagonal")
    normal, log_joint, entropy = torch.distributions.Normal, model.pairs().log_table, 0
    with torch.no_grad():
        terms = model(X, guide="vade-analytic", n_samples=3)
        for j, (q, prior) in enumerate(zip(model.encode(X), model.facets, strict=True)):
            at_mean = normal(prior.loc, prior.scale).log_prob(q.mean.unsqueeze(-2))
            expected = at_mean - 0.5 * (q.stddev.unsqueeze(-2) / prior.scale).square()
            log_joint = log_joint + expected.sum(-1).unsqueeze(-1 if j == 0 else -2)
            entropy = entropy + q.entropy()
    expected = -log_joint.flatten(-2).logsumexp(-1) - entropy
    total = (terms.kl_z + terms.kl_c).sum(-1)
    torch.testing.assert_close(total, expected, rtol=1e-10, atol=1e-10)


def test_hierarchical_draws_from_the_other_facets_row():
    model = random_model("hierarchical_facets")
    pairs: PairsOfClusters = model.pairs()
    n = 20_000
    with torch.no_grad():
        table = pairs.log_table.exp()
        generator = torch.Generator().manual_seed(0)
        z_0, z_1 = model.sample_prior((n,), {1: torch.tensor(2)}, 1.0, generator)
        column = table[:, 2] / table[:, 2].sum()
        expected = column @ model.facets[0].loc
        assert z_0.shape == (n, 2)
        assert ((z_0.mean(0) - expected).abs() < 5 * z_0.std(0) / n**0.5).all()
        mean = model.facets[1].loc[2]
        assert ((z_1.mean(0) - mean).abs() < 5 * z_1.std(0) / n**0.5).all()
        _, z_1 = model.sample_prior((n,), {0: torch.tensor(1)}, 1.0, generator)
        expected = table[1] / table[1].sum() @ model.facets[1].loc
        assert ((z_1.mean(0) - expected).abs() < 5 * z_1.std(0) / n**0.5).all()
        both = model.sample_prior((4,), {0: torch.tensor(1), 1: torch.tensor(3)}, 0.0, generator)
        for z, facet, c in zip(both, model.facets, (1, 3), strict=True):
            torch.testing.assert_close(z, facet.loc[c].expand(4, -1))
    with pytest.raises(ValueError, match=r"0\.\.3, got 4\.\.4"):
        model.sample_prior((2,), {1: torch.tensor(4)})


@pytest.mark.parametrize("guide", ["enumerate", "vade", "vade-analytic"])
def test_hierarchical_kl_has_the_weight_of_the_settings(guide):
    """Of a beta-VAE, and of a warm-up half way through."""
    model = random_model("hierarchical_facets")
    with Noise(0):
        terms = model(X, guide=guide)
    kl = (terms.reconstruction - terms.elbo).mean()
    for name, value, scale in (("kl_weight", 3.0, 3.0), ("kl_start", 0.2, 0.6)):
        settings = {f"training.{name}": str(value), "guide.name": guide}
        if name == "kl_start":
            settings["training.kl_warm_up"] = "[0,2]"
        objective = Objective(model, tiny_config(**settings)).double()
        objective.kl_scale.fill_(kl_scale(tiny_config(**settings).training, 5, 5))
        loss, values = objective(X, Noise(0))
        torch.testing.assert_close(loss, scale * kl - terms.reconstruction.mean())
        assert dict(zip(objective.term_names, values, strict=True))["elbo"] == -loss


def test_hierarchical_refuses_what_does_not_enumerate():
    model = random_model("hierarchical_facets")
    guide = GUIDES["relaxed"](model).double()
    with pytest.raises(ConfigError, match="RelaxedGuide does not enumerate"):
        model(X, guide)
    assert Guide.logits is GUIDES["relaxed"].logits


def test_hierarchical_table_is_learnt():
    rows = load("hierarchical_facets").main()
    assert (rows.max(-1).values > 0.6).all()
    assert rows.argmax(-1).unique().numel() == 3
