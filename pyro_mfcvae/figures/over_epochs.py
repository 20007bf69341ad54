"""What several runs that differ by their seed measure over their epochs or steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pyro_mfcvae.figures.marks import mark_single_points, panel_grid

Curve = tuple[Sequence[float], Sequence[float]]

_N_COLUMNS = 3


def spread_over_epochs(
    panels: Mapping[str, Sequence[Curve]], ylabel: str, title: str = "", note: str = ""
) -> Figure:
    """A line per run; behind them a band of the mean plus and minus one standard deviation.

    The layout is that of MFCVAE, Figures 7, 10, 12 and 18 to 20.

    Args:
        panels: {title: (epochs, values) of every run}, values from 0 to 1.
        ylabel: the measure, with K.
        title: above the panels.
        note: below the panels.

    Raises:
        ValueError: if there is nothing to draw.
    """
    setting = "no run was measured while it trained; set training.evaluate_every"
    figure, axes = _panels(panels, _N_COLUMNS, 3.2, 0.9, "epoch", ylabel, title, setting, ms=4)
    for panel, curves in zip(axes, panels.values(), strict=True):
        _draw_spread(panel, [curve for curve in curves if len(curve[0])])
        panel.set_ylim(0, 1)
        panel.yaxis.set_major_formatter(PercentFormatter(1))
    if note:
        figure.supxlabel(note, fontsize=8, color="0.35")
    return figure


def term_over_steps(
    panels: Mapping[str, Sequence[Curve]],
    ylabel: str,
    thresholds: Mapping[str, float],
    title: str = "",
) -> Figure:
    """A line per run, and a dotted one where a term of the objective begins to have a gradient.

    Args:
        panels: {title: (steps, values) of every run}.
        ylabel: the term, with its unit.
        thresholds: {title: height of the dotted line}; panels that are missing have none.
        title: above the panels.

    Raises:
        ValueError: if there is nothing to draw.
    """
    setting = "no run has log points to draw; set training.log_every below its steps"
    figure, axes = _panels(panels, len(panels), 3.7, 0, "step", ylabel, title, setting)
    for panel, name in zip(axes, panels, strict=True):
        if name in thresholds:
            panel.axhline(thresholds[name], color="black", ls=":", lw=1)
    axes[0].set_ylim(bottom=0)  # last: from here on the height of all panels is fixed
    return figure


def _panels(
    panels: Mapping[str, Sequence[Curve]],
    n_columns: int,
    height: float,
    above: float,
    xlabel: str,
    ylabel: str,
    title: str,
    setting: str,
    **style: Any,
) -> tuple[Figure, list[Axes]]:
    """Panels of one height with a line for each run; a ValueError tells the setting if none has."""
    if not any(len(x) for curves in panels.values() for x, _ in curves):
        raise ValueError(setting)
    size, margin = (3.9, height), (1, above)
    figure, axes = panel_grid(len(panels), n_columns, size, margin, sharey=True)
    for panel, (name, curves) in zip(axes, panels.items(), strict=True):
        for x, values in curves:
            panel.plot(x, values, lw=0.9, **style)
        mark_single_points(panel)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel(xlabel, fontsize=9)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
    for panel in axes[::n_columns]:
        panel.set_ylabel(ylabel, fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure, axes


def _draw_spread(axes: Axes, curves: Sequence[Curve]) -> None:
    """A band over the epochs at which every run was measured, and its last values in words."""
    last = "not measured"
    if len(curves) == 1:
        last = f"{100 * curves[0][1][-1]:.1f} %, one run"
    elif curves:
        epochs = sorted(set.intersection(*(set(epochs) for epochs, _ in curves)))
        by_epoch = [dict(zip(*curve, strict=True)) for curve in curves]
        values = np.array([[run[epoch] for epoch in epochs] for run in by_epoch])
        mean, deviation = values.mean(0), values.std(0, ddof=1)
        style: dict[str, Any] = {"color": "C0", "alpha": 0.2, "lw": 0, "zorder": 0}
        axes.fill_between(epochs, mean - deviation, mean + deviation, **style)
        last = f"{100 * mean[-1]:.1f} % (sd {100 * deviation[-1]:.1f}) over {len(curves)} runs"
    axes.text(0.97, 0.04, f"last: {last}", transform=axes.transAxes, ha="right", fontsize=8)
