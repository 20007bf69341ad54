"""Identities of the objective, in float64 with the same noise under every guide."""

from __future__ import annotations

import pyro
import pytest
import torch
from models import LATENT_DIMS, N_OBSERVATIONS, observations, small_model
from pyro.infer import SVI, TraceEnum_ELBO

from pyro_mfcvae import FacetELBO, Noise
from pyro_mfcvae.config import Component
from pyro_mfcvae.guides import Guide
from pyro_mfcvae.inference.elbo import term_means
from pyro_mfcvae.inference.noise import site_noise
from pyro_mfcvae.priors.densities import ClusterCategorical
from pyro_mfcvae.testing.values import gradients, relative_error, weighted

RTOL = 1e-9
SEED = 3

MODELS = [
    {"n_facets": 1, "covariance": "diagonal"},
    {"n_facets": 2, "covariance": "full"},
    {"n_facets": 2, "covariance": "diagonal", "learn_weights": False},
    {"n_facets": 3, "covariance": "full", "likelihood": Component(name="gaussian")},
    {
        "n_facets": 2,
        "likelihood": Component(name="gaussian", options={"learn_scale": True, "scale": 0.3}),
    },
]


@pytest.fixture(params=MODELS, ids=lambda settings: "-".join(map(str, settings.values()))[:40])
def model(request):
    return small_model(**request.param)


def _fades(n_facets):
    full = torch.ones(n_facets, dtype=torch.float64)
    part = torch.linspace(0.0, 1.0, n_facets + 1, dtype=torch.float64)[1:]
    hidden = full.clone()
    hidden[0] = 0.0
    return [None, full, part, hidden]


def _latents(model, x, n_samples):
    """The samples that the guide draws under Noise(SEED), and their posteriors."""
    posteriors = model.encode(x)
    lead = (n_samples, len(x)) if n_samples > 1 else (len(x),)
    zs = []
    for j, q in enumerate(posteriors):
        eps = site_noise(SEED, 0, f"z_{j}", torch.Size([*lead, *q.event_shape]), x)
        zs.append(q.mean + q.stddev * eps)
    return zs, posteriors


@pytest.mark.parametrize("fade_index", range(4))
def test_vade_equals_enumerate_at_one_sample(model, fade_index):
    x, fade = observations(), _fades(model.n_facets)[fade_index]
    results = {}
    for guide in ("vade", "enumerate"):
        with Noise(SEED):
            terms = weighted(model, x, guide, fade=fade)
        results[guide] = terms.elbo.detach(), gradients(model, terms.loss)
    for ours, theirs in zip(results["vade"], results["enumerate"], strict=True):
        assert relative_error(ours, theirs) <= RTOL


@pytest.mark.parametrize("n_samples", [1, 2, 5])
@pytest.mark.parametrize("guide", ["vade", "enumerate"])
def test_closed_forms(model, guide, n_samples):
    """Eq. 58 and 59 for vade; the mixture's own density for enumerate."""
    x, fade = observations(), _fades(model.n_facets)[2]
    with Noise(SEED):
        terms = weighted(model, x, guide, n_samples, fade)
    zs, posteriors = _latents(model, x, n_samples)

    def mean(values):
        return values.mean(0) if n_samples > 1 else values

    expected = mean(model.decode(zs).log_prob(x))
    for alpha, z, q, facet in zip(model.fade, zs, posteriors, model.facets, strict=True):
        kl = mean(q.log_prob(z))
        if guide == "enumerate":
            kl = kl - mean(facet.log_prob(z))
        else:
            log_q = mean(facet.log_responsibilities(z)).log_softmax(-1)
            kl = kl - (log_q.exp() * (mean(facet.log_joint(z)) - log_q)).sum(-1)
        expected = expected - alpha * kl
    assert relative_error(terms.elbo, expected) <= RTOL
    assert relative_error(gradients(model, terms.loss), gradients(model, -expected.mean())) <= RTOL


