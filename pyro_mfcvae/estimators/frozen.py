"""One facet of a fitted estimator, as a clusterer of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin

from pyro_mfcvae.estimators.base import FacetEstimator


class FrozenFacet(ClusterMixin, TransformerMixin, BaseEstimator):
    """A single-facet clusterer that is fitted already: ``fit`` changes nothing.

    Args:
        estimator: a fitted estimator.
        facet: j.
    """

    def __init__(self, estimator: FacetEstimator, facet: int) -> None:
        self.estimator = estimator
        self.facet = facet

    @property
    def labels_(self) -> np.ndarray:
        """Clusters of the training rows, (N,)."""
        return self.estimator.labels_.reshape(-1, len(self.estimator.facts_))[:, self.facet]

    def fit(self, X: Any, y: Any = None) -> FrozenFacet:
        """Nothing: the facet stays as it is."""
        return self

    def fit_predict(self, X: Any, y: Any = None, **kwargs: Any) -> np.ndarray:
        """The clusters of X, (N,)."""
        return self.predict(X)

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of every row, (N,)."""
        return self.predict_proba(X).argmax(1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of every cluster, (N, K)."""
        return self.estimator.seen(X).responsibilities[self.facet]

    def transform(self, X: Any) -> np.ndarray:
        """The facet's latents, (N, D)."""
        return self.estimator.seen(X).z_mean[self.facet]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of what :meth:`transform` returns."""
        n_latents = self.estimator.model_.structure.facets[self.facet].latent_dim
        return np.array([f"facet_{self.facet}_z{d}" for d in range(n_latents)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> FrozenFacet:
        return self
