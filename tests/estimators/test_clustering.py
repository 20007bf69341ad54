"""What the estimators find, return, keep and say."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from pyro_mfcvae import FacetClustering, GMVAEClustering, VaDEClustering
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.evaluation import importance_weighted_bound
from pyro_mfcvae.evaluation.predictions import elbo_of_rows
from pyro_mfcvae.evaluation.ranking import matched

FEW = {"max_steps": 20, "n_init": 1, "random_state": 0}
ALL = [VaDEClustering(3, **FEW), GMVAEClustering(3, **FEW), FacetClustering((3, 2), **FEW)]
X = np.random.default_rng(0).normal([5, 0, -3], [2, 1, 0.1], size=(60, 3))


@pytest.fixture(scope="module")
def facets():
    return FacetClustering((3, 2), latent_dim=(2, 1), **FEW | {"n_init": 2}).fit(X)


def test_two_facets_find_two_partitions():
    random = np.random.default_rng(1)
    a, b = random.integers(3, size=300), random.integers(2, size=300)
    means = [np.array(m)[c] for m, c in (((-4, 0, 4), a), ((4, -4, 4), a), ((-3, 3), b))]
    rows = np.stack([*means, -means[2]], 1) + 0.5 * random.normal(size=(300, 4))
    model = FacetClustering((3, 2), n_init=4, random_state=0, max_steps=400).fit(rows)
    found = [[adjusted_rand_score(truth, labels) for labels in model.labels_.T] for truth in (a, b)]
    assert_allclose(np.sort(found, 1), [[0, 1], [0, 1]], atol=0.05)
    assert model.redundancy_[0, 1] < 0.05
    assert model.labels_[:, np.argmax(found[0])].max() == 2


@pytest.mark.parametrize("kind", [VaDEClustering, GMVAEClustering])
def test_blobs_are_found(kind):
    rows, truth = make_blobs(150, centers=3, n_features=4, random_state=2)
    model = kind(3, n_init=1, random_state=0).fit(rows)
    assert adjusted_rand_score(truth, model.labels_) > 0.9
    assert_array_equal(model.predict(rows), model.labels_)


def test_shapes_of_several_facets(facets):
    assert facets.labels_.shape == (60, 2) == facets.predict(X).shape
    proba = facets.predict_proba(X)
    assert proba.shape == (60, 2, 3)
    assert_allclose(proba.sum(-1), 1)
    assert not proba[:, 1, 2].any()
    assert_array_equal(proba.argmax(-1), facets.labels_)
    assert facets.transform(X).shape == (60, 3)
    assert list(facets.get_feature_names_out()) == ["facet_0_z0", "facet_0_z1", "facet_1_z0"]
    assert facets.n_clusters_ == (3, 2)
    assert facets.redundancy_.shape == (2, 2)
    assert_allclose(facets.redundancy_.diagonal(), 1)
    assert facets.stability_.shape == (2,)


def test_one_start_says_nothing_of_stability():
    assert np.isnan(FacetClustering((2, 2), **FEW).fit(X).stability_).all()


def test_facets_are_matched_one_to_one_before_they_are_compared():
    a, b = np.arange(12) % 3, np.arange(12) // 6
    assert_allclose(matched([a, b], [[b, a], [2 - a, 1 - b]]), 1)
    # Both of the other start's facets are like a: only one of them may stand for it.
    assert_allclose(matched([a, b], [[a, a]]), [1, 0], atol=1e-9)


@pytest.mark.parametrize("kind", [VaDEClustering, GMVAEClustering])
def test_clusters_are_numbered_by_their_size(kind):
    sizes = np.bincount(kind(5, **FEW).fit(X).labels_)
    assert (np.diff(sizes) <= 0).all()


def test_what_comes_out_has_the_units_of_the_rows(facets):
    for values in (facets.inverse_transform(facets.transform(X)), facets.sample(500)):
        assert_allclose(values.mean(0), X.mean(0), atol=1.5)
    swapped = facets.swap(X[:4], X[4:6], facet=1)
    assert swapped.shape == (4, 2, 3)
    own = facets.swap(X[:4], X[:4], facet=0)
    decoded = facets.inverse_transform(facets.transform(X[:4]))
    assert_allclose(own[range(4), range(4)], decoded)
    moved = facets.traverse(X[:4], facet=0, dimension=1, offsets=[-1, 0, 1])
    assert_allclose(moved[:, 1], decoded)
    assert not np.allclose(moved[:, 0], decoded)


def test_columns_keep_their_units_without_standardising():
    rows = X / 10
    model = VaDEClustering(2, standardize=False, **FEW).fit(rows)
    assert_allclose(model.units_.observations(rows).numpy(), rows.astype(np.float32))


def test_columns_standardised_together_keep_their_proportions():
    x = VaDEClustering(2, standardize="together", **FEW).fit(X).observations(X).double().numpy()
    assert_allclose(x.mean(0), 0, atol=1e-5)
    assert_allclose((x.std(0) ** 2).mean(), 1, rtol=1e-5)
    assert_allclose(x.std(0) / x.std(), X.std(0) / np.sqrt((X.std(0) ** 2).mean()), rtol=1e-5)
    with pytest.raises(ValueError, match="standardize"):
        VaDEClustering(2, standardize="rows", **FEW).fit(X)


def test_the_score_is_a_lower_bound_and_reads_no_labels(facets):
    scores = facets.score_samples(X)
    assert_allclose(facets.score(X, y=np.zeros(60)), scores.mean())
    assert_allclose(facets.score_samples(X[7:8]), scores[7:8])
    x = facets.observations(X)
    bound = importance_weighted_bound(facets.model_, x, 2000).numpy()
    # The mean over rows of the ELBO of 16 samples, whose error is below 0.3 nats here.
    assert scores.mean() < bound.mean() + 0.3


def test_the_best_held_out_score_is_taken():
    model = VaDEClustering(3, **FEW | {"n_init": 3}).fit(X)
    assert len(model.scores_) == 3 == len(set(model.scores_))
    alone = VaDEClustering(3, **FEW).fit(X)
    assert alone.scores_[0] == pytest.approx(model.scores_[0], abs=1e-3)


@pytest.mark.parametrize("estimator", ALL, ids=lambda e: type(e).__name__)
def test_a_saved_estimator_is_the_same(estimator, tmp_path):
    model = clone(estimator).fit(X)
    model.save(tmp_path / "model.safetensors")
    loaded = type(model).load(tmp_path / "model.safetensors")
    for other in (loaded, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.get_params() == model.get_params()
        assert_array_equal(other.predict_proba(X), model.predict_proba(X))
        assert_array_equal(other.score_samples(X), model.score_samples(X))
        assert_array_equal(other.labels_, model.labels_)
        assert other.health_ == model.health_
        assert other.choices_ == model.choices_
        assert other.cluster_info(0).equals(model.cluster_info(0))


def test_a_pickle_holds_no_model_as_python_objects(facets):
    assert b"FacetModel" not in pickle.dumps(facets)
    assert b"pyro_mfcvae.models" not in pickle.dumps(facets)


def test_what_is_no_saved_estimator_is_refused(facets, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="no saved estimator"):
        FacetClustering.load(path)
    facets.save(path)
    with pytest.raises(ValueError, match="FacetClustering"):
        VaDEClustering.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("choices", [3]),
        ("config", {"model": [], "version": 1}),
        ("observation", {"shape": 4.5}),
        ("typical", []),
        ("cluster_names", [{}]),
        ("parameters", {"predict": 1}),
        ("feature_names", ["a"]),
        ("deep", None),
    ],
)
def test_a_tampered_record_is_no_saved_estimator(facets, tmp_path, name, value):
    path = tmp_path / "model.safetensors"
    facets.save(path)
    held = path.read_bytes()
    stop = 8 + int.from_bytes(held[:8], "little")
    header = json.loads(held[8:stop])
    record = json.dumps(json.loads(header["__metadata__"]["estimator"]) | {name: value})
    record = record.replace("null", "[" * 10**5 + "]" * 10**5) if name == "deep" else record
    new = json.dumps(header | {"__metadata__": {"estimator": record}}).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + held[stop:])
    with pytest.raises(DataError, match="no saved estimator"):
        FacetClustering.load(path)


def test_settings_reach_the_library():
    given = {"training.learning_rate": 0.1, "guide.name": "enumerate"}
    model = VaDEClustering(2, settings=given, **FEW).fit(X)
    assert model.config_.training.learning_rate == 0.1
    assert model.config_.guide.name == "enumerate"
    with pytest.raises(ValueError, match="learning_rate"):
        VaDEClustering(2, settings={"training.learning_rat": 1}, **FEW).fit(X)


def test_numbers_may_be_those_of_numpy():
    model = FacetClustering(np.array([3, 2]), latent_dim=2, **FEW).fit(X)
    assert model.n_clusters_ == (3, 2)
    assert model.transform(X).shape == (60, 4)
    assert VaDEClustering(np.int64(2), **FEW).fit(X).n_clusters_ == 2


def test_pipelines_searches_and_jobs():
    pipeline = make_pipeline(MinMaxScaler(), VaDEClustering(2, **FEW)).fit(X)
    assert pipeline.predict(X).shape == (60,)
    grid = {"n_clusters": [(2, 2), (3,)]}
    search = GridSearchCV(FacetClustering((2, 2), **FEW), grid, cv=2).fit(X)
    assert search.best_estimator_.n_clusters == search.best_params_["n_clusters"]

    def fit(seed):
        return VaDEClustering(2, **FEW | {"random_state": seed}).fit(X)

    job = get_reusable_executor(max_workers=1).submit(fit, 1)  # as joblib.Parallel does
    assert_array_equal(fit(1).transform(X), job.result().transform(X))
    assert not np.array_equal(fit(0).transform(X), job.result().transform(X))


def test_a_facet_is_an_ordinary_clusterer(facets):
    facet = facets.facet(1)
    assert_array_equal(facet.predict(X), facets.labels_[:, 1])
    assert_array_equal(facet.fit(X).labels_, facets.labels_[:, 1])
    assert facet.predict_proba(X).shape == (60, 2)
    assert facet.transform(X).shape == (60, 1)
    if len(set(facet.labels_)) > 1:
        assert -1 <= silhouette_score(facet.transform(X), facet.labels_) <= 1
    assert make_pipeline(MinMaxScaler(), clone(facet)).steps[1][1] is facet
    with pytest.raises(ValueError, match="facet from 0 to 1"):
        facets.facet(2)


@pytest.mark.parametrize("method", ["assign", "cluster_info", "facet", "sample", "save", "rename"])
def test_what_needs_a_fit_says_so(method):
    with pytest.raises(NotFittedError):
        getattr(FacetClustering(), method)(*[0] * (method in ("assign", "facet", "save")))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_pictures(channels):
    pictures = np.random.default_rng(0).integers(0, 256, (40, *channels, 6, 5)).astype(np.uint8)
    pictures[0], pictures[1] = 0, 255
    model = FacetClustering((2, 2), **FEW).fit(pictures)
    event = (channels or (1,)) + (6, 5)
    assert model.sample(3).shape == (3, *event)
    assert_allclose(model.units_.values(np.ones(event)), 255)
    assert model.predict(pictures).shape == (40, 2)
    real = FacetClustering((2, 2), **FEW).fit(pictures / 16)
    assert_allclose(real.transform(pictures / 16), model.transform(pictures), atol=1e-3)
    with pytest.raises(ValueError, match="as at fitting"):
        model.predict(pictures[..., :4])
    broken = pictures / 16
    broken[7, ..., 2] = np.nan
    with pytest.raises(ValueError, match="picture 7"):
        real.predict(broken)


def test_bad_values_are_named_with_their_place():
    rows = X.copy()
    rows[3, 2] = np.inf
    with pytest.raises(ValueError, match="inf in row 3, column 2"):
        VaDEClustering(2, **FEW).fit(rows)
    with pytest.raises(ValueError, match="n_clusters=8"):
        VaDEClustering(8, **FEW).fit(X[:5])
    with pytest.raises(ValueError, match="latent_dim"):
        FacetClustering((2, 2), latent_dim=(1, 2, 3), **FEW).fit(X)


def test_a_column_without_values_is_named():
    table = pd.DataFrame({"a": [0.0, 1, 2, 3], "b": [np.nan] * 4})
    for x, name in ((table, "column 'b'"), (table.to_numpy(), "column 1")):
        with pytest.raises(ValueError, match=name):
            FacetClustering((2, 2), max_steps=1).fit(x)


def test_rows_alone_have_the_elbo_that_they_have_among_others(facets):
    x = facets.observations(X)
    together = elbo_of_rows(facets.model_, x, "vade", alone=True)
    alone = [elbo_of_rows(facets.model_, row, "vade", alone=True)[0] for row in x.split(1)]
    assert_allclose(together, alone, rtol=1e-9)
    assert torch.get_default_dtype() == torch.float32


def test_what_is_wrong_is_found_while_an_estimator_trains(capsys):
    dead = {"training.kl_weight": 100.0}
    some = {"max_steps": 600, "n_init": 1, "random_state": 0, "verbose": True}
    found = VaDEClustering(2, settings=dead, **some).fit(X)
    first = next(r for r in found.history_ if r["split"] == "health")
    assert first["step"] < 600
    assert "training.kl_weight" in first["findings"][0]["sentence"]
    assert f"start 0, step {first['step']}: facet 0" in capsys.readouterr().err