@pytest.mark.parametrize("n_samples", [2, 8])
def test_gap_between_enumerate_and_vade(model, n_samples):
    x, fade = observations(), _fades(model.n_facets)[2]
    elbos = {}
    for guide in ("vade", "enumerate"):
        with Noise(SEED):
            elbos[guide] = weighted(model, x, guide, n_samples, fade).elbo
    zs, _ = _latents(model, x, n_samples)
    log_z = torch.stack(
        [
            f.log_responsibilities(z).mean(0).logsumexp(-1)
            for f, z in zip(model.facets, zs, strict=True)
        ],
        -1,
    )
    gap = elbos["enumerate"] - elbos["vade"]
    assert (gap >= 0).all()
    torch.testing.assert_close(gap, -(log_z * fade).sum(-1), rtol=RTOL, atol=1e-9)


class PerturbedGuide(Guide):
    """Any other q(c | x): the vade guide's, with its logits perturbed or replaced."""

    def __init__(self, model, change):
        super().__init__(model)
        self.change = change

    def cluster(self, j, inferred):
        logits = self.change(inferred.prior.log_responsibilities(inferred.z), j)
        pyro.sample(f"c_{j}", ClusterCategorical(logits=logits), infer={"enumerate": "parallel"})


@pytest.mark.parametrize("n_samples", [1, 4])
def test_no_other_posterior_of_c_beats_vade(model, n_samples):
    x = observations()

    def elbo(guide):
        with Noise(SEED), torch.no_grad():
            return model(x, guide, n_samples).elbo

    def mean(log_r):
        return log_r.mean(0) if log_r.dim() == 3 else log_r

    best = elbo("vade")
    same = elbo(PerturbedGuide(model, lambda log_r, j: mean(log_r)))
    torch.testing.assert_close(same, best, rtol=RTOL, atol=0)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(5):
            noise = [torch.randn(N_OBSERVATIONS, f.n_clusters) * size for f in model.facets]
            guide = PerturbedGuide(model, lambda log_r, j, noise=noise: mean(log_r) + noise[j])
            assert (elbo(guide) < best).all()
    if n_samples > 1:  # the VaDE paper's own choice, E_q p(c | z)
        original = PerturbedGuide(model, lambda log_r, j: log_r.exp().mean(0).log())
        assert (elbo(original) < best).all()


@pytest.mark.parametrize("guide", ["vade", "enumerate"])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_equal_to_the_stock_objective(model, guide, n_samples):
    x = observations()
    stock = TraceEnum_ELBO(
        num_particles=n_samples, vectorize_particles=n_samples > 1, max_plate_nesting=1
    )
    with Noise(SEED):
        expected = stock.differentiable_loss(model.model, model.guide(guide), x)
    ours = FacetELBO(n_samples)
    with Noise(SEED):
        loss = ours.differentiable_loss(model.model, model.guide(guide), x)
    assert abs(loss - expected) <= RTOL * abs(expected)
    assert relative_error(gradients(model, loss), gradients(model, expected)) <= RTOL


def test_equal_to_the_stock_objective_where_one_weight_scales_all(model):
    """With a guide that enumerates, the stock objective takes a weight for each facet."""
    x, fade = observations(), _fades(model.n_facets)[2]
    model.fade.copy_(fade)
    stock = TraceEnum_ELBO(max_plate_nesting=1)
    with Noise(SEED):
        expected = stock.differentiable_loss(model.model, model.guide("vade"), x)
    with Noise(SEED):
        loss = FacetELBO().differentiable_loss(model.model, model.guide("vade"), x)
    assert abs(loss - expected) <= RTOL * abs(expected)


@pytest.mark.parametrize("guide", ["vade", "enumerate"])
@pytest.mark.parametrize("n_samples", [1, 2])
def test_a_facet_at_zero_is_untouched(guide, n_samples):
    model = small_model(3)
    fade = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    weighted(model, observations(), guide, n_samples, fade).loss.backward()
    for part in (model.facets[0], model.heads[0], model.encoder.rungs[0], model.decoder.rungs[0]):
        for parameter in part.parameters():
            assert parameter.grad is None or (parameter.grad == 0).all()
    for part in (
        model.facets[1],
        model.heads[1],
        model.decoder.rungs[1],
        model.encoder.backbone[0],
    ):
        assert all((parameter.grad != 0).any() for parameter in part.parameters())


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_one_optimiser_step_under_both_guides(optimiser):
    x, fade = observations(), torch.tensor([0.5, 1.0], dtype=torch.float64)
    stepped = []
    for guide in ("vade", "enumerate"):
        torch.manual_seed(1)
        model = small_model()
        optimizer = optimiser(model.parameters(), lr=1e-2)
        before = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        with Noise(SEED):
            weighted(model, x, guide, fade=fade).loss.backward()
        optimizer.step()
        after = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        assert (after != before).any()
        stepped.append(after)
    assert relative_error(stepped[0], stepped[1]) <= RTOL


