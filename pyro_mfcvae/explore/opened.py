"""A run's model and data, and what all parts of its page share."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from pyro_mfcvae.data import Dataset
from pyro_mfcvae.data.categories import Categories, largest_of_columns, with_indicators
from pyro_mfcvae.evaluation.cluster_facts import Facts, facts_of
from pyro_mfcvae.explore.sheets import show
from pyro_mfcvae.figures import Seen
from pyro_mfcvae.figures.seen import Indices
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.runs.run import Run

_N_POINTS = 1000  # observations on a map
_N_KNOWN = 10_000  # observations that clusters are described by
_N_VALUES = 2**26  # of these observations
_N_COLUMNS = 30  # of a table


class Opened:
    """A run, opened.

    Args:
        run: the run.
        dataset: its data; None loads them again.

    Attributes:
        run: the run.
        dataset: its data.
        seen: its model and held-out observations.
        shown: numbers of the observations that are on the maps, evenly spread, (n,).

    Raises:
        ConfigError, DataError, RunError: if model, names or data cannot be had.
    """

    def __init__(self, run: Run, dataset: Dataset | None = None) -> None:
        self.run = run
        self.dataset = run.dataset() if dataset is None else dataset
        self.seen: Seen = look(run, self.dataset)
        most = max(_N_VALUES // self.seen.model.observation.n_values, 1)
        self.shown: Indices = self.seen.choose(None, min(_N_POINTS, most))
        self._known = self.seen.choose(None, min(_N_KNOWN, most))

    @property
    def is_table(self) -> bool:
        """Whether observations are rows of numbers."""
        return self.seen.model.observation.kind == "table"

    @functools.cached_property
    def feature_names(self) -> list[str]:
        """Of the columns of a table; of pictures none."""
        if not self.is_table:
            return []
        n = self.seen.model.observation.n_values
        return list(self.dataset.feature_names) or [f"column {i}" for i in range(n)]

    @property
    def categories(self) -> Categories:
        """Of some columns of a table, which their values number."""
        return self.dataset.categories

    @functools.cached_property
    def facts(self) -> list[Facts]:
        """What is said of the clusters of each facet, by up to 10,000 observations.

        Typical observations are given by their numbers.
        """
        found, known = self.seen.predictions, self._known
        x = np.empty((len(known), 0))
        if self.is_table:  # of pictures no pixels are named
            x = with_indicators(self.seen.observed(known), self.feature_names, self.categories)
        return [
            facts_of(responsibilities[known], z[known], x, known)
            for responsibilities, z in zip(found.responsibilities, found.z_mean, strict=True)
        ]

    @functools.cached_property
    def columns(self) -> list[int]:
        """Columns that are shown: those of whose variance the clusters tell most."""
        if not self.is_table:
            return []
        told = np.max([facts.told for facts in self.facts], axis=0)
        told = largest_of_columns(told, self.feature_names, self.categories)
        return np.sort(np.argsort(-told, kind="stable")[:_N_COLUMNS]).tolist()

    def row_names(self, rows: Indices) -> list[str]:
        """Names of held-out observations, or their numbers."""
        names, held_out = self.dataset.row_names, self.dataset.test
        return [names[int(held_out[i])] for i in rows] if names else [str(i) for i in rows]

    def show(self, x: np.ndarray) -> dict[str, Any]:
        """Observations, or what is decoded, (n, *event), as the page's script takes them."""
        return show(self.seen, x, self.columns)
