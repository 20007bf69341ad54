"""What a change of one setting does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

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
