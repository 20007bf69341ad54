"""Interventions on facets, against decoding by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import observations, small_model
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from pyro_mfcvae import evaluation

FADE = (0.3, 0.7, 1.0)


@pytest.fixture
def model():
    model = small_model(3)
    model.fade.copy_(torch.tensor(FADE))
    return model


def _means(model, x):
    return [q.mean.detach() for q in model.encode(x)]


def _decoded(model, zs):
    with torch.no_grad():
        return model.decode(zs).mean.numpy()


def test_a_swap_takes_one_facet_from_the_donor(model):
    x, donors = observations(4), observations(3)
    pictures = evaluation.swap_facets(model, x, donors, 1)
    assert pictures.shape == (4, 3, 1, 4, 4)
    own, given = _means(model, x), _means(model, donors)
    for n, m in ((0, 0), (3, 2), (1, 2)):
        expected = _decoded(model, [own[0][n], given[1][m], own[2][n]])
        np.testing.assert_allclose(pictures[n, m], expected, rtol=1e-9)
    itself = evaluation.swap_facets(model, x, x, 2)
    reconstructed = evaluation.reconstruct(model, x)
    np.testing.assert_allclose(itself[range(4), range(4)], reconstructed, rtol=1e-9)


@pytest.mark.parametrize("facet", [0, 2])
def test_pairs_exchange_one_facet(model, facet):
    first, second = observations(4), observations(4)
    pictures = evaluation.swap_pairs(model, first, second, facet)
    assert pictures.shape == (4, 2, 1, 4, 4)
    every = evaluation.swap_facets(model, first, second, facet)
    back = evaluation.swap_facets(model, second, first, facet)
    np.testing.assert_allclose(pictures[:, 0], every[range(4), range(4)], rtol=1e-9)
    np.testing.assert_allclose(pictures[:, 1], back[range(4), range(4)], rtol=1e-9)
    assert abs(pictures[:, 0] - evaluation.reconstruct(model, first)).max() > 1e-6


def test_exchanging_either_facet_of_two_gives_the_same_pictures_in_turn():
    model, first, second = small_model(2), observations(3), observations(3)
    shallow, deep = (evaluation.swap_pairs(model, first, second, j) for j in (0, 1))
    np.testing.assert_allclose(shallow, deep[:, ::-1], rtol=1e-9)


@pytest.mark.parametrize("facet", [0, 1, 2])
def test_what_changes_nothing_is_the_reconstruction(model, facet):
    x = observations(3)
    expected = evaluation.reconstruct(model, x)
    pairs = evaluation.swap_pairs(model, x, x, facet)
    np.testing.assert_allclose(pairs, np.stack([expected, expected], 1), rtol=1e-9)
    still = evaluation.traverse(model, x, facet, 1, (0.0,))
    np.testing.assert_allclose(still[:, 0], expected, rtol=1e-9)
    line = evaluation.interpolate(model, x, x, 4, [facet])
    np.testing.assert_allclose(line, np.stack([expected] * 4, 1), rtol=1e-9)
    moving = evaluation.interpolate(model, x, observations(3), 2, [facet])
    np.testing.assert_allclose(moving[:, 0], expected, rtol=1e-9)


def test_dimensions_come_by_how_much_they_change(model):
    x, offsets = observations(2), (-2.0, 0.0, 1.0)
    dimensions, pictures = evaluation.traverse_dimensions(model, x, 0, None, offsets)
    assert sorted(dimensions) == [0, 1, 2]
    assert pictures.shape == (3, 2, 3, 1, 4, 4)
    for d, drawn in zip(dimensions, pictures, strict=True):
        np.testing.assert_array_equal(
            drawn, evaluation.traverse(model, x, 0, d, offsets), strict=True
        )
    changes = [drawn.var(1).mean() for drawn in pictures]
    assert changes[0] > changes[1] > changes[2] > 0
    most, drawn = evaluation.traverse_dimensions(model, x, 0, 1, offsets)
    assert most == dimensions[:1]
    np.testing.assert_array_equal(drawn, pictures[:1])


def test_a_dimension_without_spread_comes_last():
    model = small_model(1, latent_dims=(4,), clusters=(3,))
    prior = model.facets[0]
    with torch.no_grad():  # no spread of dimension 2 under the prior
        prior.loc[:, 2] = 0.5
        prior.raw_scale[:, 2] = torch.tensor([0.0, 0.0, -8.0, 0.0])
    dimensions, pictures = evaluation.traverse_dimensions(model, observations(2), 0)
    assert dimensions[-1] == 2
    assert pictures[-1].var(1).max() < 1e-12 < pictures[0].var(1).max()


def test_a_traversal_moves_one_dimension_by_its_prior_s_deviation(model):
    x = observations(2)
    pictures = evaluation.traverse(model, x, 1, 0, (-2.0, 0.0, 1.5))
    assert pictures.shape == (2, 3, 1, 4, 4)
    zs = _means(model, x)
    prior = model.facets[1]
    components = MultivariateNormal(prior.loc, scale_tril=prior.scale_tril)
    mixture = MixtureSameFamily(Categorical(logits=prior.logits), components)
    moved = [z.clone() for z in zs]
    moved[1][:, 0] += 1.5 * mixture.stddev[0].detach()
    np.testing.assert_allclose(pictures[:, 2], _decoded(model, moved), rtol=1e-9)
    np.testing.assert_allclose(pictures[:, 1], _decoded(model, zs), rtol=1e-9)


def test_a_traversal_far_from_the_origin_keeps_its_steps():
    model, x = small_model(1, latent_dims=(1,), clusters=(3,)).float(), observations(1).float()
    prior = model.facets[0]
    with torch.no_grad():
        prior.loc.fill_(1000.0)
        prior.reset_variance(0.01)
        start = model.encode(x)[0].mean
        expected = model.decode([start + 5 * 0.1]).mean.numpy()
    pictures = evaluation.traverse(model, x, 0, 0, (5.0,))
    np.testing.assert_allclose(pictures[:, 0], expected, rtol=1e-4)


def test_an_interpolation_is_a_straight_line_in_the_facets_that_move(model):
    start, end = observations(2), observations(2)
    a, b = _means(model, start), _means(model, end)
    pictures = evaluation.interpolate(model, start, end, 5, [0, 2])
    assert pictures.shape == (2, 5, 1, 4, 4)
    between = [0.75 * a[0] + 0.25 * b[0], a[1], 0.75 * a[2] + 0.25 * b[2]]
    np.testing.assert_allclose(pictures[:, 1], _decoded(model, between), rtol=1e-9)
    whole = evaluation.interpolate(model, start, end, 2)
    np.testing.assert_allclose(whole[:, 1], _decoded(model, b), rtol=1e-9)


def test_means_of_clusters_of_one_facet_and_of_pairs(model):
    means = [f.loc.detach() for f in model.facets]
    centres = [(f.log_weights.exp() @ f.loc).detach() for f in model.facets]
    single = evaluation.cluster_means(model, [1], [[3, 0]])
    assert single.shape == (2, 1, 4, 4)
    expected = _decoded(model, [centres[0], means[1][3], centres[2]])
    np.testing.assert_allclose(single[0], expected, rtol=1e-9)
    pairs = evaluation.cluster_means(model, [2, 0], [[0, 1, 2], [4, 1]])
    assert pairs.shape == (3, 2, 1, 4, 4)
    expected = _decoded(model, [means[0][1], centres[1], means[2][2]])
    np.testing.assert_allclose(pairs[2, 1], expected, rtol=1e-9)


def test_samples_without_temperature_are_the_means_of_clusters(model):
    pictures = evaluation.sample_clusters(model, 1, [2, 0], 6, 0.0)
    assert pictures.shape == (2, 6, 1, 4, 4)
    every = [range(f.n_clusters) for f in model.facets]
    means = evaluation.cluster_means(model, [1, 0, 2], [[2, 0], every[0], every[2]])
    for drawn, allowed in zip(pictures, means.reshape(2, -1, 16), strict=True):
        distances = abs(drawn.reshape(6, 1, 16) - allowed).max(-1)
        assert distances.min(1).max() < 1e-12
        assert len(set(distances.argmin(1))) > 1
    alone = small_model(1)
    pictures = evaluation.sample_clusters(alone, 0, [4, 1], 2, 0.0)
    expected = evaluation.cluster_means(alone, [0], [[4, 1]])
    np.testing.assert_allclose(pictures, np.stack([expected, expected], 1), rtol=1e-9)


def test_samples_are_a_function_of_the_seed(model):
    first, again, other = (
        evaluation.sample_clusters(model, 0, [1, 3], 4, 0.5, seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert abs(first - other).max() > 1e-3


def test_temperature_scales_the_variance_of_latents(monkeypatch):
    model, tau, n = small_model(1), 0.3, 20_000
    seen = []
    monkeypatch.setattr(
        "pyro_mfcvae.evaluation.predictions.decode_means", lambda _m, zs: seen.append(zs[0])
    )
    evaluation.sample_clusters(model, 0, [2], n, tau)
    factor = model.facets[0].scale_tril[2].detach()
    expected = tau * (factor @ factor.T)
    deviations = expected.diagonal().sqrt()
    # The standard error of a covariance is at most sqrt(2 / n) times both deviations.
    error = (torch.cov(seen[0][0].T) - expected).abs() / torch.outer(deviations, deviations)
    assert error.max() < 5 * (2 / n) ** 0.5


def test_many_pictures_are_decoded_in_parts():
    model, x = small_model(2), observations(30)
    pictures = evaluation.swap_facets(model, x, x, 0)
    zs = _means(model, x)
    expected = _decoded(model, [zs[0][29], zs[1][28]])
    np.testing.assert_allclose(pictures[28, 29], expected, rtol=1e-9)
    assert model.training


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: evaluation.swap_facets(m, x, x, 3), "facet from 0 to 2, got 3"),
        (lambda m, x: evaluation.traverse(m, x, -1, 0), "facet from 0 to 2, got -1"),
        (lambda m, x: evaluation.traverse(m, x, 1, 2), "dimension of facet 1 from 0 to 1, got 2"),
        (lambda m, x: evaluation.traverse_dimensions(m, x, 3), "facet from 0 to 2, got 3"),
        (lambda m, x: evaluation.swap_pairs(m, x, x, 3), "facet from 0 to 2, got 3"),
        (lambda m, x: evaluation.swap_pairs(m, x, x[:1], 0), "as many first as second"),
        (lambda m, x: evaluation.sample_clusters(m, 3, [0], 1), "facet from 0 to 2, got 3"),
        (lambda m, x: evaluation.sample_clusters(m, 0, [5], 1), r"0\.\.4, got 5\.\.5"),
        (lambda m, x: evaluation.sample_clusters(m, 0, [], 1), "got 0 and 1"),
        (lambda m, x: evaluation.sample_clusters(m, 0, [0], 0), "got 1 and 0"),
        (lambda m, x: evaluation.sample_clusters(m, 0, [0], 1, -1.0), "from 0 on, got -1.0"),
        (lambda m, x: evaluation.sample_clusters(m, 0, [0], 1, np.nan), "from 0 on, got nan"),
        (lambda m, x: evaluation.interpolate(m, x, x, 1), "at least 2 steps"),
        (lambda m, x: evaluation.interpolate(m, x, x[:1]), "as many starts as ends"),
        (lambda m, x: evaluation.interpolate(m, x, x, 3, [4]), "facet from 0 to 2, got 4"),
        (lambda m, x: evaluation.cluster_means(m, [0, 0], [[1], [1]]), "different facets"),
        (lambda m, x: evaluation.cluster_means(m, [0], [[5]]), "facet 0 from 0 to 4, got"),
        (lambda m, x: evaluation.cluster_means(m, [0], [[]]), "facet 0 from 0 to 4, got"),
        (lambda m, x: evaluation.cluster_means(m, [], []), "different facets"),
    ],
)
def test_what_does_not_exist_is_refused(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, observations(2))
