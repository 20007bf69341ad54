"""Programs beyond this library's models: against Pyro's own objective, or refused."""

from __future__ import annotations

import contextlib
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from models import LATENT_DIMS, observations, small_model
from pyro import poutine
from pyro.infer import TraceEnum_ELBO

from pyro_mfcvae import FacetELBO, Fade, Noise
from pyro_mfcvae.inference.elbo import Weights, elbo, term_means
from pyro_mfcvae.inference.factors import sites_summed_with_observations
from pyro_mfcvae.inference.sites import ScaleShared, run_programs
from pyro_mfcvae.testing.values import relative_error

RTOL = 1e-9
SEED = 3
PARALLEL = {"enumerate": "parallel"}

TABLE = torch.tensor([[0.7, 0.1, 0.2], [0.2, 0.5, 0.3]], dtype=torch.float64)


def _compare(model, guide, x, n_samples):
    """Both objectives' values, which must agree; returns our terms."""
    stock = TraceEnum_ELBO(
        num_particles=n_samples, vectorize_particles=n_samples > 1, max_plate_nesting=1
    )
    with Noise(SEED):
        terms = FacetELBO(n_samples).terms(model, guide, x)
    with Noise(SEED):
        expected = -stock.loss(model, guide, x)
    assert terms.elbo.sum().item() == pytest.approx(expected, rel=RTOL)
    return terms


def _hierarchical_model(x):
    """c_1 depends on c_0, and z on both."""
    with pyro.plate("data", len(x), dim=-1):
        c_0 = pyro.sample("c_0", dist.Categorical(x.new_tensor([0.4, 0.6])), infer=PARALLEL)
        c_1 = pyro.sample("c_1", dist.Categorical(TABLE[c_0]), infer=PARALLEL)
        z = pyro.sample("z", dist.Normal(c_0.double() - 2.0 * c_1.double(), 0.7))
        pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)


def _normal_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(x[:, 0], 0.5))


def _hierarchical_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        c_0 = pyro.sample("c_0", dist.Categorical(logits=x[:, :2]), infer=PARALLEL)
        logits = TABLE.log()[c_0] + x[:, 2:5]
        pyro.sample("c_1", dist.Categorical(logits=logits), infer=PARALLEL)
        pyro.sample("z", dist.Normal(x[:, 0], 0.5))


def _mixed_guide(x):
    """Only c_0 is in the guide, and z depends on it: the decoder runs for each value of c_0."""
    with pyro.plate("data", len(x), dim=-1):
        c_0 = pyro.sample("c_0", dist.Categorical(logits=x[:, :2]), infer=PARALLEL)
        pyro.sample("z", dist.Normal(x[:, 0] + c_0.double(), 0.5))


# With several samples Pyro gives the noise of the mixed guide's z another shape.
@pytest.mark.parametrize(
    ("guide", "n_samples"),
    [
        (_normal_guide, 1),
        (_normal_guide, 3),
        (_hierarchical_guide, 1),
        (_hierarchical_guide, 3),
        (_mixed_guide, 1),
    ],
)
def test_clusters_that_depend_on_clusters(guide, n_samples):
    x = observations().flatten(1)
    terms = _compare(_hierarchical_model, guide, x, n_samples)
    assert terms.kl_z.shape == (len(x), 0)


@pytest.mark.parametrize("guide", ["vade", "enumerate"])
@pytest.mark.parametrize("n_samples", [1, 2])
def test_a_facet_with_a_single_cluster(guide, n_samples):
    model, x = small_model(2, clusters=(1, 3)), observations()
    terms = _compare(model.model, model.guide(guide), x, n_samples)
    assert (terms.kl_c[:, 0] == 0).all()


