"""Clustering by deep generative models, as scikit-learn estimators."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from pyro_mfcvae.config import Config, override
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.data.observations import random_split
from pyro_mfcvae.estimators import saved
from pyro_mfcvae.estimators.facts import Facts, facts_of, health
from pyro_mfcvae.estimators.inputs import Units, read_rows
from pyro_mfcvae.estimators.starts import best_of, elbo_of_rows
from pyro_mfcvae.evaluation import predict, redundancy, sample, swap_facets, traverse
from pyro_mfcvae.evaluation.predictions import decode_means
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.presets.auto import Choice, auto_config

Labels = NDArray[np.int64]
Array = NDArray[np.float64]


class Clustering(ClusterMixin, TransformerMixin, BaseEstimator):
    """What the estimators have in common.

    The constructor's arguments are those of its subclasses.
    """

    _model: ClassVar[str]

    n_clusters: Any
    latent_dim: Any
    n_init: int | None
    random_state: Any
    max_steps: int | None
    batch_size: int | None
    standardize: bool
    test_fraction: float
    settings: Mapping[str, Any] | None
    device: str
    verbose: bool

    # Set by fit.
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    model_: FacetModel
    config_: Config
    choices_: list[Choice]
    units_: Units
    facts_: list[Facts]
    labels_: Labels
    n_clusters_: Any
    redundancy_: Array
    stability_: Array
    scores_: list[float]
    history_: list[dict[str, Any]]
    health_: list[str]

    def fit(self, X: Any, y: Any = None) -> Clustering:
        """Train on rows or pictures; nothing else is read.

        Args:
            X: rows (N, features), a data frame, or pictures (N, height, width),
                (N, channels, height, width) or (N, height, width, channels).
            y: not read.

        Raises:
            ValueError: if X or an argument is not such as it must be.
        """
        values = read_rows(self, X, reset=True)
        sizes, latents = self._facets()
        if len(values) < max(sizes):
            raise ValueError(
                f"n_samples={len(values)} should be >= n_clusters={max(sizes)}; give fewer clusters"
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.units_ = Units.of(values, self.standardize)
        x = self.units_.observations(values)
        n_test = min(max(round(len(x) * self.test_fraction), 1), len(x) - max(sizes))
        train, test = random_split(len(x), max(n_test, 1) / len(x), seed)
        dataset = Dataset(type(self).__name__, x, train=train, test=test)
        auto = auto_config(
            dataset,
            sizes,
            latents,
            model=self._model,
            max_steps=self.max_steps,
            batch_size=self.batch_size,
        )
        given = {"seed": seed, "training.device": self.device, **(self.settings or {})}
        self.config_ = override(auto.config, [f"{k}={json.dumps(v)}" for k, v in given.items()])
        self.choices_ = auto.choices
        chosen = best_of(self.config_, dataset, self.n_init or auto.n_starts)
        self.model_, self.history_ = chosen.model, chosen.history
        self.scores_, self.stability_ = chosen.scores, chosen.stability[: len(sizes)]
        self._describe(x, values, getattr(X, "index", None))
        return self

    def predict(self, X: Any) -> Labels:
        """The cluster of every row: (N, J), of one facet (N,)."""
        labels = np.stack([r.argmax(1) for r in self._responsibilities(X)], 1)
        return self._squeezed(labels)

    def predict_proba(self, X: Any) -> Any:
        """The probability of every cluster: J arrays (N, K_j), of one facet the array (N, K)."""
        found = self._responsibilities(X)
        return found[0] if self._is_single else found

    def transform(self, X: Any) -> Array:
        """The latents of every row, those of all facets beside each other: (N, D_0 + D_1 + ...)."""
        x = self._observations(X)
        return np.concatenate(predict(self.model_, x).z_mean, 1)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """The names of what :meth:`transform` returns."""
        check_is_fitted(self)
        facets = enumerate(self.model_.structure.facets)
        names = [f"facet_{j}_z{d}" for j, facet in facets for d in range(facet.latent_dim)]
        return np.array(names, dtype=object)

    def inverse_transform(self, X: Any) -> Array:
        """Latents (N, D_0 + D_1 + ...) as rows or pictures (N, *event), in the units of X."""
        check_is_fitted(self)
        z = torch.as_tensor(np.asarray(X, dtype=np.float64))
        dims = [facet.latent_dim for facet in self.model_.structure.facets]
        if z.ndim != 2 or z.shape[1] != sum(dims):
            raise ValueError(f"expected latents of shape (N, {sum(dims)}), got {tuple(z.shape)}")
        zs = z.to(self.model_.fade.device).split(dims, 1)
        return self.units_.values(decode_means(self.model_, zs))

    def score_samples(self, X: Any) -> Array:
        """The ELBO of every row, (N,): a lower bound on its log-density, in nats.

        It is that of the values as the model sees them, so with standardised columns.
        """
        return elbo_of_rows(self.model_, self._observations(X), self.config_.guide.name)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of the rows' ELBO. Labels are not read."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, temperature: float = 1.0, random_state: int = 0) -> Array:
        """New rows or pictures, (n_samples, *event), in the units of X.

        Args:
            n_samples: how many.
            temperature: tau; the covariances of the clusters become tau * Sigma.
            random_state: seed.
        """
        check_is_fitted(self)
        return self.units_.values(sample(self.model_, n_samples, temperature, random_state))

    def swap(self, X: Any, donors: Any, facet: int) -> Array:
        """Rows of X (N, ...) with facet j of each of the donors (M, ...): (N, M, *event)."""
        x, given = self._observations(X), self._observations(donors)
        return self.units_.values(swap_facets(self.model_, x, given, facet))

    def traverse(
        self,
        X: Any,
        facet: int,
        dimension: int = 0,
        offsets: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
    ) -> Array:
        """Rows of X (N, ...) with one latent of facet j moved: (N, n_offsets, *event).

        Args:
            X: rows or pictures.
            facet: j.
            dimension: of the facet.
            offsets: steps, in standard deviations of the latent under its prior.
        """
        moved = traverse(self.model_, self._observations(X), facet, dimension, offsets)
        return self.units_.values(moved)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator into a ``.safetensors`` file, which :meth:`load` reads."""
        check_is_fitted(self)
        Path(path).write_bytes(saved.to_bytes(self))

    @classmethod
    def load(cls, path: str | Path) -> Clustering:
        """The estimator that :meth:`save` wrote. No code that is in the file is run.

        Raises:
            ValueError: if the file is none of this class.
        """
        estimator = cls.__new__(cls)
        saved.restore(estimator, Path(path).read_bytes())
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "model_" not in state:
            return state
        rest = {k: v for k, v in state.items() if not k.endswith("_") or k.startswith("_")}
        return rest | {"_saved": saved.to_bytes(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        held = state.pop("_saved", None)
        super().__setstate__(state)
        if held is not None:
            given = self.get_params(deep=False)
            saved.restore(self, held)
            self.set_params(**given)

    @property
    def _is_single(self) -> bool:
        return True

    def _facets(self) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """K and, where it is given, D of the facets with clusters."""
        latents = None if self.latent_dim is None else (self.latent_dim,)
        return (self.n_clusters,), latents

    def _squeezed(self, values: np.ndarray) -> Any:
        return values[:, 0] if self._is_single else values

    def _observations(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return self.units_.observations(read_rows(self, X, reset=False))

    def _responsibilities(self, X: Any) -> list[Array]:
        found = predict(self.model_, self._observations(X)).responsibilities
        return [np.asarray(r) for r in found[: len(self._facets()[0])]]

    def _describe(self, x: Tensor, values: np.ndarray, index: Any) -> None:
        """What is said of the training rows."""
        found = predict(self.model_, x)
        n_facets = len(self._facets()[0])
        labels = found.clusters[:n_facets]
        self.labels_ = self._squeezed(np.stack(labels, 1))
        sizes = tuple(r.shape[1] for r in found.responsibilities[:n_facets])
        self.n_clusters_ = sizes[0] if self._is_single else sizes
        self.redundancy_ = np.array([[redundancy(a, b) for b in labels] for a in labels])
        self.facts_ = [
            facts_of(found.responsibilities[j], found.z_mean[j], values, index)
            for j in range(n_facets)
        ]
        self.health_ = health(self.facts_, self.redundancy_)


class FacetClustering(Clustering):
    """Several clusterings of the same rows at once, each with a latent of its own (MFCVAE).

    Args:
        n_clusters: K of each facet, shallow first; as many facets as there are numbers.
        latent_dim: D of each facet; None takes what suits the number of columns.
        n_init: starts, of which the best held-out ELBO is taken; None takes what suits the data.
        random_state: seed, or a random state that one is drawn from.
        max_steps: of the training; None takes what suits the data.
        batch_size: rows of a step; None takes what suits the data.
        standardize: give every column mean 0 and standard deviation 1 first.
        test_fraction: share of the rows that is held out to choose by.
        settings: any further settings of the library by their dotted paths, such as
            ``{"training.learning_rate": 1e-3}``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        verbose: show progress.

    Attributes:
        labels_: cluster of every row in every facet, (N, J).
        n_clusters_: K of each facet.
        redundancy_: NMI of the facets' clusters with each other, (J, J).
        stability_: how far the other starts find the same facets, (J,); NaN with one start.
        health_: what a person should know, in sentences; empty if all is well.
        history_: log points of the training.
        scores_: held-out ELBO of every start.
        choices_: settings that were chosen from the data, with their reasons.
        config_: all settings.
        model_: the model, in float64.
    """

    _model = "mfcvae"

    def __init__(
        self,
        n_clusters: Sequence[int] = (10, 10),
        *,
        latent_dim: Sequence[int] | None = None,
        n_init: int | None = None,
        random_state: Any = None,
        max_steps: int | None = None,
        batch_size: int | None = None,
        standardize: bool = True,
        test_fraction: float = 0.2,
        settings: Mapping[str, Any] | None = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.latent_dim = latent_dim
        self.n_init = n_init
        self.random_state = random_state
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.standardize = standardize
        self.test_fraction = test_fraction
        self.settings = settings
        self.device = device
        self.verbose = verbose

    @property
    def _is_single(self) -> bool:
        return False

    def _facets(self) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        sizes = self.n_clusters
        sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
        latents = self.latent_dim
        if latents is not None:
            latents = (latents,) * len(sizes) if isinstance(latents, int) else tuple(latents)
            if len(latents) != len(sizes):
                raise ValueError(
                    f"latent_dim needs one number per facet ({len(sizes)}), got {latents}"
                )
        return sizes, latents


class _SingleFacet(Clustering):
    """One clustering: labels are (N,)."""

    def __init__(
        self,
        n_clusters: int = 10,
        *,
        latent_dim: int | None = None,
        n_init: int | None = None,
        random_state: Any = None,
        max_steps: int | None = None,
        batch_size: int | None = None,
        standardize: bool = True,
        test_fraction: float = 0.2,
        settings: Mapping[str, Any] | None = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.latent_dim = latent_dim
        self.n_init = n_init
        self.random_state = random_state
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.standardize = standardize
        self.test_fraction = test_fraction
        self.settings = settings
        self.device = device
        self.verbose = verbose


class VaDEClustering(_SingleFacet):
    """One clustering by variational deep embedding; arguments as of :class:`FacetClustering`.

    ``n_clusters`` and ``latent_dim`` are numbers, ``labels_`` is (N,), ``predict_proba`` (N, K).
    """

    _model = "vade"


class GMVAEClustering(_SingleFacet):
    """One clustering by a Gaussian mixture VAE; arguments as of :class:`VaDEClustering`."""

    _model = "gmvae"
