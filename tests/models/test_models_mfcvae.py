"""MFCVAE: the contract, with independent and autoregressive facets, and plain ones."""

from __future__ import annotations

import plain
import pytest
import torch
from model_cases import WrittenOut

from pyro_mfcvae import Noise
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import AmortizedGuide
from pyro_mfcvae.testing.case import SEED, ModelCase, first_state
from pyro_mfcvae.testing.values import gradients, relative_error


class TestMFCVAE(WrittenOut):
    name = "mfcvae"

    def test_a_network_that_gives_the_optimum_is_as_good_as_vade(self):
        model, x = self.build(), self.observations()
        with Noise(SEED):
            best = model(x, "vade")

        class Optimal(AmortizedGuide):
            def logits(self, inferred):
                return inferred.prior.log_responsibilities(inferred.z)

        with Noise(SEED):
            terms = model(x, Optimal(model).double())
        torch.testing.assert_close(terms.elbo, best.elbo, rtol=1e-10, atol=0)
        # At the optimum the gradient through q(c | x) vanishes, whichever way it goes.
        ours, theirs = gradients(model, terms.loss), gradients(model, best.loss)
        assert relative_error(ours, theirs) <= 1e-9


class TestDirichletWeights(WrittenOut):
    name = "mfcvae"
    facet_settings = {"initial_variance": 0.5, "weight_concentration": 0.3}  # noqa: RUF012

    def build(self, facets=None):
        model = super().build(facets)
        for prior in model.facets:
            prior.n_observations.fill_(40)
        return model

    def log_prior(self, model, zs):
        return ModelCase.log_prior(self, model, zs)  # the posterior's weights, which sum to 1

    def test_training_sets_the_number_of_observations(self):
        state = first_state(self.config())
        assert [prior.n_observations.item() for prior in state.model.facets] == [40, 40]


class TestAutoregressive(WrittenOut):
    name = "mfcvae"
    options = {"posterior": "autoregressive"}  # noqa: RUF012
    guides = ("vade", "enumerate", "amortized", "vade-analytic")

    def test_facets_start_out_independent(self):
        case = TestMFCVAE()
        torch.manual_seed(0)
        independent = case.build()
        torch.manual_seed(0)
        model, x = self.build(), self.observations()
        for p in model.heads_given_others.parameters():
            torch.nn.init.zeros_(p)
        model.load_state_dict(independent.state_dict(), strict=False)
        for ours, theirs in zip(model.encode(x), independent.encode(x), strict=True):
            torch.testing.assert_close(ours.mean, theirs.mean)

    def test_latents_are_encoded_at_the_means_of_deeper_ones(self):
        model, x = self.build("2:3,1:2,2:2"), self.observations()
        zeros = {f"z_{j}": torch.zeros(1, 1, 1, dtype=torch.float64) for j in range(3)}
        facets = self.plain_facets(model, x, zeros)
        for ours, facet in zip(model.encode(x), facets, strict=True):
            torch.testing.assert_close(ours.mean, facet.mean.reshape(ours.mean.shape))
            torch.testing.assert_close(ours.stddev, facet.std.reshape(ours.mean.shape))


class TestPlainFacet(WrittenOut):
    name = "mfcvae"
    facets, small = "2:3,2:1", "1:3,1:1"
    guides = ("vade", "enumerate", "amortized", "relaxed", "posterior-analytic")

    def test_the_plain_prior_is_not_learnt(self):
        model, x = self.build(), self.observations()
        assert model.structure.clustered == (0,)
        assert not list(model.facets[1].parameters())
        terms = model(x, "vade-analytic")
        q = model.encode(x)[1]
        expected = plain.kl_of_standard(q.mean, q.stddev)
        torch.testing.assert_close(terms.kl_z[:, 1], expected)


@pytest.mark.parametrize(
    ("posterior", "facets", "message"),
    [
        ("causal", "2:3,1:2", "should be 'independent' or 'autoregressive', got 'causal'"),
        ("autoregressive", "2:3", "but there is only one; give more facets, or posterior"),
    ],
)
def test_posteriors_that_do_not_fit_are_refused(posterior, facets, message):
    case = TestMFCVAE()
    case.options = {"posterior": posterior}
    with pytest.raises(ConfigError, match=message):
        case.build(facets)