def test_a_guide_without_marks_gets_the_model_s_facets():
    def model(x):
        with pyro.plate("data", len(x), dim=-1), Fade(0, x.new_tensor(0.5)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
        with pyro.plate("data again", len(x), dim=-1):
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    x = observations().flatten(1)
    with Noise(SEED):
        terms = FacetELBO().terms(model, _normal_guide, x)
    assert terms.kl_z.shape == (len(x), 1)
    assert not terms.other
    with Noise(SEED):
        loss = FacetELBO().differentiable_loss(model, _normal_guide, x)
    expected = 0.5 * terms.kl_z[:, 0] - terms.reconstruction
    assert relative_error(loss, expected.sum()) <= RTOL


@pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
def test_masked_sites_do_not_count():
    x = observations().flatten(1)
    mask = torch.arange(len(x)) % 2 == 0

    def model(x):
        with pyro.plate("data", len(x), dim=-1), poutine.mask(mask=mask):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(x):
        with poutine.mask(mask=mask):
            _normal_guide(x)

    terms = _compare(model, guide, x, 1)
    assert ((terms.elbo == 0) == ~mask).all()


@pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
def test_a_site_that_is_masked_altogether_does_not_count():
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            with poutine.mask(mask=False):
                pyro.sample("hidden", dist.Normal(0.0, 1.0), obs=x[:, 0])
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    _compare(model, _normal_guide, observations().flatten(1), 1)


def test_components_over_several_facets_take_no_fade_weights():
    def model(x, fade=None):
        weights = [None, None] if fade is None else fade
        with pyro.plate("data", len(x), dim=-1):
            with Fade(0, weights[0]):
                c_0 = pyro.sample("c_0", dist.Categorical(TABLE.sum(1)), infer=PARALLEL)
            with Fade(1, weights[1]):
                pyro.sample("c_1", dist.Categorical(TABLE[c_0]), infer=PARALLEL)
            pyro.sample("x", dist.Normal(0.0, 1.0).expand([16]).to_event(1), obs=x)

    def guide(x, fade=None):
        pass

    x = observations().flatten(1)
    assert set(FacetELBO().terms(model, guide, x).other) == {"c_0,c_1"}
    with pytest.raises(ValueError, match="c_0,c_1 are summed out together"):
        FacetELBO().terms(model, guide, x, torch.ones(2))


def _clustered_observations(x):
    """The clusters of facet 0 have no latent of their own: x comes straight from them."""
    with pyro.plate("data", len(x), dim=-1):
        with Fade(0, x.new_tensor(0.5)):
            c = pyro.sample("c", dist.Categorical(x.new_ones(3)), infer=PARALLEL)
        pyro.sample("x", dist.Normal(c.double().unsqueeze(-1), 1.0).to_event(1), obs=x)


def test_clusters_summed_out_with_the_observations_take_no_fade_weight():
    with pytest.raises(ValueError, match="c,x are summed out together"):
        FacetELBO().terms(_clustered_observations, lambda x: None, observations().flatten(1))


def _faded_model(x):
    """Facet 0 has a fade weight, facet 1 has none, and w belongs to no facet."""
    with pyro.plate("data", len(x), dim=-1):
        with Fade(0, x.new_tensor(0.5)):
            pyro.sample("z_0", dist.Normal(x.new_zeros(len(x)), 1.0))
        pyro.sample("z_1", dist.Normal(x.new_zeros(len(x)), 1.0), infer={"facet": 1})
        w = pyro.sample("w", dist.Normal(x.new_zeros(len(x)), 1.0))
        pyro.sample("x", dist.Normal(w.unsqueeze(-1), 1.0).to_event(1), obs=x)


def _faded_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        for name in ("z_0", "z_1", "w"):
            pyro.sample(name, dist.Normal(x[:, 0], 0.5))


def test_a_scale_of_all_kls_reaches_those_that_no_facet_weighs():
    x, scale = observations().flatten(1), torch.tensor(0.3, dtype=torch.float64)
    with Noise(SEED):
        terms = FacetELBO().terms(_faded_model, _faded_guide, x)
    fade = x.new_tensor([0.5, 1.0])
    plain, scaled, floored = Weights(fade), Weights(fade, 0.2, scale), Weights(fade, 0.2)
    torch.testing.assert_close(scaled.kl, torch.tensor([0.6, 1.0]).double() * scale)
    cost = 0.6 * terms.kl_z[:, 0] + terms.kl_z[:, 1] + terms.other["w"]
    torch.testing.assert_close(elbo(terms, scaled), terms.reconstruction - scale * cost)
    assert term_means(terms, scaled)["kl_weight_w"] == scale
    assert "kl_weight_w" not in term_means(terms, plain)
    torch.testing.assert_close(elbo(terms, floored), terms.reconstruction - cost)  # of facets alone


def test_clusters_summed_out_with_the_observations_have_no_kl_to_scale():
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c", dist.Categorical(x.new_ones(3)), infer=PARALLEL)
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal((z + c).unsqueeze(-1), 1.0).to_event(1), obs=x)

    x = observations().flatten(1)
    sites = run_programs(model, _normal_guide, 1, (x,), {})
    assert sites_summed_with_observations(*sites) == ["c"]
    sites = run_programs(_hierarchical_model, _normal_guide, 1, (x,), {})
    assert not sites_summed_with_observations(*sites)


