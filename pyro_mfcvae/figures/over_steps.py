"""A term of the objective over the steps of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from pyro_mfcvae.figures.lines import mark_single_points
from pyro_mfcvae.figures.over_epochs import Curve


def term_over_steps(
    panels: Mapping[str, Sequence[Curve]],
    ylabel: str,
    thresholds: Mapping[str, float],
    title: str = "",
) -> Figure:
    """A line per run, and a dotted one where the term begins to have a gradient.

    Args:
        panels: {title: (steps, values) of every run}.
        ylabel: the term, with its unit.
        thresholds: {title: height of the dotted line}; panels that are missing have none.
        title: above the panels.

    Raises:
        ValueError: if there is nothing to draw.
    """
    if not any(len(steps) for curves in panels.values() for steps, _ in curves):
        raise ValueError("no run has log points to draw; set training.log_every below its steps")
    figure = Figure(figsize=(1 + 3.9 * len(panels), 3.7), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for panel, (name, curves) in zip(axes, panels.items(), strict=True):
        for steps, values in curves:
            panel.plot(steps, values, lw=0.9)
        mark_single_points(panel)
        if name in thresholds:
            panel.axhline(thresholds[name], color="black", ls=":", lw=1)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("step", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
    axes[0].set_ylim(bottom=0)  # last: from here on the height of all panels is fixed
    axes[0].set_ylabel(ylabel, fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure
