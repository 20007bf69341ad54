"""What a fitted estimator holds, for all that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from pyro_mfcvae.config import Config
from pyro_mfcvae.data.categories import indicator_names, with_indicators
from pyro_mfcvae.estimators.inputs import Standardize, Units, read_rows
from pyro_mfcvae.evaluation import Predictions, predict
from pyro_mfcvae.evaluation.cluster_facts import Facts
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.presets.auto import Choice


class FacetEstimator(BaseEstimator):
    """A model of facets, with what it was told and what it has found."""

    _model: ClassVar[Literal["mfcvae", "vade", "gmvae"]]

    n_clusters: Any
    latent_dim: Any
    n_init: int | None
    random_state: Any
    max_steps: int | None
    batch_size: int | None
    standardize: Standardize
    test_fraction: float
    settings: Mapping[str, Any] | None
    device: str
    verbose: bool

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    categories_: dict[str, list[str]]
    model_: FacetModel
    config_: Config
    choices_: list[Choice]
    units_: Units
    facts_: list[Facts]
    labels_: NDArray[np.int64]
    n_clusters_: Any
    redundancy_: NDArray[np.float64]
    stability_: NDArray[np.float64]
    scores_: list[float]
    history_: list[dict[str, Any]]
    health_: list[str]
    facet_names_: list[str]
    cluster_names_: list[dict[int, str]]

    @property
    def is_single(self) -> bool:
        """Whether labels are (N,)."""
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = True
        return tags

    @property
    def column_names(self) -> list[Any]:
        """Names of the columns of X, those of a data frame or x0, x1 and so on."""
        return list(
            getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)])
        )

    @property
    def indicator_names(self) -> list[str]:
        """Names of the columns of :meth:`with_indicators`."""
        return indicator_names(self.column_names, self.categories_)

    def with_indicators(self, values: np.ndarray) -> np.ndarray:
        """Rows (N, features) with a column of 0 and 1 for each category; pictures as they are."""
        if values.ndim > 2 or not self.categories_:
            return values
        return with_indicators(values, self.column_names, self.categories_)

    def check_facet(self, j: int) -> None:
        """Raise a ValueError if the estimator has no such facet."""
        check_is_fitted(self)
        if not 0 <= j < len(self.facts_):
            raise ValueError(f"expected a facet from 0 to {len(self.facts_) - 1}, got {j}")

    def observations(self, X: Any) -> Tensor:
        """X as the model sees it, (N, *event)."""
        check_is_fitted(self)
        return self.units_.observations(read_rows(self, X, reset=False))

    def seen(self, X: Any) -> Predictions:
        """What the model says of X, of all facets."""
        x = self.observations(X)
        return predict(self.model_, x)
