"""Names that people gave, as they can stand in a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pyro_mfcvae.naming import Names, cluster_name
from pyro_mfcvae.tables import printable

_OF_FACET = 30  # letters


def readable(name: str, n_letters: int = 18) -> str:
    """Blanks for underscores, dollars that start no formula, one line, and not too long."""
    name = " ".join(printable(name.replace("_", " ")).split())
    if len(name) > n_letters:
        name = f"{name[: n_letters - 1].rstrip()}…"
    return name.replace("$", r"\$")


def cluster_labels(names: Names, clusters: Iterable[int], n_letters: int = 18) -> list[str]:
    """What clusters are called, each not too long."""
    return [readable(cluster_name(names, k), n_letters) for k in clusters]


def class_labels(factor: str, class_names: Sequence[str]) -> list[str]:
    """Names of a factor's classes, without the factor's own where all begin with it."""
    first = f"{factor.replace('_', ' ').strip()} "
    names = [name.replace("_", " ").strip() for name in class_names]
    if all(name.startswith(first) for name in names):
        names = [name.removeprefix(first) for name in names]
    return [readable(name) for name in names]


def thin(n: int, most: int) -> np.ndarray:
    """At most so many of the positions 0..n-1, evenly spaced, to be labelled."""
    return np.arange(0, n, -(-n // most))


def describe_part(n: int, n_all: int, what: str, best: str) -> str:
    """How many of how many, and which: ``the 10 surest of 20 clusters in use``.

    Args:
        n: how many.
        n_all: how many there are.
        what: one of them, such as ``cluster in use``.
        best: what the n are, where there are more.
    """
    noun, _, rest = what.partition(" ")
    several = f"{noun}s {rest}".rstrip()
    if n == n_all:
        return f"all {n} {several}" if n > 1 else f"the only {what}"
    return f"the {n} {best} of {n_all} {several}"


def describe_facets(facets: Sequence[int], names: Names | None = None) -> str:
    """Facets by their names, or their numbers, such as ``facets species and 1``."""
    known = names or {}
    told = (readable(known[j], _OF_FACET) if j in known else str(j) for j in facets)
    return f"facet{'s' * (len(facets) > 1)} {' and '.join(told)}"


def describe_steps(offsets: Sequence[float]) -> list[str]:
    """Offsets in standard deviations."""
    return ["0" if offset == 0 else f"{offset:+g} sd" for offset in offsets]


def describe_shares(n: int) -> list[str]:
    """Shares of n steps on a way from 0 to 100 %."""
    return [f"{100 * i / max(n - 1, 1):.0f} %" for i in range(n)]
