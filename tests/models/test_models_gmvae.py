"""GMVAE: the contract, and its objective by brute force."""

from __future__ import annotations

import plain
import pytest
import torch
from model_cases import WrittenOut, noise_of_sites
from torch.distributions import Independent, Normal, kl_divergence

from pyro_mfcvae import Noise
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.testing import SHARED
from pyro_mfcvae.testing.case import SEED


class TestGMVAE(WrittenOut):
    name = "gmvae"
    facets, small = "2:3,2:1", "1:3,1:1"
    facet_settings = {}  # noqa: RUF012
    networks = SHARED
    options = {"mixture_width": 6}  # noqa: RUF012

    @pytest.mark.parametrize("n_samples", [1, 4])
    def test_terms_of_the_paper(self, n_samples):
        """Conditional prior, w-prior and z-prior terms, component by component with torch."""
        model, x = self.build(), self.observations()
        with Noise(SEED) as noise:
            terms = model(x, "posterior-analytic", n_samples)
        own, style = self.plain_facets(model, x, noise_of_sites(noise, x))
        q = Independent(Normal(own.mean, own.std), 1)
        joint = [
            (Normal(own.prior.loc[..., c, :], scale).log_prob(own.z).sum(-1), scale)
            for c, scale in enumerate(own.prior.tril.diagonal(dim1=-2, dim2=-1).unbind(-2))
        ]
        p = torch.stack([log_p for log_p, _ in joint], -1).softmax(-1)
        conditional = sum(
            p[..., c] * kl_divergence(q, Independent(Normal(own.prior.loc[..., c, :], scale), 1))
            for c, (_, scale) in enumerate(joint)
        )
        torch.testing.assert_close(terms.kl_z[:, 0], conditional.mean(0))
        w_prior = plain.kl_of_standard(style.mean, style.std)
        torch.testing.assert_close(terms.kl_z[:, 1], w_prior)
        z_prior = (p * (p * 3).log()).sum(-1).mean(0)
        torch.testing.assert_close(terms.kl_c[:, 0], z_prior)

    def test_pictures_come_from_the_first_latent_alone(self):
        model = self.build()
        z, w = torch.randn(2, 5, 2, dtype=torch.float64)
        assert torch.equal(model.decode([z, w]).mean, model.decode([z, w + 1]).mean)
        with pytest.raises(ValueError, match="expected latents of 2 facets, got 1"):
            model.decode([z])


@pytest.mark.parametrize("facets", ["2:3", "2:3,2:2", "2:3,2:1,1:1"])
def test_other_facets_are_refused(facets):
    with pytest.raises(ConfigError, match=f"GMVAE has two facets, .*; got {facets}"):
        TestGMVAE().build(facets)
