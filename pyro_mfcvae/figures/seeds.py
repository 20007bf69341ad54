"""Several seeds of one training, over its epochs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pyro_mfcvae.figures.names import readable

_MEASURE = "majority_accuracy"


def accuracy_over_epochs(runs: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """Majority accuracy on held-out observations: a panel per factor, a line per run and facet.

    Args:
        runs: {name of a run: {"epoch": epochs, "majority_accuracy_J_FACTOR": accuracies, ...}},
            at least one with measurements.
        title: above the panels.

    Raises:
        ValueError: if nothing was measured.
    """
    found = sorted(
        {match.groups() for run in runs.values() for name in run
         if (match := re.fullmatch(rf"{_MEASURE}_(\d+)_(.+)", name))}
    )  # fmt: skip
    if not found:
        raise ValueError("no accuracies were measured while the runs trained")
    factors = sorted({factor for _, factor in found})
    figure = Figure(figsize=(max(6, 4.2 * len(factors)), 4.2), layout="constrained")
    panels = figure.subplots(1, len(factors), sharey=True, squeeze=False)[0]
    for axes, factor in zip(panels, factors, strict=True):
        for facet in sorted({int(j) for j, other in found if other == factor}):
            label = f"facet {facet}"
            for run in runs.values():
                values = run.get(f"{_MEASURE}_{facet}_{factor}", ())
                if len(values):
                    axes.plot(run["epoch"], values, color=f"C{facet}", lw=1, label=label)
                    label = None
        axes.set_title(readable(factor), fontsize=10)
        axes.set_xlabel("epoch")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    panels[0].set_ylabel("majority accuracy, held out")
    figure.suptitle(f"{title} ({len(runs)} runs)", fontsize=11)
    return figure
