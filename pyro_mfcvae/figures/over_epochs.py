"""A measure over the epochs of several runs that differ by their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pyro_mfcvae.figures.lines import mark_single_points

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
    if not any(len(epochs) for curves in panels.values() for epochs, _ in curves):
        raise ValueError("no run was measured while it trained; set training.evaluate_every")
    n_columns = min(len(panels), _N_COLUMNS)
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(1 + 3.9 * n_columns, 0.9 + 3.2 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    for panel, (name, curves) in zip(axes.flat, panels.items(), strict=False):
        _draw(panel, [curve for curve in curves if len(curve[0])])
        panel.set_title(name, fontsize=10)
    for panel in list(axes.flat)[len(panels) :]:
        panel.remove()
    for row in axes:
        row[0].set_ylabel(ylabel, fontsize=9)
    figure.suptitle(title, fontsize=11)
    if note:
        figure.supxlabel(note, fontsize=8, color="0.35")
    return figure


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    for epochs, values in curves:
        axes.plot(epochs, values, lw=0.9, ms=4)
    mark_single_points(axes)
    if len(curves) > 1:
        epochs, values = _common(curves)
        mean, deviation = values.mean(0), values.std(0, ddof=1)
        axes.fill_between(
            epochs, mean - deviation, mean + deviation, color="C0", alpha=0.2, lw=0, zorder=0
        )
        last = f"{100 * mean[-1]:.1f} % (sd {100 * deviation[-1]:.1f}) over {len(curves)} runs"
    elif curves:
        last = f"{100 * curves[0][1][-1]:.1f} %, one run"
    else:
        last = "not measured"
    axes.text(0.97, 0.04, f"last: {last}", transform=axes.transAxes, ha="right", fontsize=8)
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def _common(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Epochs at which every run was measured, (E,), and the values there, (R, E)."""
    epochs = sorted(set.intersection(*(set(epochs) for epochs, _ in curves)))
    by_epoch = [dict(zip(*curve, strict=True)) for curve in curves]
    return np.array(epochs), np.array([[run[e] for e in epochs] for run in by_epoch])
