"""Fading in: a facet at weight 0 has exactly no gradient, whatever infers clusters and latents."""

from __future__ import annotations

import pytest
import torch
from model_cases import own_networks
from test_models_mfcvae import TestAutoregressive as Autoregressive
from test_models_mfcvae import TestMFCVAE as Independent
from test_models_vlac import TestUnconditional as Unconditional
from test_models_vlac import TestVLAC as Conditional

from pyro_mfcvae import Noise
from pyro_mfcvae.testing.case import SEED, WITH_NETWORKS
from pyro_mfcvae.testing.values import gradients, weighted

CASES = [
    (Independent, "amortized"),
    (Independent, "relaxed"),
    (Independent, "posterior-analytic"),
    (Autoregressive, "vade"),
    (Autoregressive, "amortized"),
    (Unconditional, "enumerate"),
    (Unconditional, "relaxed"),
    (Conditional, "amortized"),
    (Conditional, "relaxed"),
]


def cluster_heads(model):
    """Of the network q(c | x), whoever has it."""
    return own_networks(model)[:1] or model.cluster_networks[:1]


def own_parts(model, j):
    """What belongs to facet j alone."""
    parts = [model.facets[j], model.heads[j], model.decoder.rungs[j]]
    parts += [network[j] for network in cluster_heads(model)]
    if model.heads_given_others is not None:
        parts.append(model.heads_given_others[j])
    if model.structure.infers_clusters_first:
        parts += [model.ladder.of_features[j], model.ladder.of_cluster[j]]
        parts += model.ladder.shifts[j : j + 1]
        parts.append(model.cluster_encoder.rungs[j])
    return [p for part in [*parts, model.encoder.rungs[j]] for p in part.parameters()]


@pytest.mark.parametrize(("case", "guide"), CASES)
@pytest.mark.parametrize("n_samples", [1, 2])
def test_a_facet_at_zero_is_untouched(case, guide, n_samples):
    model, x = case().build("2:3,1:2,2:2"), case().observations()
    fade = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    weighted(model, x, guide, n_samples, fade).loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in own_parts(model, 0))
    trained = [p for p in own_parts(model, 1) if p.grad is not None and p.grad.any()]
    expected = [p for p in own_parts(model, 1) if p.requires_grad]
    if guide not in WITH_NETWORKS:
        networks = {p for heads in cluster_heads(model) for p in heads.parameters()}
        expected = [p for p in expected if p not in networks]
    assert len(trained) == len(expected)


@pytest.mark.parametrize(("case", "guide"), CASES)
def test_facets_that_train_do_not_see_one_at_zero(case, guide):
    """Other parameters of facet 0 change neither the ELBO nor any gradient."""
    model, x = case().build(), case().observations()
    fade = torch.tensor([0.0, 1.0], dtype=torch.float64)
    results = []
    for _ in range(2):
        with Noise(SEED):
            terms = weighted(model, x, guide, fade=fade)
        results.append((terms.elbo.detach(), gradients(model, terms.loss)))
        with torch.no_grad():
            for p in own_parts(model, 0):
                p += 0.1 * torch.randn_like(p)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
