"""One facet against several: clusters needed, and the latent spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray


def clusters_needed(
    points: Mapping[str, Sequence[tuple[int, int, float]]], n_values: int, title: str = ""
) -> Figure:
    """Number of clusters against number of aspects, with what each model told apart.

    Args:
        points: {kind of model: (aspects n, clusters in all facets, accuracy) of every run}.
        n_values: m, of each aspect; lines show n m and m^n.
        title: above the plot.
    """
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    most = max(n for kind in points.values() for n, _, _ in kind)
    n = np.linspace(1, most, 50)
    axes.plot(n, n * n_values, color="0.4", lw=1, label=f"{n_values} n")
    axes.plot(n, float(n_values) ** n, color="0.4", lw=1, ls="--", label=f"{n_values} to the n")
    for i, (kind, runs) in enumerate(points.items()):
        places = sorted({run[:2] for run in runs})
        shares = [np.mean([run[2] for run in runs if run[:2] == place]) for place in places]
        x, y = np.array(places, dtype=float).T
        x += (0.07, -0.07)[i % 2]  # else one kind would hide the other
        style: dict[str, Any] = {"marker": "os"[i % 2], "s": 90, "edgecolors": "black", "zorder": 3}
        shown = axes.scatter(x, y, c=shares, cmap="RdYlGn", vmin=0.5, vmax=1, **style)
        for place, share in zip(zip(x, y, strict=True), shares, strict=True):
            offset, ha = ((8, -3), "left") if i % 2 == 0 else ((-8, -3), "right")
            style = {"xytext": offset, "textcoords": "offset points", "fontsize": 8, "ha": ha}
            axes.annotate(f"{100 * share:.0f} %", place, **style)
        axes.plot([], [], "os"[i % 2], color="0.7", mec="black", label=kind)
    figure.colorbar(shown, ax=axes, label="told apart: mean majority accuracy over aspects")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_locator(LogLocator(2))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks(range(1, most + 1))
    axes.set_xlim(0.6, most + 0.4)
    axes.set_xlabel("aspects n")
    axes.set_ylabel("clusters, all facets together")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")
    figure.suptitle(title, fontsize=10)
    return figure


def latent_spaces(
    latents: Sequence[NDArray[np.floating]],
    clusters: Sequence[NDArray[np.int64]],
    names: Sequence[str],
    title: str = "",
) -> Figure:
    """Latents of every facet in a panel of its own, coloured by cluster.

    Args:
        latents: J arrays (N, D_j); more than two dimensions are projected on the two along which
            they vary most.
        clusters: J arrays (N,).
        names: of the facets.
        title: above the panels.
    """
    figure = Figure(figsize=(max(0.6 + 3.4 * len(latents), 6), 3.9), layout="constrained")
    panels = figure.subplots(1, len(latents), squeeze=False)[0]
    for axes, z, own, name in zip(panels, latents, clusters, names, strict=True):
        flat = z - z.mean(0)
        if z.shape[1] > 2:
            flat = flat @ np.linalg.svd(flat, full_matrices=False)[2][:2].T
        first, second = (*flat.T, np.zeros(len(z)))[:2]
        axes.scatter(first, second, c=own, cmap="tab20", s=4, lw=0)
        axes.set_title(name, fontsize=9)
        axes.set_aspect("equal", "datalim")
        axes.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=9)
    return figure
