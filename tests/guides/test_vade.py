"""VaDE: one facet, its closed-form objective, initialisation, learning rates and presets."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from models import observations, small_model, tiny_config
from pyro.infer import TraceEnum_ELBO
from torch.distributions import MultivariateNormal

from pyro_mfcvae import MFCVAE, FacetELBO, MixturePrior, Noise, VaDE
from pyro_mfcvae.config import FacetConfig, config_from_dict, config_to_dict, override, with_facets
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import AnalyticGuide, enumerate_cluster
from pyro_mfcvae.inference.sites import Fade, run_guide
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.testing.values import gradients, weighted
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.schedules import learning_rate
from pyro_mfcvae.training.start.initialise import initialise_mixtures, posterior_means
from pyro_mfcvae.training.start.pretrain import pretraining_stages
from pyro_mfcvae.training.state import Eager

SEED = 3
ANALYTIC = ("vade-analytic", "expectation-analytic")
K, D, N = 5, 3, 7


@pytest.fixture(params=["diagonal", "full"])
def covariance(request):
    return request.param


@pytest.fixture
def prior(covariance):
    prior = MixturePrior(K, D, covariance, initial_variance=0.3).double()
    with torch.no_grad():
        prior.logits += torch.randn(K)
        prior.raw_scale += 0.3 * torch.randn_like(prior.raw_scale)
    return prior


def _normal(*batch):
    """Means and standard deviations of normals to take expectations over."""
    loc = torch.randn(*batch, D, dtype=torch.float64)
    return loc, 0.1 + torch.rand(*batch, D, dtype=torch.float64)


# --- the model ---


def test_vade_is_mfcvae_with_one_facet():
    x, facet = observations(), FacetConfig(n_clusters=4, latent_dim=3, covariance="full")
    vade = VaDE(x.shape[1:], [facet]).double()
    mfcvae = MFCVAE(x.shape[1:], [facet], encoder="shared", decoder="shared").double()
    mfcvae.load_state_dict(vade.state_dict())
    for guide in ("vade", "enumerate", *ANALYTIC):
        with Noise(SEED):
            ours = vade(x, guide, 2)
        with Noise(SEED):
            theirs = mfcvae(x, guide, 2)
        assert torch.equal(ours.elbo, theirs.elbo)


@pytest.mark.parametrize("facets", ["3:4,2:2", []])
def test_another_number_of_facets_is_refused(facets):
    with pytest.raises(ConfigError, match=r"one facet, got [20]; give one, such as --facets 10:10"):
        VaDE((1, 4, 4), facets)


# --- expectations in closed form ---


def test_expected_log_density_is_that_of_torch(prior):
    loc, scale = _normal(N)
    components = MultivariateNormal(prior.loc, scale_tril=prior.scale_tril)
    trace = (components.precision_matrix.diagonal(dim1=-2, dim2=-1) * scale[:, None] ** 2).sum(-1)
    expected = components.log_prob(loc[:, None]) - 0.5 * trace
    ours = prior.expected_component_log_prob(loc, scale)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_expected_log_density_is_the_mean_over_samples(prior):
    n = 100_000
    loc, scale = _normal(2)
    with torch.no_grad():
        values = prior.component_log_prob(loc + scale * torch.randn(n, *loc.shape).double())
        difference = values.mean(0) - prior.expected_component_log_prob(loc, scale)
    assert (difference / (values.std(0) / n**0.5)).abs().max() < 5


def test_expectation_for_given_and_enumerated_clusters(prior):
    loc, scale = _normal(N)
    every = prior.expected_component_log_prob(loc, scale)
    c = torch.randint(K, (N,))
    looked_up = prior.component(c).expected_log_prob(loc, scale)
    torch.testing.assert_close(looked_up, every[torch.arange(N), c], rtol=0, atol=0)
    support = prior.cluster().enumerate_support(expand=False)
    enumerated = prior.component(support.unsqueeze(-1)).expected_log_prob(loc, scale)
    torch.testing.assert_close(enumerated, every.mT, rtol=0, atol=0)
    several = torch.randint(K, (2, N))
    looked_up = prior.component(several).expected_log_prob(loc, scale)
    for row, clusters in zip(looked_up, several, strict=True):
        torch.testing.assert_close(row, every[torch.arange(N), clusters], rtol=0, atol=0)


# --- guides ---

FADES = {"ones": None, "partial": torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)}


def _by_hand(model, x, fade, guide, n_samples):
    """The ELBO (B,) of an analytic guide, written out component by component with torch."""
    weights = torch.ones(model.n_facets).double() if fade is None else fade
    with Noise(SEED):
        sites = run_guide(model.guide(guide), n_samples, (x,), {})
    values = {site["name"]: site["value"] for site in sites}
    zs = [values[f"z_{j}"] for j in range(model.n_facets)]
    elbo = model.decode(zs).log_prob(x)
    elbo = elbo.mean(0) if n_samples > 1 else elbo
    for alpha, facet, q, z in zip(weights, model.facets, model.encode(x), zs, strict=True):
        components = MultivariateNormal(facet.loc, scale_tril=facet.scale_tril)
        precisions = components.precision_matrix.diagonal(dim1=-2, dim2=-1)
        log_p = components.log_prob(q.mean[:, None])
        log_p = log_p - 0.5 * (precisions * q.variance[:, None]).sum(-1) + facet.log_weights
        if guide == "vade-analytic":
            q_c = log_p.softmax(-1)
        else:
            q_c = (components.log_prob(z.unsqueeze(-2)) + facet.log_weights).softmax(-1)
            q_c = q_c.mean(0) if n_samples > 1 else q_c
        entropy = 0.5 * (q.variance.log() + 1 + math.log(2 * math.pi)).sum(-1)
        elbo = elbo + alpha * (entropy + (q_c * (log_p - q_c.log())).sum(-1))
    return elbo


@pytest.mark.parametrize("fade", FADES)
@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.parametrize("guide", ANALYTIC)
def test_objective_and_gradient_by_hand(covariance, guide, n_samples, fade):
    model, x, fade = small_model(3, covariance), observations(), FADES[fade]
    with Noise(SEED):
        terms = weighted(model, x, guide, n_samples, fade)
    expected = _by_hand(model, x, fade, guide, n_samples)
    torch.testing.assert_close(terms.elbo, expected, rtol=1e-10, atol=1e-10)
    ours, theirs = gradients(model, terms.loss), gradients(model, -expected.mean())
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_the_kl_of_z_does_not_depend_on_the_noise(covariance):
    model, x = small_model(2, covariance), observations()
    terms = []
    for seed, n_samples in ((0, 1), (1, 1), (2, 5)):
        with Noise(seed):
            terms.append(model(x, "vade-analytic", n_samples))
    for other in terms[1:]:
        torch.testing.assert_close(other.kl_z, terms[0].kl_z, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(other.kl_c, terms[0].kl_c, rtol=1e-12, atol=1e-12)
        assert not torch.equal(other.reconstruction, terms[0].reconstruction)


def test_terms_are_the_means_of_the_sampled_ones(covariance):
    """With q(c | x) held fixed, log-densities at 20,000 samples of z average to the closed form."""
    n, model, x = 20_000, small_model(2, covariance), observations(3)
    with torch.no_grad():
        terms = model(x, "vade-analytic")
        for j, (facet, q) in enumerate(zip(model.facets, model.encode(x), strict=True)):
            z = q.mean + q.stddev * torch.randn(n, *q.mean.shape, dtype=torch.float64)
            log_p = facet.expected_component_log_prob(q.mean, q.stddev)
            q_c = (log_p + facet.log_weights).softmax(-1)
            sampled = q.log_prob(z) - (q_c * facet.component_log_prob(z)).sum(-1)
            error = (sampled.mean(0) - terms.kl_z[:, j]) / (sampled.std(0) / n**0.5)
            assert error.abs().max() < 5


class Perturbed(AnalyticGuide):
    """The marks of an analytic guide with any q(c | x)."""

    def __init__(self, model, logits):
        super().__init__(model)
        self.logits = logits

    def cluster(self, j, inferred):
        return enumerate_cluster(j, self.logits[j])


def test_no_other_posterior_of_c_beats_vade_analytic(covariance):
    model, x = small_model(2, covariance), observations()

    def elbo(guide):
        with Noise(SEED), torch.no_grad():
            return model(x, guide).elbo

    logits = [
        (f.expected_component_log_prob(q.mean, q.stddev) + f.log_weights).detach()
        for f, q in zip(model.facets, model.encode(x), strict=True)
    ]
    best = elbo("vade-analytic")
    torch.testing.assert_close(elbo(Perturbed(model, logits)), best, rtol=1e-12, atol=0)
    for size in (1e-2, 0.1, 1.0):
        for _ in range(5):
            others = [values + size * torch.randn_like(values) for values in logits]
            assert (elbo(Perturbed(model, others)) < best).all()
    assert (elbo("expectation-analytic") < best).all()  # a q(c | x) from a sample, at S = 1 too


def test_vade_analytic_is_the_limit_of_vade():
    model, x, n = small_model(1, "full"), observations(4), 20_000
    with torch.no_grad():
        q, facet = model.encode(x)[0], model.facets[0]
        logits = run_guide(model.guide("vade-analytic"), 1, (x,), {})[1]["fn"].logits
        limit = model(x, "vade-analytic")
        z = q.mean + q.stddev * torch.randn(n, *q.mean.shape, dtype=torch.float64)
        values = facet.log_joint(z) - facet.log_joint(z)[..., :1]  # free of q's constant
        error = values.std(0) / n**0.5
        expected = values.mean(0) - (logits - logits[..., :1])
        assert (expected[..., 1:].abs() < 5 * error[..., 1:]).all()
        kl = [model(x, "vade", s).kl_c - limit.kl_c for s in (2, 2_000)]
        assert kl[1].abs().max() < 0.1 * kl[0].abs().max()


def test_order_of_the_bounds():
    """The KLs of vade-analytic exceed, on average, those with c summed out: E KL(q(c)||p(c|z))."""
    model, x, n = small_model(2, "full"), observations(3), 4_000
    with torch.no_grad():
        analytic = model(x, "vade-analytic")
        sampled = torch.stack(
            [
                q.log_prob(z) - facet.log_prob(z)
                for q, facet in zip(model.encode(x), model.facets, strict=True)
                for z in [q.mean + q.stddev * torch.randn(n, *q.mean.shape, dtype=torch.float64)]
            ]
        ).sum(0)
    difference = (analytic.kl_z + analytic.kl_c).sum(-1) - sampled.mean(0)
    assert (difference > 5 * sampled.std(0) / n**0.5).all()


@pytest.mark.parametrize("guide", ANALYTIC)
def test_a_facet_at_zero_is_not_touched(covariance, guide):
    model, x = small_model(2, covariance), observations()
    fade = torch.tensor([0.0, 1.0], dtype=torch.float64)
    weighted(model, x, guide, 2, fade).loss.backward()
    hidden = [*model.facets[0].parameters(), *model.heads[0].parameters()]
    hidden += [*model.decoder.rungs[0].parameters()]
    assert all(p.grad is None or not p.grad.any() for p in hidden)
    assert model.facets[1].loc.grad.any()


@pytest.mark.parametrize("guide", ANALYTIC)
def test_a_kl_floor_weighs_the_closed_form(guide):
    model, x = small_model(2), observations()
    fade = torch.tensor([0.0, 1.0], dtype=torch.float64)
    with Noise(SEED):
        plain = weighted(model, x, guide, fade=fade)
    with Noise(SEED):
        raised = weighted(model, x, guide, fade=fade, floor=0.25)
    cost = 0.25 * (plain.kl_z[:, 0] + plain.kl_c[:, 0])
    torch.testing.assert_close(raised.elbo, plain.elbo - cost, rtol=1e-12, atol=1e-12)


def test_pyro_s_own_objective_estimates_the_same_bound():
    model, x, n = small_model(1), observations(4), 40
    guide = model.guide("vade-analytic")
    difference = []
    for step in range(n):
        losses = []
        for elbo in (TraceEnum_ELBO(max_plate_nesting=1), FacetELBO()):
            with Noise(SEED, step):
                losses.append(elbo.differentiable_loss(model.model, guide, x).detach())
        difference.append(losses[0] - losses[1])
    difference = torch.stack(difference)
    assert abs(difference.mean()) < 5 * difference.std() / n**0.5
    assert difference.abs().max() > 0.01


def test_pyro_s_own_objective_takes_expectation_analytic_for_expectation():
    model, x = small_model(2), observations()
    losses = []
    for name in ("expectation", "expectation-analytic"):
        with Noise(SEED):
            elbo = TraceEnum_ELBO(max_plate_nesting=1)
            losses.append(elbo.differentiable_loss(model.model, model.guide(name), x))
    assert torch.equal(*losses)


def _program(component=None, c_in_guide=True, q=None):
    """Model and guide with one marked site, and whatever does not go with the mark."""
    prior = MixturePrior(K, D).double()
    enumerated = {"enumerate": "parallel"}

    def model(x):
        with pyro.plate("data", len(x), dim=-1), Fade(0):
            c = pyro.sample("c", prior.cluster(), infer=enumerated)
            z = pyro.sample("z", component or prior.component(c))
            pyro.sample("x", dist.Normal(z, 1).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1), Fade(0):
            pyro.sample("z", q or dist.Normal(x, 1).to_event(1), infer={"analytic": True})
            if c_in_guide:
                logits = torch.zeros(len(x), K, dtype=x.dtype)
                pyro.sample("c", dist.Categorical(logits=logits), infer=enumerated)

    return model, guide


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"component": dist.Laplace(torch.zeros(D), 1).to_event(1)},
            "site 'z' is marked 'analytic', which needs a MixtureComponent .* got Independent",
        ),
        (
            {"q": dist.Laplace(torch.zeros(N, D), 1).to_event(1)},
            r"needs Normal\(...\).to_event\(1\) or a RelaxedCluster, got Laplace",
        ),
        ({"q": dist.MultivariateNormal(torch.zeros(N, D), torch.eye(D))}, "got MultivariateNormal"),
        ({"c_in_guide": False}, "clusters are summed out of the model: .* no closed form"),
    ],
)
def test_marks_that_cannot_be_followed_are_refused(parts, message):
    x = torch.randn(N, D, dtype=torch.float64)
    FacetELBO().terms(*_program(), x)
    with pytest.raises(ValueError, match=message):
        FacetELBO().terms(*_program(**parts), x)


def test_importance_weights_need_a_guide_without_marks():
    x = torch.randn(N, D, dtype=torch.float64)
    for parts in ({}, {"c_in_guide": False}):
        with pytest.raises(ValueError, match="such as enumerate|summed out"):
            FacetELBO(3).log_weights(*_program(**parts), x)


# --- initialisation from a fitted mixture ---


@pytest.mark.parametrize("beta", [10.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_components_come_back_as_they_were_set(covariance, beta, dtype):
    prior = MixturePrior(K, D, covariance, softplus_beta=beta).to(dtype)
    loc, weights = torch.randn(K, D).double(), torch.rand(K).double().softmax(0)
    factors = torch.randn(K, D, D).double() * torch.logspace(-2, 1, K).double()[:, None, None]
    given = factors @ factors.mT + 1e-6 * torch.eye(D).double()
    if covariance == "diagonal":
        given = given.diagonal(dim1=-2, dim2=-1)
    prior.set_components(loc, given, weights)
    tril = prior.scale_tril.double()
    ours = tril @ tril.mT if covariance == "full" else prior.scale.double().square()
    exact = dtype == torch.float64
    size = given.abs().amax(-1, keepdim=True)
    assert ((ours - given).abs() / size).max() < (1e-9 if exact else 1e-4)
    torch.testing.assert_close(prior.loc.double(), loc, rtol=1e-12 if exact else 1e-6, atol=0)
    torch.testing.assert_close(prior.log_weights.exp().double(), weights, rtol=1e-5, atol=0)


def test_fixed_weights_stay(covariance):
    prior = MixturePrior(K, D, covariance, learn_weights=False)
    ones = torch.eye(D).expand(K, D, D) if covariance == "full" else torch.ones(K, D)
    prior.set_components(torch.zeros(K, D), ones, torch.arange(1.0, K + 1))
    torch.testing.assert_close(prior.log_weights.exp(), torch.full((K,), 1 / K))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"loc": torch.zeros(K, D + 1)}, r"loc must have shape \(5, 3\), got \(5, 4\)"),
        ({"covariance": torch.ones(K, D, D)}, "covariance must have shape"),
        ({"covariance": torch.zeros(K, D)}, "must be above 0"),
        ({"weights": torch.zeros(K)}, "must be above 0"),
    ],
)
def test_components_that_do_not_fit_are_refused(parts, message):
    whole = {"loc": torch.zeros(K, D), "covariance": torch.ones(K, D), "weights": torch.ones(K)}
    with pytest.raises(ValueError, match=message):
        MixturePrior(K, D).set_components(**whole | parts)


@pytest.mark.parametrize("learn_weights", ["true", "false"])
def test_gmm_complete_takes_over_a_whole_mixture(learn_weights):
    """It is a fixed point of EM, which moments weighted by its responsibilities give back."""
    config = tiny_config(
        **{
            "model.facets.0.covariance": "diagonal",
            "model.facets.0.learn_weights": learn_weights,
            "model.facets.1.learn_weights": learn_weights,
            "training.dtype": "float64",
        }
    )
    _, state = prepare(config)
    facets, x = state.model.facets, state.batches.x
    initialise_mixtures(state.model, x, "gmm-complete", seed=0)
    assert [f.covariance for f in facets] == ["diagonal", "full"]
    for facet, z in zip(facets, posterior_means(state.model, x), strict=True):
        weights, loc = facet.log_weights.exp(), facet.loc.detach()
        if learn_weights == "false":
            torch.testing.assert_close(weights, torch.full_like(weights, 1 / len(weights)))
            continue
        r = facet.responsibilities(z).detach()
        torch.testing.assert_close(r.mean(0), weights, atol=5e-3, rtol=0)
        shares = r / r.sum(0)
        torch.testing.assert_close(shares.mT @ z, loc, atol=0.02 * z.std().item(), rtol=0)
        difference = z[:, None] - loc
        moments = torch.einsum("nk,nkd,nke->kde", shares, difference, difference)
        covariances = (facet.scale_tril @ facet.scale_tril.mT).detach()
        if facet.covariance == "diagonal":
            moments = moments.diagonal(dim1=-2, dim2=-1).diag_embed()
        moments = moments + 1e-6 * torch.eye(z.shape[1]).double()  # scikit-learn's reg_covar
        torch.testing.assert_close(covariances, moments, atol=0.05 * z.var().item(), rtol=0)


# --- learning rates ---


def test_learning_rates_fall_in_steps_to_a_floor():
    training = override(
        tiny_config(),
        [
            "training.learning_rate_schedule=step",
            "training.learning_rate_floor=2e-4",
            "training.adam_eps=1e-4",
        ],
    ).training
    for epoch, expected in ((0, 2e-3), (9, 2e-3), (10, 1.8e-3), (25, 1.62e-3), (500, 2e-4)):
        for step in (7 * epoch, 7 * epoch + 6):
            assert learning_rate(training, 2e-3, step, 10_000, 7) == pytest.approx(expected)
    assert learning_rate(training, 1e-4, 7_000, 10_000, 7) == 1e-4  # the floor lifts nothing


def test_each_group_has_its_own_learning_rate():
    _, state = prepare(
        tiny_config(
            **{
                "training.learning_rate": "1e-3",
                "training.mixture_learning_rate": "4e-3",
                "training.learning_rate_schedule": "step",
                "training.learning_rate_decay": "0.5",
                "training.decay_every": "1",
                "training.learning_rate_floor": "6e-4",
                "training.adam_eps": "1e-4",
            }
        )
    )
    state.step = state.batches.per_epoch
    Eager(state).step()
    rates = [group["lr"] for group in state.optimizer.param_groups]
    assert rates == pytest.approx([6e-4, 2e-3])
    assert all(group["eps"] == 1e-4 for group in state.optimizer.param_groups)


NEW = ("learning_rate_decay", "decay_every", "learning_rate_floor", "adam_eps", "pretraining")


def test_settings_from_before_these_options_mean_what_they_meant():
    values = config_to_dict(tiny_config())
    for name in NEW:
        del values["training"][name]
    config = config_from_dict(values)
    assert config == tiny_config()
    assert config.training.adam_eps == 1e-8
    assert config.training.pretraining is None


@pytest.mark.parametrize(
    "assignment",
    ["learning_rate_decay=1.5", "decay_every=0", "learning_rate_floor=-1", "adam_eps=0"],
)
def test_settings_out_of_range_are_refused(assignment):
    with pytest.raises(ConfigError, match=assignment.split("=")[0]):
        override(tiny_config(), [f"training.{assignment}"])


# --- presets ---

PUBLISHED = {
    "vade-mnist": (False, "94.46 % (Hungarian, best of ten", "89.09 % (sd 3.32)"),
    "vade-conv-mnist": (True, "92.65 %", "sd 1.14"),
    "vade-svhn": (False, "27.03 %", "sd 1.53"),
    "vade-conv-svhn": (True, "30.80 %", "sd 1.99"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_are_vade_s_own_settings(name):
    convolutional, *numbers = PUBLISHED[name]
    preset = get_preset(name)
    config, shape = preset.config, (3, 32, 32) if "svhn" in name else (1, 28, 28)
    assert all(number in preset.expected for number in [*numbers, "not measured at this length"])
    (facet,) = config.model.facets
    assert (facet.n_clusters, facet.latent_dim, facet.covariance) == (10, 10, "diagonal")
    assert facet.learn_weights is not False
    assert config.guide.name == "expectation-analytic"
    assert config.model.mixture_initialisation == "gmm-complete"
    training = config.training
    assert (training.batch_size, training.learning_rate, training.adam_eps) == (100, 2e-3, 1e-4)
    assert training.mixture_learning_rate is None
    assert [learning_rate(training, 2e-3, epoch, 3000, 1) for epoch in (9, 10, 299)] == (
        pytest.approx([2e-3, 1.8e-3, 2e-4])
    )
    model = build_model(config.model, ObservationSpec(shape))
    assert type(model) is VaDE
    stages = pretraining_stages(model, training.pretraining, 60_000)
    names = (
        ["all layers"]
        if convolutional
        else [*(f"pair {i} of 4" for i in range(1, 5)), "all layers"]
    )
    assert [stage.name for stage in stages] == names
    if not convolutional:
        sizes = [m.out_features for m in model.encoder.modules() if isinstance(m, torch.nn.Linear)]
        assert sizes == [500, 500, 2000]
    with pytest.raises(ConfigError, match="VaDE has one facet, got 2"):
        build_model(with_facets(config, "3:4,2:2").model, ObservationSpec(shape))
    assert model(torch.rand(2, *shape), "expectation-analytic").elbo.shape == (2,)
