"""The probe finds what is there and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from models import small_model
from sklearn.neural_network import MLPClassifier

from pyro_mfcvae import evaluation
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.inference.noise import derive_seed, site_noise


@pytest.fixture(scope="module")
def probed():
    """Two groups of pixels with a class each; facet 0 sees the first group, facet 1 the other."""
    torch.manual_seed(0)
    model = small_model(2, latent_dims=(2, 2)).float()
    n = 600
    left, right = torch.randint(3, (n,)), torch.randint(2, (n,))
    x = 0.05 * torch.rand(n, 1, 4, 4)
    x[:, 0, 0, 0] += 0.4 * left
    x[:, 0, 3, 3] += 0.8 * right

    class Split(torch.nn.Module):
        def forward(self, x, fade=None):
            h = x.flatten(1)
            return [h[:, :1].expand(-1, 16), h[:, -1:].expand(-1, 16)]

    model.encoder = Split()
    for head in model.heads:
        torch.nn.init.constant_(head.bias[2:], -8.0)
        torch.nn.init.zeros_(head.weight[2:])
    labels = {"left": left, "right": right, "constant": torch.zeros(n, dtype=torch.long)}
    dataset = Dataset("toy", x, torch.arange(400), torch.arange(400, n), labels)
    calls = []
    results = evaluation.probe(model, dataset, seed=1, on_fit=lambda: calls.append(1))
    return model, dataset, results, calls


def test_each_facet_gives_away_its_own_factor(probed):
    *_, results, calls = probed
    first, second = results.facets
    assert first["left"] > 0.95
    assert second["right"] > 0.95
    chance = results.most_frequent_class
    # Five standard errors of an accuracy over 200 observations.
    assert first["right"] < chance["right"] + 5 * (0.25 / 200) ** 0.5
    assert second["left"] < chance["left"] + 5 * (0.25 / 200) ** 0.5
    assert min(results.all_facets["left"], results.all_facets["right"]) > 0.95
    assert first["constant"] == chance["constant"] == 1
    assert (results.n_train, results.n_test) == (400, 200)
    assert len(calls) == 9  # three factors, from either facet and from both


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_it_is_scikit_learn_s_on_one_sample_of_each_training_observation(probed):
    model, dataset, results, _ = probed
    rows = {"train": dataset.train, "test": dataset.test}
    with torch.no_grad():
        for j, factor in enumerate(("left", "right")):
            zs = {}
            for part, chosen in rows.items():
                q = model.encode(dataset.x[chosen])[j]
                eps = site_noise(derive_seed(1, part), 0, f"z_{j}", q.mean.shape, q.mean)
                zs[part] = (q.mean + q.stddev * eps).numpy()
            classifier = MLPClassifier(random_state=derive_seed(1) % 2**31)
            classifier.fit(zs["train"], dataset.labels[factor][dataset.train].numpy())
            score = classifier.score(zs["test"], dataset.labels[factor][dataset.test].numpy())
            assert results.facets[j][factor] == score


def test_held_out_labels_do_not_reach_the_classifiers(probed):
    """With other held-out classes the same predictions are judged: 0 where all were right."""
    model, dataset, *_ = probed
    labels = {"left": dataset.labels["left"].clone()}
    labels["left"][dataset.test] = (labels["left"][dataset.test] + 1) % 3
    shifted = Dataset("toy", dataset.x, dataset.train, dataset.test, labels)
    assert evaluation.probe(model, shifted, seed=1).facets[0]["left"] < 0.05


def test_it_is_a_function_of_its_seed(probed):
    model, dataset, *_ = probed
    a, b = (evaluation.probe(model, dataset, seed=1, max_train=60) for _ in range(2))
    assert a == b
    assert a.n_train == 60


def test_it_needs_labels(probed):
    model, dataset, *_ = probed
    unlabelled = Dataset("toy", dataset.x, dataset.train, dataset.test)
    with pytest.raises(DataError, match="toy: a probe needs labels"):
        evaluation.probe(model, unlabelled)


def test_it_reads_samples_and_not_means(probed):
    """With a posterior far wider than the classes are apart, nothing is left to be read."""
    model, dataset, *_ = probed
    wide = copy.deepcopy(model)
    for head in wide.heads:
        torch.nn.init.constant_(head.bias[2:], 8.0)
    results = evaluation.probe(wide, dataset, seed=1)
    chance = results.most_frequent_class
    for j, factor in enumerate(("left", "right")):
        assert results.facets[j][factor] < chance[factor] + 5 * (0.25 / 200) ** 0.5


def test_an_encoder_that_fades_gives_nothing_away_at_weight_0(probed):
    model, dataset, *_ = probed

    class Fading(torch.nn.Module):
        def __init__(self, encoder):
            super().__init__()
            self.encoder = encoder

        def forward(self, x, fade=None):
            features = self.encoder(x)
            return [h if fade is None else h * fade[j] for j, h in enumerate(features)]

    fading = copy.deepcopy(model)
    fading.encoder = Fading(model.encoder)
    fading.fade[0] = 0.0
    results = evaluation.probe(fading, dataset, seed=1)
    chance = results.most_frequent_class
    assert results.facets[0]["left"] < chance["left"] + 5 * (0.25 / 200) ** 0.5
    assert results.facets[1]["right"] > 0.95
    with pytest.raises(ValueError, match="at least one training observation"):
        evaluation.probe(model, dataset, max_train=0)
