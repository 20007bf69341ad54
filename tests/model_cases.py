"""The contract of models, with the objective written out as well.

A subclass says how its model is built, and writes out what is another than here.
"""

from __future__ import annotations

import plain
import pytest
import torch
from torch import Tensor

from pyro_mfcvae import Noise
from pyro_mfcvae.inference.noise import site_noise
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.testing import ModelContract
from pyro_mfcvae.testing.case import SEED
from pyro_mfcvae.testing.values import gradients, relative_error, weighted

RTOL = 1e-9


class WrittenOut(ModelContract):
    """The contract against densities written out in ``plain``, and the objective's value."""

    @pytest.mark.parametrize("n_samples", [1, 3])
    def test_value_and_gradient_are_those_written_out(self, guide, n_samples):
        model, x = self.build(), self.observations()
        fade = torch.linspace(0.4, 1.0, model.n_facets, dtype=torch.float64)
        with Noise(SEED) as noise:
            terms = weighted(model, x, guide, n_samples, fade)
        eps = noise_of_sites(noise, x)
        expected = self.plain_elbo(model, x, guide, eps, fade)
        assert terms.elbo.shape == (len(x),)
        assert relative_error(terms.elbo, expected) <= RTOL
        ours, theirs = gradients(model, terms.loss), gradients(model, -expected.mean())
        assert relative_error(ours, theirs) <= 1e-8

    def log_likelihood(self, model: FacetModel, x: Tensor, zs: list[Tensor]) -> Tensor:
        return plain.log_likelihood(model, x, zs)

    def log_prior(self, model: FacetModel, zs: list[Tensor]) -> Tensor:
        return sum(
            plain.mixture(facet, *zs[j + 1 : j + 2]).log_prob(zs[j])
            for j, facet in enumerate(model.facets)
        )

    def plain_facets(self, model: FacetModel, x: Tensor, eps: dict[str, Tensor]) -> list:
        """All facets with samples made of the noise {site: (S, B, D)}, shallow first."""
        features = model.encoder(x)
        inferred: dict[int, plain.Inferred] = {}
        for j in reversed(range(model.n_facets)):
            parameters = model.heads[j](features[j])
            deeper = [inferred[i].z for i in range(j + 1, model.n_facets)]
            if model.heads_given_others is not None and deeper:
                head = model.heads_given_others[j]
                hidden = torch.tanh(torch.cat(deeper, -1) @ head.hidden.weight.T + head.hidden.bias)
                parameters = parameters + hidden @ head.output.weight.T + head.output.bias
            mean, std = plain.normal(parameters)
            prior = plain.mixture(model.facets[j], *deeper[:1])
            logits = None
            if networks := own_networks(model):
                logits = networks[0][j](features[j])
            inferred[j] = plain.Inferred(mean + std * eps[f"z_{j}"], mean, std, prior, logits)
        return [inferred[j] for j in range(model.n_facets)]

    def plain_elbo(
        self, model: FacetModel, x: Tensor, guide: str, eps: dict[str, Tensor], fade: Tensor
    ) -> Tensor:
        """The ELBO, (B,)."""
        facets = self.plain_facets(model, x, eps)
        elbo = plain.log_likelihood(model, x, [f.z for f in facets], fade).mean(0)
        for j, facet in enumerate(facets):
            elbo = elbo - fade[j] * self.plain_kl(model, guide, facet, eps.get(f"c_{j}"))
        return elbo

    def plain_kl(self, model: FacetModel, guide: str, facet: plain.Inferred, eps) -> Tensor:
        c = None
        if guide == "relaxed" and eps is not None:
            c = plain.relaxed(facet.logits, eps, model.guide(guide).temperature)
        values = plain.kl(guide, facet, c)
        return values.mean(0) if values.dim() > 1 else values


def own_networks(model: FacetModel) -> list:
    """Networks q(c | x) of guides."""
    networks = [getattr(guide, "network", None) for guide in model.guides.values()]
    return [network for network in networks if network is not None]


def noise_of_sites(noise: Noise, like: Tensor) -> dict[str, Tensor]:
    """The noise that sites were given, with a dimension for samples also where there is one."""
    eps = {n: site_noise(SEED, 0, n, shape, like) for n, shape in noise.shapes.items()}
    return {name: e.reshape(1, -1, e.shape[-1]) if e.dim() < 3 else e for name, e in eps.items()}
