"""A search fits candidates, ranks them without labels and predicts with the recommended one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from pyro_mfcvae import FacetClustering, FacetSearch, VaDEClustering
from pyro_mfcvae.evaluation.predictions import elbo_of_rows

FEW = FacetClustering(max_steps=15, n_init=1)
X = np.random.default_rng(0).normal([5, 0, -3], [2, 1, 0.1], size=(60, 3))


@pytest.fixture(scope="module")
def search():
    return FacetSearch(FEW, [(3,), (2, 2), (3, 2)], n_init=2, random_state=0).fit(X)


@parametrize_with_checks(
    [FacetSearch(VaDEClustering(3, max_steps=10, n_init=1, random_state=0), [2, 3])]
)
def test_what_scikit_learn_asks_of_estimators(estimator, check):
    check(estimator)


def test_the_recommended_one_is_what_a_fit_with_its_settings_gives(search):
    best = search.best_estimator_
    assert best.n_clusters == search.best_params_["n_clusters"]
    again = clone(best).fit(X)
    assert_array_equal(again.labels_, search.labels_)
    assert_array_equal(search.predict(X), search.labels_)
    assert_allclose(search.score_samples(X), again.score_samples(X))
    assert list(search.assign(X)) == list(again.assign(X))


def test_results_of_all_candidates(search):
    found = search.results_
    assert [p["n_clusters"] for p in found["params"]] == [(3,), (2, 2), (3, 2)]
    assert found["n_clusters"] == [(3,), (2, 2), (3, 2)]
    assert sorted(found["rank"]) == [1, 2, 3]
    assert all(len(starts) == 2 for starts in found["starts"])
    best = search.best_estimator_
    place = found["rank"].index(1)
    rows = elbo_of_rows(best.model_, best._held_out, "vade")
    assert_allclose(found["elbo"][place], rows.mean())
    assert_allclose(max(found["starts"][place]), rows.mean())
    table = search.candidate_info()
    assert table.index[0] == str(best.n_clusters_)
    assert {"behind", "standard_error", "stable", "redundant", "used"} <= {*table}
    for label in table.index:
        assert label in search.recommendation_


def test_latents_are_combined_with_clusters():
    search = FacetSearch(FEW, [(2,), (2, 2)], latent_dim=[1, 2], random_state=0).fit(X)
    assert search.results_["latent_dim"] == [(1,), (2,), (1, 1), (2, 2)]


def test_without_candidates_a_grid_for_the_number_of_rows_is_taken():
    search = FacetSearch(VaDEClustering(max_steps=5, n_init=1), random_state=0).fit(X)
    assert search.results_["n_clusters"] == [(2,), (4,)]


def test_a_figure_has_a_row_for_each_candidate(search):
    figure = search.plot()
    assert len(figure.axes) == 4
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == list(search.candidate_info().index)


def test_a_search_is_pickled_and_refuses_to_predict_before_it_is_fitted(search):
    again = pickle.loads(pickle.dumps(search))
    assert_array_equal(again.predict(X), search.labels_)
    assert again.recommendation_ == search.recommendation_
    with pytest.raises(NotFittedError):
        clone(search).predict(X)
    with pytest.raises(ValueError, match="candidate"):
        FacetSearch(FEW, []).fit(X)
