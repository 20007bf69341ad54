"""Names that a person gives to clusters, which tables and figures then have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pyro_mfcvae.tables import one_line

Names = Mapping[int, str]
"""Names of one facet's clusters by their numbers; a cluster without one is called by its number."""

_MOST_LETTERS = 60


def cluster_name(names: Names, k: int) -> str:
    """What cluster k is called."""
    return names.get(k, str(k))


def cluster_title(names: Names, k: int) -> str:
    """What cluster k is called where nothing else says that it is a cluster."""
    return names.get(k, f"cluster {k}")


def named_clusters(labels: np.ndarray, names: Names) -> np.ndarray:
    """Clusters (N,) by their names; without any their numbers."""
    if not names:
        return labels
    return np.array([cluster_name(names, int(k)) for k in labels], dtype=object)


def check_names(names: Sequence[Names], n_clusters: Sequence[int]) -> tuple[Names, ...]:
    """Names of the clusters of each facet, if they can stand in tables and figures.

    Args:
        names: of each facet.
        n_clusters: K of each facet.

    Raises:
        ValueError: if there are other facets, a cluster does not exist, or a name is empty, has
            several lines or more than 60 letters, is a number, or is given twice in one facet.
    """
    if len(names) != len(n_clusters):
        raise ValueError(
            f"expected names for each of {len(n_clusters)} facets, got {len(names)} lists of them"
        )
    for j, (own, n) in enumerate(zip(names, n_clusters, strict=True)):
        for k, name in own.items():
            if not 0 <= k < n:
                raise ValueError(f"expected a cluster of facet {j} from 0 to {n - 1}, got {k}")
            if not 0 < len(name.strip()) <= _MOST_LETTERS or one_line(name) != name:
                raise ValueError(
                    f"expected a name of 1 to {_MOST_LETTERS} letters on one line for cluster {k} "
                    f"of facet {j}, got {name[: _MOST_LETTERS + 1]!r}"
                )
            if name.strip().isdigit():
                raise ValueError(
                    f"expected a word for cluster {k} of facet {j}, got {name!r}, which may be the "
                    "number of another cluster"
                )
        twice = [name for name, n in Counter(map(str.strip, own.values())).items() if n > 1]
        if twice:
            raise ValueError(f"two clusters of facet {j} are called {twice[0]!r}; rename one")
    return tuple({k: own[k].strip() for k in sorted(own)} for own in names)
