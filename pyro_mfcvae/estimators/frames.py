"""Data frames: of rows and their clusters, of facets, of clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import numpy as np

from pyro_mfcvae.estimators.base import FacetEstimator
from pyro_mfcvae.estimators.facts import Facts
from pyro_mfcvae.estimators.inputs import as_frame, row_names

_MOST_NAMED = 3  # columns


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
    if frame is not None and row_names(like) is None and index is None:
        return nw.from_dict(dict(columns), backend=frame.implementation).to_native()
    try:
        import pandas as pd
    except ImportError:
        raise ImportError(
            'this table needs pandas; install it with\n    pip install "pyro_mfcvae[tables]"'
        ) from None
    return pd.DataFrame(dict(columns), index=row_names(like) if index is None else index)


def select_columns(estimator: FacetEstimator, X: Any) -> Any:
    """The columns of X that the estimator was fitted to, by their names, where it has names.

    Raises:
        ValueError: if X lacks some of them.
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
    return frame.select(*names).to_native()


def named_clusters(labels: np.ndarray, names: Mapping[int, str]) -> Any:
    """Clusters (N,) by their names; without any their numbers."""
    if not names:
        return labels
    return np.array([names.get(int(k), str(k)) for k in labels], dtype=object)


def facet_frame(estimator: FacetEstimator) -> Any:
    """A row for each facet."""
    rows, j_all = [], range(len(estimator.facts_))
    for j, facts in enumerate(estimator.facts_):
        others = [float(estimator.redundancy_[j, i]) for i in j_all if i != j]
        rows.append(
            {
                "clusters": len(facts.sizes),
                "used": int((facts.sizes > 0).sum()),
                "sure": facts.sure,
                "stable": float(estimator.stability_[j]),
                "redundant": max(others, default=float("nan")),
                "about": ", ".join(
                    f"{name} ({value:.2f})" for name, value in _largest(estimator, facts.told)
                ),
            }
        )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return make_frame(columns, index=estimator.facet_names_)


def cluster_frame(estimator: FacetEstimator, j: int) -> Any:
    """A row for each cluster of facet j that has rows, the largest first."""
    facts: Facts = estimator.facts_[j]
    order = [int(k) for k in np.argsort(-facts.sizes, kind="stable") if facts.sizes[k]]
    apart = [
        ", ".join(
            f"{name} {value:+.1f}" for name, value in _largest(estimator, facts.differences[k])
        )
        for k in order
    ]
    columns = {
        "size": facts.sizes[order],
        "share": facts.shares[order],
        "sure": facts.sureness[order],
        "typical": [facts.typical[k] for k in order],
        "apart": apart,
    }
    names = estimator.cluster_names_[j]
    return make_frame(columns, index=named_clusters(np.array(order), names))


def cross_frame(estimator: FacetEstimator, i: int, j: int) -> Any:
    """How many rows each pair of clusters of two facets has."""
    labels = estimator.labels_.reshape(len(estimator.labels_), -1)
    first, second = (np.unique(labels[:, f], return_inverse=True) for f in (i, j))
    counts = np.zeros((len(first[0]), len(second[0])), dtype=np.int64)
    np.add.at(counts, (first[1], second[1]), 1)
    names = [
        named_clusters(k, estimator.cluster_names_[f]) for k, f in ((first[0], i), (second[0], j))
    ]
    frame = make_frame(dict(zip(names[1], counts.T, strict=True)), index=names[0])
    frame.index.name, frame.columns.name = estimator.facet_names_[i], estimator.facet_names_[j]
    return frame


def _largest(estimator: FacetEstimator, values: np.ndarray) -> list[tuple[str, float]]:
    """The names of the features whose values are largest, either way, with these."""
    flat = values.ravel()
    if values.ndim > 1:
        places = np.indices(values.shape).reshape(values.ndim, -1).T
        names = [f"pixel {tuple(int(i) for i in place[1:])}" for place in places]
    else:
        names = estimator.indicator_names
    order = np.argsort(-np.abs(flat), kind="stable")[:_MOST_NAMED]
    return [(names[i], float(flat[i])) for i in order]
