"""Accuracies against the first authors' and against brute force; arrays of predictions."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from models import observations, small_model
from sklearn.metrics import homogeneity_score, normalized_mutual_info_score

from pyro_mfcvae import evaluation
from pyro_mfcvae.data import Dataset

RTOL = 1e-12


def test_accuracies_are_those_of_the_first_authors(golden):
    cases = json.loads((golden / "clustering_accuracy.json").read_text())
    assert cases
    for case in cases:
        labels, clusters = case["labels"], case["clusters"]
        for name in ("majority_accuracy", "class_weighted_accuracy", "hungarian_accuracy"):
            value = getattr(evaluation, name)(labels, clusters)
            assert value == pytest.approx(case[name], rel=1e-8), name


@pytest.mark.parametrize("n_clusters", [3, 5])
def test_hungarian_is_the_best_assignment(n_clusters):
    generator = np.random.default_rng(0)
    labels, clusters = generator.integers(4, size=60), generator.integers(n_clusters, size=60)
    size = max(4, n_clusters)
    best = max(
        np.mean(np.array(order)[clusters] == labels)
        for order in itertools.permutations(range(size))
    )
    assert evaluation.hungarian_accuracy(labels, clusters) == pytest.approx(best, rel=RTOL)


def test_a_map_learnt_elsewhere():
    labels, clusters = np.array([0, 0, 1, 2, 2]), np.array([0, 0, 0, 1, 1])
    cluster_map = evaluation.majority_map(labels, clusters, n_clusters=4)
    assert cluster_map.tolist() == [0, 2, -1, -1]
    # Cluster 2 had no member to learn from, so it is always wrong.
    assert evaluation.mapped_accuracy([0, 1, 2, 2], [0, 0, 1, 2], cluster_map) == 0.5
    with pytest.raises(ValueError, match="covers 4 clusters"):
        evaluation.mapped_accuracy([0], [4], cluster_map)


def test_absent_classes_do_not_count():
    assert evaluation.class_weighted_accuracy([0, 0, 5], [1, 1, 2]) == 1.0


@pytest.mark.parametrize(
    ("labels", "clusters"), [([], []), ([0, 1], [0]), ([0, -1], [0, 1]), ([0.5, 1.0], [0, 1])]
)
def test_bad_labels_are_refused(labels, clusters):
    with pytest.raises(ValueError, match="length|whole numbers"):
        evaluation.majority_accuracy(labels, clusters)


def test_predictions_do_not_depend_on_the_batch_size():
    model, x = small_model(), observations(10)
    whole, parts = (evaluation.predict(model, x, batch_size) for batch_size in (10, 3))
    for a, b in zip(whole.responsibilities, parts.responsibilities, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    for j, r in enumerate(model.responsibilities(x)):
        np.testing.assert_allclose(whole.responsibilities[j], r, rtol=1e-12)
        assert (whole.clusters[j] == r.argmax(1).numpy()).all()


def test_responsibilities_from_samples():
    model, x = small_model(), observations()
    torch.manual_seed(1)
    from_samples = model.responsibilities(x, n_samples=5)
    torch.manual_seed(1)
    for facet, posterior, r in zip(model.facets, model.encode(x), from_samples, strict=True):
        z = posterior.sample((5,))
        expected = facet.log_responsibilities(z).mean(0).softmax(-1)
        torch.testing.assert_close(r, expected.detach())


def test_elbo_means_are_weighted_by_batch_size():
    model, x = small_model(), observations(7)
    parts = evaluation.elbo_means(model, x, batch_size=3)
    assert parts["elbo"] == pytest.approx(
        parts["reconstruction"]
        - sum(parts[f"{name}_{j}"] for name in ("kl_z", "kl_c") for j in range(2))
    )
    same = evaluation.elbo_means(model, x, batch_size=3)
    assert same == parts


def test_samples_of_clusters():
    model = small_model(2)
    pictures = evaluation.sample_clusters(model, 1, [2, 0], n_samples=4, seed=3)
    assert pictures.shape == (2, 4, 1, 4, 4)
    again = evaluation.sample_clusters(model, 1, [2, 0], n_samples=4, seed=3)
    np.testing.assert_array_equal(pictures, again)
    # Without any spread the chosen facet is at its cluster's mean.
    with torch.no_grad():
        cold = evaluation.sample_clusters(model, 0, [3], n_samples=50, temperature=0.0)
        means = [model.facets[0].loc[3], *[f.loc for f in list(model.facets)[1:]]]
        possible = torch.stack([model.decode([means[0], m]).mean for m in means[1]])
    distances = np.abs(cold[0][:, None] - possible.numpy()).max((-1, -2, -3))
    assert (distances.min(1) < 1e-12).all()
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        evaluation.sample_clusters(model, 2, [0], 1)


def test_evaluation_learns_its_map_on_the_training_part():
    model = small_model(2)
    x = observations(40).float()
    model.float()
    labels = {"side": torch.randint(3, (40,))}
    dataset = Dataset("toy", x, torch.arange(30), torch.arange(30, 40), labels)
    results = evaluation.evaluate(model, dataset)
    clusters = evaluation.predict(model, x).clusters
    for j, facet in enumerate(results["facets"]):
        side = facet["factors"]["side"]
        cluster_map = evaluation.majority_map(labels["side"][:30], clusters[j][:30], 9)
        right = cluster_map[clusters[j][30:]] == labels["side"][30:].numpy()
        assert side["test"]["majority_accuracy_training_map"] == pytest.approx(right.mean())
        assert side["n_classes"] == 3
        assert 0 <= facet["assignment_entropy"]["test"] <= np.log(facet["n_clusters"])
    assert results["n_observations"] == {"train": 30, "test": 10}
    nmi = normalized_mutual_info_score(clusters[0][30:], clusters[1][30:])
    assert results["redundancy"]["test"] == [[1, pytest.approx(nmi)], [pytest.approx(nmi), 1]]
    side = results["facets"][0]["factors"]["side"]["test"]
    expected = homogeneity_score(labels["side"][30:], clusters[0][30:])
    assert side["homogeneity"] == pytest.approx(expected)
    json.dumps(results)
