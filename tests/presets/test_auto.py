"""Settings from the data."""

from __future__ import annotations

import pytest
import torch

from pyro_mfcvae.data import Dataset
from pyro_mfcvae.presets.auto import auto_config, spanned_by


def data(n, *event):
    x = torch.randn(n, *event)
    return Dataset("mine", x, train=torch.arange(n - n // 5), test=torch.arange(n - n // 5, n))


@pytest.mark.parametrize(("n", "most"), [(12, 2), (50, 4), (1000, 10)])
def test_a_cluster_has_ten_rows(n, most):
    auto = auto_config(data(n, 4))
    assert [facet.n_clusters for facet in auto.config.model.facets] == [most, most]
    assert auto.config.training.batch_size <= n


def test_what_is_given_is_taken():
    auto = auto_config(data(100, 4), [7, 3, 1], [2, 2, 5], max_steps=40, batch_size=10, n_starts=3)
    facets = auto.config.model.facets
    assert [(f.n_clusters, f.latent_dim) for f in facets] == [(7, 2), (3, 2), (1, 5)]
    assert auto.n_starts == 3
    training = auto.config.training
    assert training.batch_size == 10
    assert training.n_epochs * 8 == 40  # 80 training rows
    given = {c.setting for c in auto.choices if c.reason == "as given"}
    assert given == {"n_clusters", "latent_dim", "max_steps", "batch_size", "n_init"}


def test_noise_begins_with_the_deviation_of_pictures():
    x = (100 + 51 * torch.randn(400, 1, 6, 6)).clamp(0, 255).to(torch.uint8)
    x[:, :, 0] += 80  # of all pictures alike
    auto = auto_config(Dataset("mine", x, train=torch.arange(320), test=torch.arange(320, 400)))
    assert auto.config.model.likelihood.options["scale"] == pytest.approx(0.2, abs=0.011)
    assert auto.config.model.encoder.options["activation"] == "elu"
    flat = torch.zeros(20, 1, 6, 6, dtype=torch.uint8)
    auto = auto_config(Dataset("flat", flat, train=torch.arange(16), test=torch.arange(16, 20)))
    assert auto.config.model.likelihood.options["scale"] == 1


@pytest.mark.parametrize(
    ("n", "event", "rate"), [(100, (200,), 2e-3), (400, (200,), 5e-3), (100, (1, 20, 20), 5e-3)]
)
def test_tables_with_more_columns_than_rows_are_trained_slowly(n, event, rate):
    auto = auto_config(data(n, *event), model="gmvae")
    assert auto.config.training.learning_rate == rate


@pytest.mark.parametrize("model", ["mfcvae", "vade", "gmvae"])
def test_clusters_with_several_latents_have_full_covariances(model):
    k, d = ([5, 5, 1], [1, 3, 3]) if model == "mfcvae" else ([5], [3])
    facets = auto_config(data(300, 20), k, d, model=model).config.model.facets
    expected = {"mfcvae": ["diagonal", "full", "diagonal"], "vade": ["full"]}
    expected["gmvae"] = ["diagonal", "diagonal"]  # its networks give variances
    assert [facet.covariance for facet in facets] == expected[model]


def test_every_choice_has_a_reason():
    auto = auto_config(data(100, 4))
    assert all(choice.reason not in ("", "as given") for choice in auto.choices)


def test_larger_data_get_larger_networks_and_longer_trainings():
    sizes = data(100, 4), data(10_000, 189)
    small, large = (auto_config(each, model="gmvae") for each in sizes)

    def widths(auto):
        return auto.config.model.encoder.options["widths"]

    def steps(auto, n):
        training = auto.config.training
        return training.n_epochs * -(-n // training.batch_size)

    assert widths(small) < widths(large)
    assert steps(small, 80) < steps(large, 8000)
    assert small.config.model.facets[0].latent_dim < large.config.model.facets[0].latent_dim


@pytest.mark.parametrize(
    ("n_clusters", "most", "dims"),
    [([6, 3, 4], 16, [5, 2, 3]), ([10, 10], 16, [8, 8]), ([2, 1], 9, [1, 1]), ([3, 3], 1, [1, 1])],
)
def test_facets_have_as_many_latents_as_their_means_span(n_clusters, most, dims):
    assert spanned_by(n_clusters, most) == dims


def test_facets_of_rows_begin_as_subspaces_where_there_is_room():
    model = auto_config(data(500, 9), [3, 4]).config.model
    assert (model.initialisation, model.mixture_initialisation) == ("subspaces", "gmm-posterior")
    assert [facet.latent_dim for facet in model.facets] == [2, 3]
    others = [
        auto_config(data(500, 9), [3, 4], [5, 5]),  # of nine columns
        auto_config(data(500, 1), [3, 4]),
        auto_config(data(500, 1, 3, 3), [3, 4]),
        auto_config(data(500, 9), [3], model="gmvae"),
    ]
    assert {auto.config.model.initialisation for auto in others} <= {"default", "data-dependent"}
