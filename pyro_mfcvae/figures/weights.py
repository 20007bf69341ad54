"""How many observations each mixture component takes, beside its probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from pyro_mfcvae.figures.names import thinned

_MOST_LABELS = 80


def mixture_weights(
    clusters: Sequence[NDArray[np.int64]],
    weights: Sequence[NDArray[np.floating]],
    title: str = "",
    facets: Sequence[int] | None = None,
) -> Figure:
    """Bars for the share of observations that each component takes, dots for its probability.

    Components are sorted by their share, then by their probability, both falling.

    Args:
        clusters: most probable cluster of each observation, J arrays (N,).
        weights: p(c) of each facet, J arrays (K_j,).
        title: above the panels, of which there is one for each facet.
        facets: their numbers; None counts from 0.
    """
    figure = Figure(figsize=(9, 0.5 + 2.2 * len(weights)), layout="constrained")
    panels = figure.subplots(len(weights), 1, squeeze=False)[:, 0]
    numbers = range(len(weights)) if facets is None else facets
    for j, axes, assigned, pi in zip(numbers, panels, clusters, weights, strict=True):
        _draw(axes, f"facet {j}", assigned, pi)
    panels[-1].set_xlabel("component, by the number of its observations", fontsize=9)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def _draw(axes: Axes, name: str, assigned: NDArray[np.int64], pi: NDArray[np.floating]) -> None:
    n_components = len(pi)
    shares = np.bincount(assigned, minlength=n_components) / len(assigned)
    order = np.lexsort((-pi, -shares))
    positions = np.arange(n_components)
    bars = axes.bar(positions, shares[order], color="C0", label="observations assigned to it")
    (dots,) = axes.plot(positions, pi[order], "o", color="C1", ms=3, label="p(c) of the prior")
    shown = thinned(n_components, _MOST_LABELS)
    axes.set_xticks(
        shown,
        order[shown],
        fontsize=8 if len(shown) <= 50 else 6,
        rotation=90 if len(shown) > 30 else 0,
    )
    axes.set_xlim(-0.8, max(n_components, 8) - 0.2)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("share", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_title(
        f"{name}: {np.count_nonzero(shares)} of {n_components} components in use",
        fontsize=9,
        loc="left",
    )
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(
        handles=[bars, dots],
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=2,
        fontsize=8,
        frameon=False,
        borderpad=0,
    )
