"""scikit-learn's own checks of an estimator."""

from __future__ import annotations

from sklearn.utils.estimator_checks import check_clustering, parametrize_with_checks

from pyro_mfcvae import FacetClustering, GMVAEClustering, VaDEClustering

_FEW = {"max_steps": 10, "n_init": 1, "random_state": 0}


@parametrize_with_checks(
    [VaDEClustering(3, **_FEW), GMVAEClustering(3, **_FEW), FacetClustering((2, 2), **_FEW)],
    expected_failed_checks=lambda estimator: (
        {"check_clustering": "labels of several facets are (n, J)"}
        if isinstance(estimator, FacetClustering)
        else {}
    ),
)
def test_what_scikit_learn_asks_of_estimators(estimator, check):
    if check.func is check_clustering:
        estimator.set_params(n_init=4)  # one of them is sure to find the blobs
    check(estimator)
