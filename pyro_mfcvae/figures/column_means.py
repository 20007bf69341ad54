"""Means of a table's columns at pairs of clusters, under the columns' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from pyro_mfcvae.figures.canvas import Array
from pyro_mfcvae.figures.heatmaps import HeatMap, draw_heat_maps
from pyro_mfcvae.figures.names import readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH, _WIDEST, _HEIGHT, _LETTER = 12.0, 0.4, 0.19, 0.063  # inches; the first of all pairs


def draw_column_means(
    means: Array,
    columns: Sequence[str],
    clusters: Sequence[Sequence[str]],
    facets: Sequence[str],
    categories: Mapping[str, Sequence[str]],
) -> Figure:
    """A line for each column, with a cell for each pair of clusters of two facets.

    Args:
        means: (R, C, D), in units that are worth reading.
        columns: names of the D columns.
        clusters: names of the R and the C clusters.
        facets: names of the two facets.
        categories: of some columns, which their values number.
    """
    means = means.reshape(-1, means.shape[-1])
    low, high = means.min(0), means.max(0)
    shares = (means - low) / np.where(high > low, high - low, 1.0)

    def told(name: str, value: float) -> str:
        return readable(categories[name][int(value)]) if name in categories else f"{value:.3g}"

    lines = [
        f"{readable(name, 40)}  {told(name, a)} to {told(name, b)}"
        for name, a, b in zip(columns, low, high, strict=True)
    ]
    cell = (min(_WIDEST, _WIDTH / len(means)), _HEIGHT)
    left = 0.1 + _LETTER * max(map(len, lines))
    pairs = [f"{k}, {m}" for k, m in product(*clusters)]
    separators = range(len(columns) - 1)
    first, second = map(readable, facets)
    title = f"columns: a cluster of {first} and one of {second}"
    key = "pale is a line's lowest mean, dark its highest"
    panel = HeatMap(key, shares.T, lines, pairs, cell, left, None, separators)
    return draw_heat_maps([panel], title)