def test_programs_outside_of_what_is_valid_are_refused():
    x = observations()

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.flatten(1)[:, 0])

    def silent_guide(x):
        pass

    def sampled_guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Poisson(torch.ones(len(x))))

    with pytest.raises(ValueError, match="'z' is neither observed nor in the guide"):
        FacetELBO().terms(model, silent_guide, x)
    with pytest.raises(ValueError, match="without reparameterisation"):
        FacetELBO().terms(model, sampled_guide, x)
    with pytest.raises(ValueError, match="no observed site"):
        FacetELBO().terms(silent_guide, silent_guide, x)
    with pytest.raises(ValueError, match="in a plate over observations"):
        FacetELBO().terms(_observed_without_a_plate, silent_guide, x)
    with pytest.raises(ValueError, match="1 or more"):
        FacetELBO(0)


def _observed_without_a_plate(x):
    pyro.sample("x", dist.Normal(x.new_zeros(x.shape), 1.0).to_event(x.dim()), obs=x)


def test_sites_without_a_facet_and_user_scales():
    """A global site is shared by the batch; poutine.scale weighs a site as Pyro does."""
    x = observations().flatten(1)

    def model(x):
        shift = pyro.sample("shift", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("data", len(x), dim=-1):
            w = pyro.sample("w", dist.Normal(x.new_zeros(len(x)), 1.0))
            with poutine.scale(scale=0.5):
                c = pyro.sample(
                    "c", dist.Categorical(x.new_ones(3)), infer={"enumerate": "parallel"}
                )
                z = pyro.sample("z", dist.Normal(c.double(), 1.0))
            pyro.sample("x", dist.Normal((w + z + shift).unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(x):
        pyro.sample("shift", dist.Normal(x.new_zeros(()), 0.3))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("w", dist.Normal(x[:, 0], 0.5))
            pyro.sample("z", dist.Normal(x[:, 1], 0.5))

    for n_samples in (1, 3):
        with Noise(SEED):
            terms = FacetELBO(n_samples).terms(model, guide, x)
        stock = TraceEnum_ELBO(
            num_particles=n_samples, vectorize_particles=n_samples > 1, max_plate_nesting=1
        )
        with Noise(SEED):
            expected = -stock.loss(model, guide, x)
        assert set(terms.other) == {"w", "z", "c,z"}
        assert set(terms.shared) == {"shift"}
        assert terms.shared["shift"].shape == ()
        assert terms.elbo.sum().item() == pytest.approx(expected, rel=RTOL)


@pytest.mark.parametrize("n_parts", [1, 2])
def test_what_a_batch_has_once_is_shared_out(n_parts):
    """Its KL is a term of its own; what it observes once belongs to the reconstruction."""
    x, scale = observations().flatten(1), torch.tensor(0.3, dtype=torch.float64)

    def model(x):
        shift = pyro.sample("shift", dist.Normal(x.new_zeros(()), 1.0))
        pyro.factor("extra", -shift.square())
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(shift, 1.0).expand(x.shape[1:]).to_event(1), obs=x)

    def guide(x):
        pyro.sample("shift", dist.Normal(x.new_ones(()), 0.3))

    with Noise(SEED), ScaleShared(1 / n_parts):
        terms = FacetELBO().terms(model, guide, x)
    with Noise(SEED):
        eps = pyro.sample("shift", dist.Normal(x.new_zeros(()), 1.0))
    shift, n = 1 + 0.3 * eps, n_parts * len(x)
    kl = (-eps.square() / 2 - math.log(0.3) + shift.square() / 2) / n
    assert set(terms.shared) == {"shift"}
    torch.testing.assert_close(terms.shared["shift"], kl)
    likelihood = dist.Normal(shift, 1.0).log_prob(x).sum(-1)
    torch.testing.assert_close(terms.reconstruction, likelihood - shift.square() / n)
    weights = Weights(x.new_ones(0), scale=scale)
    torch.testing.assert_close(elbo(terms, weights), terms.reconstruction - scale * kl)
    assert term_means(terms, weights)["kl_weight_shift"] == scale
    names = term_means(terms, Weights(x.new_ones(0)))
    assert set(names) == {"elbo", "reconstruction", "shift"}


def test_other_plates_are_refused():
    x = observations().flatten(1)

    def model(x):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("features", x.shape[1], dim=-2), pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)

    def guide(x):
        pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))

    with pytest.raises(ValueError, match="plate 'features' at dim -2; only a plate over"):
        FacetELBO().terms(model, guide, x)


