"""The prior of a facet without clusters."""

from __future__ import annotations

import pyro
import pytest
import torch
from prior_contract import EXACT, PriorContract
from torch.distributions import Independent, Normal, kl_divergence

from pyro_mfcvae import MFCVAE, MixturePrior, Noise
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.priors.standard_normal import StandardNormal


class TestStandardNormal(PriorContract):
    def build(self):
        return StandardNormal(3).double()

    def components(self, prior, parents):
        zero = torch.zeros(1, 3, dtype=torch.float64)
        return zero[0, :1], Independent(Normal(zero, 1.0), 1)

    def test_it_has_no_parameters_and_no_cluster(self):
        prior = self.build()
        assert not list(prior.parameters())
        assert not prior.state_dict()
        assert prior.cluster() is None
        assert torch.equal(prior.responsibilities(torch.randn(4, 3)), torch.ones(4, 1))
        c = torch.zeros(3, 4, dtype=torch.long)
        assert prior.sample((2, 3, 4), c).shape == (2, 3, 4, 3)
        assert prior.sample((), c).shape == (3, 4, 3)
        with pytest.raises(ValueError, match=r"0\.\.0"):
            prior.sample((2,), c=1)


@pytest.mark.parametrize("n_samples", [1, 3])
def test_its_kl_in_closed_form_is_that_of_torch(n_samples):
    model = MFCVAE((4,), "3:1,2:1", "gaussian").double()
    x = torch.randn(5, 4, dtype=torch.float64)
    terms = model(x, guide="posterior-analytic", n_samples=n_samples)
    for j, q in enumerate(model.encode(x)):
        p = Independent(Normal(torch.zeros_like(q.mean), 1.0), 1)
        expected = kl_divergence(Independent(Normal(q.mean, q.stddev), 1), p)
        torch.testing.assert_close(terms.kl_z[:, j], expected, **EXACT)
    assert not terms.kl_c.any()


def test_a_facet_without_clusters_has_no_site_of_them():
    model, x = MFCVAE((4,), "3:1,2:4", "gaussian"), torch.randn(5, 4)
    for program in (model.model, model.guide()):
        names = set(pyro.poutine.trace(program).get_trace(x).nodes)
        assert "c_0" not in names
        assert {"c_1", "z_0", "z_1"} <= names


def test_a_checkpoint_with_a_frozen_mixture_in_its_place_is_read():
    model = MFCVAE((4,), "3:1,2:4", "gaussian")
    frozen = {"logits": torch.zeros(1), "loc": torch.zeros(1, 3), "raw_scale": torch.ones(1, 3)}
    state = model.state_dict() | {f"facets.0.{name}": value for name, value in frozen.items()}
    other = MFCVAE((4,), "3:1,2:4", "gaussian")
    other.load_state_dict(state)
    with Noise(0), torch.no_grad():
        values = [m(torch.ones(2, 4)).elbo for m in (model, other)]
    assert torch.equal(*values)
    with pytest.raises(RuntimeError, match="scale_tril"):
        other.load_state_dict(state | {"facets.0.scale_tril": torch.ones(1)})


def test_sizes_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="latent_dim"):
        StandardNormal(0)
    with pytest.raises(ConfigError, match="StandardNormal"):
        MixturePrior(1, 2)
