"""Data frames: of rows and their clusters, of facets, of clusters."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import narwhals as nw
import numpy as np

from pyro_mfcvae.errors import DataWarning
from pyro_mfcvae.estimators.base import FacetEstimator
from pyro_mfcvae.estimators.inputs import as_frame, row_names
from pyro_mfcvae.evaluation import cluster_facts, contingency
from pyro_mfcvae.naming import named_clusters


def make_frame(columns: Mapping[Any, Any], like: Any = None, index: Any = None) -> Any:
    """A data frame of the library that X is of, on its index; of an array one of pandas.

    Args:
        columns: by name, one value for each row.
        like: X.
        index: names of the rows, for pandas; None takes those of X.

    Raises:
        ImportError: if pandas is needed and not installed.
    """
    frame = as_frame(like)
    index = row_names(like) if index is None else index
    if frame is not None and index is None:
        return nw.from_dict(dict(columns), backend=frame.implementation).to_native()
    try:
        import pandas as pd
    except ImportError:
        raise ImportError(
            'this table needs pandas; install it with\n    pip install "pyro_mfcvae[tables]"'
        ) from None
    return pd.DataFrame(dict(columns), index=index)


def select_columns(estimator: FacetEstimator, X: Any) -> Any:
    """The columns of X that the estimator was fitted to, by their names, where it has names.

    Raises:
        ValueError: if X lacks some of them.

    Warns:
        DataWarning: if they stand in another order.
    """
    frame, names = as_frame(X), getattr(estimator, "feature_names_in_", None)
    if frame is None or names is None:
        return X
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"X lacks the columns {', '.join(missing)}, which the estimator was fitted to; it has "
            f"{', '.join(map(str, frame.columns))}"
        )
    if [name for name in frame.columns if name in set(names)] != list(names):
        warnings.warn(
            f"X has columns in another order than at fitting, which was {', '.join(names)}; they "
            "are taken by their names",
            DataWarning,
            stacklevel=2,
        )
    return frame.select(*names).to_native()


def facet_rows(estimator: FacetEstimator) -> dict[str, dict[str, Any]]:
    """What is said of each facet, by its name."""
    rows = {}
    for j, facts in enumerate(estimator.facts_):
        others = np.delete(estimator.redundancy_[j], j)
        about = cluster_facts.largest_values(facts.told, _told_names(estimator))
        rows[estimator.facet_names_[j]] = {
            "clusters": len(facts.sizes),
            "used": int((facts.sizes > 0).sum()),
            "sure": facts.sure,
            "stable": float(estimator.stability_[j]),
            "redundant": float(others.max(initial=0.0)),
            "about": ", ".join(f"{name} ({value:.2f})" for name, value in about),
        }
    return rows


def cluster_rows(estimator: FacetEstimator, j: int) -> dict[str, dict[str, Any]]:
    """What is said of each cluster of facet j that has rows, the largest first, by its name."""
    names, told = estimator.cluster_names_[j], _told_names(estimator)
    return cluster_facts.cluster_rows(estimator.facts_[j], names, told)


def cross_counts(estimator: FacetEstimator, i: int, j: int) -> tuple[Any, Any, np.ndarray]:
    """Names of the clusters of facets i and j that have rows, and how many rows pairs have."""
    labels = estimator.labels_.reshape(len(estimator.labels_), -1)
    counts = contingency(labels[:, j], labels[:, i])
    used = [np.flatnonzero(counts.sum(axis)) for axis in (1, 0)]
    names = [
        named_clusters(k, estimator.cluster_names_[facet])
        for k, facet in zip(used, (i, j), strict=True)
    ]
    return names[0], names[1], counts[np.ix_(*used)]


def frame_of_rows(rows: Mapping[Any, Mapping[str, Any]]) -> Any:
    """A pandas data frame of rows by their names."""
    columns = next(iter(rows.values()))
    return make_frame({c: [row[c] for row in rows.values()] for c in columns}, index=list(rows))


def as_html(rows: Mapping[Any, Mapping[str, Any]], notes: Sequence[str]) -> str:
    """Rows as a small table, and notes below it."""
    columns = next(iter(rows.values()))
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *columns))
    body = "".join(
        f"<tr><th>{escape(str(name))}</th>"
        + "".join(f"<td>{escape(as_text(value))}</td>" for value in row.values())
        + "</tr>"
        for name, row in rows.items()
    )
    said = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<table><tr>{head}</tr>{body}</table><ul>{said}</ul>"


def as_text(value: Any) -> str:
    """A value of a row, in short."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _told_names(estimator: FacetEstimator) -> list[str]:
    """Names of the columns that facts are about; of pictures none."""
    return estimator.indicator_names if estimator.facts_[0].differences.ndim == 2 else []
