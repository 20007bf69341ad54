"""A run's model and its held-out observations, as figures need them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae import evaluation, figures
from pyro_mfcvae.data import Dataset, as_float
from pyro_mfcvae.data.observations import Observations
from pyro_mfcvae.evaluation import Predictions
from pyro_mfcvae.evaluation.predictions import check_facet
from pyro_mfcvae.figures import PointFigures
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.runs.measure import open_trained
from pyro_mfcvae.runs.run import Run

Indices = NDArray[np.int64]

_N_GROUND = 2000  # points behind all others


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A model, and what it says of the N held-out observations.

    Attributes:
        model: the model.
        temperature: of samples.
        x: observations (N, *event), read from their file as they are needed if they are streamed.
        labels: classes by factor, (N,) each.
        class_names: by factor, of all classes in the data.
    """

    model: FacetModel
    temperature: float
    x: Observations
    labels: dict[str, Indices]
    class_names: dict[str, tuple[str, ...]]

    @functools.cached_property
    def predictions(self) -> Predictions:
        """Clusters and latents of all observations."""
        return evaluation.predict(self.model, self.x)

    @property
    def clustered(self) -> list[int]:
        """Facets that have clusters."""
        return list(self.model.structure.clustered)

    @property
    def in_plane(self) -> bool:
        """Whether observations have two features, so that they are points rather than pictures."""
        return self.model.observation.shape == (2,)

    @functools.cached_property
    def figures(self) -> ModuleType | PointFigures:
        """The functions that draw such observations."""
        if not self.in_plane:
            return figures
        observation = self.model.observation
        ground = self.shown[self.choose(None, _N_GROUND)]
        return PointFigures(ground, observation.low, observation.high)

    def is_shared(self, j: int) -> bool:
        """Whether all observations have one value of facet j, as a group shares it."""
        return not np.ptp(self.predictions.z_mean[j], 0).any()

    def drawable(self, values: np.ndarray) -> np.ndarray:
        """Observations or their means with the data's range brought to [0, 1]."""
        observation = self.model.observation
        return (values - observation.low) / ((observation.high - observation.low) or 1.0)

    def observed(self, indices: Indices) -> np.ndarray:
        """Some of the observations, as real numbers: (n, *event)."""
        return as_float(self.take(indices)).cpu().numpy()

    @property
    def shown(self) -> Shown:
        """All observations as they are drawn."""
        return Shown(self)

    def take(self, indices: Indices) -> Tensor:
        """Some of the observations (n, *event)."""
        return self.x[torch.from_numpy(indices).to(self.x.device)]

    def choose(self, indices: Sequence[int] | None, n: int) -> Indices:
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

    def pairs(
        self,
        first: Sequence[int] | None,
        second: Sequence[int] | None,
        n: int,
        facet: int | None = None,
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

    def follows(self, changed: Sequence[int]) -> bool:
        """Whether what is decoded moves with facets that change, as none of these is decoded."""
        return not set(changed) & set(self.model.structure.decoded)

    def others(self, where: str, changed: Sequence[int] = (), which: str = "other facets") -> str:
        """What a title says of the facets that do not change, if there are any.

        Args:
            where: they are, unless they follow: then no facet that changes is decoded.
            changed: facets.
            which: what the others are called.
        """
        if changed and self.follows(changed):
            return ", all else at the mean of each observation's cluster, given that"
        return f", {which} {where}" if self.model.n_facets > 1 else ""

    def most_used(self, facet: int) -> list[int]:
        """Clusters of a facet by their number of members, falling; only those that have any.

        Raises:
            ValueError: if the facet does not exist.
        """
        check_facet(self.model, facet)
        counts = np.bincount(self.predictions.clusters[facet])
        return [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]


@dataclass(frozen=True)
class Shown:
    """Observations with the data's range brought to [0, 1], of which any can be asked for.

    Attributes:
        seen: model and observations.
    """

    seen: HeldOut

    def __getitem__(self, indices: Indices) -> np.ndarray:
        """Some of them, (n,) -> (n, *event)."""
        return self.seen.drawable(self.seen.observed(indices))


def look(run: Run, dataset: Dataset | None = None) -> HeldOut:
    """A run's model at its newest checkpoint, and its held-out observations.

    Args:
        run: the run.
        dataset: its data; None loads them again.

    Raises:
        ConfigError: if the data are not such as the model was made for.
    """
    trained = open_trained(run, dataset)
    dataset = trained.dataset
    x, labels = dataset.split("test")
    names = {
        factor: dataset.class_names.get(factor) or tuple(map(str, range(int(values.max()) + 1)))
        for factor, values in dataset.labels.items()
    }
    return HeldOut(
        model=trained.model,
        temperature=run.config.sampling_temperature,
        x=x,
        labels={factor: values.cpu().numpy() for factor, values in labels.items()},
        class_names=names,
    )
