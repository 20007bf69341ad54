"""Clustering by deep generative models, as scikit-learn estimators."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.config import override as change
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.data.columns import ColumnKind, are_mixed, describe_columns
from pyro_mfcvae.data.observations import random_split
from pyro_mfcvae.errors import ConfigError, RunError
from pyro_mfcvae.estimators import frames, saved
from pyro_mfcvae.estimators.card import estimator_card
from pyro_mfcvae.estimators.frozen import FrozenFacet
from pyro_mfcvae.estimators.inputs import Standardize, Units, read_rows, row_names
from pyro_mfcvae.estimators.shown import ShowsClusters
from pyro_mfcvae.estimators.starts import best_of
from pyro_mfcvae.evaluation import examine, predict, redundancy, sample, swap_facets, traverse
from pyro_mfcvae.evaluation.cluster_facts import facts_of
from pyro_mfcvae.evaluation.onnx import to_onnx
from pyro_mfcvae.evaluation.predictions import decode_means, elbo_of_rows
from pyro_mfcvae.files import open_regular, write_whole
from pyro_mfcvae.hub import Shared, fetching
from pyro_mfcvae.naming import check_names, named_clusters
from pyro_mfcvae.presets.auto import auto_config

_FILE = "estimator.safetensors"

Labels = NDArray[np.int64]
Array = NDArray[np.float64]


class Clustering(ClusterMixin, TransformerMixin, ShowsClusters, Shared):
    """What the estimators have in common: everything but their arguments."""

    def fit(self, X: Any, y: Any = None) -> Clustering:
        """Train on rows or pictures; nothing else is read.

        Args:
            X: rows (N, features), a data frame, or pictures (N, height, width),
                (N, channels, height, width) or (N, height, width, channels). Cells of rows may be
                missing (NaN). Columns of text are categories, which :attr:`categories_` numbers.
                Each column gets a likelihood of its kind (:mod:`~pyro_mfcvae.nets.columns`). Where
                ``standardize`` is not True, all share one Gaussian, unless there are missing cells,
                categories, or columns of 0 and 1 that have no unit in common with the others.
            y: not read.

        Raises:
            ValueError: if X or an argument is not such as it must be.

        Warns:
            DataWarning: of columns with one value only, of text that differs in most rows or has
                more than 1,000 values, and of several rows with one name.
        """
        values = read_rows(self, X, reset=True)
        sizes, latents = self._facets()
        if len(values) <= max(sizes):
            raise ValueError(
                f"n_samples={len(values)} should be more than n_clusters={max(sizes)}, as one is "
                "held out; give fewer clusters"
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.units_, columns = self._units(values)
        x = self.units_.observations(values)
        n_test = min(max(round(len(x) * self.test_fraction), 1), len(x) - max(sizes))
        train, test = random_split(len(x), max(n_test, 1) / len(x), seed)
        dataset = Dataset(type(self).__name__, x, train=train, test=test)
        auto = auto_config(
            dataset,
            [*sizes],
            None if latents is None else [*latents],
            model=self._model,
            max_steps=self.max_steps,
            batch_size=self.batch_size,
            n_starts=self.n_init,
            columns=columns,
        )
        given = {"seed": seed, "training.device": self.device, **(self.settings or {})}
        self.config_ = change(auto.config, [f"{k}={json.dumps(v)}" for k, v in given.items()])
        self.choices_ = auto.choices
        chosen = best_of(self.config_, dataset, auto.n_starts, self.verbose)
        self._held_out = dataset.split("test")[0]
        self.model_, self.history_ = chosen.model, chosen.history
        self.scores_, self.stability_ = chosen.scores, chosen.stability[: len(sizes)]
        self._describe(x, values, row_names(X))
        return self

    def predict(self, X: Any) -> Labels:
        """The cluster of every row: (N, J), of one facet (N,)."""
        found = self.seen(X).clusters[: len(self.facts_)]
        return self._squeezed(np.stack(found, 1))

    def predict_proba(self, X: Any) -> Array:
        """The probability of every cluster: (N, J, max K_j), of one facet (N, K).

        Where a facet has fewer clusters than another, those that it lacks have probability 0.
        """
        found = self.seen(X).responsibilities[: len(self.facts_)]
        table = np.zeros((len(found[0]), len(found), max(r.shape[1] for r in found)))
        for j, r in enumerate(found):
            table[:, j, : r.shape[1]] = r
        return self._squeezed(table)

    def transform(self, X: Any) -> Array:
        """The latents of every row, those of all facets beside each other: (N, D_0 + D_1 + ...)."""
        return np.concatenate(self.seen(X).z_mean, 1)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """The names of what :meth:`transform` returns."""
        check_is_fitted(self)
        facets = enumerate(self.model_.structure.facets)
        names = [f"facet_{j}_z{d}" for j, facet in facets for d in range(facet.latent_dim)]
        return np.array(names, dtype=object)

    def inverse_transform(self, X: Any) -> Array:
        """Latents (N, D_0 + D_1 + ...) as rows or pictures (N, *event), in the units of X.

        Of rows with gaps, ``inverse_transform(transform(X))`` has what the model puts there.
        """
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
        x = self.observations(X)
        return elbo_of_rows(self.model_, x, self.config_.guide.name, alone=True)

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
        x, given = self.observations(X), self.observations(donors)
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
        x = self.observations(X)
        return self.units_.values(traverse(self.model_, x, facet, dimension, offsets))

    def assign(self, X: Any) -> Any:
        """A data frame on X's own index, with each row's cluster and its probability.

        Columns are ``facet_0``, ``facet_0_p`` and so on, or what :meth:`rename` calls them. Of a
        data frame the columns of the training are taken by their names, in any order, and others
        are let be.

        Args:
            X: rows, a data frame or pictures. The result is of the data frame's library; of arrays
                of pandas.

        Warns:
            DataWarning: of columns in another order than at fitting, and of several rows with one
                name, which joins would multiply.
        """
        check_is_fitted(self)
        found = self.seen(frames.select_columns(self, X))
        columns: dict[str, Any] = {}
        for j, name in enumerate(self.facet_names_):
            labels = found.clusters[j]
            columns[name] = named_clusters(labels, self.cluster_names_[j])
            columns[f"{name}_p"] = found.responsibilities[j].max(1)
        return frames.make_frame(columns, X)

    def rename(
        self,
        facets: Mapping[int, str] | None = None,
        clusters: Mapping[int, Mapping[int, str]] | None = None,
    ) -> Clustering:
        """Give facets and clusters names, which tables and figures then have.

        Args:
            facets: ``{0: "species"}``.
            clusters: of each facet, ``{0: {2: "Adelie"}}``.

        Raises:
            ValueError: if a facet or a cluster does not exist, or a name of a cluster cannot stand
                in a table.
        """
        check_is_fitted(self)
        for j in {*(facets or {}), *(clusters or {})}:
            self.check_facet(j)
        given = [(clusters or {}).get(j, {}) for j in range(len(self.facts_))]
        names = [
            own | {int(k): str(name) for k, name in new.items()}
            for own, new in zip(self.cluster_names_, given, strict=True)
        ]
        n_clusters = [len(facts.sizes) for facts in self.facts_]
        self.cluster_names_ = [dict(own) for own in check_names(names, n_clusters)]
        for j, name in (facets or {}).items():
            self.facet_names_[j] = str(name)
        return self

    def facet(self, j: int) -> FrozenFacet:
        """Facet j as a clusterer of its own, fitted already, for every tool of scikit-learn."""
        self.check_facet(j)
        return FrozenFacet(self, j)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator into a ``.safetensors`` file, which :meth:`load` reads."""
        check_is_fitted(self)
        write_whole(Path(path), saved.to_bytes(self))

    def to_onnx(self, path: str | Path) -> Path:
        """Write an ONNX file that takes rows or pictures (B, *event) in the units of X.

        Its input is float64. Columns of text are given as the numbers of their categories, in the
        order of :attr:`categories_`, and missing cells as NaN; pictures have their channels first.
        Its outputs are those of :func:`~pyro_mfcvae.evaluation.onnx.to_onnx`.

        Raises:
            ConfigError: if a package is missing, or ONNX cannot express the model.
        """
        check_is_fitted(self)
        names = [str(name) for name in self.column_names] if len(self.units_.event) == 1 else ()
        shift, scale = self.units_.shift, self.units_.scale
        return to_onnx(self.model_, path, columns=names, shift=shift, scale=scale)

    @classmethod
    def load(cls, path: str | Path) -> Clustering:
        """The estimator that :meth:`save` wrote. No code that is in the file is run.

        Raises:
            ValueError: if the file is none of this class.
        """
        estimator = cls.__new__(cls)
        saved.restore(estimator, Path(path).read_bytes())
        return estimator

    @override
    def save_pretrained(self, folder: str | Path, title: str | None = None) -> Path:
        """Write the fitted estimator and a model card into a new folder, to share it.

        Besides the model the file has the labels of the training rows, and the names of columns,
        categories and typical rows.
        """
        check_is_fitted(self)
        folder = Path(folder)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise ConfigError(f"{folder} exists already; choose a new folder") from None
        self.save(folder / _FILE)
        write_whole(folder / "README.md", estimator_card(self, title or folder.name))
        return folder

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, token: str | None = None
    ) -> Clustering:
        """The estimator that :meth:`save_pretrained` wrote, or :meth:`push_to_hub` sent.

        Args:
            name: a folder, or ``"OWNER/NAME"`` of the Hugging Face Hub.
            revision: branch, tag or commit.
            token: of an account that may read the repository.

        Raises:
            ValueError: if there is none of this class, or it cannot be fetched.
        """
        estimator = cls.__new__(cls)
        with fetching(name, [_FILE], revision, token) as folder:
            try:
                with open_regular(folder / _FILE) as file:
                    held = file.read()
            except FileNotFoundError:
                raise RunError(f"{name} has no {_FILE}; give what save_pretrained wrote") from None
        saved.restore(estimator, held)
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_held_out", None)
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

    def _facets(self) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """K and, where it is given, D of the facets with clusters."""
        latents = None if self.latent_dim is None else _numbers(self.latent_dim)
        return _numbers(self.n_clusters), latents

    def _columns(self, values: np.ndarray) -> list[ColumnKind]:
        """What kinds of values the columns of rows (N, features) have; none of pictures."""
        if values.ndim > 2:
            return []
        names = [str(name) for name in self.column_names]
        n_classes = {
            i: len(self.categories_[name])
            for i, name in enumerate(names)
            if len(self.categories_.get(name, ())) > 1
        }
        return describe_columns(torch.from_numpy(np.array(values)), names, n_classes)

    def _units(self, values: np.ndarray) -> tuple[Units, list[ColumnKind]]:
        """Units of rows or pictures, and the columns in these, if each has its own likelihood."""
        columns = self._columns(values)
        if self.standardize is not True:
            one_unit = self.standardize == "together"
            if not are_mixed(columns, one_unit):
                return Units.of(values, self.standardize), []
            return Units.of(values, False), columns
        kept = np.array([column.kind != "real" for column in columns])
        standard = [replace(c, loc=0.0, scale=1.0) if c.kind == "real" else c for c in columns]
        return Units.of(values, True, kept), standard

    def _squeezed(self, values: np.ndarray) -> Any:
        return values[:, 0] if self.is_single else values

    def _describe(self, x: Tensor, values: np.ndarray, index: Any) -> None:
        """What is said of the training rows."""
        found = predict(self.model_, x)
        n_facets = len(self._facets()[0])
        labels = found.clusters[:n_facets]
        self.labels_ = self._squeezed(np.stack(labels, 1))
        sizes = tuple(r.shape[1] for r in found.responsibilities[:n_facets])
        self.n_clusters_ = sizes[0] if self.is_single else sizes
        self.redundancy_ = np.array([[redundancy(a, b) for b in labels] for a in labels])
        told = self.with_indicators(values)
        self.facts_ = [
            facts_of(found.responsibilities[j], found.z_mean[j], told, index)
            for j in range(n_facets)
        ]
        self.health_ = [finding.sentence for finding in examine(self.model_, x)]
        self.facet_names_ = [f"facet_{j}" for j in range(n_facets)]
        self.cluster_names_ = [{} for _ in range(n_facets)]