@pytest.mark.parametrize("name", ["x", "z"])
def test_values_of_a_batch_without_a_plate_are_refused(name):
    x = observations().flatten(1)

    def program(x, is_model):
        """The site of this name stands beside the plate, the other one in it."""
        free, plate = contextlib.nullcontext(), pyro.plate("data", len(x), dim=-1)
        with free if name == "z" else plate:
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
        with free if name == "x" else plate:
            if is_model:
                pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    with pytest.raises(ValueError, match=rf"'{name}' has batch shape \({len(x)},\).* plate"):
        FacetELBO().terms(lambda x: program(x, True), lambda x: program(x, False), x)


def test_dimensions_of_an_observation_that_are_no_event_are_refused():
    x = observations().flatten(1)[:4, :4]

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0), obs=x)

    with pytest.raises(ValueError, match=r"'x' has batch shape \(4, 4\).*to_event"):
        FacetELBO().terms(model, _normal_guide, x)


def test_global_sites():
    """What the batch has once counts once; clusters that all share cannot be summed per row."""
    x = observations().flatten(1)

    def model(x):
        c = pyro.sample("c", dist.Categorical(x.new_ones(2)), infer=PARALLEL)
        pyro.factor("extra", x.new_tensor(-1.5))
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(c.double(), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(x):
        pyro.sample("c", dist.Categorical(logits=x.new_tensor([0.3, -0.2])), infer=PARALLEL)
        _normal_guide(x)

    _compare(model, guide, x, 1)
    with pytest.raises(ValueError, match="'c' is summed out but stands outside the plate"):
        FacetELBO().terms(model, _normal_guide, x)


@pytest.mark.parametrize("guide", ["vade", "enumerate", "vade-analytic", "expectation-analytic"])
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_whole_programs_run_under_vmap(guide, covariance):
    """Two models as one program have the losses and gradients of each alone."""
    models = [small_model(covariance=covariance) for _ in range(2)]
    x = observations()
    eps = {f"z_{j}": torch.randn(len(x), d, dtype=x.dtype) for j, d in enumerate(LATENT_DIMS[:2])}
    parameters, buffers = torch.func.stack_module_state(models)

    def loss(parameters, buffers):
        with Noise(eps), pyro.validation_enabled(False):
            return torch.func.functional_call(models[0], (parameters, buffers), (x, guide)).loss

    gradients, losses = torch.func.vmap(torch.func.grad_and_value(loss))(parameters, buffers)
    for run, model in enumerate(models):
        with Noise(eps):
            alone = model(x, guide).loss
        alone.backward()
        assert abs(losses[run] - alone) <= RTOL * abs(alone)
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(
                    gradients[name][run], parameter.grad, rtol=RTOL, atol=1e-10
                )
