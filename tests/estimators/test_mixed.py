"""Tables with categories and missing cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from pyro_mfcvae import FacetClustering, VaDEClustering
from pyro_mfcvae.errors import DataWarning


@pytest.fixture(scope="module")
def table():
    """Two groups that differ in every column, and a fifth of the cells removed."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 300)
    frame = pd.DataFrame(
        {
            "mass": rng.normal(4000 + 800 * group, 200),
            "island": np.where(
                rng.random(300) < 0.9, np.array(["Dream", "Torgersen"])[group], "Biscoe"
            ),
            "member": rng.random(300) < np.where(group, 0.9, 0.1),
            "visits": rng.poisson(np.where(group, 9, 2)),
        }
    )
    complete = frame.astype(object)
    gaps = rng.random(frame.shape) < 0.2
    frame = complete.mask(gaps).astype({"mass": float, "visits": float, "member": float})
    return frame, group, complete, gaps


@pytest.fixture(scope="module")
def model(table):
    return VaDEClustering(2, n_init=1, random_state=0, max_steps=400).fit(table[0])


def test_rows_with_gaps_are_clustered(model, table):
    assert adjusted_rand_score(table[1], model.labels_) > 0.85
    kinds = model.config_.model.likelihood.options["kinds"]
    assert kinds == ["real", "categorical:3", "binary", "count"]
    assert model.categories_ == {"island": ["Biscoe", "Dream", "Torgersen"]}


def test_gaps_are_filled_nearer_than_by_the_mean(model, table):
    frame, _, complete, gaps = table
    filled = model.inverse_transform(model.transform(frame))
    for i, name in ((0, "mass"), (3, "visits")):
        true, rows = complete[name].to_numpy(float), gaps[:, i]
        error = np.abs(filled[rows, i] - true[rows]).mean()
        assert error < 0.8 * np.abs(np.nanmean(frame[name]) - true[rows]).mean()
    codes = pd.Categorical(complete["island"]).codes
    assert (filled[gaps[:, 1], 1] == codes[gaps[:, 1]]).mean() > 0.75


def test_what_sets_clusters_apart_names_categories(model):
    assert "island=" in " ".join(model.cluster_info(0)["apart"])


def test_saved_and_opened_it_labels_the_same(model, table, tmp_path):
    model.save(tmp_path / "model.safetensors")
    again = VaDEClustering.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(table[0]), model.labels_)


def test_every_column_has_its_own_noise_unless_all_have_one_unit():
    z = np.random.default_rng(1).normal(size=(200, 2))
    rows = np.c_[1.7e9 + z[:, 0], np.exp(z[:, 1])]  # times in seconds, and lengths
    few = {"n_init": 1, "random_state": 0, "max_steps": 2}
    model = FacetClustering((2, 2), **few).fit(rows)
    likelihood = model.config_.model.likelihood
    assert likelihood.options["kinds"] == ["real", "positive"]
    assert likelihood.options["loc"] == pytest.approx([0, z[:, 1].mean()])
    # In float32, times as such would differ by whole minutes.
    np.testing.assert_allclose(model.units_.shift, [rows[:, 0].mean(), 0])
    np.testing.assert_allclose(model.units_.scale, [z[:, 0].std(), 1])
    with_one = [
        FacetClustering((2, 2), standardize=choice, **few).fit(np.exp(z))
        for choice in ("together", False)
    ]
    assert {model.config_.model.likelihood.name for model in with_one} == {"gaussian"}


def test_text_that_names_the_rows_is_told(table):
    frame = table[0].assign(name=[f"row {i}" for i in range(len(table[0]))])
    with pytest.warns(DataWarning, match="'name'"):
        VaDEClustering(2, n_init=1, random_state=0, max_steps=1).fit(frame)


def test_a_category_that_fitting_has_not_seen_is_named(model, table):
    frame = table[0].copy()
    frame.loc[3, "island"] = "Atlantis"
    with pytest.raises(ValueError, match="island.*Atlantis"):
        model.predict(frame)


def test_gaps_that_fitting_has_not_seen_are_named_with_their_place():
    x = np.random.default_rng(0).normal(size=(60, 3))
    model = FacetClustering((2, 2), n_init=1, random_state=0, max_steps=10).fit(x)
    x[7, 1] = np.nan
    with pytest.raises(ValueError, match="row 7, column 1"):
        model.predict(x)


def test_infinite_values_are_refused_when_fitting():
    x = np.random.default_rng(0).normal(size=(60, 3))
    x[7, 1] = np.inf
    with pytest.raises(ValueError, match="row 7, column 1"):
        VaDEClustering(2, n_init=1, max_steps=10).fit(x)
