"""A model and what it says of held-out observations: all that figures are made from."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyro_mfcvae import evaluation
from pyro_mfcvae.config.observation import MISSING
from pyro_mfcvae.evaluation.results import Comparison, Evaluation
from pyro_mfcvae.figures.names import describe_facets
from pyro_mfcvae.naming import Names

if TYPE_CHECKING:
    from torch import Tensor

    from pyro_mfcvae.data import Dataset
    from pyro_mfcvae.data.observations import Observations
    from pyro_mfcvae.evaluation import Predictions
    from pyro_mfcvae.figures.canvas import Canvas
    from pyro_mfcvae.figures.pictures import Pictures
    from pyro_mfcvae.models import FacetModel

Indices = NDArray[np.int64]
Choice = Sequence[int] | None

_N_GROUND = 2000  # points behind all others


@dataclass(frozen=True, eq=False, kw_only=True)
class Recorded:
    """What was written down of a run.

    Attributes:
        name: of the run.
        metrics: log points of the training; None where there are none.
        results: of the latest evaluation; None where there is none.
        comparison: of guides; None where there is none.
        cluster_names: that a person gave, of each facet; empty where there are none.
        facet_names: likewise.
    """

    name: str = ""
    metrics: Sequence[dict[str, Any]] | None = None
    results: Evaluation | None = None
    comparison: Comparison | None = None
    cluster_names: Sequence[Names] = ()
    facet_names: Names = field(default_factory=dict)

    def facet_title(self, *facets: int) -> str:
        """What facets are called, such as ``facet 0`` or ``facets species and 1``."""
        return describe_facets(facets, self.facet_names)


@dataclass(frozen=True, eq=False)
class Seen(Recorded):
    """A model, what it says of the N held-out observations, and what was written down of its run.

    Attributes:
        model: the model.
        temperature: of samples.
        x: observations (N, *event), read from their file as they are needed if they are streamed.
        labels: classes by factor, (N,) each, -1 where they are missing.
        class_names: by factor, of all classes in the data.
        columns: names of the columns of a table; empty where they have none.
        categories: {name of a column: its categories}, which its values number.
    """

    model: FacetModel
    temperature: float
    x: Observations
    labels: dict[str, Indices]
    class_names: dict[str, tuple[str, ...]]
    columns: Sequence[str] = ()
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: FacetModel, dataset: Dataset, temperature: float, **recorded: Any) -> Seen:
        """The model and the held-out part of a data set.

        Args:
            model: the model.
            dataset: with labels or without.
            temperature: of samples.
            **recorded: what :class:`Recorded` has.
        """
        x, labels = dataset.split("test")
        names = {
            factor: dataset.class_names.get(factor) or tuple(map(str, range(int(values.max()) + 1)))
            for factor, values in dataset.labels.items()
        }
        arrays = {factor: values.cpu().numpy() for factor, values in labels.items()}
        columns, categories = dataset.feature_names, dataset.categories
        return cls(model, temperature, x, arrays, names, columns, categories, **recorded)

    @functools.cached_property
    def predictions(self) -> Predictions:
        """Clusters and latents of all observations."""
        return evaluation.predict(self.model, self.x)

    def names(self, facet: int) -> Names:
        """Names of a facet's clusters."""
        return self.cluster_names[facet] if self.cluster_names else {}

    @property
    def clustered(self) -> list[int]:
        """Facets that have clusters."""
        return list(self.model.structure.clustered)

    @functools.cached_property
    def canvas(self) -> Canvas:
        """How the observations are drawn: those with two features are points in the plane."""
        from pyro_mfcvae.figures.points import Points

        if self.model.observation.shape != (2,):
            return self.pictures
        observation = self.model.observation
        width = (observation.high - observation.low) or 1.0
        return Points(self.observed(self.choose(None, _N_GROUND)), width)

    @functools.cached_property
    def pictures(self) -> Pictures:
        """Pictures, and rows of numbers as strips of colour, each column in its own range."""
        from pyro_mfcvae.figures.pictures import Pictures

        if self.model.observation.kind == "table":
            x = self.observed(self.choose(None, _N_GROUND))
            low, high, names = np.nanmin(x, 0), np.nanmax(x, 0), list(self.columns)
            for name, texts in self.categories.items():
                i = self.columns.index(name)
                low[i], high[i], names[i] = 0, len(texts) - 1, f"{name} ({', '.join(texts)})"
            return Pictures(low, high, names)
        return Pictures(self.model.observation.low, self.model.observation.high)

    def observed(self, indices: Indices) -> np.ndarray:
        """Some of the observations, as real numbers: (n, *event)."""
        from pyro_mfcvae.data import as_float

        return as_float(self.take(indices)).cpu().numpy()

    def take(self, indices: Indices) -> Tensor:
        """Some of the observations (n, *event)."""
        import torch

        return self.x[torch.from_numpy(indices).to(self.x.device)]

    def choose(self, indices: Choice, n: int) -> Indices:
        """The observations that were asked for, or at most n, evenly spread.

        Raises:
            ValueError: if one of them does not exist, or there are none.
        """
        n_all = len(self.x)
        if indices is None:
            return np.linspace(0, n_all - 1, min(n, n_all)).astype(np.int64)
        if not len(indices) or not all(0 <= i < n_all for i in indices):
            raise ValueError(
                f"expected held-out observations from 0 to {n_all - 1}, at least one, got "
                f"{', '.join(map(str, indices)) or 'none'}"
            )
        return np.array(indices, dtype=np.int64)

    def choose_pairs(
        self, first: Choice, second: Choice, n: int, facet: int | None = None
    ) -> tuple[Indices, Indices]:
        """Observations and as many partners.

        Args:
            first: observations; None spreads at most n of them evenly.
            second: their partners; None takes the observation that comes half of all later.
            n: pairs at most, where observations are not given.
            facet: go on from there to the next observation in another cluster of this facet.

        Raises:
            ValueError: if one of them does not exist, there are not as many partners, or there is
                only one observation to pair.
        """
        n_all = len(self.x)
        if n_all < 2 and second is None:
            raise ValueError("a pair needs 2 held-out observations, there is only 1")
        chosen = self.choose(first, max(min(n, n_all // 2), 1))
        if second is not None:
            partners = self.choose(second, n)
        else:
            partners = np.array([self._partner(i, facet) for i in chosen])
        if len(partners) != len(chosen):
            raise ValueError(
                f"expected a partner for each observation, got {len(partners)} for {len(chosen)}"
            )
        return chosen, partners

    def _partner(self, i: int, facet: int | None) -> int:
        later = np.roll(np.arange(len(self.x)), -(i + len(self.x) // 2))
        if facet is None:
            return int(later[0])
        clusters = self.predictions.clusters[facet]
        return int(later[(clusters[later] != clusters[i]).argmax()])

    def most_used(self, facet: int) -> list[int]:
        """Clusters of a facet by their number of members, falling; only those that have any.

        Raises:
            ValueError: if the facet does not exist.
        """
        evaluation.check_facet(self.model, facet)
        counts = np.bincount(self.predictions.clusters[facet])
        return [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]

    def surest(self, facet: int) -> list[int]:
        """Clusters of a facet that have members, by the mean probability of these, falling.

        Raises:
            ValueError: if the facet does not exist.
        """
        evaluation.check_facet(self.model, facet)
        return cluster_order(self.predictions.responsibilities[facet])

    def is_constant(self, facet: int) -> bool:
        """Whether all observations have one value of the facet, as a group shares it."""
        return not np.ptp(self.predictions.z_mean[facet], 0).any()

    def is_conditional(self, facet: int) -> bool:
        """Whether the facet's components depend on another facet."""
        return bool(self.model.structure.facets[facet].prior_parents)

    @property
    def has_groups(self) -> bool:
        """Whether the observations of a batch share a latent."""
        return self.model.structure.group_size is not None

    def follows(self, changed: Sequence[int]) -> bool:
        """Whether what is decoded moves with facets that change, as none of these is decoded."""
        return not set(changed) & set(self.model.structure.decoded)

    def describe_others(
        self, where: str, changed: Sequence[int] = (), which: str = "other facets"
    ) -> str:
        """What a title says of the facets that do not change, if there are any.

        Args:
            where: they are, unless they follow: then no facet that changes is decoded.
            changed: facets.
            which: what the others are called.
        """
        if changed and self.follows(changed):
            return ", all else at the mean of each observation's cluster, given that"
        return f", {which} {where}" if self.model.n_facets > 1 else ""

    def with_unused(self, facets: Sequence[int]) -> str:
        """What a title says if priors of other facets have clusters without members."""
        others = [j for j in self.clustered if j not in facets]
        n_used = {j: len(self.most_used(j)) for j in others}
        unused = any(n < self.model.facets[j].n_clusters for j, n in n_used.items())
        return ", unused clusters included" if unused else ""

    def describe_rest(self, changed: Sequence[int]) -> str:
        """What a caption says of all that does not change, in a sentence."""
        if self.follows(changed):
            return "All else moves to the mean of each observation's cluster, given this facet."
        return "All else is kept." if self.model.n_facets > 1 else ""


def labelled(classes: Indices, clusters: Indices) -> tuple[Indices, Indices]:
    """Classes (N,) and clusters (N,) of the observations whose class is not missing."""
    known = classes != MISSING
    return classes[known], clusters[known]


def cluster_order(responsibilities: np.ndarray) -> list[int]:
    """Occupied clusters by the mean probability of their members' assignment, falling.

    Args:
        responsibilities: of one facet, (N, K).
    """
    clusters, confidence = responsibilities.argmax(1), responsibilities.max(1)
    counts = np.bincount(clusters, minlength=responsibilities.shape[1])
    sums = np.bincount(clusters, weights=confidence, minlength=responsibilities.shape[1])
    means = np.divide(sums, counts, out=np.full(len(counts), -1.0), where=counts > 0)
    return [int(k) for k in np.argsort(-means, kind="stable") if counts[k]]


def cluster_members(responsibilities: np.ndarray, cluster: int) -> Indices:
    """Indices of a cluster's members, the surest first.

    Args:
        responsibilities: of one facet, (N, K).
        cluster: k.
    """
    members = np.flatnonzero(responsibilities.argmax(1) == cluster)
    return members[np.argsort(-responsibilities[members, cluster], kind="stable")]
