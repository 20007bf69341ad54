"""What the page shows of a run: numbers of registered figures, as plain data for its script.

Observations are held-out ones, by their numbers among them. A map shows some of them, evenly
spread, by their places on it.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Collection, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from pyro_mfcvae.data import Dataset
from pyro_mfcvae.evaluation.accuracies import contingency
from pyro_mfcvae.evaluation.cluster_facts import Facts, cluster_rows, facts_of, largest_first
from pyro_mfcvae.explore.sheets import short, show
from pyro_mfcvae.figures import Seen, get_figure
from pyro_mfcvae.figures.confusion import factors_by_agreement
from pyro_mfcvae.figures.latents import lay_out
from pyro_mfcvae.figures.marks import class_colors, cluster_colors
from pyro_mfcvae.figures.seen import labelled
from pyro_mfcvae.naming import cluster_title, named_clusters
from pyro_mfcvae.runs.assign import WRITERS
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.runs.run import Run

_N_POINTS = 1000  # observations on a map
_N_KNOWN = 10_000  # observations that clusters are described by
_N_VALUES = 2**26  # of these observations
_N_COLUMNS = 30  # of a table
_N_APART = 6  # columns beside the members of a cluster
_N_FACTORS = 3  # that a cluster is described by
_N_PAIRS = 10  # of facets, in a file
_N_DIMENSIONS = 10
_OFFSETS = tuple(step / 2 for step in range(-6, 7))  # in standard deviations


class Explored:
    """A run to be looked around in.

    Args:
        run: the run.
        dataset: its data; None loads them again.

    Raises:
        ConfigError, DataError, RunError: if model, names or data cannot be had.
    """

    def __init__(self, run: Run, dataset: Dataset | None = None) -> None:
        self.run, self._dataset = run, run.dataset() if dataset is None else dataset
        self.seen: Seen = look(run, self._dataset)
        n_values = self.seen.model.observation.n_values
        self._shown = self.seen.choose(None, min(_N_POINTS, max(_N_VALUES // n_values, 1)))
        self._known = self.seen.choose(None, min(_N_KNOWN, max(_N_VALUES // n_values, 1)))

    def content(self) -> dict[str, Any]:
        """Everything but what is decoded on request."""
        names = [dict(own) for own in self.run.cluster_names()]
        return self._fixed | {"names": names}

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
            "decoded": self._show(flat),
            "note": figure.note(self.seen, first, second),
        }

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
                {"dimension": dimension, "decoded": self._show(pictures)}
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
        return {"decoded": self._show(shown), "note": get_figure("swaps").note(self.seen, facet)}

    def name_cluster(self, facet: int, cluster: int, name: str) -> None:
        """Name a cluster; an empty name takes its name away.

        Raises:
            ValueError: if there is no such cluster, or it cannot be called so.
        """
        self.run.name_clusters(facet, {cluster: name})

    def table(self, rows: Sequence[int]) -> bytes:
        """Observations as CSV: name or number, clusters and probabilities, classes, columns.

        Raises:
            ValueError: if there are none, or one of them does not exist.
        """
        seen, chosen = self.seen, self.seen.choose(list(rows), len(rows))
        columns: dict[str, Any] = {"row": self._row_names(chosen)}
        for j, names in zip(seen.clustered, self._names_of_clustered(), strict=True):
            responsibilities = seen.predictions.responsibilities[j][chosen]
            columns[f"facet_{j}"] = named_clusters(responsibilities.argmax(1), names)
            columns[f"facet_{j}_p"] = responsibilities.max(1).astype(np.float64).round(6)
        for factor, classes in seen.labels.items():
            own = seen.class_names[factor]
            columns[_free(factor, columns)] = [own[c] if c >= 0 else "" for c in classes[chosen]]
        if self._is_table:
            for name, values in zip(self._feature_names, seen.observed(chosen).T, strict=True):
                columns[_free(name, columns)] = values
        file = io.BytesIO()
        with WRITERS[".csv"](file) as write:
            write(columns)
        return file.getvalue()

    @functools.cached_property
    def _fixed(self) -> dict[str, Any]:
        seen, shown = self.seen, self._shown
        facets = range(seen.model.n_facets)
        pairs = list(combinations(seen.clustered, 2))
        return {
            "run": self.run.path.resolve().name,
            "n_observations": len(seen.x),
            "numbers": shown.tolist(),
            "rows": self._row_names(shown),
            "has_names": bool(self._dataset.row_names),
            "columns": [self._feature_names[c] for c in self._columns],
            "n_columns": len(self._feature_names),
            "shown": self._show(seen.observed(shown)),
            "labels": [self._factor(factor) for factor in seen.labels],
            "facets": [self._facet(j) for j in facets],
            "pairs": pairs,
            "swaps": get_figure("swaps").fits(seen, 0) or "",
        }

    def all_pairs(self) -> dict[str, Any]:
        """What :meth:`pairs` gives of every two facets, up to ten, by their numbers."""
        pairs = list(combinations(self.seen.clustered, 2))[:_N_PAIRS]
        return {f"{i},{j}": self.pairs(i, j) for i, j in pairs}

    @property
    def _is_table(self) -> bool:
        return self.seen.model.observation.kind == "table"

    @functools.cached_property
    def _feature_names(self) -> list[str]:
        """Of the columns of a table; of pictures none."""
        if not self._is_table:
            return []
        n = self.seen.model.observation.n_values
        return list(self._dataset.feature_names) or [f"column {i}" for i in range(n)]

    @functools.cached_property
    def _facts(self) -> list[Facts]:
        found, known = self.seen.predictions, self._known
        x, rows = np.empty((len(known), 0)), np.array(self._row_names(known), dtype=object)
        if self._is_table:  # of pictures no pixels are named
            x = self.seen.observed(known)
        return [
            facts_of(responsibilities[known], z[known], x, rows)
            for responsibilities, z in zip(found.responsibilities, found.z_mean, strict=True)
        ]

    @functools.cached_property
    def _columns(self) -> list[int]:
        """Columns that are shown: those of whose variance the clusters tell most."""
        if not self._is_table:
            return []
        told = np.max([facts.told for facts in self._facts], axis=0)
        return np.sort(np.argsort(-told, kind="stable")[:_N_COLUMNS]).tolist()

    def _names_of_clustered(self) -> list[Any]:
        names = self.run.cluster_names()
        return [names[j] for j in self.seen.clustered]

    def _row_names(self, rows: np.ndarray) -> list[str]:
        """Names of held-out observations, or their numbers."""
        names, held_out = self._dataset.row_names, self._dataset.test
        return [names[int(held_out[i])] for i in rows] if names else [str(i) for i in rows]

    def _show(self, x: np.ndarray) -> dict[str, Any]:
        return show(self.seen, x, self._columns)

    def _factor(self, factor: str) -> dict[str, Any]:
        names = self.seen.class_names[factor]
        return {
            "name": factor,
            "classes": list(names),
            "colours": _hex(class_colors(len(names))),
            "of": self.seen.labels[factor][self._shown].tolist(),
        }

    def _facet(self, j: int) -> dict[str, Any]:
        seen, shown, facts = self.seen, self._shown, self._facts[j]
        figure, own = get_figure("latents"), seen.predictions.responsibilities[j]
        order = largest_first(facts.sizes)
        has_clusters = j in seen.clustered
        return {
            "missing": figure.fits(seen, j) or "",
            "map": None if figure.fits(seen, j) else self._map(j),
            "at_zero": seen.is_conditional(j),
            "has_clusters": has_clusters,
            "cluster_of": own[shown].argmax(1).tolist(),
            "sure": [short(p) for p in own[shown].max(1)],
            "clusters": self._clusters(j, order),
            "means": self._means(j, order) if has_clusters else None,
        }

    def _map(self, j: int) -> dict[str, Any]:
        layout = lay_out(get_figure("latents").compute(self.seen, j), self._shown)
        points = {"points": layout.points, "centers": layout.centers, "window": layout.window}
        found = {name: [[short(v) for v in p] for p in at] for name, at in points.items()}
        return found | {"used": layout.used.tolist(), "axes": list(layout.names)}

    def _clusters(self, j: int, order: Sequence[int]) -> list[dict[str, Any]]:
        facts, about = self._facts[j], self._about(j)
        rows = cluster_rows(facts, {}, self._feature_names)
        colours = _hex(cluster_colors(len(order)))
        return [
            {
                "number": k,
                "title": cluster_title({}, k),
                "colour": colour,
                "size": row["size"],
                "share": short(row["share"]),
                "sure": short(row["sure"]),
                "typical": row["typical"],
                "apart": row["apart"],
                "columns": self._apart(j, k),
                "about": about.get(k, ""),
            }
            for k, colour, row in zip(order, colours, rows.values(), strict=True)
        ]

    def _apart(self, j: int, k: int) -> list[int]:
        """Places of the shown columns that set a cluster apart most."""
        if not self._is_table:
            return []
        differences = np.abs(np.nan_to_num(self._facts[j].differences[k][self._columns]))
        return np.argsort(-differences, kind="stable")[:_N_APART].tolist()

    def _about(self, j: int) -> dict[int, str]:
        """Classes that most of a cluster's observations have, of the factors that agree best."""
        seen, said = self.seen, dict[int, list[str]]()
        for factor in factors_by_agreement(seen, j)[:_N_FACTORS]:
            names = seen.class_names[factor]
            counts = contingency(
                *labelled(seen.labels[factor], seen.predictions.clusters[j]), n_classes=len(names)
            )
            for k, own in enumerate(counts):
                if own.max() > own.sum() / 2:
                    text = f"{_class(factor, names[own.argmax()])} ({own.max() / own.sum():.0%})"
                    said.setdefault(k, []).append(text)
        return {k: ", ".join(texts) for k, texts in said.items()}

    def _means(self, j: int, order: Sequence[int]) -> dict[str, Any]:
        means = get_figure("means").compute(self.seen, j, clusters=[list(order)])
        return self._show(means.arrays["pictures"])


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


def _class(factor: str, name: str) -> str:
    """A class, with its factor unless its name begins with that."""
    words = factor.replace("_", " ")
    return name if name.replace("_", " ").startswith(words) else f"{words}: {name}"


def _hex(colours: np.ndarray) -> list[str]:
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in colours]
