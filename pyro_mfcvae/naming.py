"""Names that a person gives to facets and clusters, which tables and figures then have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pyro_mfcvae.tables import one_line

Names = Mapping[int, str]
"""Names of facets, or of one facet's clusters, by their numbers, which stand for those without."""

_MOST_LETTERS = 60


def cluster_name(names: Names, k: int) -> str:
    """What cluster k is called."""
    return names.get(k, str(k))


def cluster_title(names: Names, k: int) -> str:
    """What cluster k is called where nothing else says that it is a cluster."""
    return names.get(k, f"cluster {k}")


def facet_title(names: Names, j: int) -> str:
    """What facet j is called, such as ``facet 0`` or ``facet species``."""
    return f"facet {names.get(j, j)}"


def facet_column(names: Names, j: int) -> str:
    """What a column with the clusters of facet j is called; that of their probabilities has _p."""
    return names.get(j, f"facet_{j}")


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
        _check(own, n, "cluster", f" of facet {j}")
    return tuple(_stripped(own) for own in names)


def check_facet_names(names: Names, n_facets: int) -> Names:
    """Names of facets, if they can stand in tables and figures, and for columns of files.

    Raises:
        ValueError: as of :func:`check_names`, or if two columns would be called alike.
    """
    _check(names, n_facets, "facet")
    found = _stripped(names)
    columns = [facet_column(found, j) for j in range(n_facets)]
    counts = Counter(["row", *columns, *(f"{name}_p" for name in columns)])
    if twice := [name for name, n in counts.items() if n > 1]:
        raise ValueError(f"two columns of files would be called {twice[0]!r}; rename the facet")
    return found


def _check(names: Names, n: int, what: str, of: str = "") -> None:
    for k, name in names.items():
        if not 0 <= k < n:
            raise ValueError(f"expected a {what}{of} from 0 to {n - 1}, got {k}")
        if not 0 < len(name.strip()) <= _MOST_LETTERS or one_line(name) != name:
            raise ValueError(
                f"expected a name of 1 to {_MOST_LETTERS} letters on one line for {what} {k}{of}, "
                f"got {name[: _MOST_LETTERS + 1]!r}"
            )
        if name.strip().isdigit():
            raise ValueError(
                f"expected a word for {what} {k}{of}, got {name!r}, which may be the number of "
                f"another {what}"
            )
    twice = [name for name, n in Counter(map(str.strip, names.values())).items() if n > 1]
    if twice:
        raise ValueError(f"two {what}s{of} are called {twice[0]!r}; rename one")


def _stripped(names: Names) -> Names:
    return {k: names[k].strip() for k in sorted(names)}
