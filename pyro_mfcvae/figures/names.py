"""Names that people gave, as they can stand in a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def readable(name: str, n_letters: int = 18) -> str:
    """Blanks for underscores, dollars that start no formula, and not too long."""
    name = name.replace("_", " ").strip()
    if len(name) > n_letters:
        name = f"{name[: n_letters - 1].rstrip()}…"
    return name.replace("$", r"\$")


def class_labels(factor: str, class_names: Sequence[str]) -> list[str]:
    """Names of a factor's classes, without the factor's own where all begin with it."""
    first = f"{factor.replace('_', ' ').strip()} "
    names = [name.replace("_", " ").strip() for name in class_names]
    if all(name.startswith(first) for name in names):
        names = [name.removeprefix(first) for name in names]
    return [readable(name) for name in names]


def thinned(n: int, most: int) -> np.ndarray:
    """At most so many of the positions 0..n-1, evenly spaced, to be labelled."""
    return np.arange(0, n, -(-n // most))