def _numbers(given: Any) -> tuple[int, ...]:
    """One whole number, or several."""
    return tuple(operator.index(number) for number in np.atleast_1d(given))


class FacetClustering(Clustering):
    """Several clusterings of the same rows at once, each with a latent of its own (MFCVAE).

    Args:
        n_clusters: K of each facet, shallow first; as many facets as there are numbers.
        latent_dim: D of each facet; None takes what suits the number of columns.
        n_init: starts, of which the best held-out ELBO is taken; None takes what suits the data.
        random_state: seed, or a random state that one is drawn from.
        max_steps: of the training; None takes what suits the data.
        batch_size: rows of a step; None takes what suits the data.
        standardize: give every real column mean 0 and standard deviation 1 first. ``"together"``
            divides all columns by one number, for those of one unit such as pixels; False leaves
            them.
        test_fraction: share of the rows that is held out to choose by.
        settings: any further settings of the library by their dotted paths, such as
            ``{"training.learning_rate": 1e-3}``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        verbose: show progress, and say what is wrong with a start as soon as it is found.

    Attributes:
        labels_: cluster of every row in every facet, (N, J).
        n_clusters_: K of each facet.
        redundancy_: NMI of the facets' clusters with each other, (J, J).
        stability_: how far the other starts find the same facets, (J,); NaN with one start.
        health_: what a person should know, in sentences; empty if all is well.
        history_: log points of the training; those of the split "health" say what was wrong then.
        scores_: held-out ELBO of every start.
        choices_: settings that were chosen from the data, with their reasons.
        config_: all settings.
        model_: the model, in float64.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_mfcvae import FacetClustering
        >>> X = load_iris().data
        >>> model = FacetClustering((3, 2), n_init=1, max_steps=5, random_state=0).fit(X)
        >>> model.labels_.shape
        (150, 2)
        >>> model.predict(X[:10]).shape, model.transform(X[:10]).shape[0]
        ((10, 2), 10)
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
        standardize: Standardize = True,
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
    def is_single(self) -> bool:
        """Whether labels are (N,)."""
        return False

    def _facets(self) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        sizes = _numbers(self.n_clusters)
        if self.latent_dim is None:
            return sizes, None
        latents = _numbers(self.latent_dim)
        if len(latents) == 1:
            latents *= len(sizes)
        if len(latents) != len(sizes):
            raise ValueError(
                f"latent_dim needs one number per facet ({len(sizes)}), got {list(latents)}"
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
        standardize: Standardize = True,
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
