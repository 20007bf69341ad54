"""Facets that begin as subspaces of the data with clusters of their own."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from pyro_mfcvae.config import Component
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation.measures import agreement
from pyro_mfcvae.models import MFCVAE
from pyro_mfcvae.training.start.initialise import (
    initialise_mixtures,
    initialise_networks,
    posterior_means,
)
from pyro_mfcvae.training.start.subspaces import find_subspaces

N, M, K, D = 600, 8, (3, 4), (2, 3)
LINEAR = {"widths": [16, 16], "activation": "elu", "linear": True}
GAUSSIAN = Component(name="gaussian", options={"scale": 1.0, "learn_scale": True})


def _two_partitions(noise=0.1):
    """Points in M dimensions, two independent partitions of them in spaces of a random rotation."""
    generator = np.random.default_rng(0)
    labels = [generator.integers(k, size=N) for k in K]
    means = [3 * np.eye(k)[:, : k - 1] for k in K]
    z = np.concatenate([m[c] for m, c in zip(means, labels, strict=True)], 1)
    z = np.concatenate([z, np.zeros((N, M - sum(D)))], 1)
    turn = np.linalg.qr(generator.normal(size=(M, M)))[0]
    return z @ turn.T + 5 + noise * generator.normal(size=(N, M)), labels


def _model(facets="2:3,3:4", encoder=LINEAR, decoder=LINEAR, likelihood=GAUSSIAN, name="shared"):
    torch.manual_seed(0)
    parts = [Component(name=name, options=options) for options in (encoder, decoder)]
    return MFCVAE((M,), facets, likelihood, *parts).double()


@pytest.fixture(scope="module")
def x():
    return torch.from_numpy(_two_partitions()[0])


def test_partitions_are_found_in_their_subspaces():
    x, labels = _two_partitions()
    found = find_subspaces(x, K, D, seed=0, n_searches=20)
    assert found.basis.shape == (M, sum(D))
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(sum(D)), atol=1e-12)
    # Clusters are as wide as the noise, in all dimensions.
    assert found.cost == pytest.approx(M * 0.1**2, rel=0.05)
    for part, k, classes in zip((slice(0, 2), slice(2, 5)), K, labels, strict=True):
        z = x @ found.basis[:, part]
        clusters = KMeans(k, n_init=5, random_state=0).fit_predict(z)
        assert agreement(classes, clusters)["nmi"] == pytest.approx(1)


def test_without_clusters_subspaces_are_principal_components():
    x = np.random.default_rng(1).normal(size=(500, 5)) * [4, 3, 1, 1, 1]
    found = find_subspaces(x, (1, 1), (2, 2), 0)
    pca = PCA(4).fit(x)
    np.testing.assert_allclose(abs(np.diag(pca.components_ @ found.basis)), 1, atol=1e-6)
    assert found.cost == pytest.approx(x.var(0).sum() - np.square(pca.singular_values_).sum() / 500)
    # One cluster for each point costs nothing but what is left out.
    found = find_subspaces(x[:40], (40,), (2,), 0, n_searches=5)
    left = PCA().fit(x[:40]).explained_variance_[2:].sum() * 39 / 40
    assert found.cost == pytest.approx(left, rel=1e-3)


def test_a_facet_without_clusters_gets_most_of_what_others_leave():
    x, _ = _two_partitions()
    wide = np.concatenate([x, 0.5 * np.random.default_rng(3).normal(size=(N, 1))], 1)
    found = find_subspaces(wide, (3, 1, 4), (2, 1, 3), seed=0, n_searches=20)
    assert abs(found.basis[:, 2]) == pytest.approx(np.eye(M + 1)[M], abs=0.05)
    alone = find_subspaces(x, K, D, seed=0, n_searches=20)
    assert found.cost == pytest.approx(alone.cost, rel=0.05)


def test_the_same_seed_finds_the_same():
    x, _ = _two_partitions()
    first, second, other = (find_subspaces(x, K, D, seed).basis for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


def test_networks_begin_as_linear_maps(x):
    model = _model()
    initialise_networks(model, x, "subspaces", seed=3)
    q = model.encode(x)
    z = torch.cat([each.mean for each in q], 1)
    torch.testing.assert_close(z.mean(0), torch.zeros(5).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(z.var(0, correction=0), torch.ones(5).double())
    # The decoder gives the projection back: what is lost is orthogonal to what is kept.
    lost = x - model.decode([each.mean for each in q]).mean
    kept = model.decoder.linear.weight.detach().T
    torch.testing.assert_close(lost @ kept.T, torch.zeros(N, 5).double(), atol=1e-9, rtol=0)
    noise = model.likelihood.log_scale.exp()
    assert noise.item() == pytest.approx(0.1, rel=0.05)
    spread = (x - x.mean(0)) @ kept.T / kept.square().sum(1) / z
    scale = torch.cat([each.base_dist.scale for each in q], 1)
    torch.testing.assert_close(scale * kept.norm(dim=1), noise.expand(N, 5), rtol=1e-6, atol=0)
    torch.testing.assert_close(spread, torch.ones_like(spread), rtol=1e-6, atol=1e-6)


def test_columns_of_all_kinds_begin_as_linear_maps_too():
    generator = np.random.default_rng(0)
    numbers, labels = _two_partitions()
    x = torch.from_numpy(np.concatenate([numbers, labels[0][:, None], labels[1][:, None] > 1], 1))
    x[torch.from_numpy(generator.random(x.shape) < 0.1)] = torch.nan
    kinds = ["real"] * M + ["categorical:3", "binary"]
    loc = x[:, :M].nanmean(0).tolist()
    options = {"kinds": kinds, "loc": [*loc, 0, 0], "scale": [2] * M + [1, 1], "missing": True}
    parts = [Component(name="shared", options=LINEAR)] * 2
    likelihood = Component(name="columns", options=options)
    model = MFCVAE((M + 2,), "2:3,3:4", likelihood, *parts).double()
    initialise_networks(model, x, "subspaces", seed=3)
    working = model.likelihood.working_values(x)
    z = torch.cat([q.mean for q in model.encode(x)], 1)
    torch.testing.assert_close(z.mean(0), torch.zeros(5).double(), atol=1e-8, rtol=0)
    torch.testing.assert_close(z.var(0, correction=0), torch.ones(5).double())
    # The decoder's parameters are the projection of the rows, in the likelihood's own terms.
    h = model.decoder([z[:, :2], z[:, 2:]])
    lost = working.values - (h - working.offset) / working.scale
    kept = model.decoder.linear.weight.detach() / working.scale[:, None]
    torch.testing.assert_close(lost @ kept, torch.zeros(N, 5).double(), atol=1e-8, rtol=0)
    initialise_mixtures(model, x, "gmm-posterior", seed=0)
    for own, classes, facet in zip(posterior_means(model, x), labels, model.facets, strict=True):
        clusters = facet.responsibilities(own).argmax(1).numpy()
        assert agreement(classes, clusters)["nmi"] > 0.8


def test_mixtures_have_the_variance_of_the_posterior_too(x):
    fitted = []
    for how in ("gmm-complete", "gmm-posterior"):
        model = _model(facets="2:3,3:4")
        initialise_networks(model, x, "subspaces", seed=3)
        initialise_mixtures(model, x, how, seed=0)
        fitted.append([facet.scale.square() for facet in model.facets])
    variances = [q.variance.mean(0) for q in model.encode(x)]
    for own, wider, variance in zip(*fitted, variances, strict=True):
        torch.testing.assert_close(wider, own + variance, rtol=1e-5, atol=0)
    for z, classes, facet in zip(
        posterior_means(model, x), _two_partitions()[1], model.facets, strict=True
    ):
        clusters = facet.responsibilities(z).argmax(1).numpy()
        assert agreement(classes, clusters)["nmi"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (lambda: _model(encoder={"widths": [16]}), "linear=true"),
        (lambda: _model(decoder={"widths": [16]}), "linear=true"),
        (lambda: _model(encoder={}, decoder={}, name="ladder"), "shared"),
        (lambda: _model(likelihood="bernoulli"), "gaussian"),
        (
            lambda: _model(
                likelihood=Component(name="gaussian", options={"output_activation": "sigmoid"})
            ),
            "output_activation",
        ),
        (lambda: _model(facets="5:3,5:4"), r"\(10\)"),
    ],
)
def test_what_cannot_begin_so_is_refused(model, named, x):
    with pytest.raises(ConfigError, match=named):
        initialise_networks(model(), x, "subspaces")


def test_a_linear_path_adds_to_the_trunk():
    model = _model()
    x, zs = torch.randn(7, M).double(), [torch.randn(7, 2).double(), torch.randn(7, 3).double()]
    features = model.encoder(x)[0]
    torch.testing.assert_close(features[:, 16:], x)
    whole = model.decoder(zs)
    linear, model.decoder.linear = model.decoder.linear, None
    torch.testing.assert_close(whole, model.decoder(zs) + torch.cat(zs, 1) @ linear.weight.T)


def test_rows_that_are_equal_and_more_clusters_than_are_searched_with(monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.training.start.initialise.MOST_SEARCHED", 5)
    x = torch.randn(3, M).double().repeat(10, 1)  # three kinds of rows, eight clusters
    model = _model("2:8,2:3")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        initialise_networks(model, x, "subspaces")
    assert all(parameter.isfinite().all() for parameter in model.parameters())
