"""A run opened to be looked around in: what its page asks for, made of registered figures."""

from __future__ import annotations

import functools
import io
from collections.abc import Collection, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from pyro_mfcvae.explore.content import describe_run
from pyro_mfcvae.explore.opened import Opened
from pyro_mfcvae.figures import get_figure
from pyro_mfcvae.naming import facet_column, named_clusters
from pyro_mfcvae.runs.assign import WRITERS
from pyro_mfcvae.runs.run import Run

_N_PAIRS = 10  # of facets, in a file
_N_DIMENSIONS = 10
_OFFSETS = tuple(step / 2 for step in range(-6, 7))  # in standard deviations


class Explored(Opened):
    """A run to be looked around in.

    Observations are held-out ones, by their numbers among them.
    """

    def content(self) -> dict[str, Any]:
        """Everything but what is decoded on request."""
        names = [dict(own) for own in self.run.cluster_names()]
        return self._fixed | {"names": names, "facet_names": dict(self.run.facet_names())}

    def pairs(self, first: int, second: int) -> dict[str, Any]:
        """Decoded means of pairs of clusters of two facets, in rows and columns.

        Raises:
            ValueError: if a facet does not exist.
        """
        figure = get_figure("means")
        found = figure.compute(self.seen, first, second).arrays
        pictures = found["pictures"]
        flat = pictures.reshape(-1, *pictures.shape[2:])
        clusters = [found[f"clusters_{j}"].tolist() for j in (first, second)]
        return {
            "rows": clusters[0],
            "columns": clusters[1],
            "decoded": self.show(flat),
            "note": figure.note(self.seen, first, second),
        }

    def all_pairs(self) -> dict[str, Any]:
        """What :meth:`pairs` gives of every two facets, up to ten, by their numbers."""
        pairs = list(combinations(self.seen.clustered, 2))[:_N_PAIRS]
        return {f"{i},{j}": self.pairs(i, j) for i, j in pairs}

    def traverse(self, row: int, facet: int) -> dict[str, Any]:
        """An observation redrawn while dimensions of a facet move, those first that change most.

        Raises:
            ValueError: if the observation or the facet does not exist.
        """
        figure = get_figure("traversal")
        found = figure.compute(
            self.seen, facet, inputs=[row], offsets=_OFFSETS, n=_N_DIMENSIONS
        ).arrays
        return {
            "offsets": _OFFSETS,
            "note": figure.note(self.seen, facet),
            "dimensions": [
                {"dimension": dimension, "decoded": self.show(pictures)}
                for dimension, pictures in zip(
                    found["dimensions"].tolist(), found["pictures"], strict=True
                )
            ],
        }

    def swap(self, first: int, second: int, facet: int) -> dict[str, Any]:
        """Two observations, and both redrawn with a facet exchanged between them.

        Raises:
            ValueError: if an observation or the facet does not exist.
        """
        figure = get_figure("swapped-pairs")
        found = figure.compute(self.seen, facet, inputs=[first], donors=[second]).arrays
        shown = np.concatenate([found["x"][0], found["pictures"][0]])
        return {"decoded": self.show(shown), "note": get_figure("swaps").note(self.seen, facet)}

    def name_cluster(self, facet: int, cluster: int, name: str) -> None:
        """Name a cluster; an empty name takes its name away.

        Raises:
            ValueError: if there is no such cluster, or it cannot be called so.
        """
        self.run.name_clusters(facet, {cluster: name})

    def name_facet(self, facet: int, name: str) -> None:
        """Name a facet; errors as of :meth:`name_cluster`."""
        self.run.name_facets({facet: name})

    def table(self, rows: Sequence[int]) -> bytes:
        """Observations as CSV: name or number, clusters and probabilities, classes, columns.

        Raises:
            ValueError: if there are none, or one of them does not exist.
        """
        seen, chosen = self.seen, self.seen.choose(list(rows), len(rows))
        columns: dict[str, Any] = {"row": self.row_names(chosen)}
        names, titles = self.run.cluster_names(), self.run.facet_names()
        for j in seen.clustered:
            responsibilities = seen.predictions.responsibilities[j][chosen]
            title = facet_column(titles, j)
            columns[title] = named_clusters(responsibilities.argmax(1), names[j])
            columns[f"{title}_p"] = responsibilities.max(1).astype(np.float64).round(6)
        for factor, classes in seen.labels.items():
            own = seen.class_names[factor]
            columns[_free(factor, columns)] = [own[c] if c >= 0 else "" for c in classes[chosen]]
        if self.is_table:
            for name, values in zip(self.feature_names, seen.observed(chosen).T, strict=True):
                texts = self.categories.get(name)
                columns[_free(name, columns)] = (
                    [texts[int(v)] if v == v else "" for v in values] if texts else values
                )
        file = io.BytesIO()
        with WRITERS[".csv"](file) as write:
            write(columns)
        return file.getvalue()

    @functools.cached_property
    def _fixed(self) -> dict[str, Any]:
        return describe_run(self)


def open_run(path: Path | str, data_dir: Path | None = None) -> Explored:
    """A run to be looked around in.

    Args:
        path: of its folder.
        data_dir: folder of the data's files, in place of that in the settings.

    Raises:
        ConfigError, DataError, RunError: if model, names or data cannot be had.
    """
    run = Run(path)
    run.cluster_names()  # before anything long: a damaged file is refused
    return Explored(run, run.dataset(data_dir))


def _free(name: str, taken: Collection[str]) -> str:
    """A name of a column that results do not have."""
    while name in taken:
        name = f"{name} (data)"
    return name
