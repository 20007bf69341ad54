"""Figures of experiments: what a change of one setting does, and one facet against several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter, ScalarFormatter
from numpy.typing import NDArray

Groups = Mapping[str, Mapping[str, Sequence[Sequence[float]]]]

_ROW, _GAP = 0.24, 0.5  # inches, and rows between groups


def changed_settings(groups: Groups, measures: Sequence[str], base: str, title: str = "") -> Figure:
    """Accuracies of models that differ in one setting from the model of the first group.

    Args:
        groups: {setting: {value: measures (M,) of every run}}; the one called ``base`` is drawn
            on top, its mean as a line over all.
        measures: M names.
        base: name of the group that all others differ from.
        title: above all.
    """
    rows = [(name, value) for name, values in groups.items() for value in values]
    places = np.arange(len(rows)) + _GAP * np.array(
        [list(groups).index(name) for name, _ in rows], dtype=float
    )
    height = 1.2 + _ROW * (places[-1] + 1)
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    for m, measure in enumerate(measures):
        for i, (name, value) in enumerate(rows):
            points = [run[m] for run in groups[name][value]]
            axes.plot(points, [places[i]] * len(points), "o", color=f"C{m}", ms=4, alpha=0.5)
            axes.plot(np.mean(points), places[i], "|", color=f"C{m}", ms=11, mew=2)
        axes.plot([], [], "o", color=f"C{m}", label=measure)
        if base in groups:
            runs = [run[m] for runs in groups[base].values() for run in runs]
            axes.axvline(float(np.mean(runs)), color=f"C{m}", lw=0.8, ls=":")
    axes.set_yticks(places, [f"{name} {value}".strip() for name, value in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(
        "majority accuracy, held out, map of its own; bars: means over seeds", fontsize=8
    )
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(alpha=0.3, axis="x")
    figure.legend(loc="outside lower center", ncols=len(measures), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=11)
    return figure


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
