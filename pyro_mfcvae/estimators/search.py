"""Choosing facets, clusters and latents without labels, as a scikit-learn estimator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from pyro_mfcvae.estimators import frames
from pyro_mfcvae.estimators.clustering import Clustering, FacetClustering
from pyro_mfcvae.estimators.notebook import in_notebooks
from pyro_mfcvae.evaluation.predictions import elbo_of_rows
from pyro_mfcvae.evaluation.ranking import Candidate, Ranking, density_of, rank, table_rows
from pyro_mfcvae.presets.auto import grid_of_clusters

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _of_best(name: str) -> Callable[..., Any]:
    """A method that is the best estimator's."""

    @functools.wraps(getattr(Clustering, name))
    def method(self: FacetSearch, *args: Any, **kwargs: Any) -> Any:
        check_is_fitted(self)
        return getattr(self.best_estimator_, name)(*args, **kwargs)

    return method


class FacetSearch(ClusterMixin, TransformerMixin, MetaEstimatorMixin, BaseEstimator):
    """Fits an estimator with several numbers of facets and clusters, and recommends one.

    No label is read: candidates are ranked by their held-out ELBO, whether two facets say the same,
    and the clusters in use (:mod:`~pyro_mfcvae.evaluation.ranking`). The recommended one predicts.

    Args:
        estimator: the template; None takes ``FacetClustering()``.
        n_clusters: K of each facet of every candidate, such as ``[(4,), (4, 4), (8, 4)]``; a number
            is a single candidate, and None takes a grid for which there are rows enough.
        latent_dim: values of the estimator's ``latent_dim``, each of which is combined with each of
            ``n_clusters``; None leaves the estimator's.
        n_init: starts of each candidate; None leaves the estimator's.
        random_state: seed of all candidates, or a random state that it is drawn from; None takes
            the estimator's.
        verbose: show progress.

    Attributes:
        best_estimator_: the recommended one, fitted.
        best_params_: what it differs in from the others.
        recommendation_: the candidates in words: which one to take, and what speaks against the
            others.
        ranking_: the candidates in order.
        results_: a list for each of what is known of the candidates, in the order of
            ``n_clusters``, as ``cv_results_`` of scikit-learn is.
    """

    best_estimator_: Any
    best_params_: dict[str, Any]
    recommendation_: str
    ranking_: Ranking
    results_: dict[str, list[Any]]

    def __init__(
        self,
        estimator: Any = None,
        n_clusters: Sequence[Any] | None = None,
        *,
        latent_dim: Sequence[Any] | None = None,
        n_init: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.estimator = estimator
        self.n_clusters = n_clusters
        self.latent_dim = latent_dim
        self.n_init = n_init
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> FacetSearch:
        """Fit every candidate to the same rows, of which the same are held out.

        Args:
            X: rows, a data frame or pictures, as of :meth:`FacetClustering.fit`.
            y: not read.

        Raises:
            ValueError: if X or an argument is not such as it must be.
        """
        template = FacetClustering() if self.estimator is None else self.estimator
        state = template.random_state if self.random_state is None else self.random_state
        given = {"random_state": int(check_random_state(state).randint(2**31 - 1))}
        given |= {} if self.n_init is None else {"n_init": self.n_init}
        found, estimators = list[Candidate](), list[Any]()
        params = self._params(template, X)
        for values in tqdm(params, unit="candidate", disable=not self.verbose):
            estimators.append(clone(template).set_params(**given, **values).fit(X))
            found.append(candidate_of(estimators[-1]))
        self.ranking_ = ranking = rank(found)
        self.best_estimator_ = estimators[ranking.order[0]]
        self.best_params_ = params[ranking.order[0]]
        self.recommendation_ = ranking.recommendation
        places = np.argsort(ranking.order)
        rows = [{"rank": int(i) + 1, **table_rows(ranking)[i]} for i in places]
        self.results_ = {"params": params} | {name: [r[name] for r in rows] for name in rows[0]}
        return self

    def candidate_info(self) -> Any:
        """A row for each candidate, the recommended one first, in a pandas data frame.

        Its held-out ``elbo``, how far it lies ``behind`` the best one with the standard error,
        clusters in use (``used``), how ``stable`` its least stable facet is over starts, the
        largest NMI of two facets (``redundant``), and the ``verdict``.
        """
        check_is_fitted(self)
        rows = {row.pop("candidate"): row for row in table_rows(self.ranking_)}
        return frames.frame_of_rows(rows)

    def plot(self) -> Figure:
        """The candidates: held-out ELBO behind the best one, stability, redundancy, occupancy.

        Returns:
            a matplotlib figure.
        """
        from pyro_mfcvae.figures.candidates import ranked_candidates

        check_is_fitted(self)
        return in_notebooks(ranked_candidates(self.ranking_))

    predict = _of_best("predict")
    predict_proba = _of_best("predict_proba")
    transform = _of_best("transform")
    inverse_transform = _of_best("inverse_transform")
    get_feature_names_out = _of_best("get_feature_names_out")
    score = _of_best("score")
    score_samples = _of_best("score_samples")
    assign = _of_best("assign")
    facet = _of_best("facet")
    facet_info = _of_best("facet_info")
    cluster_info = _of_best("cluster_info")
    report = _of_best("report")

    @property
    def labels_(self) -> Any:
        """Clusters of the rows that were fitted to, as of the best estimator."""
        return self.best_estimator_.labels_

    @property
    def n_features_in_(self) -> int:
        """Number of the columns that were fitted to."""
        return self.best_estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> Any:
        """Names of the columns that were fitted to, where they had names."""
        return self.best_estimator_.feature_names_in_

    def __sklearn_tags__(self) -> Any:
        return (FacetClustering() if self.estimator is None else self.estimator).__sklearn_tags__()

    def _params(self, template: Any, X: Any) -> list[dict[str, Any]]:
        clusters = self.n_clusters
        if clusters is None:
            n_train = round(len(X) * (1 - template.test_fraction))
            clusters = grid_of_clusters(n_train, 1 if template.is_single else 3)
        ways = [{"n_clusters": k} for k in (clusters if np.iterable(clusters) else [clusters])]
        if self.latent_dim is None:
            return ways
        return [w | {"latent_dim": d} for w, d in product(ways, self.latent_dim)]


def candidate_of(fitted: Any) -> Candidate:
    """What a fitted estimator is ranked by, until it is pickled."""
    facets = fitted.config_.model.facets[: len(fitted.facts_)]
    return Candidate(
        n_clusters=tuple(facet.n_clusters for facet in facets),
        latent_dim=tuple(facet.latent_dim for facet in facets),
        elbo=elbo_of_rows(fitted.model_, fitted._held_out, fitted.config_.guide.name),
        starts=fitted.scores_,
        stability=fitted.stability_,
        redundancy=fitted.redundancy_,
        used=tuple(int((facts.sizes > 0).sum()) for facts in fitted.facts_),
        density=density_of(fitted.config_),
    )
