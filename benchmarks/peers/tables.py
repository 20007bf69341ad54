"""The data: rows, the partitions of them that are known, and how many clusters these have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True, eq=False)
class Table:
    """Rows and what is known of them.

    Attributes:
        x: rows (N, features), in their own units.
        labels: classes (N,) of each known partition.
        standardize: each column by itself, or all ``"together"`` where they have one unit.
    """

    x: NDArray[np.float64]
    labels: dict[str, NDArray[np.int64]]
    standardize: Literal[True, "together"] = True

    @property
    def n_clusters(self) -> tuple[int, ...]:
        """The number of classes of each partition."""
        return tuple(len(np.unique(classes)) for classes in self.labels.values())

    def standardized(self) -> NDArray[np.float64]:
        """The rows as methods get them that do not standardise themselves."""
        if self.standardize == "together":
            return (self.x - self.x.mean(0)) / np.sqrt(self.x.var(0).mean())
        return StandardScaler().fit_transform(self.x)


def _penguins(folder: Path) -> Table:
    frame = pd.read_csv(folder / "penguins.csv").dropna()
    measures = [name for name in frame if str(name).endswith(("_mm", "_g"))]
    labels = {name: np.unique(frame[name], return_inverse=True)[1] for name in ("species", "sex")}
    return Table(frame[measures].to_numpy(float), labels)


def _columns(file: str, names: tuple[str, ...], **more: Any) -> Callable[[Path], Table]:
    """A table whose first columns are labels."""

    def load(folder: Path) -> Table:
        values = np.loadtxt(folder / file, delimiter=",")
        labels = {name: values[:, i].astype(np.int64) for i, name in enumerate(names)}
        return Table(values[:, len(names) :], labels, **more)

    return load


def _bunch(load: Callable[[], Any], **more: Any) -> Callable[[Path], Table]:
    """A table that comes with scikit-learn."""

    def table(_: Path) -> Table:
        bunch = load()
        return Table(bunch.data, {"class": bunch.target}, **more)

    return table


TABLES: dict[str, Callable[[Path], Table]] = {
    "wine": _bunch(datasets.load_wine),
    "breast-cancer": _bunch(datasets.load_breast_cancer),
    "digits": _bunch(datasets.load_digits, standardize="together"),
    "penguins": _penguins,
    "fruit": _columns("fruit.data", ("kind", "colour")),
    "aloi": _columns("aloi_small.data", ("shape", "colour")),
    "letters": _columns("nrLetters.data", ("letter", "colour", "corner"), standardize="together"),
}
"""By name, each from a folder of files. The first three need no file."""