@pytest.mark.parametrize("guide", ["vade", "enumerate"])
@pytest.mark.parametrize("objective", [TraceEnum_ELBO, FacetELBO])
def test_plain_svi_trains_every_parameter(guide, objective):
    model, x = small_model(), observations()
    svi = SVI(model.model, model.guide(guide), pyro.optim.Adam({"lr": 1e-2}), objective())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    losses = [svi.step(x) for _ in range(30)]
    still = [name for name, p in model.named_parameters() if (p == before[name]).all()]
    assert not still
    assert sum(losses[-5:]) < sum(losses[:5])


def test_stock_objective_refuses_what_it_cannot_weigh():
    """Two facets summed out with two weights have no common scale: Pyro says so."""
    model = small_model()
    model.fade[0] = 0.3
    with pytest.raises(ValueError, match="common poutine.scale"):
        TraceEnum_ELBO().loss(model.model, model.guide("enumerate"), observations())


def test_terms_add_up_and_carry_their_names():
    model, x = small_model(), observations()
    terms = weighted(model, x, guide="vade", n_samples=2, fade=[0.25, 1.0])
    assert terms.reconstruction.shape == (N_OBSERVATIONS,)
    assert terms.kl_z.shape == terms.kl_c.shape == (N_OBSERVATIONS, 2)
    total = terms.reconstruction - ((terms.kl_z + terms.kl_c) * model.fade).sum(-1)
    torch.testing.assert_close(terms.elbo, total)
    torch.testing.assert_close(terms.loss, -total.mean())
    means = term_means(terms.terms, terms.weights)
    assert set(means) == {
        "elbo",
        "reconstruction",
        "kl_z_0",
        "kl_c_0",
        "fade_0",
        "kl_z_1",
        "kl_c_1",
        "fade_1",
    }
    assert means["fade_0"] == 0.25
    torch.testing.assert_close(means["elbo"], terms.elbo.mean())
    torch.testing.assert_close(means["kl_z_1"], terms.kl_z[:, 1].mean())
    assert (model(x, guide="enumerate").kl_c == 0).all()


def test_elbo_is_a_lower_bound_of_the_log_evidence():
    """Against quadrature over the one latent dimension of a model with one facet."""
    model = small_model(1, latent_dims=(1,))
    x = observations()
    n = 2000
    with torch.no_grad():
        grid = torch.linspace(-12, 12, 4001, dtype=torch.float64).reshape(-1, 1, 1)
        log_joint = model.decode([grid]).log_prob(x) + model.facets[0].log_prob(grid)
        log_evidence = log_joint.logsumexp(0) + torch.log(grid[1] - grid[0]).squeeze()
        for guide in ("vade", "enumerate"):
            draws = model(x.repeat(n, 1, 1, 1), guide).elbo.unflatten(0, (n, -1))
            error = draws.std(0) / n**0.5
            assert (draws.mean(0) - 5 * error < log_evidence).all()
        # That the quadrature is right: importance weights average to 1.
        q = model.encode(x)[0]
        z = q.sample((20 * n,))
        log_p = model.decode([z]).log_prob(x) + model.facets[0].log_prob(z)
        weights = (log_p - q.log_prob(z) - log_evidence).exp()
        assert ((weights.mean(0) - 1) / (weights.std(0) / (20 * n) ** 0.5)).abs().max() < 5


def test_latent_dimensions_are_those_asked_for():
    model = small_model(3)
    assert [q.event_shape[0] for q in model.encode(observations())] == list(LATENT_DIMS)
